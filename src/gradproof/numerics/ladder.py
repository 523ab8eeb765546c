"""The ladder: values of f at x - t and x + t over about geometrically shrinking t.

Rungs are columns, coarse to fine, from 16 times the point's scale down to the spacing
of doubles. The middle ones are always evaluated, the outer ones only where a lane needs them; a
rung that was not evaluated, or lies outside the function's domain, is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import (
    EPS,
    Floats,
    Lanes,
    Sampler,
    offset_on_grid,
    parabola,
    representable,
    sample_grid,
)

#: Relative steps of the rungs, coarse to fine. Where smooth functions get their digits the rungs
#: are about 2 apart, elsewhere 4. Deliberately uneven: in an exactly geometric ladder a coincidence
#: at one rung (with a period, a quantum, somebody's own finite difference) is one at all of them.
RUNGS = 0.233 * np.concatenate(
    [4.0 ** np.arange(3, 0, -1), 2.0 ** -np.arange(4.0), 2.0**-4 * 4.0 ** -np.arange(17.0)]
)
RUNGS *= 1.0 + 0.1 * np.sin(np.arange(len(RUNGS)) * np.sqrt(5.0))
#: Columns of the ladder: the rungs in the even ones, and midway between them those that are only
#: evaluated where noise rules.
STEPS = np.empty(2 * len(RUNGS) - 1)
STEPS[::2], STEPS[1::2] = RUNGS, np.sqrt(RUNGS[:-1] * RUNGS[1:])
#: The columns that are always evaluated; rungs above and below only where a lane needs them.
REGULAR = range(6, 36, 2)
#: The shortest step, in units of the spacing of numbers that are coarser than doubles, at the
#: scale: f's own arithmetic resolves no less, however near 0 the point is.
SHORTEST = 2.0
#: Columns whose steps are no evidence where the numbers are coarse. A part of f that stays within
#: its rounding everywhere looks the flatter the longer the step, whatever its slope.
TOO_LONG = slice(0, 4)


@dataclass
class Ladder:
    """Values around the centres; arrays of shape (lanes,) or (lanes, len(STEPS)).

    `right` and `left` are the steps really taken: both are `steps`, but where the numbers that the
    function can be given are too coarse to lie evenly on both sides of the point. `longest` are
    offsets of coarse lanes that are longer than all of these.
    """

    sampler: Sampler
    center: Floats
    value: Floats
    steps: Floats
    right: Floats
    left: Floats
    plus: Floats
    minus: Floats
    evaluated: NDArray[np.bool_]
    evaluations: NDArray[np.intp]
    is_coarse: NDArray[np.bool_]
    longest: Floats
    value_unit: float

    @classmethod
    def start(
        cls,
        sampler: Sampler,
        center: Floats,
        scale: Floats,
        value: Floats,
        unit: Floats | float = EPS,
        value_unit: float = EPS,
    ) -> Ladder:
        """The regular rungs, evaluated; `unit` as in `measure_noise`."""
        unit = np.broadcast_to(unit, center.shape)
        is_coarse = unit > EPS
        wanted = scale[:, None] * STEPS
        steps = representable(center[:, None], wanted)
        # At the bottom the spacing of doubles leaves no geometric ladder.
        steps[np.abs(steps - wanted) > 1e-2 * wanted] = np.nan
        right = left = steps
        longest = wanted[:, TOO_LONG][:, ::2]
        if is_coarse.any():
            steps[is_coarse] = _coarse_steps(*(a[is_coarse] for a in (center, scale, unit)))
            steps[is_coarse, TOO_LONG] = np.nan
            right = offset_on_grid(center[:, None], steps, unit[:, None])
            left = -offset_on_grid(center[:, None], -steps, unit[:, None])
            longest = np.concatenate([-longest, longest[:, ::-1]], axis=1)
            longest = offset_on_grid(center[:, None], longest, unit[:, None])
        shape = steps.shape
        lanes = len(center)
        ladder = cls(
            sampler,
            center,
            value,
            steps,
            right,
            left,
            np.full(shape, np.nan),
            np.full(shape, np.nan),
            np.zeros(shape, dtype=np.bool_),
            np.zeros(lanes, dtype=np.intp),
            is_coarse,
            longest,
            value_unit,
        )
        ladder.climb(np.arange(lanes), REGULAR)
        return ladder

    def climb(self, lanes: Lanes, columns: Sequence[int]) -> None:
        """Evaluate these columns of these lanes: two evaluations each, in one call."""
        wanted = np.zeros((len(lanes), len(STEPS)), dtype=np.bool_)
        wanted[:, np.asarray(columns, dtype=np.intp)] = True
        self.fill(lanes, wanted)

    def fill(self, lanes: Lanes, wanted: NDArray[np.bool_]) -> None:
        """Evaluate the columns `wanted`, shape (len(lanes), len(STEPS)), that are not yet."""
        new = wanted & ~self.evaluated[lanes] & np.isfinite(self.steps[lanes])
        columns = np.flatnonzero(new.any(axis=0))
        if len(columns) == 0:
            return
        where = np.ix_(lanes, columns)
        new = new[:, columns]
        right = np.where(new, self.right[where], np.nan)
        left = np.where(new, self.left[where], np.nan)
        both = sample_grid(self.sampler, lanes, np.concatenate([right, -left], axis=1))
        self.plus[where] = np.where(new, both[:, : len(columns)], self.plus[where])
        self.minus[where] = np.where(new, both[:, len(columns) :], self.minus[where])
        self.evaluated[where] |= new
        self.evaluations[lanes] += 2 * new.sum(axis=1)

    def central(self) -> Floats:
        """Central differences (f(x+t) - f(x-t)) / 2t; halved first, against overflow."""
        with np.errstate(all="ignore"):
            slopes: Floats = (0.5 * self.plus - 0.5 * self.minus) / self.steps
            if self.is_coarse.any():
                slopes[self.is_coarse] = self._parabolas()[0]
        return slopes

    def even(self) -> Floats:
        """The even part ((f(x+t) + f(x-t)) / 2 - f(x)) / t: falls as t, or stays, at a kink."""
        with np.errstate(all="ignore"):
            part: Floats = (
                (0.5 * self.plus - 0.5 * self.value[:, None])
                + (0.5 * self.minus - 0.5 * self.value[:, None])
            ) / self.steps
            if self.is_coarse.any():
                bend = self._parabolas()[1]
                part[self.is_coarse] = bend * self.steps[self.is_coarse]
        return part

    def one_sided(self, side: int) -> Floats:
        """Forward (side = 1) or backward (side = -1) differences."""
        values, steps = (self.plus, self.right) if side > 0 else (self.minus, self.left)
        with np.errstate(all="ignore"):
            slopes: Floats = side * (values - self.value[:, None]) / steps
        return slopes

    def level(self, noise: Floats) -> Floats:
        """Noise at each rung: the lane's, but at least half an ulp of the largest value there."""
        values = np.fmax(np.abs(self.plus), np.abs(self.minus))
        largest = np.fmax(values, np.abs(self.value)[:, None])
        return np.fmax(noise[:, None], floor(largest, unit=self.value_unit))

    def quantum(self) -> Floats:
        """How far apart the values are that f can take, as far as it shows; 0 if it does not.

        Where numbers are coarse, a stage inside f may only take values so far apart that few of the
        steps change anything. All changes are multiples of that distance then: it is the smallest
        that is not 0. (A function that every step changes has no such stage.) Where no step changes
        anything the longest are tried as well, for this alone. Of coarse lanes; 0 for the others.
        """
        quantum = np.zeros(len(self.value))
        lanes = np.flatnonzero(self.is_coarse)
        if len(lanes) == 0:
            return quantum
        values = np.concatenate(
            [self.minus[lanes], self.value[lanes, None], self.plus[lanes, ::-1]], axis=1
        )
        quantum[lanes], is_flat = _smallest_change(values)
        flat = lanes[is_flat]
        farther = sample_grid(self.sampler, flat, self.longest[flat])
        self.evaluations[flat] += farther.shape[1]
        middle = np.repeat(farther.shape[1] // 2, 2)
        values = np.insert(farther, middle, self.value[flat, None], axis=1)
        quantum[flat], _ = _smallest_change(values)
        return quantum

    def _parabolas(self) -> tuple[Floats, Floats]:
        """Slopes and half second derivatives of the coarse lanes."""
        at = self.is_coarse
        sides = (a[at] for a in (self.plus, self.minus, self.right, self.left))
        return parabola(self.value[at, None], *sides)


def _coarse_steps(center: Floats, scale: Floats, unit: Floats) -> Floats:
    """Every step that there is on the way down; NaN where the one above has been rounded alike."""
    unit = unit[:, None]
    wanted = scale[:, None] * np.fmax(STEPS, SHORTEST * unit)
    steps = representable(center[:, None], wanted, unit)
    rungs, between = steps[:, ::2].copy(), steps[:, 1::2].copy()
    steps[:, 2::2][rungs[:, 1:] == rungs[:, :-1]] = np.nan
    steps[:, 1::2][(between == rungs[:, :-1]) | (between == rungs[:, 1:])] = np.nan
    return steps


def _smallest_change(values: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Smallest change from one value to the next that is not 0, if some are; whether all are.

    NaN is passed over; `values` has shape (lanes, n).
    """
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), 0), axis=1)
    changes = np.abs(np.diff(np.take_along_axis(values, last, axis=1), axis=1))
    changes[~known[:, 1:]] = np.nan
    smallest: Floats = np.where(changes > 0.0, changes, np.inf).min(axis=1)
    is_flat = np.isinf(smallest)
    smallest[is_flat | ~(changes == 0.0).any(axis=1)] = 0.0
    return smallest, is_flat
