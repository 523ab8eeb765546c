"""Fits over a ladder of steps: bars that hold, and what becomes of them without each safeguard."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gradproof.numerics import extrapolation
from gradproof.numerics.extrapolation import Extrapolation, extrapolate
from gradproof.numerics.fits import Fits, fit
from gradproof.numerics.ladder import REGULAR, RUNGS, STEPS

Floats = NDArray[np.float64]
NOISE = 1e-16
REGULAR_STEPS = STEPS[REGULAR]


def steps_for(lanes: int, steps: Floats = REGULAR_STEPS) -> Floats:
    return np.tile(steps, (lanes, 1))


def with_noise(slopes: Floats, steps: Floats, noise: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Slopes of values with jitter, and the standard deviation that it gives them."""
    jitter = noise / (np.sqrt(2.0) * steps)
    return slopes + jitter * np.random.default_rng(seed).standard_normal(slopes.shape), jitter


def error(best: Extrapolation) -> Floats:
    return best.truncation + best.rounding


def misses(best: Extrapolation, truth: Floats | float) -> int:
    return int(np.sum(~(np.abs(best.value - truth) <= error(best))))


def wiggles(lanes: int) -> tuple[Floats, Floats, Floats, Floats]:
    """sin(t) and a fast sine beside it: truth, slopes, steps, jitter."""
    rng = np.random.default_rng(5)
    steps = steps_for(lanes)
    w, a = 10.0 ** rng.uniform(1.5, 4, (lanes, 1)), rng.uniform(0.3, 3, (lanes, 1))
    slopes = np.sin(steps) / steps + a * np.sin(w * steps) / (w * steps)
    slopes, jitter = with_noise(slopes, steps, NOISE)
    return 1.0 + a[:, 0], slopes, steps, jitter


def kinks(lanes: int, least: float, most: float) -> tuple[Floats, Floats, Floats]:
    """A kink at a distance of 10^least to 10^most: it shows in the slopes where t is longer."""
    rng = np.random.default_rng(6)
    steps = steps_for(lanes)
    distance, size = 10.0 ** rng.uniform(least, most, (lanes, 1)), rng.uniform(0.3, 3, (lanes, 1))
    bend = 0.5 * size * np.maximum(0.0, 1.0 - distance / steps)
    slopes, jitter = with_noise(np.sin(steps) / steps + bend, steps, NOISE)
    return slopes, steps, jitter


