"""Bars on random functions of known derivative, family by family: `bench.calibration` in small.

Over seeds 0 to 19, 200 cases each, 2 of 4000 float32 cases were missed and at most that many in any
other family, and the medians below were measured; they move by a third between seeds at 100 cases.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from bench.families import FAMILIES, cases

from gradproof.numerics import derivative

SEEDS = (100, 101)
COUNT = 50
#: A miss a family may happen: one of 100 cases, with a rate below 1 in 1000, in 1 of 10 families.
MISSES = 1
#: Median of error / |truth|: twice what was measured (4.6e-11 for wiggle, ...).
MEDIAN_BAR = {
    "smooth": 5e-13,
    "scales": 5e-13,
    "extreme": 5e-13,
    "offset": 1.4e-8,
    "hidden offset": 1e-8,
    "noise 1e-9": 1.1e-7,
    "noise 1e-5": 5e-4,
    "float32": 1.4e-5,
    "wiggle": 1e-10,
    "kink near": 3e-10,
    "domain edge": 1.2e-10,
}
#: Mean evaluations: a tenth more than was measured.
EVALUATIONS = {"smooth": 40.0, "scales": 41.0, "offset": 58.0, "noise 1e-9": 81.0, "float32": 120.0}
RESOLVED = ("smooth", "scales", "extreme", "offset", "wiggle", "kink near", "domain edge")


@dataclass(frozen=True)
class Measured:
    """One family: which truths lay in the bar, the bars against the truth, what it cost."""

    inside: tuple[bool, ...]
    bars: tuple[float, ...]
    resolved: tuple[bool, ...]
    evaluations: tuple[int, ...]


@cache
def measured(family: str) -> Measured:
    """Computed once for all tests of a family."""
    drawn = [case for seed in SEEDS for case in cases(family, COUNT, seed)]
    found = [derivative(case.phi, case.t0) for case in drawn]
    pairs = list(zip(drawn, found, strict=True))
    return Measured(
        tuple(abs(e.value - case.truth) <= e.error for case, e in pairs),
        tuple(e.error / abs(case.truth) if case.truth else math.nan for case, e in pairs),
        tuple(e.error <= 1e-3 * abs(e.value) for e in found),
        tuple(e.evaluations for e in found),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_the_derivative_lies_in_the_bar(family: str) -> None:
    assert sum(not inside for inside in measured(family).inside) <= MISSES


@pytest.mark.parametrize("family", MEDIAN_BAR)
def test_bars_are_sharp(family: str) -> None:
    assert np.nanmedian(measured(family).bars) <= MEDIAN_BAR[family]


@pytest.mark.parametrize("family", RESOLVED)
def test_functions_without_noise_are_resolved(family: str) -> None:
    assert all(measured(family).resolved)


@pytest.mark.parametrize("family", EVALUATIONS)
def test_evaluations_are_few(family: str) -> None:
    assert np.mean(measured(family).evaluations) <= EVALUATIONS[family]
