"""The noise of a function's own values, and what is not noise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gradproof.numerics.noise import (
    COST,
    FLOOR_IN_ULPS,
    NODES,
    Noise,
    difference_weights,
    floor,
    measure_noise,
    table_noise,
)
from gradproof.numerics.sampling import TINY, Lanes

Floats = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


def noise_of(function: Callable[[float], float], at: float = 1.0, scale: float = 1.0) -> Noise:
    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return np.array([function(at + float(t)) for t in offsets])

    return measure_noise(sampler, np.array([at]), np.array([scale]), np.array([function(at)]))


@given(
    nodes=st.lists(st.integers(-50, 50), min_size=6, max_size=9, unique=True),
    coefficients=st.lists(st.floats(-1, 1), min_size=1, max_size=4),
)
def test_differences_do_not_see_polynomials(nodes: list[int], coefficients: list[float]) -> None:
    spread = np.sort(np.array(nodes, dtype=np.float64)) / 50.0
    rows = difference_weights(spread, len(coefficients))
    values = np.polynomial.polynomial.polyval(spread, coefficients)
    # Four neighbours a 50th apart are known to about eight digits in a third difference.
    assert np.abs(rows @ values).max() <= 1e-9
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-12)


def test_the_level_is_found_to_a_factor() -> None:
    rng = np.random.default_rng(0)
    level = 10.0 ** rng.uniform(-12, -2, 20_000)
    table = np.sin(1.0 + 1e-11 * NODES) + level[:, None] * rng.standard_normal((20_000, len(NODES)))
    ratio = table_noise(table, NODES) / level
    # Measured: median 0.95, and 0.40 to 1.75 in 98 of 100. A table of seven cannot know better.
    assert 0.85 < np.median(ratio) < 1.05
    assert np.quantile(ratio, 0.01) > 0.3
    assert np.quantile(ratio, 0.99) < 2.0


@pytest.mark.parametrize("level", [1e-12, 1e-9, 1e-5])
def test_jitter_is_measured(level: float) -> None:
    rng = np.random.default_rng(1)
    noise = noise_of(lambda x: math.sin(x) + level * rng.standard_normal())
    assert 0.3 < noise.level[0] / level < 2.0


@pytest.mark.parametrize("function", [math.sin, math.exp, math.atan, lambda x: 1e6 + x * x])
@pytest.mark.parametrize("at", [1.0, -2.5, 1e-6, 40.0])
def test_a_smooth_function_has_the_noise_of_rounding(
    function: Callable[[float], float], at: float
) -> None:
    ulp = np.spacing(abs(function(at)))
    # Rounding of x itself adds |x f'| / |f| units of f: 40 for exp at 40.
    amplified = max(1.0, abs(at))
    level = noise_of(function, at, abs(at)).level[0]
    assert FLOOR_IN_ULPS * ulp <= level <= 4.0 * ulp * amplified


def test_a_kink_at_the_point_hardly_shows() -> None:
    assert noise_of(abs, 0.0).level[0] < 1e-10
    assert noise_of(lambda x: abs(x - 1.0), 1.0).level[0] < 1e-10


def test_the_floor_is_half_a_unit_in_the_last_place_of_the_largest() -> None:
    values = np.array([1.0, 0.0, math.nan, 1e300, 5e-324])
    other = np.array([-4.0, 0.0, 2.0, 1.0, 0.0])
    expected = [
        FLOOR_IN_ULPS * 4 * EPS,
        0.0,
        FLOOR_IN_ULPS * 2 * EPS,
        0.5 * np.spacing(1e300),
        TINY,
    ]
    assert floor(values, other).tolist() == expected


def test_a_constant_has_the_floor_and_zero_has_none() -> None:
    ulp = np.spacing(3.0)
    assert FLOOR_IN_ULPS * ulp <= noise_of(lambda x: 3.0).level[0] <= ulp
    assert noise_of(lambda x: 0.0).level[0] == 0.0


def test_a_table_that_leaves_the_domain_says_nothing() -> None:
    noise = noise_of(lambda x: math.sqrt(x) if x >= 0 else math.nan, 0.0)
    assert np.isfinite(noise.level[0])
    assert noise_of(lambda x: 1.0 if x == 1.0 else math.nan).level[0] == FLOOR_IN_ULPS * EPS


@pytest.mark.parametrize("factor", [1e-300, 1e300])
def test_extreme_values_neither_overflow_nor_underflow(factor: float) -> None:
    rng = np.random.default_rng(2)
    noise = noise_of(lambda x: factor * (math.sin(x) + 1e-6 * rng.standard_normal()))
    assert 0.3 < noise.level[0] / (1e-6 * factor) < 2.0


def test_the_slope_is_that_of_the_very_smallest_scale() -> None:
    assert noise_of(lambda x: round(1e3 * x) / 1e3 + 0.25 * x).slope[0] == pytest.approx(0.25, 1e-4)


def test_lanes_are_measured_in_one_call_of_known_cost() -> None:
    calls = []

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        calls.append(len(lanes))
        return np.sin(1.0 + lanes + offsets)

    center = np.array([1.0, 2.0, 3.0])
    noise = measure_noise(sampler, center, np.ones(3), np.sin(center))
    assert calls == [3 * COST]
    assert noise.level.shape == noise.slope.shape == (3,)
    np.testing.assert_allclose(noise.slope, np.cos(center), rtol=1e-4)
