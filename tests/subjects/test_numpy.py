"""Functions of NumPy arrays: entries moved, directions taken, claims contracted."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradproof import InputError
from gradproof.coverage.entries import full
from gradproof.subjects.base import Places
from gradproof.subjects.numpy import BATCH_POINTS, ArraySubject

Function = Callable[[Any], Any]

W = np.random.default_rng(0).normal(size=(2, 3))
X = {"w": W, "b": 0.5}


def f(p: Any) -> Any:
    return np.sum(np.sin(p["w"]) * [1, 2, 3]) + np.exp(p["b"])


def f_batch(p: Any) -> Any:
    return np.sum(np.sin(p["w"]) * [1, 2, 3], axis=(1, 2)) + np.exp(p["b"])


def subject(function: Function = f, x: Any = X, **options: Any) -> ArraySubject:
    return ArraySubject(function, x, rng=np.random.default_rng(0), **options)


BATCHED = pytest.mark.parametrize("options", [{}, {"f_batch": f_batch}], ids=["loop", "batch"])


@BATCHED
def test_a_subject_is_named_tensors_around_a_point(options: Any) -> None:
    one = subject(**options)
    assert one.names == ("w", "b")
    assert one.shapes == ((2, 3), ())
    assert [point.tolist() for point in one.point] == [W.ravel().tolist(), [0.5]]
    assert all(point.dtype == np.float64 for point in one.point)
    assert one.value() == pytest.approx(f(X))
    assert one.describe(0, 4) == "w[1, 1]"
    assert one.describe(1, 0) == "b"


@BATCHED
def test_an_entry_is_moved_by_itself_and_back_again(options: Any) -> None:
    one = subject(**options)
    places = full([6, 1])
    steps = np.linspace(0.01, 0.07, 7)
    values = one.at_entries(places, steps)
    for i, (tensor, index) in enumerate(zip(places.tensor, places.index, strict=True)):
        moved: dict[str, Any] = {"w": W.copy(), "b": np.array(0.5)}
        moved["wb"[tensor]].reshape(-1)[index] += steps[i]
        assert values[i] == pytest.approx(f(moved), rel=1e-14)
    assert one.value() == pytest.approx(f(X), rel=1e-14)


@BATCHED
def test_the_same_entry_may_be_moved_twice_in_one_call(options: Any) -> None:
    one = subject(**options)
    places = Places(np.array([0, 0, 1]), np.array([2, 2, 0]))
    up, down, other = one.at_entries(places, np.array([0.1, -0.1, 0.1]))
    assert up != down
    assert other == pytest.approx(f({"w": W, "b": 0.6}))


@BATCHED
def test_points_along_directions_are_base_and_step_times_direction(options: Any) -> None:
    one = subject(**options)
    rng = np.random.default_rng(1)
    ways = [rng.normal(size=(3, 6)), rng.normal(size=(3, 1))]
    lanes, offsets = np.array([0, 2, 1, 2]), np.array([0.1, -0.2, 0.0, 0.3])
    values = one.along(ways, lanes, offsets, one.point)
    for value, lane, step in zip(values, lanes, offsets, strict=True):
        moved = {"w": W + step * ways[0][lane].reshape(2, 3), "b": 0.5 + step * ways[1][lane, 0]}
        assert value == pytest.approx(f(moved), rel=1e-14)
    bases = [np.tile(point, (3, 1)) + 0.5 for point in one.point]
    shifted = one.along(ways, lanes, offsets, bases)
    moved = {"w": W + 0.5 + 0.3 * ways[0][2].reshape(2, 3), "b": 1.0 + 0.3 * ways[1][2, 0]}
    assert shifted[3] == pytest.approx(f(moved), rel=1e-14)


@BATCHED
def test_evaluations_are_counted_by_point(options: Any) -> None:
    one = subject(**options)
    before = one.evaluations
    one.value()
    one.at_entries(full([6, 1]), np.full(7, 0.1))
    one.along([np.ones((1, 6)), np.ones((1, 1))], np.zeros(5, np.intp), np.ones(5), one.point)
    assert one.evaluations - before == 1 + 7 + 5


@BATCHED
def test_no_points_have_no_values(options: Any) -> None:
    assert subject(**options).at_entries(full([0, 0]), np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_outside_the_domain_are_no_numbers(bad: float) -> None:
    one = subject(lambda x: x[0] if x[0] <= 1.0 else bad, np.array([1.0, 2.0]))
    values = one.at_entries(full([2]), np.array([0.1, 0.1]))
    assert not np.isfinite(values[0])
    assert values[1] == 1.0


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError, OverflowError])
@pytest.mark.parametrize("is_batched", [True, False])
def test_errors_of_arithmetic_are_points_outside_the_domain(error: type, is_batched: bool) -> None:
    def many(x: Any) -> Any:
        if np.any(x[:, 0] > 1.0):
            raise error("too large")
        return x[:, 0] * 1.0

    options = {"f_batch": many} if is_batched else {}
    one = subject(lambda x: many(x[None])[0], np.array([0.9999, 2.0, 3.0]), **options)
    values = one.at_entries(full([3]), np.full(3, 0.1))
    assert np.isnan(values[0])
    assert values[1:].tolist() == [0.9999, 0.9999]


def test_other_errors_are_the_callers() -> None:
    def g(x: Any) -> Any:
        if x[0] > 1.0:
            raise LookupError("not in the table")
        return x[0] * 1.0

    with pytest.raises(LookupError, match="not in the table"):
        subject(g, np.ones(2)).at_entries(full([2]), np.full(2, 0.1))


def test_work_comes_in_chunks_of_bounded_size() -> None:
    sizes: list[int] = []

    def many(x: Any) -> Any:
        sizes.append(len(x))
        return np.sum(x, axis=1)

    one = subject(np.sum, np.ones(1000), f_batch=many)
    one.at_entries(full([1000]), np.full(1000, 0.1))
    assert max(sizes) == BATCH_POINTS
    assert sum(sizes) >= 1000
    sizes.clear()
    large = subject(np.sum, np.ones(2**20), f_batch=many)
    sizes.clear()
    large.at_entries(full([20]), np.full(20, 0.1))
    assert max(sizes) == 8


def test_progress_is_told_after_every_chunk() -> None:
    one = subject(np.sum, np.ones(600))
    seen: list[int] = []
    one.on_progress = seen.append
    before = one.evaluations
    one.at_entries(full([600]), np.full(600, 0.1))
    assert seen == [before + 256, before + 512, before + 600]


# -- arrays and claims -------------------------------------------------------------------------


def jacobian(p: Any) -> Any:
    return {"w": np.ones((2, 2, 3)) * p["w"], "b": np.array([1.0, -1.0])}


def vector(p: Any) -> Any:
    return np.array([np.sum(p["w"] ** 2) / 2 + p["b"], np.sum(p["w"] ** 2) / 2 - p["b"]])


def test_an_array_is_contracted_with_the_cotangent() -> None:
    one = subject(vector, cotangent=[2.0, -3.0])
    assert one.output_shape == (2,)
    assert one.value() == pytest.approx([2.0, -3.0] @ vector(X))
    w, b = one.claims(jacobian)
    assert w == pytest.approx(-W.ravel())
    assert b == pytest.approx([5.0])
    again = one.claims(lambda p, cotangent: {"w": p["w"] * sum(cotangent), "b": 5.0})
    assert again[0] == pytest.approx(w)
    assert one.claims(jacobian(X))[0].tolist() == w.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_random_cotangents_lose_no_output_and_let_none_swamp_another(seed: int) -> None:
    scale = np.array([1e2, 1.0, -1e-1, 1.0])
    one = ArraySubject(lambda x: scale * x, np.ones(4), rng=np.random.default_rng(seed))
    share = np.abs(one.cotangent * scale)
    assert share.min() > 0.4 * share.max() / 1.5


def test_outputs_of_zero_keep_a_share() -> None:
    one = subject(lambda x: x * [0.0, 1.0], np.ones(2))
    assert np.all(np.abs(one.cotangent) > 0.1)
    assert np.all(np.isfinite(subject(lambda x: 0 * x, np.ones(2)).cotangent))


def test_a_single_output_is_left_as_it_is() -> None:
    assert subject().cotangent.tolist() == 1.0
    assert subject(lambda x: x, np.ones(1)).cotangent.tolist() == [1.0]


def test_claims_may_be_asked_for_beside_the_point() -> None:
    one = subject(lambda x: np.sum(x**2), W)
    (claim,) = one.claims(lambda x: 2 * x, at=[one.point[0] + 1.0])
    assert claim == pytest.approx(2 * (W.ravel() + 1.0))
    (fixed,) = one.claims(2 * W, at=[one.point[0] + 1.0])
    assert fixed == pytest.approx(2 * W.ravel())


@pytest.mark.parametrize(
    ("grad", "takes_two"),
    [
        (lambda x: np.full_like(x, 1.0), False),
        (lambda x, cotangent: np.full_like(x, 2.0), True),
        (lambda x, scale=1.0: np.full_like(x, scale), False),
        (lambda x, /, *, scale=1.0: np.full_like(x, scale), False),
        (lambda *arguments: np.full_like(arguments[0], len(arguments)), False),
        (np.ones_like, False),
        (functools.partial(lambda scale, x: np.full_like(x, scale), 1.0), False),
        (functools.partial(lambda scale, x, cotangent: np.full_like(x, scale), 2.0), True),
    ],
    ids=["one", "two", "default", "keyword", "star", "numpy", "partial", "partial-of-two"],
)
def test_a_cotangent_is_passed_to_who_asks_for_one(grad: Any, takes_two: bool) -> None:
    (claim,) = subject(np.sum, W).claims(grad)
    assert claim.tolist() == 6 * [2.0 if takes_two else 1.0]


def test_a_class_may_be_asked_for_its_gradient() -> None:
    class Model:
        def grad(self, x: Any) -> Any:
            return 2 * x

        def vjp(self, x: Any, cotangent: Any) -> Any:
            return 2 * x * cotangent

    one = subject(lambda x: np.sum(x * x), W)
    assert one.claims(Model().grad)[0].tolist() == one.claims(Model().vjp)[0].tolist()


def test_the_least_precise_part_of_a_claim_is_noted() -> None:
    one = subject()
    one.claims({"w": W.astype(np.float32), "b": 1.0})
    assert one.claim_spacing == np.finfo(np.float32).eps
    one.claims({"w": W, "b": 1.0})
    assert one.claim_spacing == np.finfo(np.float64).eps


@pytest.mark.parametrize("claim", [{"w": W}, {"w": W.T, "b": 1.0}, W])
def test_claims_that_do_not_fit_are_refused(claim: Any) -> None:
    with pytest.raises(InputError, match="grad"):
        subject().claims(claim)


# -- precision ---------------------------------------------------------------------------------


def test_single_precision_is_promoted_where_f_takes_it() -> None:
    one = subject(lambda p: np.sum(p["w"]) * p["b"], {"w": W.astype(np.float32), "b": 0.5})
    assert one.promoted == ("w",)
    assert one.kept == ()
    assert one.point[0].tolist() == W.astype(np.float32).astype(float).ravel().tolist()


def test_single_precision_is_kept_where_f_insists() -> None:
    def insist(x: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError("float32, please")
        return np.sum(x)

    one = subject(insist, W.astype(np.float32))
    assert one.promoted == ()
    assert one.kept == ("x",)
    assert one.evaluations == 2


def test_an_error_that_has_nothing_to_do_with_precision_is_raised() -> None:
    def broken(x: Any) -> Any:
        raise TypeError(f"no way, not even in {x.dtype}")

    with pytest.raises(TypeError, match="not even in float64"):
        subject(broken, W)
    with pytest.raises(TypeError, match="not even in float32"):
        subject(broken, W.astype(np.float32))


# -- findings ----------------------------------------------------------------------------------


def test_single_precision_on_the_way_is_noted() -> None:
    single = np.ones(3, dtype=np.float32)
    (finding,) = subject(lambda x: np.sum(x), single).findings()
    assert finding.kind == "single-precision"
    (finding,) = subject(lambda x: np.float32(np.sum(x)), np.ones(3)).findings()
    assert finding.kind == "single-precision"
    mixed = {"a": single, "b": np.ones(3)}
    (finding,) = subject(lambda p: np.sum(p["a"]) + np.sum(p["b"]), mixed).findings()
    assert finding.evidence == {"tensors": ("a",)}
    assert "evaluated in double precision" in finding.message


def test_single_precision_is_kept_where_it_is_asked_for() -> None:
    single = np.ones(3, dtype=np.float32)
    one = ArraySubject(lambda x: np.sum(x), single, promote=False, rng=np.random.default_rng(0))
    assert one.kept == ("x",)
    assert one.spacing == (2.0**-23,)
    assert one.value_spacing == 2.0**-23


def test_a_write_to_x_is_noted_with_the_tensor() -> None:
    def f(p: Any) -> Any:
        p["b"] += 1.0
        return np.sum(p["a"])

    (finding,) = subject(f, {"a": np.ones(3), "b": np.ones(3)}).findings()
    assert finding.kind == "mutates-input"
    assert finding.severity == "info"
    assert finding.evidence == {"tensors": ("b",)}
