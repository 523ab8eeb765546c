"""Directional derivatives along random directions over all entries at once.

Two of them start every check. They measure f's noise, and say whether f is smooth around x, and
they see all entries together: what every entry's own bar would let through, added up over a
tensor, shows here (Wolfe, Checking the calculation of gradients, ACM TOMS 8 (1982)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.branches import TOP_RUNG, clear_along
from gradproof.numerics.estimate import Status, code, estimate
from gradproof.numerics.extrapolation import SIGMAS
from gradproof.numerics.sampling import EPS, Floats, Lanes
from gradproof.subjects.base import Subject

#: Decades between a tensor's small and large entries (its outer deciles) from which it has no
#: common size; normal numbers span 1.1.
DECADES = 3.0


@dataclass(frozen=True)
class Probes:
    """What random directions say; arrays have shape (probes,).

    `analytic` is the claim's product with the direction, `rounding` the claim's own rounding in
    it. `noise` is the largest noise seen. `reach` is the step up to which f was smooth along the
    directions, in units of the entries' scales.
    """

    analytic: Floats
    numeric: Floats
    error: Floats
    rounding: Floats
    noise: float
    reach: float

    @property
    def contradict(self) -> NDArray[np.bool_]:
        """Which probes the claim does not fit."""
        return np.abs(self.analytic - self.numeric) > self.error + self.rounding


@np.errstate(all="ignore")
def scales(point: Sequence[Floats]) -> tuple[Floats, ...]:
    """The size of each entry's surroundings: its own magnitude, or the tensor's if that is larger.

    A tensor's magnitude is its root mean square; where that is 0 (biases at the start) the root
    mean square of all tensors is taken, and 1 where everything is 0. In a tensor whose entries
    span many decades there is no common size, and each entry has its own.

    >>> [s.tolist() for s in scales([np.array([3.0, 4.0]), np.zeros(1)])]
    [[3.5355339059327378, 4.0], [2.886751345948129]]
    >>> scales([np.array([1e-8, 1.0, 1e8])])[0].tolist()
    [1e-08, 1.0, 100000000.0]
    """
    everything = root_mean_square(np.concatenate([*point, np.zeros(0)])) or 1.0
    result = []
    for tensor in point:
        magnitude = np.abs(tensor)
        known = magnitude[magnitude > 0.0]
        if len(known) == 0:
            result.append(np.full(len(tensor), everything))
            continue
        low, middle, high = np.exp(np.quantile(np.log(known), [0.1, 0.5, 0.9]))
        if high > 10.0**DECADES * low:
            result.append(np.where(magnitude > 0.0, magnitude, middle))
        else:
            result.append(np.maximum(magnitude, root_mean_square(tensor)))
    return tuple(result)


def probe(
    subject: Subject,
    scale: Sequence[Floats],
    claims: Sequence[Floats],
    rounding: Sequence[Floats],
    value: float,
    count: int,
    rng: np.random.Generator,
) -> Probes:
    """Derivatives along `count` random-sign directions in which every entry moves by its scale."""
    # Powers of two at least as large as the entry, times steps on the grid of numbers around 1,
    # make every displacement exact, but where a moved entry grows beyond that power: no rounding
    # of x is taken for noise of f.
    sizes = [np.exp2(np.ceil(np.log2(s))) for s in scale]
    directions = [s * rng.choice([-1.0, 1.0], size=(count, len(s))) for s in sizes]

    def along(lanes: Lanes, offsets: Floats, /) -> Floats:
        return subject.along(directions, lanes, offsets, subject.point)

    with np.errstate(all="ignore"):
        # Where f's branches can be seen, a ladder starts below the first kink.
        clear = clear_along(subject, directions, np.full(count, TOP_RUNG)) / TOP_RUNG
        found = estimate(
            along,
            np.ones(count),
            clear,
            is_clear=bool((clear < 1.0).any()),
            value=np.full(count, value),
            unit=max(subject.spacing, default=EPS),
            value_unit=subject.value_spacing,
        )
        products = [d * c for d, c in zip(directions, claims, strict=True)]
        analytic = np.sum([p.sum(axis=1) for p in products], axis=0)
        own = [np.abs(d) * r for d, r in zip(directions, rounding, strict=True)]
        unsure = np.sum([r.sum(axis=1) for r in own], axis=0)
        unsure += EPS * np.sum([np.abs(p).sum(axis=1) for p in products], axis=0)
        unsure += SIGMAS * _displacement_rounding(products, subject.spacing)
    is_smooth = found.status == code(Status.SMOOTH)
    reach = float(np.min(np.where(is_smooth, found.reach, 0.0), initial=np.inf))
    # Along a direction through kinks the slope is a mean of two, which no claim need equal.
    error = np.where(is_smooth, found.error, np.inf)
    return Probes(analytic, found.value, error, unsure, float(np.max(found.noise)), reach)


def _displacement_rounding(products: Sequence[Floats], spacing: Sequence[float]) -> Floats:
    """Standard deviation of a slope for the rounding of x + t d, where numbers are coarse.

    Each entry's displacement is off by a uniform share of the spacing, which is relative to it.
    """
    parts = zip(products, spacing, strict=True)
    squares = [np.sum((unit * p) ** 2, axis=1) for p, unit in parts if unit > EPS]
    deviation: Floats = np.sqrt(np.sum(squares, axis=0) / 12.0)
    return deviation


def root_mean_square(values: Floats) -> float:
    """Root mean square, also where the squares would overflow; 0 of nothing."""
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    return largest * float(np.sqrt(np.mean((values / largest) ** 2)))
