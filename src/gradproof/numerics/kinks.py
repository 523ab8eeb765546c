"""Kinks at the point: both one-sided slopes, from the even part of f.

s(t) = (f(x+t) + f(x-t)) / 2 - f(x) falls as t^2 where f is smooth and as |t| where the slope jumps
at x. The limit of s(t)/t is half of the jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.extrapolation import extrapolate
from gradproof.numerics.ladder import Ladder
from gradproof.numerics.sampling import Floats

#: A jump is believed when it exceeds its bar this many times.
CERTAINTY = 4.0
#: From this share of its bar it is allowed for, where it may lie beside the centre.
PALPABLE = 1.0 / 3.0
#: How many of the finest steps that could show a jump must show it.
WITNESSES = 4
#: At a cusp each of this many of the finest steps still shows more than this share of the largest.
FINEST, LEFT = 3, 0.2


@dataclass(frozen=True)
class Jump:
    """Half of the slope's jump at each centre, its bar, and whether it is a kink.

    `is_cusp` says that f has no slopes there, not even one-sided ones.
    """

    half: Floats
    error: Floats
    is_kink: NDArray[np.bool_]
    is_cusp: NDArray[np.bool_]


def find_jump(ladder: Ladder, noise: Floats, excess: Floats) -> Jump:
    """Half of (right slope - left slope) at each centre.

    A kink must show at the finest rungs too: the finest `WITNESSES` of those where half of the jump
    would stand out of the noise must show at least half of it.

    Args:
        ladder: the values.
        noise: (lanes,), standard deviation of their jitter.
        excess: (lanes,), how many times more than that the central differences showed.
    """
    even = ladder.even()
    jitter, shared = _jitter(ladder, noise)
    found = extrapolate(even, ladder.steps, jitter, power=1, shared=shared)
    jitter = np.hypot(jitter, shared)
    error = found.truncation + found.rounding
    half = found.value
    with np.errstate(invalid="ignore"):
        visible = np.isfinite(even) & (np.abs(half)[:, None] > 8.0 * jitter)
        # The finest of these: at longer steps the sides' own bends may hide a small jump.
        visible &= np.cumsum(visible[:, ::-1], axis=1)[:, ::-1] <= WITNESSES
        shown = np.abs(even - half[:, None]) <= 0.5 * np.abs(half)[:, None]
        stands_out = np.abs(half) > CERTAINTY * error
    is_kink = stands_out & visible.any(axis=1) & (shown | ~visible).all(axis=1)
    return Jump(half, error, is_kink, stays(even, jitter * excess[:, None]) & ~is_kink)


def hidden_jump(ladder: Ladder, jump: Jump) -> Floats:
    """How far a kink near the centre may keep the slope from that of the steps used; (lanes,).

    With coarse numbers the steps short enough to stay on one side of it may be lost in the noise:
    the slopes of longer ones lie between those of the two sides, and differ from either by half of
    the jump at most. 0 for other lanes, and where the even part shows no sign of one.
    """
    size = np.abs(jump.half)
    is_near = ladder.is_coarse & ~jump.is_kink & (size > PALPABLE * jump.error)
    return np.where(is_near, size, 0.0)


def _jitter(ladder: Ladder, noise: Floats) -> tuple[Floats, Floats]:
    """Values at x+t and x-t have noise of their own, that at x is the same for all steps."""
    return np.sqrt(0.5) * ladder.level(noise) / ladder.steps, noise[:, None] / ladder.steps


def stays(parts: Floats, jitter: Floats) -> NDArray[np.bool_]:
    """Whether what should fall with the step does not, down to the shortest that could show it.

    Of s(t)/t it says that f has a cusp; of the changes from one slope to the next, that the slope
    has no limit.

    Args:
        parts: (lanes, rungs), from coarse to fine, NaN where a rung does not exist.
        jitter: (lanes, rungs), their standard deviation.
    """
    size = np.nan_to_num(np.abs(parts))
    size[~(size > 8.0 * jitter)] = 0.0
    largest = size.max(axis=1)
    seen = np.isfinite(parts) & (largest[:, None] > 8.0 * jitter)
    from_finest = np.cumsum(seen[:, ::-1], axis=1)[:, ::-1]
    finest = np.where(seen & (from_finest <= FINEST), size, np.inf)
    remains: NDArray[np.bool_] = finest.min(axis=1) > LEFT * largest
    return remains & (from_finest[:, 0] >= 2 * FINEST)
