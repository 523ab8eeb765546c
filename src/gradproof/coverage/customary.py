"""Central differences at the fixed steps that people use by hand, such as 1e-4 and 1e-5.

They decide nothing here. They are computed to show what the rules of thumb would have said, and how
many entries have a kink between x - h and x + h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import Floats
from gradproof.subjects.base import Places, Subject


@dataclass(frozen=True)
class FixedSteps:
    """Differences at fixed absolute steps h; arrays have shape (steps, entries)."""

    steps: tuple[float, ...]
    slopes: Floats
    crossed: NDArray[np.bool_]


def at_fixed_steps(
    subject: Subject, places: Places, steps: tuple[float, ...], value: float, noise: float
) -> FixedSteps:
    """Central differences at each h, and whether a kink lies between x - h and x + h.

    The even part of f, (f(x+h) + f(x-h)) / 2 - f(x), grows as h^2 where f is smooth; a kink inside
    adds to it at the longer step only. So each step is compared with one a tenth as long. Costs two
    evaluations for each entry and step, and two more for the shortest step's tenth.
    """
    ladder = [*sorted(steps, reverse=True), min(steps) / 10.0]
    slopes, evens, levels = [], [], []
    with np.errstate(all="ignore"):
        for h in ladder:
            plus = subject.at_entries(places, np.full(len(places), h))
            minus = subject.at_entries(places, np.full(len(places), -h))
            slopes.append((0.5 * plus - 0.5 * minus) / h)
            evens.append((0.5 * plus - 0.5 * value) + (0.5 * minus - 0.5 * value))
            levels.append(np.fmax(noise, floor(plus, minus, unit=subject.value_spacing)))
        crossed = []
        for i in range(len(ladder) - 1):
            ratio = ladder[i] / ladder[i + 1]
            foretold = evens[i + 1] * ratio**2
            blur = 8.0 * levels[i] * (1.0 + ratio**2)
            straight = np.abs(evens[i] - foretold) <= np.fmax(blur, 0.2 * np.abs(evens[i]))
            # At a kink right at x the even part grows as h, not h^2, at every step.
            bent = np.abs(evens[i]) > 8.0 * levels[i]
            crossed.append(~straight & bent)
    order = [ladder.index(h) for h in steps]
    return FixedSteps(
        tuple(steps),
        np.array([slopes[i] for i in order]),
        np.array([crossed[i] for i in order]),
    )
