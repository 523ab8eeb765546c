"""Claims at a kink, tested together: each may be acceptable and the gradient none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.full import check

from gradproof.coverage.entries import full
from gradproof.coverage.kinks import JointTest, try_together
from gradproof.subjects.numpy import ArraySubject

Function = Callable[[Any], Any]


def relu(z: Any) -> Any:
    return np.maximum(z, 0.0)


def tie(x: Any) -> Any:
    return max(x[0], x[1])


def together(
    f: Function,
    x: Any,
    claim: Any,
    left: Any,
    right: Any,
    *,
    noise: float = 1e-16,
    scale: float = 1.0,
    seed: int = 0,
) -> JointTest:
    """The joint test with the one-sided slopes given."""
    rng = np.random.default_rng(seed)
    left, right = np.array(left, dtype=float), np.array(right, dtype=float)
    return try_together(
        ArraySubject(f, np.array(x, dtype=float), rng=rng),
        full([len(x)]),
        np.array(claim, dtype=float),
        (left + right) / 2,
        (right - left) / 2,
        np.full(len(x), scale),
        noise,
        rng,
        np.empty((0, len(x))),
    )


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("claim", [(1, 0), (0, 1), (0.3, 0.7), (0.5, 0.5)])
def test_subgradients_of_a_maximum_fit_at_a_tie(claim: Any, seed: int) -> None:
    assert together(tie, [1, 1], claim, [0, 0], [1, 1], seed=seed).fits


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("claim", [(0, 0), (1, 1), (0.3, 0.6), (0.9, 0.2), (1, 0.1)])
def test_claims_that_give_a_tie_to_both_or_none_do_not_fit(claim: Any, seed: int) -> None:
    found = together(tie, [1, 1], claim, [0, 0], [1, 1], seed=seed)
    assert not found.fits
    assert not found.low - found.error <= found.analytic <= found.high + found.error


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("claim", [(0, 0), (1, -1), (1, 0), (0, -1), (0.5, -0.5)])
def test_every_choice_of_sides_fits_for_opposite_relus(claim: Any, seed: int) -> None:
    def f(x: Any) -> Any:
        return relu(x[0]) - relu(x[1])

    assert together(f, [0, 0], claim, [0, 0], [1, -1], seed=seed).fits


@pytest.mark.parametrize("seed", range(5))
def test_any_point_of_the_box_fits_for_a_sum_of_absolute_values(seed: int) -> None:
    claim = np.random.default_rng(seed).uniform(-1, 1, 4)
    ends = -np.ones(4), np.ones(4)
    assert together(lambda x: np.sum(np.abs(x)), np.zeros(4), claim, *ends, seed=seed).fits


def test_a_norm_at_zero_takes_the_ball_and_not_the_box() -> None:
    def norm(x: Any) -> Any:
        return np.sqrt(x @ x)

    ends = [-1, -1], [1, 1]
    assert together(norm, [0, 0], (0.6, 0.8), *ends).fits
    assert together(norm, [0, 0], (0, 0), *ends).fits
    assert not together(norm, [0, 0], (0.9, 0.9), *ends).fits


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_the_scale_of_x_makes_no_difference(size: float) -> None:
    x, ends = [size, size], ([0, 0], [1, 1])
    assert together(tie, x, (0.3, 0.7), *ends, scale=size, noise=1e-16 * size).fits
    assert not together(tie, x, (1, 1), *ends, scale=size, noise=1e-16 * size).fits


def test_curvature_beside_the_kink_accuses_nobody() -> None:
    def f(x: Any) -> Any:
        return np.maximum(np.exp(x[0]), np.exp(x[1])) + 5 * np.sin(x[0] * x[1])

    slope = 5 * np.cos(1.0)
    ends = np.full(2, slope), np.full(2, slope + np.e)
    assert together(f, [1, 1], [slope + 0.3 * np.e, slope + 0.7 * np.e], *ends).fits
    assert not together(f, [1, 1], [slope, slope], *ends).fits


def test_noise_that_drowns_the_slopes_refutes_nothing() -> None:
    assert together(tie, [1, 1], (1, 1), [0, 0], [1, 1], noise=1e-5).fits


# -- through the whole of a check --------------------------------------------------------------

TIE = np.array([0.7, 0.7])


@pytest.mark.parametrize("claim", [(1, 0), (0, 1), (0.3, 0.7)])
def test_subgradient_at_a_tie_passes(claim: Any) -> None:
    report = check(tie, TIE, np.array(claim, dtype=float))
    assert report.verdict == "pass"
    assert report.entries.counts()["kink"] == 2
    assert "kink" in [finding.kind for finding in report.findings]


@pytest.mark.parametrize("claim", [(1, 1), (0, 0)])
def test_no_subgradient_at_a_tie_fails(claim: Any) -> None:
    report = check(tie, TIE, np.array(claim, dtype=float))
    assert report.verdict == "fail"
    assert report.entries.counts()["mismatch"] == 2
    (finding,) = [f for f in report.findings if f.kind == "kink-inconsistent"]
    assert finding.severity == "bug"
    assert "acceptable one by one, but not together" in finding.message


@pytest.mark.parametrize("claim", [(1, 1), (0, 0)])
def test_it_is_the_joint_test_that_catches_it(claim: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def believe(*_: Any) -> JointTest:
        return JointTest(fits=True, analytic=0.0, low=0.0, high=0.0, error=0.0, directions=0)

    monkeypatch.setattr("gradproof.outcome.assemble.try_together", believe)
    assert check(tie, TIE, np.array(claim, dtype=float)).verdict == "pass"


def test_claim_outside_of_its_own_slopes_fails_by_itself() -> None:
    report = check(tie, TIE, np.array([1.2, 0.0]))
    assert report.verdict == "fail"
    assert [e.name for e in report.entries.filter(verdict="mismatch")] == ["x[0]"]
    assert "outside the interval between the two one-sided slopes" in report.entries[0].reason


@pytest.mark.parametrize("claim", [(0, 0), (1, -1), (1, 0)])
def test_opposite_relus_pass_with_the_usual_choices(claim: Any) -> None:
    def f(x: Any) -> Any:
        return relu(x[0]) - relu(x[1])

    assert check(f, np.zeros(2), np.array(claim, dtype=float))


def test_a_hidden_layer_on_its_kinks_passes_with_any_slope_at_zero() -> None:
    """Zero biases and a data point of zeros: every unit is at its corner."""
    rng = np.random.default_rng(0)
    weights, out = rng.normal(size=(6, 4)), rng.normal(size=6)

    def f(b: Any) -> Any:
        return out @ relu(b) + out @ relu(weights @ np.ones(4) + b)

    for slope in (0.0, 0.5, 1.0):

        def grad(b: Any, slope: float = slope) -> Any:
            at = np.where(b == 0, slope, b > 0)
            return out * at + out * (weights @ np.ones(4) + b > 0)

        report = check(f, np.zeros(6), grad)
        assert report.verdict == "pass"
        assert report.entries.counts()["kink"] == 6


def test_one_kink_is_judged_by_itself() -> None:
    for slope in (-1.0, 0.0, 0.4, 1.0):
        assert check(np.abs, 0.0, slope)
    for slope in (-1.1, 1.001):
        assert check(np.abs, 0.0, slope).verdict == "fail"


def chain(x: Any) -> Any:
    return -max(x[0], x[1]) + 2 * max(x[1], x[2])


@pytest.mark.parametrize("seed", range(20))
def test_where_kinks_meet_a_slope_right_beside_the_point_is_accepted(seed: int) -> None:
    claim = np.array([-1.0, 2.0, 0.0])  # the gradient at x0 > x1 > x2, however near
    report = check(chain, np.ones(3), claim, seed=seed)
    assert report.verdict == "pass"
    assert report.tensors["x"].counts["kink"] == 3
    assert "right beside" in report.entries[1].reason


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("wrong", [1.5, 2.2, -0.5, -2.0])
def test_where_kinks_meet_a_slope_that_f_has_nowhere_is_wrong(wrong: float, seed: int) -> None:
    assert check(chain, np.ones(3), np.array([-1.0, wrong, 0.0]), seed=seed).verdict == "fail"
