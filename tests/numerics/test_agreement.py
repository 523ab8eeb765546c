"""The measures of agreement: right at every magnitude, and never fooled by NaN or infinity."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import ArrayLike

from gradproof.numerics import agreement

NAN, INF = math.nan, math.inf
EPS = float(np.finfo(np.float64).eps)
SMALLEST = 5e-324
LARGEST = float(np.finfo(np.float64).max)


def one_relative_error(a: float, n: float) -> float:
    return float(agreement.relative_error(a, n))


def one_digits_attainable(numeric: float, error: float) -> float:
    return float(agreement.digits_attainable(numeric, error))


def test_relative_error_is_that_of_exact_arithmetic_at_any_magnitude() -> None:
    rng = np.random.default_rng(0)
    n = rng.standard_normal(300) * 2.0 ** rng.integers(-1000, 1000, 300)
    # Half of the pairs agree to some digits, the rest have nothing in common.
    close = n * (1.0 + rng.standard_normal(300) * 10.0 ** rng.uniform(-15, 0, 300))
    a = np.where(rng.random(300) < 0.5, close, rng.permutation(n))
    for mine, x, y in zip(agreement.relative_error(a, n).tolist(), a, n, strict=True):
        exact = abs(Fraction(x) - Fraction(y)) / max(abs(Fraction(x)), abs(Fraction(y)))
        assert mine == pytest.approx(float(exact), rel=4 * EPS, abs=0.0)


@pytest.mark.parametrize("x", [SMALLEST, 1e-310, 1e-300, 1.0, 1e200, LARGEST])
def test_equal_values_agree_fully_and_opposite_ones_not_at_all(x: float) -> None:
    assert one_relative_error(x, x) == 0.0
    assert one_relative_error(x, -x) == 2.0
    assert float(agreement.digits_agree(x, x)) == agreement.MOST_DIGITS
    assert float(agreement.digits_agree(x, -x)) == 0.0
    assert agreement.norm_ratio([x, x], [x, x]) == 0.0
    assert agreement.norm_ratio([x, x], [x, -x]) == pytest.approx(1.0)
    assert agreement.norm_ratio([x], [-x]) == INF


def test_one_ulp_is_seen() -> None:
    assert one_relative_error(1.0, 1.0 + EPS) == pytest.approx(EPS, rel=1e-9)
    assert one_relative_error(SMALLEST, 2 * SMALLEST) == 0.5


def test_zero_against_zero_agrees_and_against_anything_else_does_not() -> None:
    assert one_relative_error(0.0, 0.0) == 0.0
    assert one_relative_error(0.0, SMALLEST) == 1.0
    assert float(agreement.digits_agree(0.0, 0.0)) == agreement.MOST_DIGITS
    assert agreement.norm_ratio([0.0, 0.0], [0.0, -0.0]) == 0.0
    assert agreement.norm_ratio([0.0], [1e-300]) == 1.0


@pytest.mark.parametrize(
    ("a", "n"),
    [(NAN, 1.0), (1.0, NAN), (NAN, NAN), (INF, 1.0), (1.0, INF), (INF, INF), (-INF, INF)],
)
def test_nan_and_infinity_never_agree(a: float, n: float) -> None:
    assert math.isnan(one_relative_error(a, n))
    assert float(agreement.digits_agree(a, n)) == 0.0
    assert math.isnan(agreement.norm_ratio([1.0, a], [1.0, n]))
    assert math.isnan(agreement.max_relative_error([1.0, a, 2.0], [1.0, n, 2.0]))


def test_norm_ratio_does_not_change_with_the_scale() -> None:
    rng = np.random.default_rng(1)
    n = rng.standard_normal((4, 5))
    a = n + 1e-9 * rng.standard_normal((4, 5))
    plain = float(np.linalg.norm(a - n) / np.linalg.norm(a + n))
    assert agreement.norm_ratio(a, n) == pytest.approx(plain, rel=1e-12)
    for power in (-900, -600, 600, 1020):
        assert agreement.norm_ratio(a * 2.0**power, n * 2.0**power) == agreement.norm_ratio(a, n)


def test_norm_ratio_sees_a_difference_whose_square_underflows() -> None:
    a = np.array([1.0, 1e-200])
    assert agreement.norm_ratio(a, [1.0, 3e-200]) == pytest.approx(1e-200, rel=1e-9)


def test_no_entries_are_no_agreement() -> None:
    assert math.isnan(agreement.norm_ratio([], []))
    assert math.isnan(agreement.max_relative_error([], []))
    assert agreement.relative_error([], []).shape == (0,)
    assert agreement.sign_mismatches([], []) == 0


@pytest.mark.parametrize(
    ("numeric", "error", "digits"),
    [
        (2.0, 2e-9, 9.0),
        (-2e200, 2e191, 9.0),
        (1e-300, 1e-309, 9.0),
        (1.0, 0.0, agreement.MOST_DIGITS),
        (0.0, 0.0, agreement.MOST_DIGITS),
        (1.0, 1e-30, agreement.MOST_DIGITS),
        (0.0, 1e-300, 0.0),
        (1e-300, 1e300, 0.0),
        (1.0, 5.0, 0.0),
        (1.0, INF, 0.0),
        (1.0, NAN, 0.0),
        (NAN, 1e-9, 0.0),
        (NAN, 0.0, 0.0),
        (INF, 0.0, 0.0),
        (1.0, -1e-9, 0.0),
    ],
)
def test_digits_attainable(numeric: float, error: float, digits: float) -> None:
    assert one_digits_attainable(numeric, error) == pytest.approx(digits, abs=1e-6)


def test_only_strictly_opposite_signs_mismatch() -> None:
    a = [1.0, -1.0, 0.0, -0.0, 1.0, NAN, INF, SMALLEST]
    n = [-1.0, -1.0, -1.0, 1.0, 0.0, -1.0, -INF, -SMALLEST]
    assert agreement.sign_mismatches(a, n) == 3


def test_the_largest_relative_error_is_found_in_any_shape() -> None:
    assert agreement.max_relative_error([[1.0, 2.0], [4.0, 0.0]], [[1.0, 2.0], [3.0, 0.0]]) == 0.25


Measure = Callable[[ArrayLike, ArrayLike], object]
MEASURES: list[Measure] = [
    agreement.relative_error,
    agreement.digits_agree,
    agreement.digits_attainable,
    agreement.norm_ratio,
    agreement.max_relative_error,
    agreement.sign_mismatches,
]


@pytest.mark.parametrize("measure", MEASURES)
def test_arrays_are_not_broadcast_against_each_other(measure: Measure) -> None:
    with pytest.raises(ValueError, match=r"shapes differ: \(3, 1\) and \(3,\)"):
        measure(np.ones((3, 1)), np.ones(3))


@pytest.mark.parametrize("measure", MEASURES)
def test_complex_numbers_are_refused_not_cut_to_their_real_part(measure: Measure) -> None:
    with pytest.raises(TypeError):
        measure(np.array([1.0 + 1.0j]), np.array([1.0]))


def test_float32_and_integers_are_compared_in_double_precision() -> None:
    third = np.float32(1) / np.float32(3)
    assert one_relative_error(float(third), 1 / 3) == pytest.approx(3e-8, rel=0.1)
    errors = agreement.relative_error(np.array([1, 2]), np.array([1, 3], np.float32))
    assert errors.dtype == np.float64
    assert errors.tolist() == [0.0, pytest.approx(1 / 3)]
