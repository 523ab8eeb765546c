"""Functions of pytrees: names, constants, entries moved, directions taken, claims contracted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradproof import InputError
from gradproof.coverage.entries import full
from gradproof.subjects.base import Places
from gradproof.subjects.jax.batches import MANY
from gradproof.subjects.jax.subject import JaxSubject

W = np.random.default_rng(0).normal(size=(2, 3))
X = {"b": np.array(0.5), "w": W}
ONE = np.array([1.0, 2.0, 3.0])


def f(p: Any) -> Any:
    return jnp.sum(jnp.sin(p["w"]) * ONE) + jnp.exp(p["b"])


def untraceable(p: Any) -> Any:
    return np.sum(np.sin(np.asarray(p["w"])) * ONE) + np.exp(np.asarray(p["b"]))


def unbatched(p: Any) -> Any:
    sine = jax.pure_callback(np.sin, jax.eval_shape(lambda y: y, p["w"]), p["w"])
    return jnp.sum(sine * ONE) + jnp.exp(p["b"])


def value_of(w: Any, b: Any) -> float:
    return float(np.sum(np.sin(w) * ONE) + np.exp(b))


def subject(function: Callable[..., Any] = f, x: Any = X, **options: Any) -> JaxSubject:
    return JaxSubject(function, x, rng=np.random.default_rng(0), **options)


def contracted(one: JaxSubject, *outputs: Any) -> float:
    """Outputs contracted with the subject's cotangent, in NumPy."""
    flat = [np.asarray(output, np.float64).ravel() for output in outputs]
    return float(sum(w @ y for w, y in zip(one.cotangent, flat, strict=True)))


WAYS = pytest.mark.parametrize("function", [f, unbatched, untraceable])


@WAYS
def test_an_entry_is_moved_by_itself(function: Callable[..., Any]) -> None:
    one = subject(function)
    assert one.names == ("b", "w")
    assert one.shapes == ((), (2, 3))
    assert [p.tolist() for p in one.point] == [[0.5], W.ravel().tolist()]
    places, steps = full([1, 6]), np.linspace(0.01, 0.07, 7)
    values = one.at_entries(places, steps)
    for value, tensor, index, step in zip(values, places.tensor, places.index, steps, strict=True):
        w, b = W.copy(), 0.5
        if tensor == 0:
            b += step
        else:
            w.reshape(-1)[index] += step
        assert value == pytest.approx(value_of(w, b), rel=1e-15, abs=2e-15)
    assert one.value() == pytest.approx(value_of(W, 0.5), rel=1e-15)
    assert one.describe(1, 4) == "w[1, 1]"


@WAYS
def test_points_along_directions_are_base_and_step_times_direction(
    function: Callable[..., Any],
) -> None:
    one = subject(function)
    rng = np.random.default_rng(1)
    ways = [rng.normal(size=(3, 1)), rng.normal(size=(3, 6))]
    lanes, offsets = np.array([0, 2, 1, 2]), np.array([0.1, -0.2, 0.0, 0.3])
    values = one.along(ways, lanes, offsets, one.point)
    for value, lane, step in zip(values, lanes, offsets, strict=True):
        moved = W + step * ways[1][lane].reshape(2, 3), 0.5 + step * ways[0][lane, 0]
        assert value == pytest.approx(value_of(*moved), rel=1e-15, abs=2e-15)
    bases = [np.tile(point, (3, 1)) + 0.5 for point in one.point]
    shifted = one.along(ways, lanes, offsets, bases)
    moved = W + 0.5 + 0.3 * ways[1][2].reshape(2, 3), 1.0 + 0.3 * ways[0][2, 0]
    assert shifted[3] == pytest.approx(value_of(*moved), rel=1e-15)


@WAYS
def test_evaluations_are_counted_by_point(function: Callable[..., Any]) -> None:
    one = subject(function)
    one.value()
    before = one.evaluations
    one.value()
    one.at_entries(full([1, 6]), np.full(7, 0.1))
    one.along([np.ones((1, 1)), np.ones((1, 6))], np.zeros(5, np.intp), np.ones(5), one.point)
    assert one.evaluations - before == 1 + 7 + 5
    assert before <= 10


def test_progress_is_told() -> None:
    one = subject()
    one.value()
    told: list[int] = []
    one.on_progress = told.append
    one.at_entries(full([1, 6]), np.full(7, 0.1))
    assert told[-1] == one.evaluations


