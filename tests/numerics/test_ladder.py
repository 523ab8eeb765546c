"""The ladder of steps: which points it asks for, how often, and the differences it makes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gradproof.numerics.ladder import REGULAR, RUNGS, STEPS, Ladder
from gradproof.numerics.sampling import Lanes, representable, sample_grid, unit_in_last_place

Floats = NDArray[np.float64]


class Recorder:
    """A sampler of sin, lane by lane, that keeps what it was asked for."""

    def __init__(self, center: Floats) -> None:
        self.center = center
        self.asked: list[tuple[int, float]] = []

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        self.asked += list(zip(lanes.tolist(), offsets.tolist(), strict=True))
        return np.sin(self.center[lanes] + offsets)


def start(*center: float) -> tuple[Ladder, Recorder]:
    at = np.array(center)
    recorder = Recorder(at)
    return Ladder.start(recorder, at, np.maximum(np.abs(at), 1e-3), np.sin(at)), recorder


def test_steps_shrink_unevenly_and_rungs_alternate_with_those_between() -> None:
    assert np.all(np.diff(STEPS) < 0)
    assert STEPS[::2].tolist() == RUNGS.tolist()
    ratios = RUNGS[:-1] / RUNGS[1:]
    assert len(set(ratios.round(6).tolist())) == len(ratios)
    assert np.all((ratios > 1.6) & (ratios < 5.0))


@given(
    center=st.floats(-1e300, 1e300),
    relative=st.floats(1e-18, 16.0),
)
def test_steps_taken_are_exact_on_both_sides(center: float, relative: float) -> None:
    x = abs(center)
    step = float(representable(np.array([center]), np.array([relative * x]))[0])
    assert step >= 2.0 * np.spacing(x)
    assert (x + step) - x == step
    if step <= x:
        assert x - (x - step) == step


def test_the_regular_rungs_are_evaluated_once_on_both_sides() -> None:
    ladder, recorder = start(1.0, 2.0)
    assert len(recorder.asked) == len(set(recorder.asked)) == 2 * 2 * len(REGULAR)
    assert ladder.evaluations.tolist() == [2 * len(REGULAR)] * 2
    assert np.isfinite(ladder.central()).sum() == 2 * len(REGULAR)
    assert {(j, -t) for j, t in recorder.asked} == set(recorder.asked)


def test_no_point_is_evaluated_twice() -> None:
    ladder, recorder = start(1.0, 2.0)
    ladder.climb(np.array([0, 1]), range(len(STEPS)))
    ladder.climb(np.array([1]), range(len(STEPS)))
    wanted = np.zeros((1, len(STEPS)), dtype=np.bool_)
    wanted[0, 3:9] = True
    ladder.fill(np.array([0]), wanted)
    assert len(recorder.asked) == len(set(recorder.asked)) == ladder.evaluations.sum()


def test_only_the_lanes_that_want_it_are_filled() -> None:
    ladder, recorder = start(1.0, 2.0)
    before = len(recorder.asked)
    wanted = np.zeros((1, len(STEPS)), dtype=np.bool_)
    wanted[0, [7, 9]] = True
    ladder.fill(np.array([1]), wanted)
    assert len(recorder.asked) == before + 4
    assert ladder.evaluations.tolist() == [2 * len(REGULAR), 2 * len(REGULAR) + 4]
    assert np.isnan(ladder.central()[0, [7, 9]]).all()
    assert np.isfinite(ladder.central()[1, [7, 9]]).all()


def test_nothing_is_asked_below_the_spacing_of_doubles() -> None:
    center = np.array([1e6])
    recorder = Recorder(center)
    ladder = Ladder.start(recorder, center, np.array([1e-3]), np.sin(center))
    ladder.climb(np.array([0]), range(len(STEPS)))
    steps = ladder.steps[0][np.isfinite(ladder.steps[0])]
    assert len(steps) < len(STEPS)
    assert steps.min() >= 2.0 * np.spacing(1e6)
    assert np.all(np.diff(steps) < 0)


def test_differences_are_those_of_the_values() -> None:
    ladder, _ = start(1.0)
    t = ladder.steps[0, REGULAR]
    np.testing.assert_allclose(
        ladder.central()[0, REGULAR][:9], np.cos(1) * np.sin(t[:9]) / t[:9], 1e-9
    )
    half = np.sin(1.0) * (np.cos(t[:5]) - 1.0) / t[:5]
    np.testing.assert_allclose(ladder.even()[0, REGULAR][:5], half, rtol=1e-9)
    mean = 0.5 * (ladder.one_sided(1) + ladder.one_sided(-1))
    np.testing.assert_allclose(mean[0, REGULAR][:9], ladder.central()[0, REGULAR][:9], rtol=1e-9)


def test_points_outside_the_domain_are_nan_and_the_rest_is_kept() -> None:
    center = np.array([0.1])

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        with np.errstate(all="ignore"):
            return np.log(center[lanes] + offsets)

    ladder = Ladder.start(sampler, center, np.array([1.0]), np.log(center))
    central, forward = ladder.central()[0, REGULAR], ladder.one_sided(1)[0, REGULAR]
    assert np.isnan(central[0])
    assert np.isfinite(central[-1])
    assert np.isfinite(forward).all()


def test_the_largest_doubles_do_not_overflow() -> None:
    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return np.where(offsets > 0, 1.5e308, -1.5e308)

    ladder = Ladder.start(sampler, np.array([8.0]), np.array([8.0]), np.array([0.0]))
    assert np.isfinite(ladder.central()[0, REGULAR.start])
    assert ladder.even()[0, REGULAR.start] == 0.0


def test_noise_is_at_least_half_an_ulp_of_the_largest_value_met() -> None:
    ladder, _ = start(1.0)
    ladder.plus[0, REGULAR.start] = 1e6
    level = ladder.level(np.array([1e-20]))
    assert level[0, REGULAR.start] == 0.5 * np.spacing(1e6)
    assert level[0, REGULAR.stop - 2] == pytest.approx(0.5 * np.spacing(math.sin(1.0)))
    assert np.all(ladder.level(np.array([1.0])) == 1.0)


def test_infinite_values_are_outside_the_domain() -> None:
    grid = sample_grid(
        lambda lanes, t: 1.0 / t, np.zeros(1, np.intp), np.array([[1.0, np.nan, -2.0]])
    )
    assert grid[0, [0, 2]].tolist() == [1.0, -0.5]
    assert math.isnan(grid[0, 1])
    infinite = sample_grid(lambda lanes, t: t * np.inf, np.zeros(1, np.intp), np.array([[1.0]]))
    assert math.isnan(infinite[0, 0])


def test_the_unit_in_the_last_place_of_zero_and_of_no_number_is_zero() -> None:
    assert unit_in_last_place(np.array([0.0, np.inf, np.nan, -1.0])).tolist() == [
        0.0,
        0.0,
        0.0,
        np.spacing(1.0),
    ]
