"""Functions that return arrays, and functions that take many points at once."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.full import check

from gradproof import InputError

Vector = npt.NDArray[np.float64]

X = np.array([0.3, -1.2, 2.0, 0.8])
A = np.random.default_rng(0).normal(size=(3, 4))


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


# -- functions that return arrays --------------------------------------------------------------


def layer(x: Vector) -> Any:
    return np.tanh(A @ x)


def layer_jacobian(x: Vector) -> Any:
    return (1 - layer(x) ** 2)[:, None] * A


def layer_vjp(x: Vector, cotangent: Vector) -> Any:
    return A.T @ ((1 - layer(x) ** 2) * cotangent)


@pytest.mark.parametrize(
    "claim", [layer_jacobian, layer_vjp, layer_jacobian(X)], ids=["jacobian", "vjp", "array"]
)
@pytest.mark.parametrize("cotangent", [None, np.array([1.0, -2.0, 0.5])], ids=["random", "given"])
def test_array_valued_function_passes_with_a_right_claim(claim: Any, cotangent: Any) -> None:
    report = check(layer, X, claim, cotangent=cotangent)
    assert report.verdict == "pass"
    if cotangent is not None:
        np.testing.assert_allclose(report.entries["analytic"], layer_vjp(X, cotangent))


@pytest.mark.parametrize("place", range(A.size))
def test_one_wrong_entry_of_a_jacobian_fails_in_its_column(place: int) -> None:
    claim = layer_jacobian(X)
    claim.reshape(-1)[place] *= -1
    report = check(layer, X, claim)
    assert [e.name for e in report.entries.filter(verdict="mismatch")] == [f"x[{place % 4}]"]


def test_a_product_with_the_transposed_jacobian_fails() -> None:
    square = A[:, :3]
    report = check(lambda x: square @ x, X[:3], lambda x, cotangent: square @ cotangent)
    assert report.verdict == "fail"


def test_errors_that_cancel_in_a_sum_over_outputs_do_not_cancel() -> None:
    claim = layer_jacobian(X)
    claim[0] += 0.1
    claim[1] -= 0.1
    assert check(layer, X, claim).verdict == "fail"
    assert check(layer, X, claim, cotangent=np.ones(3)).verdict == "pass"


def test_small_outputs_are_not_lost_beside_large_ones() -> None:
    scale = np.array([1e4, 1.0, 1e-4])
    claim = scale[:, None] * layer_jacobian(X)
    assert check(lambda x: scale * layer(x), X, claim)
    claim[2] *= 1.1
    assert check(lambda x: scale * layer(x), X, claim).verdict == "fail"


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_outputs_of_any_size_get_a_finite_cotangent(size: float) -> None:
    assert check(lambda x: size * np.sin(x), X, lambda x, c: c * size * np.cos(x))


def test_jacobian_of_nested_parameters_has_the_outputs_axes_first() -> None:
    def f(p: Any) -> Any:
        return np.sin(p["w"]) @ p["v"]

    def jacobian(p: Any) -> Any:
        rows = np.zeros((3, 3, 4))
        rows[np.arange(3), np.arange(3)] = np.cos(p["w"]) * p["v"]
        return {"w": rows, "v": np.sin(p["w"])}

    assert check(f, {"w": A, "v": X}, jacobian)


def test_array_of_one_value_takes_a_gradient_or_a_jacobian() -> None:
    def f(x: Vector) -> Any:
        return np.array([sines(x)])

    assert check(f, X, np.cos)
    assert check(f, X, lambda x: np.cos(x)[None])
    assert check(f, X, lambda x, cotangent: cotangent[0] * np.cos(x))


def test_scalar_function_may_be_scaled_by_a_cotangent() -> None:
    report = check(sines, X, np.cos, cotangent=-3.0)
    assert report.verdict == "pass"
    np.testing.assert_allclose(report.entries["analytic"], -3 * np.cos(X))


# -- many points at once -----------------------------------------------------------------------


def sines_batch(x: Any) -> Any:
    return np.sum(np.sin(x), axis=tuple(range(1, x.ndim)))


def test_f_batch_gives_the_same_report_in_fewer_calls() -> None:
    x = np.random.default_rng(1).normal(size=(20, 30))
    calls = {"one": 0, "many": 0}

    def one(x: Any) -> Any:
        calls["one"] += 1
        return sines_batch(x[None])[0]

    def many(x: Any) -> Any:
        calls["many"] += 1
        return sines_batch(x)

    claim = np.cos(x)
    claim[0, 7] *= 1.01
    loop = check(one, x, claim)
    alone = calls["one"]
    batched = check(one, x, claim, f_batch=many)
    assert batched.entries == loop.entries
    assert [entry.name for entry in batched.entries.filter(verdict="mismatch")] == ["x[0, 7]"]
    assert calls["one"] - alone + calls["many"] < 0.1 * alone


def test_f_batch_of_nested_parameters_and_array_values() -> None:
    def many(p: Any) -> Any:
        return np.tanh(np.einsum("bij,bj->bi", p["w"], p["v"])) * p["gain"][:, None]

    def one(p: Any) -> Any:
        return many({name: np.asarray(leaf)[None] for name, leaf in p.items()})[0]

    def vjp(p: Any, cotangent: Any) -> Any:
        h = np.tanh(p["w"] @ p["v"])
        back = p["gain"] * (1 - h * h) * cotangent
        return {"w": np.outer(back, p["v"]), "v": p["w"].T @ back, "gain": h @ cotangent}

    x = {"w": A, "v": X, "gain": 1.5}
    loop, batched = check(one, x, vjp), check(one, x, vjp, f_batch=many)
    assert loop
    assert batched
    # The contraction with the cotangent is summed in another order.
    np.testing.assert_allclose(batched.entries["numeric"], loop.entries["numeric"], rtol=1e-8)


@pytest.mark.parametrize(
    ("many", "message"),
    [
        (lambda x: np.sum(np.cos(x), axis=1), "Expected f_batch to agree with f but got"),
        (lambda x: np.sum(np.sin(X + 0 * x), axis=1), "Expected f_batch to agree with f but got"),
        (lambda x: np.sum(np.sin(x + x[0] - x[-1]), axis=1), "Expected f_batch to agree with f"),
        (lambda x: np.sum(np.sin(x)), r"Expected f_batch to return shape \(2,\) for 2 points"),
        (lambda x: np.sin(x), r"Expected f_batch to return shape \(2,\).* but got \(2, 4\)"),
        (lambda x: None, r"Expected f_batch to return a real number .* f_batch\(x\)=None"),
        (3, "Expected a callable but got f_batch=3"),
    ],
    ids=["wrong", "deaf", "mixing", "scalar", "unsummed", "nothing", "number"],
)
def test_f_batch_that_is_not_f_is_refused(many: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(sines, X, np.cos, f_batch=many)


def test_f_batch_may_round_differently_at_a_minimum() -> None:
    target = np.array([0.1, 0.2, 0.3, 0.4])

    def many(x: Any) -> Any:
        return np.sum((x - target) ** 2, axis=1) + 1e-17

    assert check(lambda x: np.sum((x - target) ** 2), target, lambda x: 2 * (x - target))
    assert check(
        lambda x: np.sum((x - target) ** 2), target, lambda x: 2 * (x - target), f_batch=many
    )


def test_points_outside_the_domain_spoil_a_batch_for_nobody_else() -> None:
    def many(x: Any) -> Any:
        if np.any(x <= 0):
            raise ValueError("logarithm of a negative number")
        return np.sum(np.log(x), axis=1)

    def one(x: Any) -> Any:
        return many(x[None])[0]

    x = np.array([1e-3, 1.0, 2.0])
    assert check(one, x, 1 / x, f_batch=many).entries == check(one, x, 1 / x).entries