def test_no_points_have_no_values() -> None:
    assert subject().at_entries(full([0, 0]), np.zeros(0)).shape == (0,)


def test_the_same_entry_may_be_moved_twice_in_one_call() -> None:
    places = Places(np.array([1, 1, 0]), np.array([2, 2, 0]))
    up, down, other = subject().at_entries(places, np.array([0.1, -0.1, 0.1]))
    assert up != down
    assert other == pytest.approx(value_of(W, 0.6))


def test_large_chunks_give_the_values_of_small_ones() -> None:
    rng = np.random.default_rng(2)
    a, v = rng.normal(size=(60, 60)), rng.normal(size=60)
    one = subject(lambda a, v: jnp.tanh(a @ (a @ jnp.sin(a @ v) / 60)).sum(), (a, v))
    places = full([a.size, v.size])
    steps = rng.normal(size=len(places))
    assert len(places) > MANY
    values = one.at_entries(places, steps)
    some = np.concatenate([np.arange(5), rng.integers(0, len(places), 20)])
    np.testing.assert_allclose(values[some], one.at_entries(places[some], steps[some]), rtol=1e-13)


def test_a_tensor_of_much_work_gets_a_function_of_its_own() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(20, 20)), rng.normal(size=(300, 300))

    def heavy(a: Any) -> Any:
        return jnp.tanh(jnp.tile(a, (15, 15)) @ b / 20).sum()

    one = subject(heavy, a)
    values = one.at_entries(full([400]), np.full(400, 0.1))
    assert one._points._verified == {0}
    moved = a.copy()
    moved[19, 19] += 0.1
    assert values[-1] == pytest.approx(float(np.tanh(np.tile(moved, (15, 15)) @ b / 20).sum()))


def test_an_entry_of_a_heavy_model_is_evaluated_in_chunks_that_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradproof.subjects.jax.batches.BATCH_BYTES", 200)
    one = subject()
    values = one.at_entries(full([1, 6]), np.full(7, 0.1))
    assert values[0] == pytest.approx(value_of(W, 0.6), rel=1e-15)
    batches = one._points.batches
    assert batches is not None
    assert batches.large <= 2


# -- names and constants ----------------------------------------------------------------------


class Pair(NamedTuple):
    left: Any
    right: Any


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    weight: Any
    bias: Any


@jax.tree_util.register_pytree_node_class
class Bag:
    def __init__(self, *content: Any) -> None:
        self.content = content

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        return self.content, None

    @classmethod
    def tree_unflatten(cls, _: None, content: Any) -> Bag:
        return cls(*content)


def total(*args: Any, **kwargs: Any) -> Any:
    leaves = [x for x in jax.tree.leaves((args, kwargs)) if hasattr(x, "dtype")]
    return sum(jnp.sum(jnp.abs(x) ** 2) for x in leaves if jnp.issubdtype(x.dtype, jnp.inexact))


A = jnp.ones(2)


@pytest.mark.parametrize(
    ("x", "names"),
    [
        (A, ("x",)),
        ([A, {"a b": A}], ("x.0", "x.1['a b']")),
        ({"conv1": {"weight": A, "bias": A}}, ("conv1.bias", "conv1.weight")),
        ({"conv1.weight": A}, ("conv1.weight",)),
        ({3: A}, ("x[3]",)),
        ({"layers": [Layer(A, A)]}, ("layers.0.weight", "layers.0.bias")),
        (Pair(A, None), ("left",)),
        (Bag(A, A), ("x.0", "x.1")),
        ((A, A), ("args.0", "args.1")),
    ],
)
def test_leaves_are_named_by_their_paths(x: Any, names: tuple[str, ...]) -> None:
    one = subject(total, x)
    assert one.names == names
    assert one.value() == pytest.approx(2.0 * len(names))


def test_arguments_are_named_by_the_signature() -> None:
    def apply(params: Any, x: Any, *rest: Any, scale: Any) -> Any:
        return total(params, x, rest, scale)

    one = subject(apply, ({"conv": {"w": A}}, A, A), kwargs={"scale": A})
    assert one.names == ("params.conv.w", "x", "rest.0", "scale")
    for wrapped in (jax.jit(apply), functools.partial(apply, scale=A)):
        assert subject(wrapped, ({"w": A}, A), kwargs={"scale": A}).names[:2] == ("params.w", "x")


