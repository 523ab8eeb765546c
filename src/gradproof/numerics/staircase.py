"""Telling a staircase from structure near the point.

A function with a float32 or quantised stage is flat, or perfectly smooth, below the width of its
stairs, so the finest rungs agree with each other on a slope that is not the function's. A kink or a
fast wiggle near the point looks alike from the ladder: fine rungs agree, coarse ones do not. The
difference is what lies *between* the fine scale and the coarse: halving an interval towards its
largest change, the change across it shrinks with the interval if the function is continuous, and
stays if there is a jump; and jumps of the same size at two places are a staircase, not an edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.sampling import Floats, Lanes, Sampler, sample_grid

POINTS = 9
#: A continuous function's change is 16 times smaller after the last four halvings; a jump's stays.
SETTLED = 14
HALVINGS = 18
#: So many middles in a row that leave no room for a jump are worth a closer look.
STRAIGHT = 2
#: Where to look, in units of the distance, and the least-squares cubic through values there. The
#: spacing is uneven: an even one can march in step with the stairs and see a straight line.
NODES = np.sort(1.0 + np.arange(POINTS) * 0.5 * (np.sqrt(5.0) - 1.0) % 1.0)
EXPONENTS = np.arange(4)
POWERS = NODES[:, None] ** EXPONENTS
FIT = np.linalg.pinv(POWERS)
#: Where no staircase is found at the distance asked for, it is looked for this much farther away.
FARTHER = 4.0
#: Stairs are alike: all of one size if quantised, and up to twice that where a float's exponent
#: changes.
ALIKE = 2.2

#: Offsets really taken by lanes that are asked for some: f's argument may be rounded.
Taken = Callable[[Lanes, Floats], Floats]


def as_asked(lanes: Lanes, offsets: Floats, /) -> Floats:
    """Offsets in double precision, where rounding x + t is of no concern."""
    return offsets


@dataclass(frozen=True)
class Staircase:
    """Per lane tested: whether there are stairs, the noise they amount to, evaluations spent."""

    found: NDArray[np.bool_]
    level: Floats
    cost: NDArray[np.intp]


@dataclass(frozen=True)
class _Site:
    """Values on both sides of the lanes' centres, right sides first, left ones after them.

    `nodes` are the places of the values in units of the distance, `NODES` if none was rounded;
    both have shape (sides, POINTS).
    """

    sampler: Sampler
    taken: Taken
    lanes: Lanes
    signed: Floats
    nodes: Floats
    values: Floats
    noise: Floats

    @classmethod
    def visit(
        cls, sampler: Sampler, lanes: Lanes, distance: Floats, noise: Floats, taken: Taken
    ) -> _Site:
        sides, signed = np.tile(lanes, 2), np.concatenate([distance, -distance])
        asked = signed[:, None] * NODES
        offsets = taken(np.broadcast_to(sides[:, None], asked.shape), asked)
        nodes = np.where(offsets == asked, NODES, offsets / signed[:, None])
        values = sample_grid(sampler, sides, offsets)
        return cls(sampler, taken, sides, signed, nodes, values, np.tile(noise, 2))

    def cubic(self) -> Floats:
        # At rounded places the fit is nearly the one there; the rest is measured as roughness.
        fit: Floats = self.values @ FIT.T
        return fit

    def straight(self, slope: Floats) -> Floats:
        trend = np.zeros((len(self.lanes), len(EXPONENTS)))
        trend[:, 1] = np.tile(slope, 2) * self.signed
        return trend

    def along(self, trend: Floats) -> Floats:
        """The trend at the places of the values."""
        if (self.nodes == NODES).all():
            return trend @ POWERS.T
        there: Floats = np.sum(trend[:, None, :] * self.nodes[..., None] ** EXPONENTS, axis=-1)
        return there

    def beside(
        self, trend: Floats, sides: NDArray[np.intp], wanted: Floats
    ) -> tuple[Floats, Floats]:
        """Places as near as can be to those wanted, (sides, n), and the values beside the trend."""
        lanes, signed = self.lanes[sides, None], self.signed[sides, None]
        asked = signed * wanted
        offsets = self.taken(np.broadcast_to(lanes, asked.shape), asked)
        places = np.where(offsets == asked, wanted, offsets / signed)
        values = sample_grid(self.sampler, lanes[:, 0], offsets)
        values -= np.sum(trend[sides, None, :] * places[..., None] ** EXPONENTS, axis=-1)
        return places, values

    def roughness(self) -> Floats:
        """Standard deviation beside the cubic, of the rougher side."""
        rest = self.values - self.along(self.cubic())
        deviation = np.sqrt(np.sum(rest**2, axis=1) / (POINTS - len(EXPONENTS)))
        rougher: Floats = deviation.reshape(2, -1).max(axis=0)
        return rougher

    def jumps(self, trend: Floats) -> tuple[Floats, NDArray[np.intp]]:
        """Size of the jump on either side, shape (lanes, 2), 0 where there is none.

        And the evaluations that a lane took, those of the visit included.
        """
        jump, spent = _bisect(self, trend)
        return jump.reshape(2, -1).T, (spent + POINTS).reshape(2, -1).sum(axis=0)


def find_staircase(
    sampler: Sampler,
    lanes: Lanes,
    distance: Floats,
    slope: Floats,
    noise: Floats,
    taken: Taken = as_asked,
) -> Staircase:
    """Look for two like jumps in [distance, 2 distance] and [4 distance, 8 distance], either side.

    A trend is taken out first, so that small jumps show beside a steep smooth part. Which one
    cannot be known: the slope on a single stair leaves the bare stairs; where those show one jump
    only, the cubic through the points, which leaves what is rough at every scale, may show another.

    Args:
        sampler: the lanes' values.
        lanes: which lanes to test, shape (n,).
        distance: where to look, shape (n,); some stairs' widths away from the centre.
        slope: the slope at the very smallest scale, shape (n,).
        noise: noise believed so far, shape (n,).
        taken: the offsets really taken.
    """
    count = len(lanes)
    jumps = np.zeros((count, 4))
    near = _Site.visit(sampler, lanes, distance, noise, taken)
    jumps[:, :2], cost = near.jumps(near.straight(slope))
    level = near.roughness()
    rest = np.flatnonzero(~_are_stairs(jumps))
    if len(rest):
        far = _Site.visit(sampler, lanes[rest], FARTHER * distance[rest], noise[rest], taken)
        jumps[rest, 2:], spent = far.jumps(far.straight(slope[rest]))
        cost[rest] += spent
    rest = np.flatnonzero(~_are_stairs(jumps) & (jumps > 0).any(axis=1))
    for columns, factor in ((slice(0, 2), 1.0), (slice(2, 4), FARTHER)) if len(rest) else ():
        site = _Site.visit(sampler, lanes[rest], factor * distance[rest], noise[rest], taken)
        found, spent = site.jumps(site.cubic())
        jumps[rest, columns] = np.fmax(jumps[rest, columns], found)
        cost[rest] += spent
    # Rounding to multiples of a quantum q is noise of q / sqrt(12).
    return Staircase(_are_stairs(jumps), np.fmax(level, jumps.max(axis=1) / np.sqrt(12.0)), cost)


def _are_stairs(jumps: Floats) -> NDArray[np.bool_]:
    """Whether two of a lane's jumps are about the same."""
    ordered = np.sort(jumps, axis=1)
    smaller, larger = ordered[:, :-1], ordered[:, 1:]
    alike: NDArray[np.bool_] = (smaller > 0) & (larger <= ALIKE * smaller)
    return np.asarray(alike.any(axis=1), dtype=np.bool_)


