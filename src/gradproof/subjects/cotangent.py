"""What an array-valued function is contracted with."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.subjects.base import Floats


def draw_cotangent(output: NDArray[Any], rng: np.random.Generator) -> Floats:
    """Random weights in the shape of f's value; 1 for a single number.

    Bounded away from 0, so that no output is lost; outputs of very different size are brought to
    one, so that none swamps another.

    >>> draw_cotangent(np.array([5.0]), np.random.default_rng(0)).tolist()
    [1.0]
    """
    if output.size == 1:
        return np.ones(output.shape)
    size = np.abs(output.astype(np.float64))
    size = np.where(np.isfinite(size), size, 0.0)
    typical = float(size.max()) or 1.0
    scale = np.maximum(size / typical, 1e-3)
    sign = rng.choice([-1.0, 1.0], size=output.shape)
    weights: Floats = sign * rng.uniform(0.5, 1.5, size=output.shape) / scale
    return weights


def as_cotangent(cotangent: object, shape: tuple[int, ...]) -> Floats:
    """The caller's own weights.

    Raises:
        InputError: they are not finite real numbers of f's shape, or all 0.
    """
    given = np.asarray(cotangent)
    if given.dtype.kind not in "fiub" or not np.isfinite(given).all() or not given.any():
        came = f"cotangent={reprlib.repr(cotangent)}"
        raise InputError(f"Expected finite real numbers that are not all 0 but got {came}")
    if given.shape != shape:
        raise InputError(f"Expected cotangent of f's shape {shape} but got {given.shape}")
    return given.astype(np.float64)
