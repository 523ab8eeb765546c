"""Signs of a staircase in a ladder, or of noise that a table at the centre did not see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics import staircase
from gradproof.numerics.ladder import REGULAR, Ladder
from gradproof.numerics.noise import COST, Noise, measure_noise
from gradproof.numerics.sampling import Floats, Lanes, offset_on_grid

#: Regular rungs, from the coarsest, in which a staircase is not looked for.
COARSE = 3
#: A change foretold to be this many times the noise, and then invisible, ended abruptly.
ABRUPT = 1e3
#: Rungs that make an agreement below a jump more than one stair's.
MANY_RUNGS = 6
#: The width of a second table of noise, relative to the first: narrower, so that it sees no more of
#: f's own structure. A table has few points, and one in
#: some thousands sees ten times less noise than there is.
SECOND_TABLE = 0.61


def look_for_staircase(
    ladder: Ladder, local: Noise, scale: Floats, unit: Floats
) -> tuple[Floats, NDArray[np.intp]]:
    """Raise the noise of lanes whose finest rungs only agree because they share a stair.

    Args:
        ladder: the regular rungs.
        local: noise right at the centres.
        scale: (lanes,), the size of their surroundings.
        unit: (lanes,), relative spacing of the numbers that x can be.

    Returns:
        The noise, and what looking took: evaluations, (lanes,).
    """
    noise, cost = local.level.copy(), np.zeros(len(local.level), dtype=np.intp)
    every = np.arange(len(noise))
    suspects, _ = _suspects(ladder, noise, every)
    if len(suspects) == 0:
        return noise, cost
    noise[suspects] = np.fmax(noise[suspects], _measured_again(ladder, suspects, scale, unit))
    cost[suspects] += COST
    suspects, distance = _suspects(ladder, noise, suspects)
    if len(suspects) == 0:
        return noise, cost

    def taken(lanes: Lanes, offsets: Floats, /) -> Floats:
        return offset_on_grid(ladder.center[lanes], offsets, unit[lanes])

    found = staircase.find_staircase(
        ladder.sampler, suspects, distance, local.slope[suspects], noise[suspects], taken
    )
    cost[suspects] += found.cost
    raised = np.fmax(noise[suspects], found.level)
    noise[suspects] = np.where(found.found, raised, noise[suspects])
    return noise, cost


def _measured_again(ladder: Ladder, lanes: Lanes, scale: Floats, unit: Floats) -> Floats:
    def sampler(which: Lanes, offsets: Floats, /) -> Floats:
        return ladder.sampler(lanes[which], offsets)

    again = measure_noise(
        sampler,
        ladder.center[lanes],
        SECOND_TABLE * scale[lanes],
        ladder.value[lanes],
        unit[lanes],
        ladder.value_unit,
    )
    return again.level


def _suspects(ladder: Ladder, noise: Floats, lanes: Lanes) -> tuple[Lanes, Floats]:
    """Which of these lanes show signs of a staircase, and how far from the centre.

    Between neighbouring rungs of a smooth function the difference of slopes, times the step, grows
    as t^3 once it leaves the noise. Where it stays level there is noise that the table at the
    centre did not see, or a kink, or a wiggle.
    """
    slopes, steps = ladder.central()[lanes][:, REGULAR], ladder.steps[lanes][:, REGULAR]
    level = ladder.level(noise)[lanes][:, REGULAR]
    change = np.abs(np.diff(slopes, axis=1)) * steps[:, 1:]
    visible = change > 16.0 * level[:, 1:]
    growth = (steps[:, :-3] / steps[:, 2:-1]) ** 2
    stalled = visible[:, 2:] & ~(change[:, :-2] > growth * change[:, 2:])
    # The coarsest rungs are as long as the function's own scale, where nothing need grow.
    stalled[:, :COARSE] = False
    # But no change may end at once, with the finer rungs in perfect agreement.
    quiet = np.logical_and.accumulate(~visible[:, :2:-1], axis=1)[:, ::-1]
    foretold = change[:, 2:-1] * (steps[:, 4:] / steps[:, 3:-1]) ** 3
    stalled[:, :-1] |= quiet & (foretold > ABRUPT * level[:, 4:])
    finest = stalled.shape[1] + 1 - np.argmax(stalled[:, ::-1], axis=1)
    found = np.flatnonzero(stalled.any(axis=1) & ~_agree_below(slopes, steps, level, finest))
    return lanes[found], steps[found, finest[found] - 2]


def _agree_below(
    slopes: Floats, steps: Floats, level: Floats, finest: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Whether many rungs below the finest suspicious one agree on a slope that is not 0.

    A function may have jumps (a sawtooth's) and be smooth far below their distance. Stairs are
    narrow, or flat.
    """
    below = (np.arange(slopes.shape[1]) > finest[:, None] + 1) & np.isfinite(slopes)
    jitter = level / steps
    sharpest = np.where(below, slopes, 0.0)[np.arange(len(slopes)), np.argmax(below, axis=1)]
    allowed = 1e-3 * np.abs(sharpest)[:, None] + 16.0 * jitter
    agree = (np.abs(slopes - sharpest[:, None]) <= allowed) | ~below
    stands_out = np.abs(sharpest) > 100.0 * jitter[np.arange(len(slopes)), np.argmax(below, axis=1)]
    settled: NDArray[np.bool_] = agree.all(axis=1) & (below.sum(axis=1) >= MANY_RUNGS) & stands_out
    return settled