def test_a_method_is_named_by_its_own_arguments() -> None:
    class Model:
        def loss(self, weights: Any, data: Any) -> Any:
            return total(weights, data)

    assert subject(Model().loss, (A, A)).names == ("weights", "data")


def test_what_is_no_floating_array_is_constant() -> None:
    x = {
        "b": True,
        "f": np.float32(2.0),
        "i": jnp.array([1, 2]),
        "k": jax.random.key(0),
        "n": 3,
        "none": None,
        "old": jax.random.PRNGKey(0),
        "s": "mean",
        "w": A,
    }

    def g(p: Any) -> Any:
        noise = jax.random.normal(p["k"], (2,)) + jax.random.normal(p["old"], (2,))
        assert p["n"] == 3
        assert p["s"] == "mean"
        assert p["b"] is True
        assert p["none"] is None
        return p["w"][p["i"] - 1] * p["f"] * noise

    one = subject(g, x)
    assert one.names == ("f", "w")
    assert np.isfinite(one.at_entries(full([1, 2]), np.full(3, 0.1))).all()
    assert one.findings()[0].kind == "single-precision"


def test_pythons_floats_are_numbers_in_x_and_options_in_kwargs() -> None:
    one = subject(lambda x, y, rate: jnp.sin(x) * y * rate, (A, 2.0), kwargs={"rate": 0.5})
    assert one.names == ("x", "y")
    assert one.point[1].tolist() == [2.0]
    assert one.findings() == subject(lambda x: x, A).findings()


def test_pythons_floats_that_f_takes_as_they_are_only_are_constants() -> None:
    g = functools.partial(jax.jit, static_argnums=1)(lambda x, y: jnp.sin(x) * y)
    one = subject(g, (A, 2.0))
    assert one.names == ("x",)
    assert [finding.kind for finding in one.findings()] == ["single-precision", "constants"]


def test_what_a_custom_rule_leaves_out_is_constant() -> None:
    @functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
    def clipped(limit: Any, x: Any) -> Any:
        return x * 1.0

    clipped.defvjp(
        lambda limit, x: (x * 1.0, None), lambda limit, _, g: (jnp.clip(g, -limit, limit),)
    )
    one = subject(clipped, (9.0, A))
    assert one.names == ("x",)
    assert one.claims(None)[0].tolist() == one.cotangent[0].tolist()


def test_complex_leaves_are_pairs_of_reals() -> None:
    z = np.array([1.0 + 2.0j, -0.5j])
    one = subject(lambda z: jnp.sum(jnp.real(z * z)), z)
    assert one.shapes == ((2, 2),)
    assert one.point[0].tolist() == [1.0, 2.0, 0.0, -0.5]
    assert one.describe(0, 3) == "x[1, 1]"
    up = one.at_entries(full([4]), np.full(4, 0.5))
    moved = [np.sum((z + d) ** 2).real for d in ([0.5, 0], [0.5j, 0], [0, 0.5], [0, 0.5j])]
    np.testing.assert_allclose(up, moved, rtol=1e-15)
    for grad in (None, lambda z: 2.0 * z, lambda z: jnp.stack([2 * z.real, -2 * z.imag], -1)):
        np.testing.assert_allclose(one.claims(grad)[0], [2.0, -4.0, 0.0, 1.0])


# -- outputs and cotangents -------------------------------------------------------------------


def test_several_outputs_are_contracted_and_integers_are_not() -> None:
    def g(w: Any) -> Any:
        return {"a": jnp.sin(w), "i": jnp.argmax(w), "z": lax.complex(w, w**2), "m": w > 0.0}

    one = subject(g, W)
    assert one.output_shape == ((2, 3), (2, 3))
    pairs = np.stack([W, W**2], -1)
    assert one.value() == pytest.approx(contracted(one, np.sin(W), pairs), rel=1e-14)
    a, z = one.cotangent[0].reshape(2, 3), one.cotangent[1].reshape(2, 3, 2)
    expected = a * np.cos(W) + z[..., 0] + z[..., 1] * 2.0 * W
    np.testing.assert_allclose(one.claims(None)[0], expected.ravel(), rtol=1e-13)
    assert one.forward_slope([np.ones(6)]) == pytest.approx(expected.sum(), rel=1e-13)


