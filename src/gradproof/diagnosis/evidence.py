"""Slopes at single entries, good enough to tell one mistake from another, at four values each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradproof.numerics.extrapolation import SIGMAS
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import EPS, Floats, representable
from gradproof.subjects.base import Codes, Places, Subject

#: Steps relative to the entries' scales; the second is so much shorter.
STEP, SHORTER = 2.0**-9, 2.0**-3
#: A smooth even part falls with the square of the step, 64 times; at a kink it falls 8 times.
BENT = 20.0


@np.errstate(all="ignore")
def slopes_at(
    subject: Subject, places: Places, scale: Sequence[Floats], value: float, noise: float
) -> tuple[Floats, Floats]:
    """Numeric derivatives at some entries, and the half-widths of their bars; arrays (places,).

    Two central differences, extrapolated: for f smooth between them the error is of fourth order in
    the step (Richardson 1911). The bar is what the second one is still off by, plus noise. It is
    infinite at a kink.

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
    return _extrapolated(values, taken[0], taken[2], value, noise)


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
    return _extrapolated(values[:-1], steps[0] * lengths, steps[2] * lengths, values[-1], noise)


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


def _extrapolated(
    values: Floats, long: Floats, short: Floats, here: float | Floats, noise: float | Floats
) -> tuple[Floats, Floats]:
    """Slopes and bars from values (4, places): ahead and back by `long`, and by `short`."""
    first = (values[0] - values[1]) / (2.0 * long)
    second = (values[2] - values[3]) / (2.0 * short)
    square = SHORTER**2
    slope = (second - square * first) / (1.0 - square)
    blur = SIGMAS * noise / (np.sqrt(2.0) * np.abs(short)) / (1.0 - square)
    even, smaller = (0.5 * (values[i] + values[i + 1]) - here for i in (0, 2))
    is_bent = (np.abs(smaller) > SIGMAS * noise) & (np.abs(even) < BENT * np.abs(smaller))
    bar = np.abs(second - slope) + blur
    return slope, np.where(is_bent | ~np.isfinite(slope), np.inf, bar)
