"""Whether a layer's input lies on kinks, and points beside it."""

from __future__ import annotations

import numpy as np

from gradproof.subjects.base import Floats, Subject
from gradproof.subjects.layers.part import Array

#: The step that slopes are taken with, in units of the input's size and of the square root of the
#: values' spacing: 1.5e-6 in double precision.
_STEP = 100.0
#: Slopes differ if they do by more than this part of the sum of what the entries contribute.
#: Curvature makes them differ by about a step.
_DIFFERENT = 1e-4
#: How far `aside` is, in units of the input's size: farther than any step that gradproof begins
#: with would be too far from the point, nearer would leave most entries at their kinks.
_ASIDE = 2.0**-6


def has_kink(subject: Subject, claim: object) -> bool:
    """Whether the slopes ahead and behind differ, along a random direction of the first tensor."""
    ahead, behind, _, size = _slopes(subject, claim)
    return bool(abs(ahead - behind) > _DIFFERENT * max(size, abs(ahead), abs(behind)))


def contradicts(subject: Subject, claim: object) -> bool:
    """Whether the claim is plainly wrong along a random direction of the first tensor."""
    ahead, behind, analytic, size = _slopes(subject, claim)
    return bool(abs((ahead + behind) / 2.0 - analytic) > 10.0 * _DIFFERENT * size)


def aside(x: Array) -> Array:
    """A point beside `x`, no two entries moved alike."""
    way = np.random.default_rng(1).standard_normal(x.shape)
    return (x + _ASIDE * _size(x) * way).astype(x.dtype)


@np.errstate(all="ignore")
def _slopes(subject: Subject, claim: object) -> tuple[float, float, float, float]:
    """Slopes ahead and behind, that which is claimed, and the sum of its parts' magnitudes."""
    rng = np.random.default_rng(2)
    step = _STEP * np.sqrt(max(subject.value_spacing, *subject.spacing)) * _size(subject.point[0])
    way = rng.standard_normal((1, len(subject.point[0])))
    still: list[Floats] = [np.zeros((1, len(x))) for x in subject.point[1:]]
    offsets = np.array([-step, 0.0, step])
    lanes = np.zeros(3, np.intp)
    below, here, above = subject.along([way, *still], lanes, offsets, subject.point)
    parts = subject.claims(claim)[0] * way[0]
    return (above - here) / step, (here - below) / step, parts.sum(), np.abs(parts).sum()


def _size(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) or 1.0