def test_the_callers_cotangent_leaves_outputs_out() -> None:
    def g(w: Any) -> Any:
        return jnp.sin(w), {"n": jnp.argmax(w), "bad": 1.0 / (w - w)}

    one = subject(g, W, cotangent=(np.full((2, 3), 2.0), {"n": None, "bad": None}))
    assert one.value() == pytest.approx(2.0 * np.sin(W).sum())
    np.testing.assert_allclose(one.claims(None)[0], 2.0 * np.cos(W).ravel())


def test_a_complex_cotangent_is_meant_as_jax_means_it() -> None:
    z, c = np.array([1.0 + 2.0j]), np.array([0.5 - 1.5j])
    one = subject(lambda z: z * z, z, cotangent=c)
    assert one.value() == pytest.approx((c * z * z).real.item())
    (pulled,) = jax.vjp(lambda z: z * z, jnp.asarray(z))[1](jnp.asarray(c, jnp.complex64))
    gradient = np.asarray(pulled)
    np.testing.assert_allclose(one.claims(None)[0], [gradient.real[0], -gradient.imag[0]])
    given = one.claims(lambda z, cotangent: 2.0 * z * cotangent)
    np.testing.assert_allclose(given[0], one.claims(None)[0])


def test_a_loss_is_composed() -> None:
    one = subject(jnp.sin, W, loss=lambda y: jnp.sum(y**2))
    assert one.output_shape == ()
    assert one.value() == pytest.approx(np.sum(np.sin(W) ** 2))


