"""Kinks at the point, beside it, and points that have no slopes at all."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradproof.numerics import Status, derivative, kinks
from gradproof.numerics.kinks import stays

Function = Callable[[float], float]


def relu(x: float) -> float:
    return max(x, 0.0)


KINKS: list[tuple[Function, float, float, float]] = [
    (abs, 0.0, -1.0, 1.0),
    (relu, 0.0, 0.0, 1.0),
    (lambda x: relu(x - 1.0), 1.0, 0.0, 1.0),
    (lambda x: min(max(x, -1.0), 1.0), 1.0, 1.0, 0.0),
    (lambda x: min(max(x, 0.0), 1.0), 0.0, 0.0, 1.0),
    (lambda x: max(x, x * x), 1.0, 1.0, 2.0),
    (lambda x: x if x > 0 else 0.01 * x, 0.0, 0.01, 1.0),
    (lambda x: abs(math.sin(x)) * math.exp(x), 0.0, -1.0, 1.0),
    (lambda x: relu(x - 1.0) + math.sin(x), 1.0, math.cos(1.0), 1.0 + math.cos(1.0)),
    (lambda x: math.exp(x) if x > 1 else math.e * (2 * x * x - 1), 1.0, 4 * math.e, math.e),
]


@pytest.mark.parametrize(("function", "at", "left", "right"), KINKS)
def test_both_slopes_of_a_kink_are_found(
    function: Function, at: float, left: float, right: float
) -> None:
    estimate = derivative(function, at)
    assert estimate.status is Status.KINK
    assert abs(estimate.left - left) <= estimate.error
    assert abs(estimate.right - right) <= estimate.error
    assert abs(estimate.value - 0.5 * (left + right)) <= estimate.error
    assert estimate.error < 1e-6


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e6, 1e200])
@pytest.mark.parametrize("at", [0.0, 1.0])
def test_kinks_of_any_size_are_found(size: float, at: float) -> None:
    estimate = derivative(lambda x: size * relu(x - at), at)
    assert estimate.status is Status.KINK
    assert abs(estimate.right - size) <= estimate.error < 1e-6 * size


def test_a_kink_is_found_through_noise() -> None:
    rng = np.random.default_rng(0)
    estimate = derivative(lambda x: relu(x - 1.0) + 1e-9 * rng.uniform(-1, 1), 1.0)
    assert estimate.status is Status.KINK
    assert abs(estimate.right - 1.0) <= estimate.error < 1e-5


@pytest.mark.parametrize(
    ("function", "at", "truth"),
    [
        (lambda x: abs(x) ** 1.5, 0.0, 0.0),
        (lambda x: abs(x - 1.0) ** 1.5 + x, 1.0, 1.0),
        (lambda x: x * abs(x), 0.0, 0.0),
        (lambda x: abs(x) ** 3, 0.0, 0.0),
        (lambda x: x / (1.0 + abs(x)), 0.0, 1.0),
        (lambda x: x if x > 0 else math.expm1(x), 0.0, 1.0),
        (lambda x: x * x, 0.0, 0.0),
        (math.cos, 0.0, 0.0),
    ],
)
def test_a_bend_is_no_kink(function: Function, at: float, truth: float) -> None:
    estimate = derivative(function, at)
    assert estimate.status is Status.SMOOTH
    assert estimate.left == estimate.right == estimate.value
    assert abs(estimate.value - truth) <= estimate.error < 1e-6


@given(
    exponent=st.floats(-9, -2),
    size=st.floats(0.1, 3.0),
    at=st.floats(0.5, 2.0),
    side=st.sampled_from([-1, 1]),
)
def test_a_kink_beside_the_point_is_stepped_around(
    exponent: float, size: float, at: float, side: int
) -> None:
    edge = at + side * at * 10.0**exponent
    estimate = derivative(lambda x: size * relu(x - edge) + math.sin(x), at)
    truth = math.cos(at) + (size if side < 0 else 0.0)
    assert estimate.status is Status.SMOOTH
    assert abs(estimate.value - truth) <= estimate.error < 1e-4


@pytest.mark.parametrize("distance", [1e-11, 1e-12, 1e-13, 1e-15])
def test_a_kink_too_close_to_tell_is_never_taken_for_a_slope(distance: float) -> None:
    estimate = derivative(lambda x: relu(x - 1.0 - distance) + math.sin(x), 1.0)
    assert estimate.status in (Status.KINK, Status.UNRESOLVED)
    if estimate.status is Status.KINK:
        assert estimate.left - estimate.error <= math.cos(1.0) <= estimate.right + estimate.error


def test_without_the_search_the_mean_slope_passes_for_the_derivative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kinks, "CERTAINTY", math.inf)
    estimate = derivative(lambda x: relu(x - 1.0), 1.0)
    assert estimate.status is not Status.KINK


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (math.sqrt, 0.0),
        (lambda x: math.sqrt(x) + x, 0.0),
        (lambda x: math.sqrt(abs(x)), 0.0),
        (lambda x: math.copysign(abs(x) ** 0.9, x), 0.0),
        (lambda x: x * math.log(abs(x)) if x else 0.0, 0.0),
        (lambda x: x * math.log(x) if x > 0 else 0.0 / (x == 0), 0.0),
    ],
)
def test_where_there_is_no_slope_none_is_given(function: Function, at: float) -> None:
    estimate = derivative(function, at)
    assert estimate.status is Status.UNRESOLVED
    assert math.isinf(estimate.error)


@pytest.mark.parametrize("at", [0.0, 1.0])
def test_a_cube_root_is_not_resolved(at: float) -> None:
    estimate = derivative(lambda x: float(np.cbrt(x - at)), at)
    assert not estimate.error < abs(estimate.value)


def test_parts_that_fall_do_not_stay() -> None:
    steps = np.tile(4.0 ** -np.arange(12.0), (5, 1))
    jitter = 1e-12 / steps
    rng = np.random.default_rng(0)
    parts = np.stack(
        [
            steps[0],
            steps[0] ** 0.5,
            np.ones(12),
            steps[0] ** -0.5,
            jitter[0] * rng.uniform(-2, 2, 12),
        ]
    )
    assert stays(parts, jitter).tolist() == [False, False, True, True, False]
    parts[:, 8:] = 0.0
    assert not stays(parts, jitter).any()
