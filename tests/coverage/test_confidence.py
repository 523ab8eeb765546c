"""The confidence that is stated is the confidence that there is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.confidence import constant, probes_for, undetected
from gradproof.coverage.directions import draw

Vector = npt.NDArray[np.float64]

TRIALS = 100_000
ALPHA = 0.01
#: Three standard deviations of a count of misses beside its mean.
MOST = ALPHA * TRIALS + 3.0 * math.sqrt(ALPHA * TRIALS)


def misses(gaps: Vector, bar: float) -> int:
    """Trials in which all probes agree though the difference is as far off as its bar says."""
    return int((np.abs(gaps) <= 2.0 * bar).all(axis=1).sum())


@pytest.mark.parametrize("probes", [1, 2, 3, 5, 8])
def test_gaussian_gaps_within_tau_leave_no_more_misses_than_stated(probes: int) -> None:
    gaps = np.random.default_rng(probes).standard_normal((TRIALS, probes))
    found = int((np.abs(gaps) <= 1.0 / constant(probes, ALPHA)).all(axis=1).sum())
    assert abs(found - ALPHA * TRIALS) <= MOST - ALPHA * TRIALS


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_wrong_constant_would_show(factor: float) -> None:
    gaps = np.random.default_rng(0).standard_normal((TRIALS, 3))
    found = int((np.abs(gaps) <= 1.0 / (factor * constant(3, ALPHA))).all(axis=1).sum())
    assert abs(found - ALPHA * TRIALS) > MOST - ALPHA * TRIALS


def test_errors_at_the_limit_are_missed_at_no_more_than_the_stated_rate() -> None:
    count = probes_for(ALPHA)
    size = undetected([1.0] * count, ALPHA)
    gaps = size * np.random.default_rng(1).standard_normal((TRIALS, count))
    assert 0.3 * ALPHA * TRIALS < misses(gaps, 1.0) <= MOST
    # An error smaller by a third is missed too often: the limit is not padded by more than that.
    assert misses(gaps / 1.5, 1.0) > MOST


ERRORS: dict[str, Callable[[int], npt.NDArray[Any]]] = {
    "one entry": lambda n: np.eye(n)[0],
    "two equal entries": lambda n: np.eye(n)[0] + np.eye(n)[1],
    "three, decades apart": lambda n: np.eye(n)[0] + 0.1 * np.eye(n)[1] + 0.01 * np.eye(n)[2],
    "alternating": lambda n: (-1.0) ** np.arange(n),
    "equal": lambda n: np.ones(n),
    "dense": lambda n: np.random.default_rng(7).standard_normal(n),
}


@pytest.mark.parametrize("shape", ERRORS)
@pytest.mark.parametrize("others", [0.0, 0.1, 3.0])
def test_directions_as_they_are_drawn_miss_at_no_more_than_the_stated_rate(
    shape: str, others: float
) -> None:
    entries = 12
    error = ERRORS[shape](entries)
    other = others * np.random.default_rng(8).standard_normal(2)
    count = probes_for(ALPHA)
    size = undetected([1.0] * count, ALPHA)
    rng = np.random.default_rng(2)
    # All trials' directions in one draw: two tensors, the second with errors of its own.
    first, second = draw((np.ones(TRIALS * count * entries), np.full(TRIALS * count * 2, 4.0)), rng)
    gaps = first.reshape(-1, entries) @ (size * error / np.linalg.norm(error))
    gaps += second.reshape(-1, 2) @ (size * other / 4.0)
    assert misses(gaps.reshape(TRIALS, count), 1.0) <= MOST


def test_bars_that_follow_the_gap_do_not_break_the_promise() -> None:
    """A wider bar is reported just where a narrow one did not do: a product would be fooled."""
    count, wide = probes_for(ALPHA), 8.0
    rng = np.random.default_rng(3)
    for size in (2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
        gaps = np.abs(size * rng.standard_normal((TRIALS // 5, count)))
        bars = np.where(gaps <= 2.0, 1.0, np.where(gaps <= 2.0 * wide, wide, np.inf))
        # A handful of different bars: one limit for each of them.
        kinds, which = np.unique(np.sort(bars, axis=1), axis=0, return_inverse=True)
        limits = np.array([undetected(list(kind), ALPHA) for kind in kinds])
        missed = limits[which.ravel()] < size
        assert missed.mean() <= ALPHA + 3.0 * math.sqrt(ALPHA / len(gaps))


def test_a_product_of_probabilities_would_have_been_fooled_by_such_bars() -> None:
    count, wide, size = 8, 8.0, 8.0
    gaps = np.abs(size * np.random.default_rng(4).standard_normal((TRIALS, count)))
    bars = np.where(gaps <= 2.0, 1.0, np.where(gaps <= 2.0 * wide, wide, np.inf))
    inside = np.vectorize(math.erf)(2.0 * bars / size / math.sqrt(2.0))
    assert (np.prod(inside, axis=1) < ALPHA).mean() > 2.0 * ALPHA


def test_probes_that_say_nothing_count_against_the_limit() -> None:
    fewer = undetected([1.0] * 7, 1e-6)
    with_a_silent_one = undetected([1.0] * 7 + [math.inf], 1e-6)
    assert fewer < with_a_silent_one < math.inf
    assert undetected([math.inf] * 8, 1e-6) == math.inf
    assert undetected([], 1e-6) == math.inf


def test_a_blunt_probe_does_no_more_harm_than_a_silent_one() -> None:
    assert undetected([1.0] * 7 + [1e6], 1e-6) <= undetected([1.0] * 7 + [math.inf], 1e-6)


def test_limit_is_in_proportion_to_the_bars() -> None:
    bars = [0.3, 0.5, 1.0, 2.0, 2.0, 0.1, 0.7, 0.9]
    assert undetected([1e-9 * b for b in bars], 1e-6) == pytest.approx(
        1e-9 * undetected(bars, 1e-6), rel=1e-9
    )
    assert undetected([0.0] * 8, 1e-6) == 0.0


@pytest.mark.parametrize("alpha", [0.5, 1e-2, 1e-6, 1e-12])
def test_so_many_probes_are_made_that_the_limit_is_a_few_bars(alpha: float) -> None:
    count = probes_for(alpha)
    assert constant(count, alpha) <= 5.0
    assert count == 1 or constant(count - 1, alpha) > 5.0
