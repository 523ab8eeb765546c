"""The longest step at which f still takes the same branches: up to there no kink is crossed.

Equal branches at x - t, x and x + t say that none of f's kinks lies between (DESIGN, 3.5). A ladder
that starts there meets a smooth function, where it would otherwise have to find out from the values
which of its rungs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gradproof.numerics.sampling import Floats, Lanes
from gradproof.subjects.base import Places, Subject

#: Offsets of some lanes to what was crossed there; None where f cannot be traced.
Crossings = Callable[[Lanes, Floats], Sequence[Mapping[str, int]] | None]
#: The longest regular step of a ladder, relative to its scale.
TOP_RUNG = 0.26
#: Steps that are tried are this factor apart, and there are so many of them.
FACTOR = 4.0
STEPS = 16


def clear_along(subject: Subject, directions: Sequence[Floats], longest: Floats) -> Floats:
    """The longest clear step along directions, (lanes, size) per tensor (see `clear_steps`)."""

    def crossings(lanes: Lanes, offsets: Floats) -> Sequence[Mapping[str, int]] | None:
        return subject.crossings_along([way[lanes] for way in directions], offsets)

    return clear_steps(crossings, longest)


def clear_at(subject: Subject, places: Places, longest: Floats) -> Floats:
    """The longest clear step of single entries (see `clear_steps`)."""

    def crossings(lanes: Lanes, offsets: Floats) -> Sequence[Mapping[str, int]] | None:
        return subject.crossings_at(places[lanes], offsets)

    return clear_steps(crossings, longest)


def clear_steps(crossings: Crossings, longest: Floats) -> Floats:
    """The longest of some steps t for which f takes the same branches at x - t and x + t.

    Found by bisection, as if no step longer than one that crosses a kink were clear. `longest`
    itself where f cannot be traced, and where even the shortest step crosses a kink (the point lies
    on one).

    Args:
        crossings: branches that differ from those at the point.
        longest: the longest step to try, (lanes,).

    >>> kink = 0.01
    >>> def crossings(lanes, offsets):
    ...     return [{"relu": 1} if abs(t) > kink else {} for t in offsets]
    >>> clear_steps(crossings, np.array([1.0])).tolist()
    [0.00390625]
    """
    lanes = np.arange(len(longest))
    found = _is_clear(crossings, lanes, longest)
    if found is None or found.all():
        return longest
    # The longest is not clear: between exponents `low` (not clear) and `high` (taken to be clear).
    low = np.zeros(len(longest), dtype=np.intp)
    high = np.where(found, low, STEPS)
    while (open_ := np.flatnonzero(high - low > 1)).size:
        middle = (low[open_] + high[open_]) // 2
        clear = _is_clear(crossings, open_, longest[open_] * FACTOR ** -middle.astype(float))
        if clear is None:  # the budget ran out
            break
        high[open_[clear]], low[open_[~clear]] = middle[clear], middle[~clear]
    # A kink right at the point is crossed by every step.
    result: Floats = np.where(high < STEPS, longest * FACTOR ** -high.astype(float), longest)
    return result


def _is_clear(crossings: Crossings, lanes: Lanes, steps: Floats) -> np.ndarray | None:
    """Which lanes cross nothing within this step on either side."""
    clear = np.ones(len(lanes), dtype=np.bool_)
    for sign in (1.0, -1.0):
        rows = np.flatnonzero(clear)
        crossed = crossings(lanes[rows], sign * steps[rows])
        if crossed is None:
            return None
        clear[rows] = [not one for one in crossed]
    return clear
