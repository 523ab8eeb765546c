"""Numeric derivatives of many entries, each with as many evaluations as it takes.

Most entries of a right gradient are settled by a pair or two of evaluations. What is left climbs a
whole ladder, and a claim is only called wrong after a second ladder, on other steps with noise
measured anew, has said so too: among 10^5 entries an accident of one in 10^4 happens ten times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.branches import TOP_RUNG
from gradproof.coverage.pairs import CLEAR, settle_by_pairs
from gradproof.coverage.request import Numeric, Request, gap_beyond
from gradproof.numerics.estimate import Estimates, Status, code, estimate
from gradproof.numerics.sampling import EPS, Floats, Lanes, Sampler

#: Ladders climbed at once: what bounds memory.
BLOCK = 2048
#: Entries of one tensor for which the second look is taken when many are wrong.
SECOND_LOOKS = 48
#: Of these, so many for which the branches that f takes are traced.
TRACED = 24
#: The longest steps that cross no kink, for some lanes, up to those given.
Clear = Callable[[Lanes, Floats], Floats]
#: How many bars off a claim must be to be wrong where numbers are coarse: kinks that lie dense, or
#: too near to be told from the noise, may hide from both looks.
MARGIN_IF_COARSE = 2.0


def climb(
    sampler: Sampler,
    request: Request,
    *,
    value: float,
    noise: float,
    resolution: float,
    clear: Clear | None = None,
) -> Numeric:
    """Find every entry's derivative; a lane is an entry.

    Args:
        sampler: values with the lane's entry moved.
        request: the entries and what is claimed for them.
        value: f at the point.
        noise: standard deviation of f's own jitter.
        resolution: the relative bar that is asked for.
        clear: the longest steps that cross no kink, where that can be seen.
    """
    with np.errstate(all="ignore"):
        numeric, bent, blunt = settle_by_pairs(sampler, request, value, noise, resolution)
        # A blunt entry may be quieter than the function is elsewhere: its noise is measured anew.
        for lanes, level in ((bent, noise), (blunt, None)):
            for start in range(0, len(lanes), BLOCK):
                block = lanes[start : start + BLOCK]
                numeric.put(block, ladders(sampler, request, block, value, level))
        _widen(sampler, request, numeric, blunt, value, resolution)
        look_again(sampler, request, numeric, value, clear)
    return numeric


def _widen(
    sampler: Sampler,
    request: Request,
    numeric: Numeric,
    lanes: Lanes,
    value: float,
    resolution: float,
) -> None:
    """Climb on the tensor's scale where an entry's own was too small to see anything."""
    size = np.fmax(np.abs(request.claim[lanes]), np.abs(numeric.value[lanes]))
    is_flat = numeric.variation[lanes] == 0.0
    still = ~(numeric.error[lanes] <= resolution * size) | is_flat
    small = lanes[still & (request.scale[lanes] < request.wide[lanes])]
    for start in range(0, len(small), BLOCK):
        block = small[start : start + BLOCK]
        wider = replace(request, scale=request.wide)
        found = ladders(sampler, wider, block, value, None)
        was_flat = numeric.variation[block] == 0.0
        better = np.flatnonzero((found.error < numeric.error[block]) | was_flat)
        numeric.put(block[better], found, better)
        numeric.scale[block[better]] = request.wide[block[better]]


def ladders(
    sampler: Sampler,
    request: Request,
    lanes: Lanes,
    value: float,
    noise: float | None,
    *,
    is_clear: bool = False,
) -> Estimates:
    """A whole ladder for some of the entries; noise=None has it measured at each of them.

    With `is_clear` it takes no steps beyond the scale (see `estimate`).
    """

    def of_lanes(which: Lanes, offsets: Floats, /) -> Floats:
        return sampler(lanes[which], offsets)

    return estimate(
        of_lanes,
        request.center[lanes],
        request.scale[lanes],
        value=np.full(len(lanes), value),
        noise=None if noise is None else np.full(len(lanes), noise),
        unit=request.unit[lanes],
        value_unit=request.value_unit,
        is_clear=is_clear,
    )


def look_again(
    sampler: Sampler,
    request: Request,
    numeric: Numeric,
    value: float,
    clear: Clear | None = None,
) -> None:
    """Climb once more where a claim lies beyond its bar, on other steps and with noise anew.

    With many wrong entries in a tensor only some are looked at again, the least clear first; the
    others are wrong by more than those. Where the branches that f takes can be seen (`clear`), some
    of these ladders keep to steps that cross no kink, nor the edge of a stair.
    """
    ratio = gap_beyond(request, numeric)
    beyond = np.flatnonzero(ratio > 1.0)
    if len(beyond) == 0:
        return
    beyond = beyond[np.argsort(ratio[beyond], kind="stable")]
    rank = _rank_within_group(request.group[beyond])
    # Nothing may be called wrong unseen unless it is so by far.
    chosen = beyond[(rank < SECOND_LOOKS) | (ratio[beyond] <= CLEAR)]
    numeric.confirmed[beyond] = True
    others = replace(request, scale=0.61 * numeric.scale)
    near = np.zeros(0, dtype=np.intp)
    if clear is not None:
        first = chosen[:TRACED]
        longest = TOP_RUNG * others.scale[first]
        shorter = clear(first, longest) / longest
        others.scale[first] *= shorter
        near = first[shorter < 1.0]
    far = np.setdiff1d(chosen, near)
    blocks = [near, *(far[i : i + BLOCK] for i in range(0, len(far), BLOCK))]
    for block in blocks:
        if len(block) == 0:
            continue
        again = ladders(sampler, others, block, value, None, is_clear=block is near)
        now = Numeric(
            again.value,
            again.error,
            again.half_jump,
            again.status,
            numeric.confirmed[block],
            numeric.variation[block],
            numeric.scale[block],
        )
        margin = np.where(request.unit[block] > EPS, MARGIN_IF_COARSE, 1.0)
        repeated = gap_beyond(request.take(block), now) > margin
        numeric.confirmed[block] = repeated
        # The second look knows more (its noise is measured right there): it is what is reported
        # where the two looks differ about the claim, and where it is the sharper one.
        better = ~repeated | (again.error < numeric.error[block])
        better &= again.status != code(Status.UNRESOLVED)
        numeric.put(block[better], again, np.flatnonzero(better))
    # Those that were not looked at again stand on what was seen of the others.
    seen = np.bincount(
        request.group[chosen], numeric.confirmed[chosen], minlength=request.group.max() + 1
    )
    rest = np.setdiff1d(beyond, chosen)
    numeric.confirmed[rest] = seen[request.group[rest]] > 0


def _rank_within_group(group: NDArray[np.intp]) -> NDArray[np.intp]:
    """Position of each element among those of its group, in the order given."""
    order = np.argsort(group, kind="stable")
    rank = np.empty_like(group)
    counts = np.bincount(group)
    starts = np.cumsum(counts) - counts
    rank[order] = np.arange(len(group)) - starts[group[order]]
    return rank
