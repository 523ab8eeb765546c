"""Slopes at single entries at four values each: their bars hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.diagnosis.subjects import every_entry, noise_of, subject_of

from gradproof.coverage.probe import scales
from gradproof.diagnosis.evidence import STEP, drawn, slopes_at, slopes_elsewhere
from gradproof.numerics.sampling import Floats

POINT = np.random.default_rng(0).normal(size=40)
#: Distances from a kink, from beyond the longer step to far inside of the shorter one.
DISTANCES = (3e-3, 1e-3, 4e-4, 2e-4, 1e-4, 6e-5, 3e-5, 1e-5, 1e-6, 1e-8, 1e-11)


def slopes(
    f: Callable[[Any], Any], x: Any = POINT, noise: float | None = None
) -> tuple[Floats, Floats]:
    subject = subject_of(f, x)
    noise = noise_of(subject) if noise is None else noise
    return slopes_at(subject, every_entry(subject), scales(subject.point), subject.value(), noise)


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (np.sin, np.cos),
        (np.exp, np.exp),
        (lambda x: np.sin(20.0 * x), lambda x: 20.0 * np.cos(20.0 * x)),
        (lambda x: x**5, lambda x: 5.0 * x**4),
        (lambda x: 1e6 + np.tanh(x), lambda x: 1.0 / np.cosh(x) ** 2),
        (lambda x: 0.0 * x, lambda x: 0.0 * x),
    ],
    ids=["sine", "exponential", "fast sine", "fifth power", "large value", "constant"],
)
def test_bars_of_a_smooth_function_hold_the_truth(f: Any, slope: Any) -> None:
    numeric, bar = slopes(lambda x: np.sum(f(x)))
    assert np.all(np.abs(numeric - slope(POINT)) <= bar)
    assert np.isfinite(bar).all()


def test_bars_of_a_smooth_function_are_narrow() -> None:
    _, bar = slopes(lambda x: np.sum(np.sin(x)))
    assert bar.max() < 2e-6


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("height", [1.0, -3.0, 0.01])
def test_bars_near_a_kink_hold_the_truth(distance: float, side: float, height: float) -> None:
    edge = POINT + side * distance
    numeric, bar = slopes(lambda x: np.sum(np.sin(x) + height * np.maximum(x - edge, 0.0)))
    right = np.cos(POINT) + height * (edge < POINT)
    assert np.all(np.abs(numeric - right) <= bar)


@pytest.mark.parametrize("height", [1.0, -3.0, 0.2])
def test_an_entry_at_a_kink_says_nothing(height: float) -> None:
    _, bar = slopes(lambda x: np.sum(np.sin(x) + height * np.abs(x - POINT)))
    assert np.all(np.isinf(bar))


@pytest.mark.parametrize("distance", DISTANCES)
def test_bars_near_a_jump_hold_the_slope_at_the_point(distance: float) -> None:
    numeric, bar = slopes(lambda x: np.sum(np.cos(x) + (x > POINT + distance)))
    assert np.all(np.abs(numeric + np.sin(POINT)) <= bar)


@pytest.mark.parametrize("noise", [1e-12, 1e-9, 1e-6])
def test_noise_widens_the_bars_so_that_they_still_hold_the_truth(noise: float) -> None:
    rng = np.random.default_rng(1)

    def f(x: Any) -> Any:
        return np.sum(np.sin(x)) + noise * rng.normal()

    numeric, bar = slopes(f, noise=noise)
    assert np.all(np.abs(numeric - np.cos(POINT)) <= bar)
    assert np.median(bar) > noise


def test_an_entry_outside_of_the_domain_says_nothing() -> None:
    numeric, bar = slopes(lambda x: np.sum(np.sqrt(x - POINT)))
    assert np.all(np.isinf(bar))
    assert len(numeric) == len(POINT)


def test_an_entry_takes_four_evaluations() -> None:
    subject = subject_of(lambda x: np.sum(np.sin(x)), POINT)
    before = subject.evaluations
    value, noise = 0.0, 1e-16
    slopes_at(subject, every_entry(subject), scales(subject.point), value, noise)
    assert subject.evaluations - before == 4 * len(POINT)


def test_slopes_elsewhere_are_those_of_another_point() -> None:
    x = {"a": POINT, "b": POINT[:40] + 1.0}
    subject = subject_of(lambda x: np.sum(np.sin(x["a"]) * x["b"] ** 2), x)
    base = [subject.point[0] + 0.3, subject.point[1] - 2.0]
    scale = scales(subject.point)
    numeric, bar = slopes_elsewhere(subject, every_entry(subject), base, scale)
    right = np.cos(base[0]) * base[1] ** 2
    assert np.all(np.abs(numeric - right) <= bar)
    assert np.all(bar <= 1e-4 * np.abs(right) + 1e-6)
    assert np.all(np.abs(numeric - np.cos(x["a"]) * x["b"] ** 2) > bar)


def test_entries_drawn_are_new_and_no_more_than_asked_for() -> None:
    known = np.arange(0, 100, 2)
    more = drawn(known, 1000, 30, np.random.default_rng(0))
    assert 0 < len(more) <= 30
    assert len(np.unique(more)) == len(more)
    assert not np.isin(more, known).any()


def test_all_other_entries_are_drawn_of_a_tensor_that_is_small_enough() -> None:
    known = np.array([1, 3])
    assert drawn(known, 6, 4, np.random.default_rng(0)).tolist() == [0, 2, 4, 5]


def test_the_longer_step_reaches_kinks_that_the_shorter_one_does_not() -> None:
    """So that a kink between the two widens the bar."""
    edge = POINT + 0.5 * STEP
    _, bar = slopes(lambda x: np.sum(np.maximum(x - edge, 0.0)))
    assert np.all(bar > 0.01)
