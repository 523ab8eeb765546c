"""What an array-valued function is contracted with."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.subjects.base import Floats

#: How far a point nearby lies, relative to the entries' sizes.
NEARBY = 2.0**-5
#: Outputs down to this part of the largest are brought to its size: one that is 0 at the point need
#: not be small beside it.
APART = 1e-3
#: The same where it has been seen how large they are beside the point: rounding shows no less.
FARTHER_APART = 1e-8


@np.errstate(all="ignore")
def draw_cotangent(
    output: NDArray[Any],
    rng: np.random.Generator,
    beside: Callable[[], NDArray[Any] | None] = lambda: None,
) -> Floats:
    """Random weights in the shape of f's value; 1 for a single number.

    Bounded away from 0, so that no output is lost; outputs of very different size are brought to
    one, so that none swamps another.

    Args:
        output: f's value.
        rng: for the weights.
        beside: f's value at a point nearby, None where it has none; called where outputs are so far
            apart that it matters.

    >>> draw_cotangent(np.array([5.0]), np.random.default_rng(0)).tolist()
    [1.0]
    >>> weights = draw_cotangent(
    ...     np.array([1e12, 1.0]), np.random.default_rng(0), lambda: np.array([1.1e12, 1.2])
    ... )
    >>> bool(abs(weights[1]) > 1e7 * abs(weights[0]))
    True
    """
    if output.size == 1:
        return np.ones(output.shape)
    size = _finite(np.abs(output.astype(np.float64)))
    least = APART
    if np.any(size < APART * size.max()):
        there = beside()
        if there is not None and there.shape == output.shape and np.isfinite(there).all():
            size = np.fmax(size, _finite(np.abs(there.astype(np.float64) - output)))
            least = FARTHER_APART
    typical = float(size.max()) or 1.0
    # One that is 0 at both points may have a kink between them and the next.
    scale = np.where(size > 0.0, np.maximum(size / typical, least), APART)
    sign = rng.choice([-1.0, 1.0], size=output.shape)
    weights: Floats = sign * rng.uniform(0.5, 1.5, size=output.shape) / scale
    return weights


def moved_by(point: Sequence[Floats], rng: np.random.Generator) -> list[Floats]:
    """A random point near another one: every entry moves by a little of its tensor's size."""
    moved = []
    for x in point:
        size = np.fmax(np.abs(x), np.sqrt(np.mean(x**2))) if len(x) else x
        moved.append(x + NEARBY * rng.uniform(-1.0, 1.0, len(x)) * (size if size.any() else 1.0))
    return moved


def _finite(size: Floats) -> Floats:
    return np.where(np.isfinite(size), size, 0.0)


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
