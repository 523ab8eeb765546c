"""check(coverage="probe"): certified as a whole, bisected where it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from bench.cases import correct_cases
from bench.wrong_cases import wrong_cases

import gradproof
from gradproof.coverage.directions import sizes_of
from gradproof.coverage.probe import scales
from gradproof.report.model import Report
from gradproof.tree import flatten

Vector = npt.NDArray[np.float64]


class Counted:
    """A sum of sines that counts its calls by itself."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        parts = x.values() if isinstance(x, dict) else [x]
        return sum(np.sum(np.sin(v)) for v in parts)


def check(f: Any, x: Any, grad: Any, **others: Any) -> Report:
    return gradproof.check(f, x, grad, coverage="probe", **others)


def bent(*changes: tuple[str, int, float]) -> Callable[[Any], Any]:
    """The gradient of the sines with some entries times a factor."""

    def grad(x: Any) -> Any:
        claim = {name: np.cos(v) for name, v in x.items()}
        for name, i, factor in changes:
            claim[name].flat[i] *= factor
        return claim

    return grad


def tensors(*sizes: int) -> dict[str, Vector]:
    return {f"t{k}": np.random.default_rng(k).normal(size=n) for k, n in enumerate(sizes)}


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_a_right_gradient_passes_for_a_hundred_evaluations_at_any_size(size: int) -> None:
    f = Counted()
    report = check(f, np.random.default_rng(0).normal(size=size), np.cos)
    assert report.verdict == "pass"
    assert f.calls <= 102
    assert abs(f.calls - report.evaluations) <= 1


def test_one_wrong_entry_among_a_million_is_located_for_four_hundred_evaluations() -> None:
    x = np.random.default_rng(0).normal(size=1_000_000)

    def grad(v: Vector) -> Vector:
        claim = np.cos(v)
        claim[123_456] *= 1.05
        return claim

    f = Counted()
    report = check(f, x, grad)
    assert report.verdict == "fail"
    worst = report.tensors["x"].worst
    assert worst is not None
    assert worst.index == (123_456,)
    assert f.calls <= 400


@pytest.mark.parametrize(
    "wrong",
    [
        [("t0", 5, -1.0), ("t2", 40, 0.0)],
        [("t0", 0, 2.0), ("t1", 0, 2.0), ("t2", 99, -1.0), ("t2", 3, 1.1), ("t3", 250, 0.5)],
    ],
)
def test_independent_wrong_entries_are_all_located(wrong: list[tuple[str, int, float]]) -> None:
    report = check(Counted(), tensors(30, 1, 100, 300), bent(*wrong))
    found = report.entries.filter(verdict="mismatch")
    located = {(str(t), i[0]) for t, i in zip(found["tensor"], found["index"], strict=True)}
    assert located == {(name, i) for name, i, _ in wrong}
    names = {name for name, _, _ in wrong}
    assert {name for name, t in report.tensors.items() if t.verdict == "fail"} == names


def test_an_error_in_a_nested_container_is_named() -> None:
    x = {"net": [{"w": np.ones((3, 4)), "b": np.zeros(4)}, {"w": np.ones((4, 2))}], "gain": 2.0}

    def f(t: Any) -> Any:
        first, second = t["net"]
        return t["gain"] * np.sum(np.sin(first["w"] @ second["w"] + first["b"] @ second["w"]))

    def grad(t: Any) -> Any:
        first, second = t["net"]
        inner = first["w"] @ second["w"] + first["b"] @ second["w"]
        slope = t["gain"] * np.cos(inner)
        right = {
            "net": [
                {"w": slope @ second["w"].T, "b": slope.sum(0) @ second["w"].T},
                {"w": first["w"].T @ slope + np.outer(first["b"], slope.sum(0))},
            ],
            "gain": np.sum(np.sin(inner)),
        }
        right["net"][1]["w"][2, 1] *= 1.01
        return right

    report = check(f, x, grad)
    (failed,) = (t for t in report.tensors.values() if t.verdict == "fail")
    assert failed.worst is not None
    assert failed.worst.index == (2, 1)
    assert failed.shape == (4, 2)


def test_an_error_everywhere_is_said_to_be_so_after_a_few_entries() -> None:
    report = check(
        Counted(), tensors(50, 2000), lambda x: {**bent()(x), "t1": 1.01 * np.cos(x["t1"])}
    )
    assert report.tensors["t1"].verdict == "fail"
    assert "all over" in report.tensors["t1"].reason
    assert report.tensors["t1"].checked == report.tensors["t1"].counts["mismatch"] <= 8
    assert report.tensors["t0"].verdict == "pass"


def test_ten_wrong_entries_of_many_are_no_reason_to_name_none() -> None:
    wrong = [("t0", 97 * k, -1.0) for k in range(10)]
    report = check(Counted(), tensors(1000), bent(*wrong))
    assert report.verdict == "fail"
    worst = report.tensors["t0"].worst
    assert worst is not None
    assert worst.verdict == "mismatch"
    assert worst.index[0] % 97 == 0