@given(
    coefficients=st.lists(st.floats(-1, 1), min_size=1, max_size=5),
    power=st.sampled_from([1, 2]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_limit_of_a_polynomial_lies_in_the_bar(
    coefficients: list[float], power: int, seed: int
) -> None:
    steps = steps_for(1)
    slopes = np.polynomial.polynomial.polyval(steps**power, coefficients).astype(np.float64)
    slopes, jitter = with_noise(slopes, steps, 1e-10, seed)
    best = extrapolate(slopes, steps, jitter, power=power)
    assert misses(best, coefficients[0]) == 0
    # Measured over 3000 of these: at most 6e-6.
    assert error(best)[0] < 1e-4


def test_rounding_is_averaged_over_the_rungs() -> None:
    lanes = 4000
    steps = steps_for(lanes)
    slopes, jitter = with_noise(np.ones_like(steps), steps, 1e-6)
    best = extrapolate(slopes, steps, jitter, power=2)
    assert misses(best, 1.0) == 0
    # Measured: 0.86 times the deviation of the coarsest rung, and a bar of 20 times that: what the
    # lower tops make of the value is noisier than the value.
    assert np.std(best.value - 1.0) < jitter[0, 0]
    assert np.median(error(best) / jitter[:, 0]) < 30.0


def test_noise_beside_a_curve_is_covered_whatever_its_level() -> None:
    lanes = 4000
    steps = steps_for(lanes, RUNGS[:14])
    noise = 10.0 ** np.random.default_rng(2).uniform(-15, -2, (lanes, 1))
    slopes = np.cosh(0.7) * np.sinh(steps) / steps
    jitter = noise / (np.sqrt(2.0) * steps)
    slopes = slopes + jitter * np.random.default_rng(3).standard_normal(steps.shape)
    best = extrapolate(slopes, steps, jitter, power=2)
    # Measured: 0 misses. Without the safeguards below it would be a few in a hundred.
    assert misses(best, np.cosh(0.7)) <= 2


def test_without_the_longer_tops_forecast_accidents_are_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, slopes, steps, jitter = wiggles(4000)
    guarded = misses(extrapolate(slopes, steps, jitter, power=2), truth)
    monkeypatch.setattr(extrapolation, "ACCIDENT", 0.0)
    unguarded = misses(extrapolate(slopes, steps, jitter, power=2), truth)
    # Measured: 0 and 219.
    assert guarded <= 4
    assert unguarded >= 100


def test_without_the_lower_tops_accidents_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, slopes, steps, jitter = wiggles(4000)
    monkeypatch.setattr(extrapolation, "REACH", 0)
    # Measured: 27, and 0 with them.
    assert misses(extrapolate(slopes, steps, jitter, power=2), truth) >= 15


def test_without_truncation_bars_are_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, slopes, steps, jitter = wiggles(4000)
    monkeypatch.setattr(extrapolation, "SAFETY", 0.0)
    # Measured: 273, and 0 with it.
    assert misses(extrapolate(slopes, steps, jitter, power=2), truth) > 150


@pytest.mark.parametrize("understated", [3.0, 30.0])
def test_noise_that_is_understated_shows_in_the_residuals(understated: float) -> None:
    lanes = 2000
    steps = steps_for(lanes)
    slopes, jitter = with_noise(np.sin(steps) / steps, steps, 1e-9)
    best = extrapolate(slopes, steps, jitter / understated, power=2)
    # Measured: 0 and 1 misses; the residuals of a lane know its noise to a third or so.
    assert misses(best, 1.0) <= 5
    assert 0.7 < np.median(best.excess) / understated < 1.4


def test_without_the_residuals_understated_noise_is_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def satisfied(
        slopes: Floats, steps: Floats, jitter: Floats, shared: Floats, power: int
    ) -> Fits:
        fits = fit(slopes, steps, jitter, shared, power)
        fits.residual[:] = 0.0
        return fits

    monkeypatch.setattr(extrapolation, "fit", satisfied)
    steps = steps_for(2000)
    slopes, jitter = with_noise(np.sin(steps) / steps, steps, 1e-9)
    # Measured: 1506.
    assert misses(extrapolate(slopes, steps, jitter / 30.0, power=2), 1.0) > 700


def test_residuals_are_not_lost_to_cancellation() -> None:
    """The data are 1e14 times their noise; a difference of two squares would see no residual."""
    steps = steps_for(500)
    slopes, jitter = with_noise(np.exp(steps**2), steps, NOISE)
    best = extrapolate(slopes, steps, jitter / 8.0, power=2)
    assert 5.0 < np.median(best.excess) < 11.0


def test_rungs_on_the_near_side_of_a_kink_refute_those_beyond() -> None:
    slopes, steps, jitter = kinks(4000, -6, -2)
    best = extrapolate(slopes, steps, jitter, power=2)
    # Measured: 2 misses, and a median bar of 7e-10.
    assert misses(best, 1.0) <= 6
    assert np.median(error(best)) < 1e-8


def test_structure_is_not_explained_by_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rungs below the kink, many beyond it: as a fit with a lot of noise that would do."""
    slopes, steps, jitter = kinks(4000, -7.5, -6)
    guarded = misses(extrapolate(slopes, steps, jitter, power=2), 1.0)
    monkeypatch.setattr(extrapolation, "MOST_EXCESS", math.inf)
    monkeypatch.setattr(extrapolation, "_beyond_lower_bars", lambda value, *_: np.zeros_like(value))
    unguarded = misses(extrapolate(slopes, steps, jitter, power=2), 1.0)
    # Measured: 2037 and 3867. Those 2037 have too few rungs below the kink to be told anything.
    assert guarded < 2400
    assert unguarded > 3400


def test_noise_common_to_all_rungs_is_in_the_bar() -> None:
    """Of one-sided differences: f at the centre is the same one for all of them."""
    lanes = 4000
    steps = steps_for(lanes)
    noise = 1e-9
    rng = np.random.default_rng(4)
    own, common = rng.standard_normal(steps.shape), rng.standard_normal((lanes, 1))
    slopes = np.expm1(steps) / steps + noise * (own - common) / steps
    jitter = noise / steps
    best = extrapolate(slopes, steps, jitter, power=1, shared=jitter)
    assert misses(best, 1.0) <= 4
    alone = extrapolate(slopes, steps, jitter, power=1)
    assert np.median(best.rounding / alone.rounding) > 1.2


@given(exponent=st.integers(-900, 900))
def test_bars_scale_with_the_function(exponent: int) -> None:
    steps = steps_for(1)
    slopes, jitter = with_noise(np.sin(steps) / steps, steps, NOISE)
    factor = 2.0**exponent
    plain = extrapolate(slopes, steps, jitter, power=2)
    scaled = extrapolate(factor * slopes, steps, factor * jitter, power=2)
    assert scaled.value[0] / factor == pytest.approx(plain.value[0], rel=1e-14)
    assert error(scaled)[0] / factor == pytest.approx(error(plain)[0], rel=1e-6)


def test_lanes_do_not_depend_on_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    slopes, steps, jitter = kinks(40, -6, -2)
    slopes[::3, :4] = np.nan
    slopes[1::3, 9:] = np.nan
    together = extrapolate(slopes, steps, jitter, power=2)
    monkeypatch.setattr(extrapolation, "CHUNK", 1)
    alone = extrapolate(slopes, steps, jitter, power=2)
    np.testing.assert_array_equal(together.first, alone.first)
    np.testing.assert_array_less(np.abs(together.value - alone.value), 0.01 * error(alone))
    np.testing.assert_allclose(error(together), error(alone), rtol=0.01)


def test_rungs_used_are_named() -> None:
    steps = steps_for(1)
    slopes, jitter = with_noise(np.ones_like(steps), steps, 1e-3)
    slopes[0, :2] = np.nan
    best = extrapolate(slopes, steps, jitter, power=2)
    assert best.first[0] == 2
    assert best.first[0] <= best.last[0] < steps.shape[1]


@pytest.mark.parametrize("rungs", [0, 1, 2])
def test_too_few_rungs_say_nothing(rungs: int) -> None:
    steps = steps_for(1)
    slopes = np.full_like(steps, np.nan)
    slopes[0, :rungs] = 1.0
    best = extrapolate(slopes, steps, 1e-16 / steps, power=2)
    assert math.isnan(best.value[0])
    assert math.isinf(error(best)[0])
    assert best.first[0] == best.last[0] == -1


def test_exact_zeros_without_noise_have_no_bar() -> None:
    steps = steps_for(2)
    slopes = np.zeros_like(steps)
    jitter = np.zeros_like(steps)
    jitter[1] = 1e-20
    best = extrapolate(slopes, steps, jitter, power=2)
    assert best.value.tolist() == [0.0, 0.0]
    assert error(best)[0] == 0.0 < error(best)[1]
