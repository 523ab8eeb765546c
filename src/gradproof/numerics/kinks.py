"""Kinks at the point: both one-sided slopes, from the even part of f.

s(t) = (f(x+t) + f(x-t)) / 2 - f(x) falls as t^2 where f is smooth and as |t| where the slope jumps
at x. The limit of s(t)/t is half of the jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.extrapolation import Extrapolation, extrapolate, largest_intercept
from gradproof.numerics.ladder import Ladder
from gradproof.numerics.sampling import Floats

#: A jump is believed when it exceeds its bar this many times.
CERTAINTY = 4.0
#: From this share of its bar a jump is allowed for where it may lie beside the centre.
LIKELY = 1.0 / 3.0
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


def hidden_jump(ladder: Ladder, noise: Floats, best: Extrapolation, jump: Jump) -> Floats:
    """How far a kink beside the centre may keep its slope from that of the steps used; (lanes,).

    With coarse numbers the steps short enough to stay on one side of a kink may be lost in the
    noise. The slopes at longer ones lie between those of the two sides, and differ from either by
    half of the jump at most; the even part at these steps shows how large it may be. 0 for other
    lanes, where shorter steps tell.

    Args:
        ladder: the values.
        noise: (lanes,), standard deviation of their jitter.
        best: what the central differences gave.
        jump: what the even part gave.
    """
    hidden = np.zeros(len(noise))
    lanes = np.flatnonzero(ladder.is_coarse & (best.first >= 0) & ~jump.is_kink)
    if len(lanes) == 0:
        return hidden
    jitter, shared = _jitter(ladder, noise)
    even, t, own, common = (a[lanes] for a in (ladder.even(), ladder.steps, jitter, shared))
    bar = best.truncation + best.rounding
    size = np.abs(jump.half)
    likely = np.where(size > LIKELY * jump.error, size, 0.0)
    plausible = largest_intercept(even, t, own, common, best.first[lanes], bar[lanes])
    hidden[lanes] = np.fmax(likely[lanes], plausible)
    return hidden


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
