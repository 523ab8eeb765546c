"""Slopes of f and of its claimed gradient along directions over many entries at once."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from gradproof.numerics.estimate import Estimates, estimate
from gradproof.numerics.noise import floor, measure_noise
from gradproof.numerics.sampling import EPS, Floats, Lanes, Sampler, representable, spacing
from gradproof.subjects.base import Subject

#: A direction: one array (size,) per tensor.
Direction = Sequence[Floats]
#: A tensor whose scales differ by no more than this has one for all its entries.
WIDE = 64.0
#: The shortest scale that a table of noise is made for: its points lie 1e-11 of it apart.
TABLE = 2.0**-4
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
        size = np.exp2(np.round(np.log2(s.min() if is_one else s)))
        sizes.append(np.broadcast_to(size, s.shape))
    return tuple(sizes)


def draw(
    sizes: Sequence[Floats],
    rng: np.random.Generator,
    only: int | Collection[int] | None = None,
) -> tuple[Floats, ...]:
    """A Gaussian direction: standard normal numbers times the entries' sizes.

    With `only`, 0 outside of that tensor, or of those.
    """
    moved = range(len(sizes)) if only is None else [only] if isinstance(only, int) else only
    direction = []
    for k, s in enumerate(sizes):
        if k not in moved:
            direction.append(np.zeros(len(s)))
            continue
        way = rng.standard_normal(len(s))
        way *= s  # in place: there may be 10^8 of them
        direction.append(way)
    return tuple(direction)


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

    `value` is f at the point, `jitter` what calls there differ by.
    """

    subject: Subject
    gradient: Sequence[Floats]
    rounding: Sequence[Floats]
    value: float
    jitter: float = 0.0

    def claimed(self, direction: Direction) -> tuple[float, float]:
        """The claim's product with a direction, and its own rounding there.

        The rounding d is a fixed vector, so that its product with a random direction is normal with
        a standard deviation of |d|; nor is it larger than if all parts of it added up.
        """
        product = together = square = 0.0
        with np.errstate(all="ignore"):
            for g, r, d in zip(self.gradient, self.rounding, direction, strict=True):
                moves = g * d
                product += float(moves.sum())
                unsure = np.abs(d)
                unsure *= r
                np.abs(moves, out=moves)
                moves *= EPS
                unsure += moves
                together += float(unsure.sum())
                square += float(np.square(unsure, out=unsure).sum())
        return product, min(together, SIGMAS * math.sqrt(square))

    def share(self, direction: Direction) -> float:
        """Size of the claim along a direction if its parts did not cancel (Euclidean norm)."""
        with np.errstate(all="ignore"):
            parts = [g * d for g, d in zip(self.gradient, direction, strict=True)]
            return math.sqrt(sum(float(np.square(p, out=p).sum()) for p in parts))

    def displaced(self, direction: Direction) -> float:
        """Standard deviation of f's values for the rounding of the displaced entries.

        Where f is given doubles it is part of the noise that is measured. Coarser numbers lie so
        far apart that a table of noise may miss it.
        """
        square = 0.0
        parts = zip(self.subject.point, self.subject.spacing, self.gradient, direction, strict=True)
        with np.errstate(all="ignore"):
            for x, unit, g, d in parts:
                if unit > EPS:
                    off = g[d != 0.0] * spacing(x[d != 0.0], unit)
                    square += float(np.square(off[np.isfinite(off)]).sum()) / 12.0
        return math.sqrt(square)

    def pairs(self, directions: Sequence[Direction], step: float, noise: float) -> Slopes:
        """Central differences along directions: two evaluations each."""
        count = len(directions)
        unit = max(self.subject.spacing, default=EPS)
        taken = float(representable(np.array([1.0]), np.array([step]), unit)[0])
        offsets = np.repeat([taken, -taken], count)
        values = self._along(directions, np.tile(np.arange(count), 2), offsets)
        plus, minus = values[:count], values[count:]
        level = np.fmax(noise, floor(plus, minus, np.full(count, self.value)))
        level = np.hypot(level, [self.displaced(d) for d in directions])
        claims = np.array([self.claimed(d) for d in directions]).reshape(count, 2)
        return Slopes(
            claims[:, 0],
            (0.5 * plus - 0.5 * minus) / taken,
            SIGMAS * level / (np.sqrt(2.0) * taken) + claims[:, 1],
        )

    def ladder(self, direction: Direction, longest: float, noise: float | None = None) -> Estimates:
        """A whole ladder along a direction, with noise measured on it unless it is given.

        Args:
            direction: the direction.
            longest: the scale of the ladder. Where that is short (kinks are near) noise is measured
                on a wider one all the same: a table that is narrower than what numbers resolve
                takes f's slope for noise.
            noise: of f's values, where it is known.
        """
        unit = max(self.subject.spacing, default=EPS)
        if noise is None and longest < TABLE and unit <= EPS:
            noise = self.noise_along(direction)
        with np.errstate(all="ignore"):
            return estimate(
                self._sampler(direction),
                np.array([1.0]),
                np.array([longest]),
                value=np.array([self.value]),
                noise=None if noise is None else np.array([noise]),
                unit=unit,
                value_unit=self.subject.value_spacing,
            )

    def noise_along(self, direction: Direction) -> float:
        """Noise of f's values near the point, on a table along a direction: six evaluations."""
        with np.errstate(all="ignore"):
            table = measure_noise(
                self._sampler(direction),
                np.array([1.0]),
                np.array([TABLE]),
                np.array([self.value]),
                max(self.subject.spacing, default=EPS),
                self.subject.value_spacing,
            )
        return float(table.level[0])

    def _sampler(self, direction: Direction) -> Sampler:
        def along(lanes: Lanes, offsets: Floats, /) -> Floats:
            return self._along([direction], np.zeros(len(lanes), dtype=np.intp), offsets)

        return along

    def _along(self, directions: Sequence[Direction], lanes: Lanes, offsets: Floats) -> Floats:
        ways = [directions[0][k][None] for k in range(len(directions[0]))]
        if len(directions) > 1:
            ways = [np.stack(parts) for parts in zip(*directions, strict=True)]
        with np.errstate(all="ignore"):
            return self.subject.along(ways, lanes, offsets, self.subject.point)