def test_a_poisoned_chain_stays_cheap() -> None:
    x = tensors(*[200] * 40)

    def grad(t: Any) -> Any:
        return {name: np.cos(v) * (1.3 if k < 20 else 1.0) for k, (name, v) in enumerate(t.items())}

    f = Counted()
    report = check(f, x, grad)
    verdicts = [t.verdict for t in report.tensors.values()]
    assert verdicts == ["fail"] * 20 + ["pass"] * 20
    assert f.calls <= 200 * 20


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_wrong_where_it_is_and_nowhere_else(bad: float) -> None:
    def grad(x: Any) -> Any:
        claim = bent()(x)
        claim["t1"][7] = bad
        return claim

    report = check(Counted(), tensors(50, 100), grad)
    assert [t.verdict for t in report.tensors.values()] == ["pass", "fail"]
    assert report.tensors["t1"].counts["mismatch"] == 1


def test_a_gradient_of_nan_fails() -> None:
    report = check(Counted(), tensors(50), lambda x: {"t0": np.full(50, np.nan)})
    assert report.verdict == "fail"


def test_a_gradient_in_single_precision_passes() -> None:
    def grad(x: Any) -> Any:
        return {name: np.cos(v).astype(np.float32).astype(float) for name, v in x.items()}

    assert check(Counted(), tensors(50, 2000), grad).verdict == "pass"


def test_empty_and_scalar_tensors_pass() -> None:
    x = {"none": np.empty((0, 3)), "one": np.array(0.7), "more": np.ones(4)}
    report = check(Counted(), x, lambda t: {name: np.cos(v) for name, v in t.items()})
    assert [t.verdict for t in report.tensors.values()] == ["pass"] * 3


def test_a_gradient_may_be_given_as_arrays() -> None:
    x = tensors(50, 100)
    assert check(Counted(), x, bent()(x)).verdict == "pass"
    assert check(Counted(), x, bent(("t1", 3, 1.1))(x)).verdict == "fail"


def test_a_huge_offset_is_no_reason_to_fail() -> None:
    x = tensors(50)
    report = check(lambda t: 1e8 + Counted()(t), x, bent())
    assert report.verdict in ("pass", "inconclusive")
    wrong = check(lambda t: 1e8 + Counted()(t), x, bent(("t0", 3, -10.0)))
    assert wrong.verdict == "fail"


def test_a_right_subgradient_at_kinks_does_not_fail() -> None:
    x = np.random.default_rng(0).normal(size=20) * (np.arange(20) % 2)
    report = check(lambda v: np.sum(np.maximum(v, 0.0)), x, lambda v: (v > 0.0).astype(float))
    assert report.verdict != "fail"


@pytest.mark.parametrize("seed", range(10))
def test_networks_with_many_kinks_near_the_point_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data, w, u = rng.normal(size=(40, 8)), rng.normal(size=(8, 30)), rng.normal(size=30)

    def f(t: Any) -> Any:
        return np.sum(np.tanh(np.maximum(data @ t["w"], 0.0) @ t["u"]))

    def grad(t: Any) -> Any:
        hidden = data @ t["w"]
        slope = 1.0 - np.tanh(np.maximum(hidden, 0.0) @ t["u"]) ** 2
        return {
            "w": data.T @ (np.outer(slope, t["u"]) * (hidden > 0.0)),
            "u": np.maximum(hidden, 0.0).T @ slope,
        }

    assert check(f, {"w": w, "u": 0.1 * u}, grad).verdict != "fail"


def test_the_wrong_gradient_that_passes_lies_beneath_the_limit() -> None:
    """It is the only one of the scorecard that does (see tests/bench/test_scorecard.py)."""
    case = next(c for c in wrong_cases() if c.name == "scales-around-zero/smallest")
    right = next(c for c in correct_cases() if c.name == case.twin)
    report = check(case.f, case.x, case.grad)
    assert report.verdict == "pass"
    claims = [flatten(g(case.x)).leaves for g in (case.grad, right.grad)]
    sizes = sizes_of(scales([np.ravel(v) for v in flatten(case.x).leaves]))
    for claim, true, size, tensor in zip(*claims, sizes, report.tensors.values(), strict=True):
        error = np.linalg.norm((claim - true).ravel() * size)
        assert error <= tensor.detection_limit * np.linalg.norm(claim.ravel() * size)


# -- points on kinks ---------------------------------------------------------------------------


def test_entries_of_a_small_tensor_are_looked_at_where_no_direction_has_a_slope() -> None:
    report = check(lambda x: np.sum(np.maximum(x, 0.0)), np.zeros(5), lambda x: (x > 0) * 1.0)
    assert report.verdict == "pass", report.reason
    assert report.tensors["x"].counts["kink"] == report.tensors["x"].checked == 5
    assert "every entry of x agrees by itself (5 of them at a kink)" in report.reason


@pytest.mark.parametrize("claim", [(1.0, 1.0, 0.0), (0.0, 0.0, 0.0), (1.2, -0.2, 0.0)])
def test_what_is_no_subgradient_at_a_tie_fails(claim: tuple[float, ...]) -> None:
    tie = np.array([1.0, 1.0, 0.0])
    assert check(np.max, tie, np.array([0.5, 0.5, 0.0])).verdict == "pass"
    assert check(np.max, tie, np.array(claim)).verdict == "fail"


def test_a_large_tensor_on_kinks_stays_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.probing.SMALL", 4)
    report = check(lambda x: np.sum(np.maximum(x, 0.0)), np.zeros(5), lambda x: (x > 0) * 1.0)
    assert report.verdict == "inconclusive"
    assert "kinks at the point" in report.reason
