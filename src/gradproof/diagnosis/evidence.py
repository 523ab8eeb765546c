"""Slopes at single entries, good enough to tell one mistake from another, at four values each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradproof.numerics.extrapolation import SIGMAS
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import EPS, Floats, representable
from gradproof.subjects.base import Codes, Places, Subject

#: Steps relative to the entries' scales; the second is so much shorter.
STEP, SHORTER = 2.0**-11, 2.0**-3
#: Slopes that differ by more than this part of their mean are two.
KINK = 0.05


@np.errstate(all="ignore")
def slopes_at(
    subject: Subject, places: Places, scale: Sequence[Floats], value: float, noise: float
) -> tuple[Floats, Floats]:
    """Numeric derivatives at some entries, and the half-widths of their bars; arrays (places,).

    A central difference, and in its bar what it differs from a longer one by (64 times its own
    truncation) and what a kink within the steps may do to it. The even part of f, a t^2 + b t at a
    kink at the point, gives b; for a kink nearby b is smaller, but the two differences then differ
    by as much. It is infinite where f has two slopes.

    Args:
        subject: the function around its point.
        places: the entries.
        scale: the entries' surroundings, per tensor.
        value: f at the point.
        noise: of f's values.
    """
    here, lengths = _picked(subject.point, places), _picked(scale, places)
    units = np.array(subject.spacing)[places.tensor]
    taken = []
    for step in (STEP, SHORTER * STEP):
        ahead = representable(here, step * lengths, units)
        taken += [ahead, -ahead]
    rows = np.tile(np.arange(len(places)), len(taken))
    values = subject.at_entries(places[rows], np.concatenate(taken)).reshape(len(taken), -1)
    return _bounded(values, taken[0], taken[2], value, noise)


@np.errstate(all="ignore")
def slopes_elsewhere(
    subject: Subject, places: Places, base: Sequence[Floats], scale: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """The same at another point than the subject's: `base`, one array (size,) per tensor."""
    count = len(places)
    lengths = _picked(scale, places)
    ways = [np.zeros((count, len(x))) for x in base]
    for k, way in enumerate(ways):
        lanes = np.flatnonzero(places.tensor == k)
        way[lanes, places.index[lanes]] = lengths[lanes]
    steps = np.array([STEP, -STEP, SHORTER * STEP, -SHORTER * STEP, 0.0])
    lanes = np.tile(np.arange(count), len(steps))
    values = subject.along(ways, lanes, np.repeat(steps, count), base).reshape(len(steps), count)
    noise = floor(values[-1], unit=max(subject.value_spacing, EPS))
    return _bounded(values[:-1], steps[0] * lengths, steps[2] * lengths, values[-1], noise)


def drawn(known: Codes, size: int, count: int, rng: np.random.Generator) -> Codes:
    """Row-major indices of up to `count` entries of a tensor besides those that are known."""
    every = np.arange(size) if size <= len(known) + count else rng.choice(size, count, False)
    return np.setdiff1d(every, known)


def _picked(tensors: Sequence[Floats], places: Places) -> Floats:
    picked = np.empty(len(places))
    for k in np.unique(places.tensor).tolist():
        rows = places.tensor == k
        picked[rows] = tensors[k][places.index[rows]]
    return picked


def _bounded(
    values: Floats, long: Floats, short: Floats, here: float | Floats, noise: float | Floats
) -> tuple[Floats, Floats]:
    """Slopes and bars from values (4, places): ahead and back by `long`, and by `short`."""
    first = (values[0] - values[1]) / (2.0 * long)
    second = (values[2] - values[3]) / (2.0 * short)
    even, smaller = (0.5 * (values[i] + values[i + 1]) - here for i in (0, 2))
    ratio = long / short
    bend = (ratio**2 * smaller - even) / (ratio * (ratio - 1.0) * short)
    blur = SIGMAS * noise * np.sqrt(2.0) / np.abs(short)
    bar = np.abs(first - second) + np.abs(bend) + blur
    is_kink = np.abs(bend) > blur + KINK * np.abs(second)
    return second, np.where(np.isfinite(bar) & ~is_kink, bar, np.inf)
