"""Evaluating many functions of one variable at chosen offsets from their centres.

A *lane* is one function phi_j(t) of one real offset t from its centre. Steps are sized to the
centre and are exactly representable there, so that the step divided by is the step taken.

The numbers that a function can be given may be coarser than doubles: their relative spacing is the
lane's `unit`, `EPS` for doubles, 2^-23 for float32, 2^-10 for float16, 2^-7 for bfloat16.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]

EPS = float(np.finfo(np.float64).eps)
#: Relative spacing of float32's numbers.
SINGLE = 2.0**-23
TINY = float(np.finfo(np.float64).smallest_subnormal)
#: The absolute spacing of float16 near 0: large enough to be met. (That of the other formats is
#: 1e-40 or less.)
_FLOAT16, _FLOAT16_TINY = 2.0**-10, 2.0**-24


class Sampler(Protocol):
    """Values of phi at offsets: `sampler(lanes, offsets)[i]` is phi_{lanes[i]}(offsets[i]).

    A point outside the function's domain is NaN or infinite.
    """

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        """One value per lane and offset."""
        ...


def spacing(x: Floats, unit: Floats | float) -> Floats:
    """Distance from |x| to the next number of a format whose relative spacing is `unit`.

    >>> spacing(np.array([1.0, 3.0]), 2.0**-10).tolist()
    [0.0009765625, 0.001953125]
    """
    exponent = np.where(x == 0.0, -1100, np.frexp(x)[1] - 1)
    least = np.where(np.equal(unit, _FLOAT16), _FLOAT16_TINY, TINY)
    distance: Floats = np.maximum(np.ldexp(unit, exponent), least)
    return distance


def on_grid(x: Floats, unit: Floats | float) -> Floats:
    """The nearest number of a format whose relative spacing is `unit`.

    >>> on_grid(np.array([1.0004, 1.0006]), 2.0**-10).tolist()
    [1.0, 1.0009765625]
    """
    distance = spacing(x, unit)
    nearest: Floats = np.round(x / distance) * distance
    return nearest


def representable(center: Floats, step: Floats, unit: Floats | float = EPS) -> Floats:
    """The step really taken, (|x| + t) - |x|, at least a few units in the last place of x.

    Args:
        center: x, any shape.
        step: wanted t > 0, broadcastable against `center`.
        unit: relative spacing of the numbers that x can be, broadcastable against `center`.

    >>> t = representable(np.array([1.0]), np.array([1e-10]))
    >>> bool((1.0 + t[0]) - 1.0 == t[0] and 1.0 - (1.0 - t[0]) == t[0])
    True
    >>> bool(representable(np.array([1e6]), np.array([1e-12]))[0] >= np.spacing(1e6))
    True
    >>> representable(np.array([1.0]), np.array([0.1]), 2.0**-7)
    array([0.1015625])
    """
    magnitude = np.abs(center)
    wanted = np.maximum(step, 2.0 * np.spacing(magnitude))
    taken: Floats = (magnitude + wanted) - magnitude
    if np.any(is_coarse := np.greater(unit, EPS)):
        wanted = np.maximum(step, 2.0 * spacing(magnitude, unit))
        taken = np.where(is_coarse, on_grid(magnitude + wanted, unit) - magnitude, taken)
    return taken


def offset_on_grid(center: Floats, offset: Floats, unit: Floats | float) -> Floats:
    """The offset really taken by f's argument when it is rounded to its own format.

    That of doubles, whose rounding is far below anything that matters, is left as it is.
    """
    is_coarse = np.greater(unit, EPS)
    if not np.any(is_coarse):
        return offset
    taken: Floats = np.where(is_coarse, on_grid(center + offset, unit) - center, offset)
    return taken


def unit_in_last_place(value: Floats, unit: float = EPS) -> Floats:
    """Spacing of numbers at |value|; 0 at 0 (a function that returns 0 may do so exactly)."""
    magnitude = np.abs(value)
    here = np.spacing(magnitude) if unit <= EPS else spacing(magnitude, unit)
    ulp: Floats = np.where((magnitude > 0) & np.isfinite(magnitude), here, 0.0)
    return ulp


def sample_grid(sampler: Sampler, lanes: Lanes, offsets: Floats) -> Floats:
    """Values on a grid of offsets, shape (len(lanes), n), in one call; NaN offsets are skipped."""
    values = np.full(offsets.shape, np.nan)
    wanted = np.isfinite(offsets)
    if wanted.any():
        repeated = np.broadcast_to(lanes[:, None], offsets.shape)
        values[wanted] = sampler(repeated[wanted], offsets[wanted])
    values[~np.isfinite(values)] = np.nan
    return values


def parabola(
    value: Floats | float, plus: Floats, minus: Floats, right: Floats, left: Floats
) -> tuple[Floats, Floats]:
    """Slope and half the second derivative at x of the parabola through three points.

    For equal steps t these are the central difference and the even part over t^2. Coarse numbers do
    not always lie evenly on both sides of x.

    Args:
        value: f(x).
        plus: f(x + right).
        minus: f(x - left).
        right: the step taken to the right, positive.
        left: the step taken to the left, positive.

    >>> slope, bend = parabola(1.0, *(np.array([v]) for v in (2.25, 0.5625, 0.5, 0.25)))
    >>> float(slope[0]), float(bend[0])
    (2.0, 1.0)
    """
    forward, backward = (plus - value) / right, (value - minus) / left
    bend = (forward - backward) / (right + left)
    return forward - bend * right, bend