@pytest.mark.parametrize(
    ("cotangent", "message"),
    [
        (np.ones(3), r"Expected cotangent of f's shape \(2, 3\) but got \(3,\)"),
        (np.zeros((2, 3)), "not all 0 but got cotangent="),
        (np.full((2, 3), np.nan), "Expected finite real numbers"),
        ({"a": np.ones((2, 3))}, "cotangent"),
    ],
)
def test_a_cotangent_that_does_not_fit_is_refused(cotangent: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        subject(jnp.sin, W, cotangent=cotangent)


# -- claims -----------------------------------------------------------------------------------


class Parameters(NamedTuple):
    b: Any
    w: Any


GRADIENT = {"b": np.exp(0.5), "w": np.cos(W) * ONE}


@pytest.mark.parametrize(
    "grad",
    [
        None,
        GRADIENT,
        jax.grad(f),
        lambda p: {"w": jnp.cos(p["w"]) * ONE, "b": jnp.exp(p["b"])},
        lambda p, cotangent: jax.tree.map(lambda g: g * cotangent, GRADIENT),
        lambda p: Parameters(jnp.exp(p["b"]), jnp.cos(p["w"]) * ONE),
    ],
    ids=["jax", "arrays", "jax.grad", "callable", "with cotangent", "a class for a dict"],
)
def test_a_claim_comes_in_many_forms(grad: Any) -> None:
    one = subject()
    assert one.has_claim(grad)
    claimed = one.claims(grad)
    np.testing.assert_allclose(claimed[0], [np.exp(0.5)], rtol=1e-14)
    np.testing.assert_allclose(claimed[1], (np.cos(W) * ONE).ravel(), rtol=1e-14)
    assert one.is_repeatable(grad) == (grad is not GRADIENT)


def test_a_claim_is_evaluated_at_another_point() -> None:
    at = [np.array([0.7]), W.ravel() + 0.1]
    for grad in (None, jax.grad(f)):
        one = subject()
        one.claims(grad)
        there = one.claims(grad, at=at)
        np.testing.assert_allclose(there[0], [np.exp(0.7)], rtol=1e-14)
        np.testing.assert_allclose(there[1], (np.cos(W + 0.1) * ONE).ravel(), rtol=1e-13)


def g2(w: Any, n: Any, v: Any) -> Any:
    return jnp.sum(w * n) * jnp.sum(v**2)


@pytest.mark.parametrize(
    "grad",
    [
        jax.grad(g2, argnums=(0, 2)),
        lambda w, n, v: (n * jnp.sum(v**2) * jnp.ones(2), None, 2.0 * v * jnp.sum(w * n)),
        lambda w, n, v: {"w": n * jnp.sum(v**2) * jnp.ones(2), "v": 2.0 * v * jnp.sum(w * n)},
        jax.grad(g2, argnums=(0, 1, 2), allow_int=True),
    ],
    ids=["of the checked arguments", "like x", "by name", "with float0"],
)
def test_the_gradient_of_several_arguments_comes_in_many_forms(grad: Any) -> None:
    one = subject(g2, (np.array([1.0, 2.0]), 3, np.array([0.5])))
    claimed = one.claims(grad)
    np.testing.assert_allclose(claimed[0], [0.75, 0.75])
    np.testing.assert_allclose(claimed[1], [9.0])


def test_the_gradient_of_the_only_checked_argument_may_stand_alone() -> None:
    def g(params: Any, n: Any) -> Any:
        return jnp.sum(params["w"] ** 2) * n

    one = subject(g, ({"w": W}, 3))
    np.testing.assert_allclose(one.claims(jax.grad(g))[0], 6.0 * W.ravel())


def test_the_gradient_by_keyword_is_given_by_name() -> None:
    def g(x: Any, *, scale: Any) -> Any:
        return jnp.sum(x * scale)

    one = subject(g, A, kwargs={"scale": A})
    claimed = one.claims(lambda x, *, scale: {"x": scale, "scale": x})
    assert [c.tolist() for c in claimed] == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(InputError, match="dict with the keys x, scale"):
        one.claims(jax.grad(g))


def test_a_jacobian_is_contracted() -> None:
    def g(p: Any) -> Any:
        return jnp.sin(p["w"]) * p["b"]

    one = subject(g, X)
    for expected, found in zip(one.claims(None), one.claims(jax.jacobian(g)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def several(p: Any) -> Any:
        return {"n": jnp.argmax(p["w"]), "s": jnp.sum(p["w"]), "y": g(p)}

    one = subject(several, X)
    jacobian = {k: jax.jacobian(lambda p, k=k: several(p)[k])(X) for k in ("s", "y")} | {"n": None}
    given = one.claims(jacobian)
    for expected, found in zip(one.claims(None), given, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert one.claim_spacing <= np.finfo(np.float32).eps


def test_the_spacing_of_a_claim_is_that_of_its_numbers() -> None:
    one = subject()
    one.claims({"b": np.float32(1.0), "w": np.ones((2, 3))})
    assert one.claim_spacing == np.finfo(np.float32).eps
    one.claims(None)
    assert one.claim_spacing == np.finfo(np.float64).eps


@pytest.mark.parametrize(
    ("grad", "message"),
    [
        ({"w": W}, "missing grad.b; unexpected none"),
        ({"w": W, "b": 1.0, "c": 1.0}, "missing none; unexpected grad.c"),
        ({"w": W.T, "b": 1.0}, r"Expected shape \(2, 3\) but got grad of w of shape \(3, 2\)"),
        ({"w": W + 1j, "b": 1.0}, "Expected real numbers but got grad of w"),
        ({"w": "no", "b": 1.0}, "Expected floating point but got grad of w"),
        (lambda p: None, "Expected grad to return a gradient"),
    ],
)
def test_a_claim_that_does_not_fit_is_refused(grad: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        subject().claims(grad)


# -- precision and surroundings ---------------------------------------------------------------


def test_single_precision_is_promoted_and_the_users_setting_stays() -> None:
    for is_double in (False, True):
        with jax.enable_x64(is_double):
            x = {"b": jnp.float32(0.5), "w": jnp.asarray(W, jnp.float32)}
            one = subject(f, x)
            exact = value_of(np.asarray(x["w"], np.float64), 0.5)
            assert one.value() == pytest.approx(exact, rel=1e-15)
            assert one.claims(None)[0] == pytest.approx(np.exp(0.5), rel=1e-15)
            assert jax.config.values["jax_enable_x64"] is is_double
            assert jnp.zeros(1).dtype == (np.float64 if is_double else np.float32)
            assert max(one.spacing) == one.value_spacing == np.finfo(np.float64).eps
            (finding,) = one.findings()
            assert finding.evidence["tensors"] == ("b", "w")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_a_leaf_may_stay_in_its_own_precision(dtype: Any) -> None:
    one = subject(lambda w: jnp.sum(w * w), jnp.asarray(W, dtype), promote=False)
    eps = float(jnp.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    assert one.spacing == (eps,)
    assert one.value_spacing == eps
    one.claims(None)
    assert one.claim_spacing == eps
    step = 0.25
    moved = one.point[0].copy()
    moved[4] += step
    rounded = np.asarray(jnp.asarray(moved, dtype), np.float64)
    (value,) = one.at_entries(Places(np.array([0]), np.array([4])), np.array([step]))
    assert value == pytest.approx(np.sum(rounded**2), rel=8.0 * eps)
    assert [finding.kind for finding in one.findings()] == ["single-precision"] * 2
    assert "promote=False" in one.findings()[0].message


def test_an_f_that_refuses_double_precision_stays_in_single() -> None:
    table = jnp.ones(3, jnp.float32)
    one = subject(lambda x: lax.add(x, table), jnp.ones(3, jnp.float32))
    assert one.spacing == (float(np.finfo(np.float32).eps),)
    assert "f does not take double precision" in one.findings()[0].message
    assert one.at_entries(full([3]), np.full(3, 0.5)).shape == (3,)


def test_products_of_matrices_are_not_abridged() -> None:
    seen = []

    def g(w: Any) -> Any:
        seen.append(jax.config.values["jax_default_matmul_precision"])
        return w @ w.T

    before = jax.config.values["jax_default_matmul_precision"]
    subject(g, W).value()
    assert set(map(str, seen)) == {"highest"}
    assert jax.config.values["jax_default_matmul_precision"] == before


def test_the_surroundings_are_put_back_when_f_raises() -> None:
    def g(w: Any) -> Any:
        raise RuntimeError("no")

    before = dict(jax.config.values)
    with pytest.raises(RuntimeError, match="no"):
        subject(g, W)
    one = subject()
    with pytest.raises(KeyError), one.session():
        raise KeyError
    assert dict(jax.config.values) == before


@pytest.mark.parametrize(
    "setting",
    [
        lambda: jax.disable_jit(),
        lambda: jax.debug_nans(True),
        lambda: jax.transfer_guard("disallow"),
        lambda: jax.numpy_dtype_promotion("strict"),
        lambda: jax.numpy_rank_promotion("raise"),
    ],
    ids=["no jit", "nans", "transfers", "dtypes", "ranks"],
)
def test_the_users_settings_do_not_come_in_the_way(setting: Callable[[], Any]) -> None:
    with setting():
        one = subject(lambda x: jnp.sqrt(x), np.array([0.05, 2.0]))
        values = one.at_entries(full([2]), np.full(2, -0.1))
        claimed = one.claims(None)[0]
    assert np.isnan(values[0])
    weights = one.cotangent[0]
    assert values[1] == pytest.approx(weights @ np.sqrt([0.05, 1.9]), rel=1e-15)
    np.testing.assert_allclose(claimed, weights * 0.5 / np.sqrt([0.05, 2.0]), rtol=1e-14)


def test_data_that_f_holds_are_no_part_of_what_is_compiled() -> None:
    data = jnp.asarray(np.random.default_rng(4).normal(size=(3, 50)), jnp.float32)
    one = subject(lambda w: jnp.sin(w @ data), W)
    with one.session():
        batches = one._points.batches
    assert batches is not None
    assert [constant.shape for constant in batches._traced.constants] == [(3, 50)]
    (value,) = one.at_entries(Places(np.array([0]), np.array([0])), np.array([0.1]))
    moved = W.copy()
    moved[0, 0] += 0.1
    expected = contracted(one, np.sin(moved @ np.asarray(data, np.float64)))
    assert value == pytest.approx(expected, rel=1e-13)


# -- what f does ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, FloatingPointError])
def test_errors_of_arithmetic_are_points_outside_the_domain(error: type[Exception]) -> None:
    def g(x: Any) -> Any:
        if float(x[0]) > 1.0:
            raise error("too large")
        return x * 1.0

    one = subject(g, np.array([0.9999, 2.0]))
    values = one.at_entries(full([2]), np.full(2, 0.1))
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


def test_other_errors_come_out_unchanged() -> None:
    def g(x: Any) -> Any:
        if float(x[0]) > 1.0:
            raise KeyError("mine")
        return x * 1.0

    one = subject(g, np.array([0.9, 2.0]))
    with pytest.raises(KeyError, match="mine"):
        one.at_entries(full([2]), np.full(2, 0.2))


def test_points_that_are_no_numbers_do_not_spoil_others() -> None:
    one = subject(lambda x: jnp.sqrt(x), np.array([0.05, 2.0]))
    values = one.at_entries(full([2]), np.full(2, -0.1))
    assert np.isnan(values[0])
    assert np.isfinite(values[1])


@pytest.mark.parametrize("function", [untraceable, unbatched])
def test_an_f_that_cannot_be_compiled_is_said_to_be_evaluated_one_by_one(
    function: Callable[..., Any],
) -> None:
    one = subject(function)
    one.value()
    (finding,) = one.findings()
    assert finding.kind == "one-by-one"
    assert finding.severity == "info"
    assert str(finding.evidence["reason"])
    assert subject().findings() == ()


def test_what_is_compiled_is_compared_with_f_itself() -> None:
    def g(x: Any) -> Any:
        return x * (2.0 if isinstance(x, jax.core.Tracer) else 1.0)

    one = subject(g, W)
    one.value()
    assert "compiled for many points it gives" in one.findings()[0].message
    values = one.at_entries(full([6]), np.full(6, 0.1))
    weights = one.cotangent[0]
    np.testing.assert_allclose(values, weights @ W.ravel() + 0.1 * weights, rtol=1e-13)


def test_an_f_that_draws_numbers_in_python_shows_it() -> None:
    rng = np.random.default_rng(0)
    one = subject(lambda x: x * rng.normal(), W)
    assert one.value() != one.value()
    assert one.random_parts() == ()
    assert one.findings() == ()


def test_a_rule_that_draws_numbers_in_python_shows_it() -> None:
    rng = np.random.default_rng(0)

    @jax.custom_vjp
    def g(x: Any) -> Any:
        return jnp.sin(x)

    g.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x) * rng.normal(),))
    one = subject(g, W)
    assert not np.allclose(one.claims(None)[0], one.claims(None)[0])


def test_f_cannot_spoil_the_callers_containers() -> None:
    def g(p: Any) -> Any:
        return jnp.sin(p.pop("w")) * p.pop("b")

    x = dict(X)
    one = subject(g, x)
    assert one.value() == one.value()
    assert list(x) == ["b", "w"]


def test_forward_mode_is_absent_where_there_is_no_rule() -> None:
    one = subject()
    way = [np.array([2.0]), np.ones(6)]
    expected = 2.0 * np.exp(0.5) + np.sum(np.cos(W) * ONE)
    assert one.forward_slope(way) == pytest.approx(expected, rel=1e-13)

    @jax.custom_vjp
    def g(x: Any) -> Any:
        return jnp.sin(x)

    g.defvjp(lambda x: (jnp.sin(x), x), lambda x, ct: (ct * jnp.cos(x),))
    assert subject(g, W).forward_slope([np.ones(6)]) is None


def test_the_cotangent_may_be_shared_with_another_subject() -> None:
    one, other = subject(jnp.sin, W), subject(jnp.cos, W)
    one.value()
    one.cotangent = other.cotangent
    assert one.value() == pytest.approx(contracted(other, np.sin(W)), rel=1e-14)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (jnp.array([1, 2]), "Expected at least one floating number but got x="),
        ({"w": jnp.ones(0)}, "only empty arrays"),
        ({"w": jnp.array([1.0, np.inf])}, r"Expected finite numbers but w\[1\] is inf"),
        ({"a": 1.0, "b": jnp.array([np.nan])}, r"Expected finite numbers but b\[0\] is nan"),
    ],
)
def test_an_x_that_cannot_be_checked_is_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        subject(lambda x: x, x)


def test_functions_that_cannot_be_checked_are_refused() -> None:
    for function, message in (
        (lambda x: jnp.argmax(x), "Expected f to return at least one floating number"),
        (lambda x: None, "Expected f to return at least one floating number"),
    ):
        with pytest.raises(InputError, match=message):
            subject(function, W)
    with pytest.raises(InputError, match="Expected a callable but got f=3"):
        subject(3, W)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Expected a callable but got loss='mse'"):
        subject(f, X, loss="mse")
    with pytest.raises(InputError, match="at most 1 positional arguments"):
        subject(lambda x: x, (A, A))


def test_an_output_of_another_shape_is_refused() -> None:
    one = subject(lambda x: jnp.sin(x)[: 2 if float(x[0]) > 0.95 else 3], np.array([1.0, 2.0, 3.0]))
    with pytest.raises(InputError, match=r"Expected f to return shape \(2,\) again"):
        one.at_entries(full([3]), np.full(3, -0.5))
