"""Slopes of f and of its claimed gradient along directions over many entries at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradproof.numerics.estimate import Estimates, estimate
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import EPS, Floats, Lanes, representable
from gradproof.subjects.base import Subject

#: A direction: one array (size,) per tensor.
Direction = Sequence[Floats]
#: Standard normal numbers are rounded to this grid, and steps to that of doubles around its
#: inverse: then t * v is exact, and no rounding of x is taken for noise of f.
GRID = 1.0 / 16.0
#: A tensor whose scales differ by no more than this has one for all its entries.
WIDE = 64.0
#: Standard deviations of noise in a slope's bar.
SIGMAS = 6.0


def sizes_of(scale: Sequence[Floats]) -> tuple[Floats, ...]:
    """How far a direction moves each entry: a power of two, the same for a tensor that has a scale.

    >>> [s.tolist() for s in sizes_of([np.array([0.9, 1.8]), np.array([2.0**-20, 1.0])])]
    [[1.0, 1.0], [9.5367431640625e-07, 1.0]]
    """
    sizes = []
    for s in scale:
        is_one = len(s) > 0 and float(s.max()) <= WIDE * float(s.min())
        sizes.append(np.exp2(np.round(np.log2(np.full(len(s), s.min()) if is_one else s))))
    return tuple(sizes)


def draw(
    sizes: Sequence[Floats], rng: np.random.Generator, only: int | None = None
) -> tuple[Floats, ...]:
    """A Gaussian direction: standard normal numbers times the entries' sizes.

    With `only`, 0 outside of that tensor.
    """
    return tuple(
        np.round(rng.standard_normal(len(s)) / GRID) * GRID * s
        if only is None or k == only
        else np.zeros(len(s))
        for k, s in enumerate(sizes)
    )


@dataclass(frozen=True)
class Slopes:
    """Claim and difference along some directions at one step; arrays (directions,).

    `bar` is what noise makes of the difference, plus the claim's own rounding.
    """

    analytic: Floats
    numeric: Floats
    bar: Floats

    @property
    def gap(self) -> Floats:
        """Claim less difference."""
        return self.analytic - self.numeric


@dataclass(frozen=True)
class Line:
    """f around its point, and the gradient claimed for it, along directions.

    `noise` is that of f's values; `value` f at the point.
    """

    subject: Subject
    gradient: Sequence[Floats]
    rounding: Sequence[Floats]
    value: float

    def claimed(self, direction: Direction) -> tuple[float, float]:
        """The claim's product with a direction, and its own rounding there."""
        product = unsure = 0.0
        with np.errstate(all="ignore"):
            for g, r, d in zip(self.gradient, self.rounding, direction, strict=True):
                moves = g * d
                product += float(moves.sum())
                unsure += float(np.abs(d) @ r) + EPS * float(np.abs(moves).sum())
        return product, unsure

    def pairs(self, directions: Sequence[Direction], step: float, noise: float) -> Slopes:
        """Central differences along directions: two evaluations each."""
        count = len(directions)
        unit = max(self.subject.spacing, default=EPS)
        taken = float(representable(np.array([1.0 / GRID]), np.array([step]), unit)[0])
        offsets = np.repeat([taken, -taken], count)
        values = self._along(directions, np.tile(np.arange(count), 2), offsets)
        plus, minus = values[:count], values[count:]
        level = np.fmax(noise, floor(plus, minus, np.full(count, self.value)))
        claims = np.array([self.claimed(d) for d in directions]).reshape(count, 2)
        return Slopes(
            claims[:, 0],
            (0.5 * plus - 0.5 * minus) / taken,
            SIGMAS * level / (np.sqrt(2.0) * taken) + claims[:, 1],
        )

    def ladder(self, direction: Direction, longest: float) -> Estimates:
        """A whole ladder along a direction, with noise measured on it."""

        def along(lanes: Lanes, offsets: Floats, /) -> Floats:
            return self._along([direction], np.zeros(len(lanes), dtype=np.intp), offsets)

        with np.errstate(all="ignore"):
            return estimate(
                along,
                np.array([1.0 / GRID]),
                np.array([longest]),
                value=np.array([self.value]),
                unit=max(self.subject.spacing, default=EPS),
                value_unit=self.subject.value_spacing,
            )

    def _along(self, directions: Sequence[Direction], lanes: Lanes, offsets: Floats) -> Floats:
        ways = [np.stack(parts) for parts in zip(*directions, strict=True)]
        with np.errstate(all="ignore"):
            return self.subject.along(ways, lanes, offsets, self.subject.point)
