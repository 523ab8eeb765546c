"""Measures of agreement between an analytic and a numeric derivative.

NaN and infinity never count as agreement: their relative error is NaN and they agree to 0 digits.
All scale by a power of two first: 1e300 does not overflow, 1e-300 does not vanish. Arguments are
real arrays of one shape; a scalar fits any shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
MOST_DIGITS = 15.95  # what double precision can hold: -log10 of half an ulp of 1


def relative_error(a: ArrayLike, n: ArrayLike) -> Floats:
    """|a - n| / max(|a|, |n|), from 0 to 2; 0 where both are 0.

    The measure of the cs231n notes ("Gradient checks"): below 1e-7 is good, above 1e-2 is not.

    >>> relative_error([1.0, 0.0, -1e308], [1.001, 0.0, 1e308]).round(6).tolist()
    [0.000999, 0.0, 2.0]
    """
    a, n = _pair(a, n)
    with np.errstate(all="ignore"):
        largest = np.maximum(np.abs(a), np.abs(n))
        a, n, unit = (_scale_down(x, largest) for x in (a, n, largest))
        return np.where(largest == 0.0, 0.0, np.abs(a - n) / unit)


def digits_agree(a: ArrayLike, n: ArrayLike) -> Floats:
    """-log10(relative_error(a, n)), from 0 to 15.95 digits.

    >>> digits_agree([1.0, 2.0, 3.0, np.nan], [1.0 + 1e-9, 2.0, 0.0, np.nan]).round(2).tolist()
    [9.0, 15.95, 0.0, 0.0]
    """
    return _digits(relative_error(a, n))


def digits_attainable(numeric: ArrayLike, error: ArrayLike) -> Floats:
    """-log10(error / |numeric|): the digits that the numeric value is good for, from 0 to 15.95.

    All of them where the error is 0, none where the value is 0 and its error is not.

    >>> digits_attainable([2.0, 0.0, 3.0, np.nan], [2e-11, 1e-9, 0.0, 0.0]).round(2).tolist()
    [11.0, 0.0, 15.95, 0.0]
    """
    numeric, error = _pair(numeric, error)
    with np.errstate(all="ignore"):
        ratio = np.where(error == 0.0, 0.0, error / np.abs(numeric))
    return np.where(np.isfinite(numeric), _digits(ratio), 0.0)


def norm_ratio(a: ArrayLike, n: ArrayLike) -> float:
    """norm(a - n) / norm(a + n), flattened; 0 where both norms are 0, NaN for no entries.

    The measure of the UFLDL tutorial ("Gradient checking"), which expects about 1e-9.
    >>> norm_ratio([1e200, 0.0], [1e200, 2e191])
    1e-09
    >>> norm_ratio([0.0], [0.0]), norm_ratio([1.0], [-1.0]), norm_ratio([np.nan], [1.0])
    (0.0, inf, nan)
    """
    a, n = _pair(a, n)
    if a.size == 0:
        return np.nan
    with np.errstate(all="ignore"):
        largest = np.maximum(np.abs(a), np.abs(n)).max()
        a, n = _scale_down(a, largest), _scale_down(n, largest)
        gap = _norm(a - n)
        return 0.0 if gap == 0.0 else float(gap / np.float64(_norm(a + n)))


def max_relative_error(a: ArrayLike, n: ArrayLike) -> float:
    """The largest relative error; NaN where one of them is NaN, and for no entries.

    >>> max_relative_error([1.0, 2.0], [1.0, 1.0])
    0.5
    """
    errors = relative_error(a, n)
    return float(errors.max()) if errors.size else np.nan


def sign_mismatches(a: ArrayLike, n: ArrayLike) -> int:
    """The number of entries with strictly opposite signs; 0 and NaN are opposite to nothing.

    >>> sign_mismatches([1.0, -1.0, 0.0, 1e-300], [2.0, 1.0, -5.0, -1e-300])
    2
    """
    a, n = _pair(a, n)
    with np.errstate(invalid="ignore"):
        return int(np.count_nonzero(np.sign(a) * np.sign(n) < 0.0))


def _pair(a: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    # "same_kind" refuses complex numbers, whose imaginary part a plain cast would drop.
    a, n = (np.asarray(x).astype(np.float64, casting="same_kind") for x in (a, n))
    # Broadcasting (n, 1) against (n,) would compare every entry with every other.
    if a.shape != n.shape and a.ndim and n.ndim:
        raise ValueError(f"shapes differ: {a.shape} and {n.shape}")
    a, n = np.broadcast_arrays(a, n)
    return a, n


def _scale_down(x: Floats, largest: Floats) -> Floats:
    # A power of two changes no digit; dividing by `largest` itself would round.
    return np.ldexp(x, -np.frexp(largest)[1])


def _digits(ratio: Floats) -> Floats:
    with np.errstate(all="ignore"):
        digits = np.clip(-np.log10(ratio), 0.0, MOST_DIGITS) + 0.0  # -0.0 reads as less than none
    return np.where(np.isnan(digits), 0.0, digits)


def _norm(x: Floats) -> float:
    largest = float(np.abs(x).max())
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.sum(np.square(x / largest))))
