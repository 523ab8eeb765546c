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
from gradproof.numerics.sampling import Floats, Lanes, Sampler, representable, sample_grid

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


@dataclass
class Ladder:
    """Values around the centres; arrays of shape (lanes,) or (lanes, len(STEPS))."""

    sampler: Sampler
    center: Floats
    value: Floats
    steps: Floats
    plus: Floats
    minus: Floats
    evaluated: NDArray[np.bool_]
    evaluations: NDArray[np.intp]

    @classmethod
    def start(cls, sampler: Sampler, center: Floats, scale: Floats, value: Floats) -> Ladder:
        """The regular rungs, evaluated."""
        wanted = scale[:, None] * STEPS
        steps = representable(center[:, None], wanted)
        # At the bottom the spacing of doubles leaves no geometric ladder.
        steps[np.abs(steps - wanted) > 1e-2 * wanted] = np.nan
        shape = steps.shape
        lanes = len(center)
        ladder = cls(
            sampler,
            center,
            value,
            steps,
            np.full(shape, np.nan),
            np.full(shape, np.nan),
            np.zeros(shape, dtype=np.bool_),
            np.zeros(lanes, dtype=np.intp),
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
        steps = np.where(new, self.steps[where], np.nan)
        both = sample_grid(self.sampler, lanes, np.concatenate([steps, -steps], axis=1))
        self.plus[where] = np.where(new, both[:, : len(columns)], self.plus[where])
        self.minus[where] = np.where(new, both[:, len(columns) :], self.minus[where])
        self.evaluated[where] |= new
        self.evaluations[lanes] += 2 * new.sum(axis=1)

    def central(self) -> Floats:
        """Central differences (f(x+t) - f(x-t)) / 2t; halved first, against overflow."""
        with np.errstate(all="ignore"):
            slopes: Floats = (0.5 * self.plus - 0.5 * self.minus) / self.steps
        return slopes

    def even(self) -> Floats:
        """The even part ((f(x+t) + f(x-t)) / 2 - f(x)) / t: falls as t, or stays, at a kink."""
        with np.errstate(all="ignore"):
            part: Floats = (
                (0.5 * self.plus - 0.5 * self.value[:, None])
                + (0.5 * self.minus - 0.5 * self.value[:, None])
            ) / self.steps
        return part

    def one_sided(self, side: int) -> Floats:
        """Forward (side = 1) or backward (side = -1) differences."""
        values = self.plus if side > 0 else self.minus
        with np.errstate(all="ignore"):
            slopes: Floats = side * (values - self.value[:, None]) / self.steps
        return slopes

    def level(self, noise: Floats) -> Floats:
        """Noise at each rung: the lane's, but at least half an ulp of the largest value there."""
        values = np.fmax(np.abs(self.plus), np.abs(self.minus))
        return np.fmax(noise[:, None], floor(np.fmax(values, np.abs(self.value)[:, None])))
