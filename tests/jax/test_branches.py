"""Which units of f take another branch at a moved point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradproof.subjects.base import Places
from gradproof.subjects.jax.subject import JaxSubject

X = np.array([0.3, -0.2, 0.5, 0.1])
Crossings = list[Mapping[str, int]] | None


def subject(f: Callable[..., Any], x: Any = X) -> JaxSubject:
    return JaxSubject(f, x, rng=np.random.default_rng(0))


def moved_first(f: Callable[..., Any], *steps: float) -> Crossings:
    """Crossings with x[0] = 0.3 moved by each step."""
    count = len(steps)
    places = Places(np.zeros(count, np.intp), np.zeros(count, np.intp))
    return subject(f).crossings_at(places, np.array(steps))


def turns(x: Any) -> Any:
    return lax.while_loop(lambda y: y < 10.0, lambda y: 1.5 * y + jnp.abs(y - 1.0), x[0])


def largest_so_far(x: Any) -> Any:
    return lax.scan(lambda c, y: (jnp.maximum(c, y), c * y), jnp.zeros((), x.dtype), x)


def two_ways(x: Any) -> Any:
    return lax.cond(x[0] > 0.25, jax.nn.relu, jnp.sin, x)


def pooled(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (2,), (2,), "VALID")


def pooled_down(x: Any) -> Any:
    return lax.reduce_window(x, jnp.inf, lax.min, (2,), (1,), "VALID")


@jax.custom_vjp
def own_relu(x: Any) -> Any:
    return jnp.maximum(x, 0.0)


own_relu.defvjp(lambda x: (own_relu(x), x), lambda x, g: (g * (x > 0),))

#: A function, a step of x[0] = 0.3 that crosses nothing, one that crosses, and the site.
CROSSING: dict[str, tuple[Callable[..., Any], float, float, str]] = {
    "relu": (jax.nn.relu, 0.1, -0.5, "relu (max)"),
    "relu6": (lambda x: jax.nn.relu6(15.0 * x), 0.01, 0.2, "relu6 (min)"),
    "leaky relu": (jax.nn.leaky_relu, 0.1, -0.5, "leaky_relu (ge)"),
    "maximum": (lambda x: jnp.maximum(x, x[1]), 0.1, -0.6, "max"),
    "minimum": (lambda x: jnp.minimum(x, 0.4), 0.05, 0.2, "min"),
    "abs": (lambda x: lax.abs(x), 0.1, -0.4, "abs"),
    "sign": (lambda x: x * lax.sign(x), 0.1, -0.4, "sign"),
    "clamp": (lambda x: lax.clamp(0.0, x, 0.4), 0.05, 0.2, "clamp"),
    "floor": (lambda x: x * lax.floor(5.0 * x), 0.05, 0.2, "floor"),
    "ceil": (lambda x: x * lax.ceil(5.0 * x), 0.05, 0.2, "ceil"),
    "round": (lambda x: x * lax.round(5.0 * x), 0.05, -0.2, "round"),
    "rem": (lambda x: lax.rem(x, jnp.full_like(x, 0.25)), 0.1, 0.3, "rem"),
    "where": (lambda x: jnp.where(x > 0.25, x, 2.0), 0.1, -0.1, "gt"),
    "a mask that is multiplied with": (lambda x: x * (x <= 0.35), 0.01, 0.1, "le"),
    "equality": (lambda x: jnp.where(x == 0.3, 1.0, x), 0.0, 0.1, "eq"),
    "a number as an index": (lambda x: x[(x[0] * 4).astype(int)], 0.1, 0.3, "convert_element_type"),
    "argmax": (lambda x: x[lax.argmax(x, 0, jnp.int32)], 0.1, 0.3, "argmax"),
    "reduce_max": (lambda x: x.max(), 0.1, 0.3, "reduce_max"),
    "reduce_min": (lambda x: x.min(), 0.1, -0.6, "reduce_min"),
    "cummax": (lambda x: lax.cummax(x), 0.1, 0.3, "cummax"),
    "cummin": (lambda x: lax.cummin(x), -0.1, -0.6, "cummin"),
    "sort": (lambda x: lax.sort(x), 0.1, 0.3, "sort"),
    "top_k": (lambda x: lax.top_k(x, 2)[0], 0.1, 0.3, "top_k"),
    "max pooling": (pooled, 0.1, -0.6, "pooled (reduce_window_max)"),
    "min pooling": (pooled_down, 0.1, -0.6, "pooled_down (reduce_window_min)"),
    "atan2": (lambda x: lax.atan2(x, jnp.full_like(x, -1.0)), 0.1, -0.4, "atan2"),
    "cond": (two_ways, 0.1, -0.1, "two_ways (cond)"),
    "within a branch of cond": (two_ways, 0.1, -0.04, ""),
    "the turns of while": (turns, 0.1, 0.5, "turns (while)"),
    "within the turns of while": (turns, 0.1, 0.8, "turns (abs)"),
    "scan": (largest_so_far, 0.1, 0.3, "largest_so_far (max)"),
    "jit": (jax.jit(lambda x: jax.nn.relu(x)), 0.1, -0.4, "relu (max)"),
    "vmap": (lambda x: jax.vmap(jax.nn.relu)(x), 0.1, -0.4, "relu (max)"),
    "checkpoint": (lambda x: jax.checkpoint(jax.nn.relu)(x), 0.1, -0.4, "relu (max)"),
    "custom_vjp": (lambda x: own_relu(x), 0.1, -0.4, "own_relu (max)"),
    "complex abs": (lambda x: lax.abs(lax.complex(x - 0.3, 0.0 * x)), 0.0, 0.1, "abs"),
}


@pytest.mark.parametrize("case", CROSSING)
def test_a_unit_that_branches_otherwise_is_counted_at_its_site(case: str) -> None:
    f, within, across, site = CROSSING[case]
    found = moved_first(f, within, across)
    assert found is not None
    assert found[0] == {}
    if site:
        assert found[1].get(site, 0) >= 1
    else:
        assert found[1] == {}


@pytest.mark.parametrize(
    "f",
    [
        jax.nn.softmax,
        jax.nn.log_softmax,
        jax.nn.softplus,
        jax.nn.gelu,
        lambda x: jax.nn.logsumexp(x),
        lambda x: jnp.linalg.norm(x),
        lambda x: jnp.var(x),
        lambda x: jnp.linalg.inv(x.reshape(2, 2)),
    ],
    ids=["softmax", "log_softmax", "softplus", "gelu", "logsumexp", "norm", "var", "inverse"],
)
def test_what_branches_inside_only_is_smooth(f: Callable[..., Any]) -> None:
    assert moved_first(f, 0.05, 0.4, -0.6) == [{}, {}, {}]


def test_a_maximum_that_matters_is_no_shift() -> None:
    found = moved_first(lambda x: x / lax.stop_gradient(x.max()), 0.3)
    assert found == [{"reduce_max": 1}]


def test_units_are_counted() -> None:
    one = subject(jax.nn.relu)
    found = one.crossings_along(
        [np.array([[-1.0, 1.0, 1.0, -1.0]] * 3)], np.array([0.05, 0.15, 0.4])
    )
    assert found == [{}, {"relu (max)": 1}, {"relu (max)": 3}]


def test_a_tie_at_the_point_is_left_on_at_least_one_side() -> None:
    for f in (lambda x: jnp.maximum(x, 0.3), lambda x: lax.sort(jnp.stack([x[0], 0.3 + 0 * x[0]]))):
        found = moved_first(f, 0.1, -0.1)
        assert found is not None
        assert any(found)
    assert moved_first(lambda x: jnp.maximum(x, 0.3), 0.1, -0.1) == [{"max": 1}, {"max": 1}]


def test_tied_windows_that_stay_tied_cross_nothing() -> None:
    found = moved_first(lambda x: pooled(jnp.minimum(x, 0.0)), 0.1)
    assert found == [{}]


def test_sites_are_named_by_scopes_and_where_one_name_serves_twice_by_lines() -> None:
    def f(x: Any) -> Any:
        with jax.named_scope("net"), jax.named_scope("layer1"):
            y = jnp.maximum(x, 0.0)
        once = jax.nn.relu(x)
        twice = jax.nn.relu(2.0 * x) + jax.nn.relu(3.0 * x)
        return y + once * twice

    found = moved_first(f, -0.4)
    assert found is not None
    names = list(found[0])
    assert "net/layer1 (max)" in names
    relus = [name for name in names if name.startswith("relu (max), test_branches.py:")]
    assert len(relus) == 2
    assert sorted(found[0][name] for name in relus) == [1, 2]


def test_what_is_not_used_crosses_nothing() -> None:
    def f(x: Any) -> Any:
        accuracy = jnp.argmax(x)
        return jnp.sin(x), accuracy, jax.nn.relu(x) > 0

    assert moved_first(f, 0.4, -0.4) == [{}, {}]


def test_crossings_along_move_every_tensor() -> None:
    one = subject(lambda a, b: (jax.nn.relu(a), jnp.maximum(b, 0.0)), (jnp.ones(2), jnp.ones(3)))
    ways = [np.array([[-1.0, 0.0]] * 2), np.array([[-1.0, -1.0, 0.0]] * 2)]
    found = one.crossings_along(ways, np.array([0.5, 2.0]))
    assert found is not None
    assert found[0] == {}
    assert sorted(found[1].values()) == [1, 2]


def test_many_points_are_taken_in_chunks_and_counted() -> None:
    one = subject(jax.nn.relu)
    count = 40
    places = Places(np.zeros(count, np.intp), np.arange(count) % 4)
    before = one.evaluations
    steps = np.where(np.arange(count) % 4 == 1, 0.5, -0.6)
    found = one.crossings_at(places, steps)
    assert found == [{"relu (max)": 1}] * count
    assert count <= one.evaluations - before <= count + 3
    assert one.crossings_at(places[np.zeros(count, bool)], steps[:0]) == []


def test_a_loop_of_relus_counts_all_its_turns() -> None:
    def f(x: Any) -> Any:
        return lax.fori_loop(0, 3, lambda _, y: jax.nn.relu(y) - 1.0, x)

    found = moved_first(f, -0.4)
    assert found is not None
    assert sum(found[0].values()) == 1


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * float(x[0]),
        lambda x: jax.pure_callback(np.sin, jax.eval_shape(lambda y: y, x), x),
        lambda x: jnp.sin(x) * (lax.bitcast_convert_type(x, jnp.int64) > 0),
    ],
    ids=["python", "callback", "bits"],
)
def test_where_branches_cannot_be_seen_nothing_is_said(f: Callable[..., Any]) -> None:
    assert moved_first(f, 0.1) is None
