"""Parts of f with rules of their own: where they are found, and what they get and claim there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive, jaxpr_as_fun
from jax.interpreters import ad, mlir
from tests.jax.planted import PLANTS
from tests.jax.planted_case import Plant, normal, with_jvp, with_vjp

from gradproof.subjects.base import Stage
from gradproof.subjects.jax.subject import JaxSubject

STEP = 1e-5
X = np.random.default_rng(0).normal(size=(4, 3))
V = X[0]


def square(x: Any) -> Any:
    return x * x


def sine(x: Any) -> Any:
    return jnp.sin(x)


def scaled(x: Any, w: Any) -> Any:
    return x * w


RIGHT = with_vjp(square, lambda args, g: (2 * args[0] * g,))
WRONG = with_vjp(square, lambda args, g: (3 * args[0] * g,))
RIGHT_JVP = with_jvp(sine, lambda args, t: jnp.cos(args[0]) * t[0])
WRONG_JVP = with_jvp(sine, lambda args, t: -jnp.cos(args[0]) * t[0])
SCALED = with_vjp(scaled, lambda args, g: (g * args[1], g * args[0]))


def subject(f: Callable[..., Any], x: Any = V, **options: Any) -> JaxSubject:
    return JaxSubject(f, x, rng=np.random.default_rng(0), **options)


def stages(f: Callable[..., Any], x: Any = V, **options: Any) -> Sequence[Stage]:
    return subject(f, x, **options).stages(None)


def names(f: Callable[..., Any], x: Any = V) -> list[str]:
    return [stage.name for stage in stages(f, x)]


def error(stage: Stage) -> float:
    """The distance of a part's claim from a central difference along a random direction.

    It is relative to what the difference is if no entry cancels another.
    """
    one, grad = stage.open()
    rng = np.random.default_rng(1)
    way = [rng.normal(size=(1, len(p))) for p in one.point]
    with one.session():
        claim = one.claims(grad)
        ahead, behind = one.along(way, np.zeros(2, np.intp), STEP * np.array([1, -1]), one.point)
    numeric = (ahead - behind) / (2 * STEP)
    terms = np.concatenate([(g * v).ravel() for g, v in zip(claim, way, strict=True)])
    size = max(abs(numeric), float(np.linalg.norm(terms)))
    return float(abs(terms.sum() - numeric) / size)


def wrong(found: Sequence[Stage]) -> list[str]:
    """Names of the parts that are wrong; the others are right to many digits."""
    errors = {stage.name: error(stage) for stage in found}
    assert all(e < 1e-8 or e > 1e-3 for e in errors.values()), errors
    return [name for name, e in errors.items() if e > 1e-6]


def in_jit(g: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.jit(lambda y: g(y) + y)(jnp.exp(x))


def in_remat(g: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.checkpoint(lambda y: g(y) + y)(jnp.exp(x))


def in_vmap(g: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: jax.vmap(g)(jnp.stack([x, 2 * x]))


def in_branch(g: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: lax.cond(x.sum() < 1e9, lambda y: 3 * g(y), jnp.exp, jnp.exp(x))


def in_scan(g: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: lax.scan(lambda c, t: (jnp.sin(g(c) * t), c), x, jnp.arange(1.0, 4.0))


def in_scan_of_scans(g: Callable[..., Any]) -> Callable[..., Any]:
    def inner(c: Any, t: Any) -> Any:
        return lax.scan(lambda c, s: (jnp.sin(g(c) * s * t), None), c, jnp.arange(1.0, 3.0))

    return lambda x: lax.scan(inner, x, jnp.arange(1.0, 4.0), reverse=True)[0]


def in_branch_of_scan(g: Callable[..., Any]) -> Callable[..., Any]:
    def turn(c: Any, t: Any) -> Any:
        return lax.cond(t > 1, lambda c: jnp.sin(g(c)), jnp.exp, c), None

    return lambda x: lax.scan(turn, x, jnp.arange(4.0))[0]


def in_closed_call(g: Callable[..., Any]) -> Callable[..., Any]:
    def f(x: Any) -> Any:
        closed = jax.make_jaxpr(lambda y: g(jnp.exp(y)))(x)
        return jaxpr_as_fun(closed)(x)[0]

    return f


PLACES = [
    in_jit,
    in_remat,
    in_vmap,
    in_branch,
    in_scan,
    in_scan_of_scans,
    in_branch_of_scan,
    in_closed_call,
]
PLANTED = {
    "rule_inside_a_scan",
    "conjugated",
    "outputs_swapped",
}
each_place = pytest.mark.parametrize("place", PLACES, ids=[p.__name__ for p in PLACES])


@each_place
def test_a_rule_is_found_wherever_it_lies_and_judged_there(place: Callable[..., Any]) -> None:
    right = stages(place(RIGHT))
    assert [stage.name for stage in right] == ["square"]
    assert not wrong(right)
    assert wrong(stages(place(WRONG))) == ["square"]


@pytest.mark.parametrize("place", [in_jit, in_scan], ids=["in_jit", "in_scan"])
def test_so_is_a_rule_of_forward_mode(place: Callable[..., Any]) -> None:
    right = stages(place(RIGHT_JVP))
    assert [stage.name for stage in right] == ["sine"]
    assert not wrong(right)
    assert wrong(stages(place(WRONG_JVP))) == ["sine"]


@pytest.mark.parametrize(
    "plant",
    [p for p in PLANTS if p.name in PLANTED],
    ids=[p.name for p in PLANTS if p.name in PLANTED],
)
def test_the_part_with_a_planted_bug_is_wrong_and_its_twin_is_right(plant: Plant) -> None:
    (right,), (bad,) = stages(plant.right, plant.x()), stages(plant.wrong, plant.x())
    assert error(right) < 1e-8
    assert error(bad) > 1e-3
    assert right.name == bad.name


@pytest.mark.parametrize("position", range(3))
def test_of_three_parts_the_one_with_the_bug_is_wrong(position: int) -> None:
    rules = [RIGHT, RIGHT, RIGHT]
    rules[position] = WRONG

    def f(x: Any) -> Any:
        for rule in rules:
            x = rule(jnp.cos(x))
        return x

    assert wrong(stages(f)) == [f"square (call {position + 1})"]


def outer_with(inner: Callable[..., Any], factor: float, backward: Any = None) -> Any:
    def outer(x: Any) -> Any:
        return inner(factor * x) + x

    def through_inner(args: Any, g: Any) -> Any:
        return jax.vjp(outer, *args)[1](g)

    return with_vjp(outer, backward or through_inner)


def test_an_inner_rule_that_is_made_use_of_is_a_part_inside_and_spoils_the_outer_one() -> None:
    def f(inner: Any) -> Any:
        return lambda x: outer_with(inner, 2.0)(jnp.exp(x))

    found = stages(f(RIGHT))
    assert [(s.name, s.inside) for s in found] == [("outer", None), ("outer/square", "outer")]
    assert not wrong(found)
    assert wrong(stages(f(WRONG))) == ["outer", "outer/square"]


def test_an_inner_rule_is_reached_by_the_cotangent_that_the_outer_function_hands_it() -> None:
    _, inner = stages(lambda x: jnp.sum(3 * outer_with(RIGHT, 2.0)(x)), cotangent=1.0)
    one, _ = inner.open()
    np.testing.assert_allclose(one.cotangent[0], np.full(3, 3.0))
    np.testing.assert_allclose(one.point[0], 2 * V)


def test_an_inner_rule_that_is_not_made_use_of_is_no_part() -> None:
    def by_hand(args: Any, g: Any) -> Any:
        return ((8 * args[0] + 1) * g,)

    assert names(lambda x: outer_with(WRONG, 2.0, by_hand)(x)) == ["outer"]


def test_rules_in_rules_in_a_loop_are_parts_of_parts() -> None:
    middle = outer_with(WRONG, 1.5)
    outermost = with_vjp(lambda x: middle(x), lambda args, g: jax.vjp(middle, *args)[1](g))
    found = stages(lambda x: lax.scan(lambda c, _: (jnp.sin(outermost(c)), None), x, length=3)[0])
    assert [s.inside for s in found] == [None, found[0].name, found[1].name]
    assert wrong(found) == [s.name for s in found]


def test_parts_come_in_the_order_of_evaluation_named_after_function_scope_and_jit() -> None:
    @jax.jit
    def block(x: Any) -> Any:
        with jax.named_scope("first"):
            return RIGHT(x)

    def f(x: Any) -> Any:
        with jax.named_scope("net"):
            x = RIGHT_JVP(x)
        return RIGHT(RIGHT(block(x)))

    found = stages(f)
    assert [s.name for s in found] == [
        "net/sine",
        "block/first/square",
        "square (call 1)",
        "square (call 2)",
    ]
    assert [s.kind for s in found] == ["custom_jvp sine", *["custom_vjp square"] * 3]
    assert [s.inside for s in found] == [None] * 4


def test_a_jitted_f_is_not_part_of_the_names() -> None:
    assert names(jax.jit(lambda x: RIGHT_JVP(jax.jit(RIGHT)(x)))) == ["square", "sine"]


def test_functions_without_a_name_are_told_by_their_lines() -> None:
    rule = with_vjp(lambda x: x * 2, lambda args, g: (2 * g,))
    custom_gradient: Any = jax.custom_gradient
    by_gradient = custom_gradient(lambda x: (jnp.sin(x), lambda g: g * jnp.cos(x)))
    first, second = stages(lambda x: by_gradient(rule(x)))
    assert first.name.startswith("lambda at test_stages.py:")
    assert second.name.startswith("custom_gradient at test_stages.py:")
    assert not wrong([first, second])


def test_inputs_are_called_as_the_function_calls_them_and_tensors_of_f_are_told() -> None:
    def layer(x: Any, p: Any) -> Any:
        return x @ p["w"] + p["b"]

    rule = with_vjp(
        layer, lambda args, g: (g @ args[1]["w"].T, {"w": args[0].T @ g, "b": g.sum(0)})
    )
    p = {"w": normal(3, 2), "b": normal(2, seed=1)}
    first, second = stages(
        lambda p, q: jax.jit(rule)(jnp.exp(rule(X, p)), {"w": q.T, "b": p["b"]}), (p, normal(2, 2))
    )
    assert first.tensors == {"p.w": "p.w", "p.b": "p.b"}
    assert first.open()[0].names == ("p.b", "p.w")
    assert second.tensors == {"p.b": "p.b"}
    assert second.open()[0].names == ("x", "p.b", "p.w")


def test_an_input_that_is_the_same_in_all_turns_of_a_loop_is_one_tensor() -> None:
    def f(x: Any, w: Any) -> Any:
        return lax.scan(lambda c, _: (jnp.sin(SCALED(c, w)), None), x, length=4)[0]

    (found,) = stages(f, (V, normal(3)))
    one, _ = found.open()
    assert dict(zip(one.names, one.shapes, strict=True)) == {"x": (4, 3), "w": (3,)}
    assert found.tensors == {"w": "w"}
    assert error(found) < 1e-8


def test_a_loop_may_run_backwards() -> None:
    def turn(c: Any, t: Any) -> Any:
        return RIGHT(c) * t, None

    (found,) = stages(lambda x: lax.scan(turn, x, jnp.array([2.0, 3.0]), reverse=True)[0])
    np.testing.assert_allclose(found.open()[0].point[0].reshape(2, 3), [3 * V**2, V])


def test_an_input_taken_twice_is_moved_as_one() -> None:
    (found,) = stages(lambda x: SCALED(x, x))
    assert found.open()[0].names == ("x",)
    assert error(found) < 1e-8


def test_what_the_gradient_does_not_pass_through_is_neither_part_nor_checked() -> None:
    careless = with_vjp(scaled, lambda args, g: (g * args[1], None))

    def f(x: Any) -> Any:
        mask = RIGHT(jnp.ones(3)) + RIGHT(lax.stop_gradient(x))
        WRONG(x)  # what it returns is not used
        return careless(x, mask)

    found = [s for s in stages(f) if not s.kind.startswith("equation")]
    assert [(s.name, s.open()[0].names) for s in found] == [("scaled", ("x",))]
    assert not wrong(found)


def test_cotangents_are_those_that_reach_the_parts() -> None:
    def f(x: Any, taps: Any) -> Any:
        y = RIGHT(x) + taps[0]
        z = RIGHT_JVP(y * x) + taps[1]
        return jnp.tanh(z) @ z, RIGHT(z[:2]) + taps[2]

    taps = (np.zeros(3), np.zeros(3), np.zeros(2))
    weights = (1.5, np.array([0.5, -2.0]))
    found = stages(lambda x: f(x, taps), cotangent=weights)
    with jax.enable_x64(True):
        pull = jax.vjp(lambda taps: f(jnp.asarray(V), taps), jax.tree.map(jnp.asarray, taps))[1]
        expected = pull(jax.tree.map(jnp.asarray, weights))[0]
    for stage, cotangent in zip(found, expected, strict=True):
        one, _ = stage.open()
        np.testing.assert_allclose(one.cotangent[0], cotangent, rtol=1e-13)


def test_a_claim_is_what_the_rule_makes_of_the_cotangent() -> None:
    (found,) = stages(lambda x: 5 * WRONG(x), cotangent=np.ones(3))
    one, grad = found.open()
    np.testing.assert_allclose(one.claims(grad)[0], 3 * V * 5)
    np.testing.assert_allclose(one.claims(None)[0], 3 * V * 5)
    np.testing.assert_allclose(one.claims(grad, at=[2 * V])[0], 3 * 2 * V * 5)


def test_a_part_that_a_branch_leaves_out_is_none() -> None:
    def f(x: Any) -> Any:
        return lax.cond(x.sum() > 1e9, RIGHT, RIGHT_JVP, x)

    assert names(f) == ["sine"]


def test_keys_and_integers_among_the_inputs_are_left_as_they_are() -> None:
    def weight(key: Any, n: Any) -> Any:
        return n + jax.random.key_data(key).sum() % 7 / 7

    def weighted(x: Any, key: Any, n: Any) -> Any:
        return x * weight(key, n)

    def backward(args: Any, g: Any) -> Any:
        return g * weight(*args[1:]), None, None

    rule = with_vjp(weighted, backward)

    def turn(c: Any, key: Any) -> Any:
        return lax.cond(c.sum() < 1e9, lambda: jnp.sin(rule(c, key, 2)), lambda: c), None

    def f(x: Any) -> Any:
        return lax.scan(turn, x, jax.random.split(jax.random.key(0), 3))[0]

    (found,) = stages(f)
    assert found.open()[0].names == ("x",)
    assert error(found) < 1e-8


def test_several_outputs_and_complex_numbers_are_contracted_as_in_f() -> None:
    def both(z: Any) -> Any:
        return z * z, jnp.abs(z) ** 2, jnp.argmax(jnp.abs(z))

    def backward(args: Any, g: Any) -> Any:
        (z,) = args
        return (2 * z * g[0] + 2 * jnp.conj(z) * g[1],)

    def f(x: Any) -> Any:
        z = lax.complex(x, 2 * x)
        a, b, k = with_vjp(both, backward)(z)
        return jnp.abs(a) + b[k]

    found = stages(f)
    assert [s.name for s in found] == ["both"]
    assert error(found[0]) < 1e-8


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("promote", [True, False])
def test_parts_are_in_the_precision_of_f(is_on: bool, promote: bool) -> None:
    with jax.enable_x64(is_on):
        found = stages(lambda x: RIGHT(jnp.exp(x)), V.astype(np.float32), promote=promote)
        one, grad = found[0].open()
        assert one.spacing == (float(np.finfo(np.float64 if promote else np.float32).eps),)
        with one.session():
            np.testing.assert_allclose(
                one.claims(grad)[0], 2 * one.point[0] * one.cotangent[0], rtol=1e-6
            )
    if promote:
        assert error(found[0]) < 1e-8


def test_a_part_in_single_precision_within_double_stays_so() -> None:
    def f(x: Any) -> Any:
        less = SCALED(jnp.exp(x).astype(np.float32), x.astype(np.float32))
        return SCALED(less.astype(np.float64), x)

    first, second = stages(f)
    assert first.open()[0].spacing == (float(np.finfo(np.float32).eps),) * 2
    one, grad = first.open()
    with one.session():
        assert np.isfinite(one.claims(grad)[0]).all()
    assert error(second) < 1e-8


def test_a_rule_may_hold_arrays_that_f_makes() -> None:
    def f(x: Any) -> Any:
        slope = jnp.arange(3.0) + 1
        rule = with_vjp(lambda x: x * slope, lambda args, g: (g * slope * 2,))
        return rule(jnp.sin(x))

    (found,) = stages(f)
    assert error(found) > 0.1


def test_plain_functions_have_no_parts() -> None:
    def f(x: Any) -> Any:
        y = jax.nn.relu(jnp.logaddexp(x, 0.0)) + jnp.linalg.solve(jnp.eye(3) + jnp.outer(x, x), x)
        return jax.nn.softmax(lax.scan(lambda c, _: (jax.nn.silu(c), None), y, length=2)[0])

    assert stages(f) == []


def test_a_gradient_that_is_stopped_is_an_equation() -> None:
    (found,) = stages(lambda x: x * lax.stop_gradient(jnp.exp(x)))
    assert found.kind == "equation stop_gradient"
    assert found.name.startswith("stop_gradient at test_stages.py:")
    assert error(found) == pytest.approx(1.0)


def test_an_operation_that_makes_nan_of_numbers_is_an_equation() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(jnp.where(x > 0, jnp.sqrt(RIGHT(x) * x), 0.0))

    x = np.array([0.5, -1.0, 2.0])
    (found,) = stages(f, x)
    assert found.kind == "equation sqrt"
    one, grad = found.open()
    with one.session():
        assert np.isfinite(one.value())
        np.testing.assert_array_equal(np.isnan(one.claims(grad)[0]), [False, True, False])


def test_infinite_inputs_are_constants() -> None:
    def masked(x: Any) -> Any:
        return jnp.exp(x)

    rule = with_vjp(masked, lambda args, g: (g * jnp.exp(args[0]),))
    (found,) = stages(lambda x: rule(jnp.where(x > 0, x, -jnp.inf)), np.array([0.5, -1.0, 2.0]))
    one, grad = found.open()
    assert one.point[0].tolist() == [0.5, 0.0, 2.0]
    assert one.claims(grad)[0][1] == 0.0
    assert error(found) < 1e-8


def test_a_primitive_of_ones_own_is_an_equation() -> None:
    doubled: Any = Primitive("doubled")
    doubled.def_impl(lambda x: 2 * x)
    doubled.def_abstract_eval(lambda x: x)
    deflinear2: Any = ad.deflinear2
    deflinear2(doubled, lambda g, _: (3 * g,))
    mlir.register_lowering(doubled, mlir.lower_fun(lambda x: 2 * x, multiple_results=False))
    (found,) = stages(lambda x: doubled.bind(jnp.exp(x)))
    assert found.kind == "equation doubled"
    assert error(found) == pytest.approx(0.5)


def test_a_solver_that_the_caller_gave_is_a_part() -> None:
    def root(y: Any, tangent_solve: Any) -> Any:
        def newton(g: Any, z: Any) -> Any:
            return lax.fori_loop(0, 30, lambda _, z: z - g(z) / (2 * z), z)

        return lax.custom_root(lambda z: z**2 - y, jnp.ones_like(y), newton, tangent_solve)

    def f(factor: float) -> Callable[..., Any]:
        return lambda x: root(jnp.exp(x), lambda g, y: factor * y / g(jnp.ones_like(y)))

    assert error(stages(f(1.0))[0]) < 1e-8
    (found,) = stages(f(2.0))
    assert found.name == "custom_root"
    assert error(found) > 0.1


def test_a_function_that_cannot_be_traced_has_no_known_parts() -> None:
    def f(x: Any) -> Any:
        return RIGHT(x) if float(x.sum()) > -1e9 else x

    assert stages(f) == []


def test_parts_make_no_gradient_that_is_written_by_hand() -> None:
    one = subject(lambda x: jnp.sum(WRONG(x)), cotangent=1.0)
    assert one.stages(2 * V) == ()
    assert one.stages(lambda x: 2 * x) == ()
    assert len(one.stages(jax.grad(lambda x: jnp.sum(WRONG(x))))) == 1
    assert len(one.stages(3 * V)) == 1


def test_nothing_of_what_is_traced_is_kept() -> None:
    with jax.checking_leaks():
        for stage in stages(in_branch_of_scan(RIGHT)):
            one, grad = stage.open()
            one.claims(grad)


def count(of: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """The function with a callback that counts its calls."""

    def counted(x: Any) -> Any:
        calls.append(1)
        return np.asarray(x)

    return lambda x: of(jax.pure_callback(counted, jax.eval_shape(lambda y: y, x), x))


def test_all_parts_of_a_deep_network_are_found_by_one_pass_forwards_and_backwards() -> None:
    depth = 50
    forwards: list[int] = []
    backwards: list[int] = []

    def activation(x: Any) -> Any:
        return count(jnp.tanh, forwards)(x)

    def backward(args: Any, g: Any) -> Any:
        return (count(lambda g: g, backwards)(g) * (1 - jnp.tanh(args[0]) ** 2),)

    rule = with_vjp(activation, backward)
    weights = [normal(8, 8, seed=k) / np.sqrt(8) for k in range(depth)]

    def network(weights: Any) -> Any:
        x = jnp.ones(8)
        for w in weights:
            x = rule(w @ x)
        return x

    one = subject(network, weights)
    forwards.clear()
    found = one.stages(None)
    assert len(found) == depth
    assert len(forwards) <= depth
    assert len(backwards) == depth


def test_few_values_of_a_part_cost_no_compilation_and_are_those_that_many_have() -> None:
    (found,) = stages(lambda x: RIGHT(jnp.exp(x)))
    one, _ = found.open()
    with one.session():
        early = (
            one.value(),
            *one.along([np.ones((1, 3))], np.zeros(2, int), STEP * np.ones(2), one.point),
        )
        assert one._points._batches is None  # type: ignore[attr-defined]
        many = one.along([np.ones((1, 3))], np.zeros(50, int), STEP * np.ones(50), one.point)
        assert one._points._batches is not None  # type: ignore[attr-defined]
    np.testing.assert_allclose([early[0], *early[1:]], [one.value(), *many[:2]], rtol=1e-14)
