"""Entries at a kink, tested together.

At a kink every entry's claim can lie between its two one-sided slopes while the gradient as a whole
is none: at a tie of max(x1, x2) each entry's slopes are 0 and 1, yet (0, 0) and (1, 1) are no
subgradients. A claim g is acceptable if g.v lies between the smallest and the largest slope along v
that f has at smooth points around x, for every direction v: that is Clarke's generalised gradient
(Clarke 1975; Lee, Yu, Rival and Yang, NeurIPS 2020, for what automatic differentiation returns).

The one-sided slopes at x itself along v would be too narrow an interval: with two ReLUs of opposite
weights at their kinks, relu(a) - relu(b), the usual choice of slope 0 for both lies outside of it
along v = (1, -1), though it is the gradient of every point with a, b < 0. So the points around x
include, beside random ones, the corner whose side each entry's claim seems to have taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.sampling import EPS, Floats
from gradproof.subjects.base import Places, Subject

#: Distance of the points around x, relative to the entries' scales, and the steps there that it
#: holds.
DISTANCE = 1e-4
STEPS = 32.0
#: Where f is given numbers coarser than doubles, the distance is at least so many roots of their
#: spacing: noise falls as the step grows, curvature counts as the distance does.
ROOTS = 5.0
DIRECTIONS = 12
CORNERS = 3
STRAY = 6
#: Points at which the slopes beside a kink are taken, and entries for which that is done.
BESIDE = 48
ENTRIES = 64
#: Tensors that are moved as a whole, and by how much the others move then.
WHOLE, STILL = 24, 1e-3
#: Standard deviations of noise in the slopes' bar.
SIGMAS = 6.0


@dataclass(frozen=True)
class JointTest:
    """Whether the entries' claims fit together, and the worst direction's figures.

    `analytic` should lie in [low - error, high + error].
    """

    fits: bool
    analytic: float
    low: float
    high: float
    error: float
    directions: int


@dataclass(frozen=True)
class _Reach:
    """How far around x is looked, the step there, and what part of it rounding of x may be."""

    distance: float
    step: float
    rounding: float

    @classmethod
    def of(cls, subject: Subject) -> _Reach:
        unit = max(subject.spacing)
        if unit <= EPS:
            return cls(DISTANCE, DISTANCE / STEPS, 0.0)
        distance = max(DISTANCE, ROOTS * float(np.sqrt(unit)))
        return cls(distance, distance / STEPS, unit * STEPS / distance)

    def noise(self, level: float) -> float:
        """Noise in a slope."""
        return float(SIGMAS * level / (np.sqrt(2.0) * self.step))


def try_together(
    subject: Subject,
    places: Places,
    claim: Floats,
    slope: Floats,
    half_jump: Floats,
    scale: Floats,
    noise: float,
    rng: np.random.Generator,
    corners: Floats,
) -> JointTest:
    """Test the claims for entries at a kink along random directions over all of them.

    Args:
        subject: the function.
        places: the entries, n of them.
        claim: what is claimed, (n,).
        slope: mean of the two one-sided slopes, (n,).
        half_jump: half of right slope - left slope, (n,).
        scale: the entries' surroundings, (n,).
        noise: of f's values.
        rng: where the directions come from.
        corners: offsets of points around that are to be among them, (points, n), relative to
            the distance times the scale.
    """
    count = len(places)
    reach = _Reach.of(subject)
    # The side whose slope was claimed: +1 right, -1 left, in between undecided.
    side = np.clip((claim - slope) / half_jump, -1.0, 1.0)
    ways = rng.choice([-1.0, 1.0], size=(DIRECTIONS, count)) * rng.uniform(
        0.5, 1.5, (DIRECTIONS, count)
    )
    ways[: DIRECTIONS // 3] = np.abs(ways[: DIRECTIONS // 3])
    offsets, lanes = [], []
    for d, way in enumerate(ways):
        claimed = side * rng.uniform(0.5, 1.5, size=(CORNERS, count))
        stray = rng.uniform(-1.5, 1.5, size=(STRAY, count))
        offsets += [*claimed, *stray, way, -way, *corners]
        lanes += [d] * (CORNERS + STRAY + 2 + len(corners))
    around = _scatter(subject, places, reach.distance * scale * np.array(offsets), with_point=True)
    along = _scatter(subject, places, scale * ways[lanes], with_point=False)
    which = np.arange(len(lanes))
    plus = subject.along(along, which, np.full(len(lanes), reach.step), around)
    minus = subject.along(along, which, np.full(len(lanes), -reach.step), around)
    slopes = ((0.5 * plus - 0.5 * minus) / reach.step).reshape(DIRECTIONS, -1)
    if subject.exhausted is not None:  # then some of them are missing
        return JointTest(True, np.nan, np.nan, np.nan, np.inf, 0)
    low, high = np.nanmin(slopes, axis=1), np.nanmax(slopes, axis=1)
    analytic = (ways * scale) @ claim
    # A whole step between points on two sides of a kink blurs the slopes by the curvature over
    # the distance, which the spread of the slopes shows; noise comes on top.
    error = reach.noise(noise) + 2e-2 * (high - low)
    error += 10.0 * reach.distance * np.abs(ways * scale) @ np.abs(claim) + 1e-9 * np.abs(analytic)
    error += reach.rounding * np.abs(ways * scale) @ (np.abs(slope) + np.abs(half_jump))
    outside = np.maximum(low - analytic, analytic - high) - error
    worst = int(np.nanargmax(outside))
    return JointTest(
        fits=not outside[worst] > 0.0,
        analytic=float(analytic[worst]),
        low=float(low[worst]),
        high=float(high[worst]),
        error=float(error[worst]),
        directions=DIRECTIONS,
    )


def slopes_beside(
    subject: Subject,
    places: Places,
    row: int,
    claim: float,
    scale: Floats,
    noise: float,
    rng: np.random.Generator,
) -> Floats:
    """Points beside x at which f has the slope that is claimed, though it has not at x.

    Where several kinks meet, an entry's slopes at the point itself do not show all that there are
    around: -max(x1, x2) + 2 max(x2, x3) at a tie has the slopes 0 and 1 along x2, and at x1 > x2 >
    x3, however near, the slope 2.

    Args:
        subject: the function.
        places: all entries at a kink, n of them; these are moved to see the slopes around.
        row: the entry in question, a position in `places`.
        claim: its derivative as claimed.
        scale: the entries' surroundings, (n,).
        noise: of f's values.
        rng: where the points come from.

    Returns:
        Their offsets, (points, n), relative to the distance times the scale; a few of them if there
        are many.
    """
    reach = _Reach.of(subject)
    far = _whole_tensors(places, rng)
    random = rng.uniform(-1.5, 1.5, size=(BESIDE, len(places)))
    offsets = np.concatenate([far, 0.5 * far, random])
    count, whole = len(offsets), len(far)
    around = _scatter(subject, places, reach.distance * scale * offsets, with_point=True)
    ways = np.zeros((count, len(places)))
    ways[:, row] = scale[row]
    along, lanes = _scatter(subject, places, ways, with_point=False), np.arange(count)
    plus = subject.along(along, lanes, np.full(count, reach.step), around)
    minus = subject.along(along, lanes, np.full(count, -reach.step), around)
    slopes = (0.5 * plus - 0.5 * minus) / (reach.step * scale[row])
    error = reach.noise(noise) / scale[row]
    error += (10.0 * reach.distance + reach.rounding) * abs(claim)
    # Many entries that move together bend f more: their slopes are taken back to x.
    slopes[whole : 2 * whole] = 2.0 * slopes[whole : 2 * whole] - slopes[:whole]
    found: Floats = offsets[np.abs(slopes - claim) <= error][:CORNERS]
    return found


def _whole_tensors(places: Places, rng: np.random.Generator) -> Floats:
    """Offsets that move one tensor's entries up or down together, and the others next to nothing.

    Where a layer starts at zero all of its units lie on their kinks, and a gradient that takes all
    of them for inactive is that of a bias a little below: random points have some of them active.
    """
    tensors = np.unique(places.tensor)[:WHOLE]
    signs = np.repeat([1.0, -1.0], len(tensors))
    moved = places.tensor == np.tile(tensors, 2)[:, None]
    rest = STILL * rng.uniform(-1.0, 1.0, size=moved.shape)
    whole = signs[:, None] * rng.uniform(0.5, 1.5, size=moved.shape)
    offsets: Floats = np.where(moved, whole, rest)
    return offsets


def _scatter(
    subject: Subject, places: Places, moves: NDArray[np.float64], *, with_point: bool
) -> Sequence[Floats]:
    """Moves of the entries, (lanes, entries), as arrays per tensor, (lanes, size)."""
    result = []
    for k, tensor in enumerate(subject.point):
        here = places.tensor == k
        full = np.zeros((len(moves), len(tensor)))
        full[:, places.index[here]] = moves[:, here]
        result.append(full + tensor if with_point else full)
    return result