def _bisect(site: _Site, trend: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Size of the jump in the largest change between neighbours, beside the trend; 0 if none.

    And the evaluations spent. A jump of size J in an otherwise straight interval puts a point by
    J / 2 or more beside the chord: where none lies as far from it as the smallest jump that could
    stand out in the end, there is none. Stairs may have their middle on the chord; points unevenly
    spread are not there all at once.
    """
    rest = site.values - site.along(trend)
    change = np.abs(np.diff(rest, axis=1))
    change[~np.isfinite(change)] = -1.0
    rows = np.arange(len(rest))
    k = np.argmax(change, axis=1)
    left, right = site.nodes[rows, k], site.nodes[rows, k + 1]
    low, high = rest[rows, k], rest[rows, k + 1]
    settled = np.abs(high - low)
    straight, spent = np.zeros_like(rows), np.zeros_like(rows)
    is_open = np.ones(len(rest), dtype=np.bool_)
    with np.errstate(all="ignore"):
        for halving in range(HALVINGS):
            if halving == SETTLED:
                settled = np.abs(high - low)
            # The change that would be left in the end, without a jump. Jumps much smaller are none
            # that could be met: an interval full of stairs has that many steps at most.
            last = np.abs(high - low) * 2.0 ** (halving - HALVINGS)
            least = np.fmax(0.5 * last, 16.0 * site.noise - last)
            at = np.flatnonzero(is_open & (straight == STRAIGHT))
            if len(at):
                parts = NODES - 1.0
                wanted = left[at, None] + (right - left)[at, None] * parts
                places, values = site.beside(trend, at, wanted)
                parts = (places - left[at, None]) / (right - left)[at, None]
                chord = low[at, None] + (high - low)[at, None] * parts
                is_open[at] = ~(2.0 * np.abs(values - chord).max(axis=1) <= least[at])
                spent[at] += POINTS
            at = np.flatnonzero(is_open)
            if len(at) == 0:
                break
            places, values = site.beside(trend, at, 0.5 * (left + right)[at, None])
            spent[at] += 1
            middle, value = places[:, 0], values[:, 0]
            on_chord = np.abs(2.0 * value - (low + high)[at]) <= least[at]
            straight[at] = np.where(on_chord, straight[at] + 1, 0)
            in_left = np.abs(value - low[at]) >= np.abs(high[at] - value)
            right[at], high[at] = np.where(in_left, [middle, value], [right[at], high[at]])
            left[at], low[at] = np.where(in_left, [left[at], low[at]], [middle, value])
        remaining = np.abs(high - low)
        is_jump = (remaining > 0.25 * settled) & (remaining > 16.0 * site.noise)
    return np.where(is_open & is_jump, remaining, 0.0), spent
