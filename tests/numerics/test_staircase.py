"""Stairs of a float32 or quantised stage: found, and told from kinks, wiggles and single jumps."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from gradproof.numerics import derivative, staircase
from gradproof.numerics.sampling import Lanes
from gradproof.numerics.staircase import Staircase, find_staircase

Floats = NDArray[np.float64]
Function = Callable[[float], float]


def quantised(quantum: float, extra: float = 0.0) -> Function:
    return lambda x: round(math.sin(x) / quantum) * quantum + extra * x


def single(x: float) -> float:
    return float(np.sin(np.float32(x)))


def look(
    function: Function, distance: float, *, slope: float = 0.0, noise: float = 1e-16
) -> tuple[Staircase, int]:
    """What is found at a distance from 1, and the evaluations that it really took."""
    count = 0

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        nonlocal count
        count += len(offsets)
        return np.array([function(1.0 + float(t)) for t in offsets])

    lanes = np.zeros(1, dtype=np.intp)
    one, two, three = (np.array([v]) for v in (distance, slope, noise))
    return find_staircase(sampler, lanes, one, two, three), count


@pytest.mark.parametrize("quantum", [1e-9, 1e-6, 1e-3])
@pytest.mark.parametrize("extra", [0.0, 1.0, -30.0])
def test_stairs_are_found_beside_a_slope_of_their_own(quantum: float, extra: float) -> None:
    found, _ = look(quantised(quantum, extra), 20.0 * quantum, slope=extra)
    assert found.found[0]
    # Rounding to multiples of q is uniform noise: q / sqrt(12).
    assert found.level[0] == pytest.approx(quantum / math.sqrt(12.0), rel=0.7)


def test_single_precision_is_a_staircase() -> None:
    found, _ = look(single, 1e-6)
    assert found.found[0]
    assert 1e-8 < found.level[0] < 1e-7


@pytest.mark.parametrize(
    "function",
    [
        math.sin,
        abs,
        lambda x: max(x - 1.0, 0.0),
        lambda x: abs(x - 1.0004),
        lambda x: math.sin(1e4 * x),
        lambda x: x + 1e-3 * math.sin(1e3 * x),
        lambda x: math.sqrt(abs(x - 1.0)),
        lambda x: 0.0,
    ],
)
@pytest.mark.parametrize("distance", [1e-6, 1e-4, 1e-2])
def test_what_is_continuous_is_none(function: Function, distance: float) -> None:
    assert not look(function, distance)[0].found[0]


def test_a_lone_jump_is_none() -> None:
    assert not look(lambda x: math.sin(x) + (x > 1.00015), 1e-4)[0].found[0]


def test_like_jumps_on_one_side_are_stairs() -> None:
    assert look(lambda x: math.floor(2e4 * max(x - 1.0, 0.0)) / 2e4, 1e-3)[0].found[0]


@pytest.mark.parametrize("function", [single, math.sin, lambda x: math.sin(x) + (x > 1.00015)])
def test_the_cost_is_what_was_evaluated(function: Function) -> None:
    found, count = look(function, 1e-4)
    # Once more the points on either side, where both trends are tried.
    assert count - 4 * staircase.POINTS <= found.cost[0] <= count


@pytest.mark.parametrize("function", [abs, lambda x: max(x - 1.0, 0.0), lambda x: 3.0 * x])
def test_what_is_straight_is_soon_given_up(function: Function) -> None:
    found, _ = look(function, 1e-4)
    without = 4 * (staircase.POINTS + staircase.HALVINGS)
    assert found.cost[0] < 0.8 * without


def test_stairs_whose_middle_lies_on_the_chord_are_found() -> None:
    # Four stairs or 64 in an interval: the middle one lies halfway up.
    for phase in np.linspace(0.0, 1.0, 40).tolist():

        def stairs(x: float, phase: float = phase) -> float:
            return math.floor(1e4 * x + phase) / 1e4

        assert look(stairs, 3.2e-3)[0].found[0]


STAIRS: list[tuple[Function, float, float]] = [
    (quantised(1e-3), 1.0, math.cos(1.0)),
    (quantised(1e-6, 1.0), 1.0, 1.0 + math.cos(1.0)),
    (quantised(1e-5, 1.0), 1.0, 1.0 + math.cos(1.0)),
    (single, 0.7, math.cos(0.7)),
    (lambda x: float(np.float32(x)), 1e6 + 0.3, 1.0),
    (lambda x: float(np.float16(math.sin(x))), 1.0, math.cos(1.0)),
    (lambda x: float(np.float32(math.sin(x))) + math.exp(x), 1.0, math.cos(1.0) + math.e),
    (lambda x: math.floor(1e3 * x) / 1e3, 1.23456, 1.0),
]


@pytest.mark.parametrize(("function", "at", "truth"), STAIRS)
def test_the_slope_of_the_whole_stairs_lies_in_the_bar(
    function: Function, at: float, truth: float
) -> None:
    estimate = derivative(function, at)
    assert abs(estimate.value - truth) <= estimate.error


@pytest.mark.parametrize("quantum", [1e-2, 0.1])
def test_wide_stairs_with_a_slope_of_their_own_are_no_stairs_but_a_sawtooth(quantum: float) -> None:
    estimate = derivative(quantised(quantum, 1.0), 1.0)
    assert abs(estimate.value - 1.0) <= estimate.error


def test_without_the_search_a_single_stair_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(
        sampler: object, lanes: Lanes, distance: Floats, slope: Floats, noise: Floats, taken: object
    ) -> Staircase:
        return Staircase(np.zeros(len(lanes), dtype=np.bool_), noise, np.zeros(len(lanes), np.intp))

    monkeypatch.setattr(staircase, "find_staircase", blind)
    for function, at, truth in STAIRS:
        estimate = derivative(function, at)
        assert abs(estimate.value - truth) > 10.0 * estimate.error


def test_lanes_are_searched_together() -> None:
    functions = [single, math.sin, quantised(1e-6), lambda x: abs(x - 1.0)]

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return np.array([functions[j](1.0 + float(t)) for j, t in zip(lanes, offsets, strict=True)])

    lanes = np.arange(4)
    found = find_staircase(sampler, lanes, np.full(4, 1e-4), np.zeros(4), np.full(4, 1e-16))
    assert found.found.tolist() == [True, False, True, False]
    assert found.cost[0] < found.cost[1]
