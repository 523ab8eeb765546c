"""Evaluating many functions of one variable at chosen offsets from their centres.

A *lane* is one function phi_j(t) of one real offset t from its centre. Steps are sized to the
centre and are exactly representable there, so that the step divided by is the step taken.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Lanes = NDArray[np.intp]

EPS = float(np.finfo(np.float64).eps)
TINY = float(np.finfo(np.float64).smallest_subnormal)


class Sampler(Protocol):
    """Values of phi at offsets: `sampler(lanes, offsets)[i]` is phi_{lanes[i]}(offsets[i]).

    A point outside the function's domain is NaN or infinite.
    """

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        """One value per lane and offset."""
        ...


def representable(center: Floats, step: Floats) -> Floats:
    """The step really taken, (|x| + t) - |x|, at least a few units in the last place of x.

    Args:
        center: x, any shape.
        step: wanted t > 0, broadcastable against `center`.

    >>> t = representable(np.array([1.0]), np.array([1e-10]))
    >>> bool((1.0 + t[0]) - 1.0 == t[0] and 1.0 - (1.0 - t[0]) == t[0])
    True
    >>> bool(representable(np.array([1e6]), np.array([1e-12]))[0] >= np.spacing(1e6))
    True
    """
    magnitude = np.abs(center)
    wanted = np.maximum(step, 2.0 * np.spacing(magnitude))
    taken: Floats = (magnitude + wanted) - magnitude
    return taken


def unit_in_last_place(value: Floats) -> Floats:
    """Spacing of doubles at |value|; 0 at 0 (a function that returns 0 may do so exactly)."""
    magnitude = np.abs(value)
    ulp: Floats = np.where((magnitude > 0) & np.isfinite(magnitude), np.spacing(magnitude), 0.0)
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
