"""Telling a staircase from structure near the point.

A function with a float32 or quantised stage is flat, or perfectly smooth, below the width of its
stairs, so the finest rungs agree with each other on a slope that is not the function's. A kink or a
fast wiggle near the point looks alike from the ladder: fine rungs agree, coarse ones do not. The
difference is what lies *between* the fine scale and the coarse: halving an interval towards its
largest change, the change across it shrinks with the interval if the function is continuous, and
stays if there is a jump; and jumps on both sides of the point are a staircase, not one edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.sampling import Floats, Lanes, Sampler, sample_grid

POINTS = 9
#: A continuous function's change is 16 times smaller after the last four halvings; a jump's stays.
SETTLED = 14
HALVINGS = 18
#: Where to look, in units of the distance, and the least-squares cubic through values there. The
#: spacing is uneven: an even one can march in step with the stairs and see a straight line.
NODES = np.sort(1.0 + np.arange(POINTS) * 0.5 * (np.sqrt(5.0) - 1.0) % 1.0)
EXPONENTS = np.arange(4)
POWERS = NODES[:, None] ** EXPONENTS
FIT = np.linalg.pinv(POWERS)
#: Evaluations for each lane that is tested: both sides, and on each side two trends to take out.
COST = 2 * (POINTS + 2 * HALVINGS)


@dataclass(frozen=True)
class Staircase:
    """Per lane tested: whether there are jumps on both sides, and the noise they amount to."""

    found: NDArray[np.bool_]
    level: Floats


def find_staircase(
    sampler: Sampler, lanes: Lanes, distance: Floats, slope: Floats, noise: Floats
) -> Staircase:
    """Look for jumps in [distance, 2 distance] on both sides of each lane's centre.

    A trend is taken out first, so that small jumps show beside a steep smooth part. Which one
    cannot be known: the slope on a single stair leaves the bare stairs, the cubic through all
    points leaves noise that is rough at every scale. Both are tried.

    Args:
        sampler: the lanes' values.
        lanes: which lanes to test, shape (n,).
        distance: where to look, shape (n,); some stairs' widths away from the centre.
        slope: the slope at the very smallest scale, shape (n,).
        noise: noise believed so far, shape (n,).
    """
    count = len(lanes)
    signed = np.concatenate([distance, -distance])
    sides, noises = np.tile(lanes, 2), np.tile(noise, 2)
    values = sample_grid(sampler, sides, signed[:, None] * NODES)
    cubic = values @ FIT.T
    level = np.sqrt(np.sum((values - cubic @ POWERS.T) ** 2, axis=1) / (POINTS - len(EXPONENTS)))
    straight = np.zeros_like(cubic)
    straight[:, 1] = np.tile(slope, 2) * signed
    jump = np.zeros(len(sides))
    for trend in (straight, cubic):
        jump = np.fmax(jump, _bisect_to_jump(sampler, sides, signed, values, trend, noises))
    # Rounding to multiples of a quantum q is noise of q / sqrt(12).
    level = np.fmax(level, jump / np.sqrt(12.0)).reshape(2, count).max(axis=0)
    return Staircase((jump[:count] > 0) & (jump[count:] > 0), level)


def _bisect_to_jump(
    sampler: Sampler,
    lanes: Lanes,
    distance: Floats,
    values: Floats,
    trend: Floats,
    noise: Floats,
) -> Floats:
    """Size of the jump in the largest change between neighbours, beside the trend; 0 if none."""
    rest = values - trend @ POWERS.T
    change = np.abs(np.diff(rest, axis=1))
    change[~np.isfinite(change)] = -1.0
    rows = np.arange(len(rest))
    k = np.argmax(change, axis=1)
    left, right = NODES[k], NODES[k + 1]
    low, high = rest[rows, k], rest[rows, k + 1]
    settled = np.abs(high - low)
    with np.errstate(invalid="ignore"):
        for halving in range(HALVINGS):
            if halving == SETTLED:
                settled = np.abs(high - low)
            middle = 0.5 * (left + right)
            value = sample_grid(sampler, lanes, (distance * middle)[:, None])[:, 0]
            value -= np.sum(trend * middle[:, None] ** EXPONENTS, axis=1)
            in_left = np.abs(value - low) >= np.abs(high - value)
            right, high = np.where(in_left, middle, right), np.where(in_left, value, high)
            left, low = np.where(in_left, left, middle), np.where(in_left, low, value)
        remaining = np.abs(high - low)
        is_jump = (remaining > 0.25 * settled) & (remaining > 16.0 * noise)
    return np.where(is_jump, remaining, 0.0)
