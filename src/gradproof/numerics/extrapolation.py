"""Least-squares extrapolation over a ladder of steps, with a bar made of two parts.

Slopes at shrinking steps t are a polynomial in t^p plus rounding, noise / t: central differences
have p = 2, one-sided ones p = 1. Richardson's extrapolation interpolates a few of them; here the
polynomial is fitted to *every* rung from a top one down, each weighted by its rounding, which
interpolates where rounding is small and averages where it is not. Every top and every order is a
candidate with a bar:

- rounding: the fit's standard deviation, times what its residuals exceed the noise by;
- truncation: what the next order, and the same order from lower tops, make of the value.

The candidate with the smallest bar wins (compare Lepski's rule for choosing a bandwidth, Theory
Probab. Appl. 35 (1991)). Residuals and lower tops are what keeps two coarse rungs that agree by
accident from being believed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.fits import Fits, fit, positive
from gradproof.numerics.sampling import Floats

#: Standard deviations of rounding in a bar: the noise level itself is only known to a factor, and
#: the smallest of many bars belongs to a lucky candidate.
SIGMAS = 6.0
#: Truncation in a bar, over the largest change that another order or top makes.
SAFETY = 1.25
#: The fits that a largest intercept is taken from have 2 and 3 coefficients; it must exceed so many
#: standard deviations; and these no more than so many times the bar that it is to widen.
INTERCEPT_ORDERS = slice(1, 3)
PALPABLE = 1.0
BLUNTEST = 8.0
#: A change foretold by a longer top counts this many times.
ACCIDENT = 2.0
#: How many columns down the lower tops go that a candidate is compared with.
REACH = 4
#: The power of t^p with which changes shrink among dense kinks: those crossed grow in number as t,
#: and the slope wanders as the root of that.
ROUGH = 0.25
#: Residuals this many times the noise are no noise: there is structure below the steps, such as a
#: kink, and shorter steps must tell.
MOST_EXCESS = 100.0
#: The same where numbers are coarse. Shorter steps tell less there, and a longer one that crosses
#: kinks would look the better for taking them for noise.
MOST_EXCESS_IF_COARSE = 5.0
#: Residuals that a candidate needs beyond its own coefficients.
SPARE = 2
#: Lanes fitted at once, for the sake of memory.
CHUNK = 256


@dataclass(frozen=True)
class Extrapolation:
    """The best candidate of each lane; every array has shape (lanes,).

    `excess` is the factor by which the residuals exceed the noise (at least 1); `first` the
    coarsest rung used, `last` the finest it would need without averaging; -1 where nothing could be
    said.
    """

    value: Floats
    truncation: Floats
    rounding: Floats
    excess: Floats
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def extrapolate(
    slopes: Floats,
    steps: Floats,
    jitter: Floats,
    *,
    power: int,
    shared: Floats | None = None,
    is_coarse: NDArray[np.bool_] | None = None,
) -> Extrapolation:
    """The best candidate per lane.

    Args:
        slopes: (lanes, rungs), from coarse to fine, NaN where a rung does not exist.
        steps: (lanes, rungs), the steps t.
        jitter: (lanes, rungs), standard deviation of each slope from noise in the values.
        power: 2 for central differences, 1 for one-sided ones.
        shared: (lanes, rungs), standard deviation of each slope from noise that all rungs have in
            common (that of f at the centre).
        is_coarse: (lanes,), whether short steps are lost in the noise of coarse numbers; none are
            by default. Less is then taken for noise, and changes are not trusted to shrink.

    >>> t = np.array([[0.4, 0.2, 0.1, 0.05, 0.025]])
    >>> best = extrapolate(np.cos(1.0) * np.sin(t) / t, t, 1e-15 / t, power=2)
    >>> bool(abs(best.value[0] - np.cos(1.0)) < 1e-7)
    True
    """
    if shared is None:
        shared = np.zeros_like(slopes)
    lanes = len(slopes)
    if is_coarse is None:
        is_coarse = np.zeros(lanes, dtype=np.bool_)
    result = Extrapolation(
        np.full(lanes, np.nan),
        np.full(lanes, np.inf),
        np.full(lanes, np.inf),
        np.ones(lanes),
        np.full(lanes, -1, dtype=np.intp),
        np.full(lanes, -1, dtype=np.intp),
    )
    with np.errstate(all="ignore"):
        jitter, silent = positive(jitter, steps)
        for start in range(0, lanes, CHUNK):
            rows = slice(start, start + CHUNK)
            columns = np.flatnonzero(np.isfinite(slopes[rows]).any(axis=0))
            if len(columns) > SPARE:
                some, t, own, common = (
                    a[rows][:, columns] for a in (slopes, steps, jitter, shared)
                )
                fits = fit(some, t, own, common, power)
                _choose(fits, t**power, columns, is_coarse[rows], rows, result)
    result.rounding[silent & np.isfinite(result.value)] = 0.0
    return result


def largest_intercept(
    parts: Floats,
    steps: Floats,
    jitter: Floats,
    shared: Floats,
    first: NDArray[np.intp],
    bar: Floats,
) -> Floats:
    """The largest size at step 0 that fits of low order in t suggest, from any top; (lanes,).

    Where `extrapolate` asks for the likeliest value, this asks for the largest plausible one; 0
    where no fit finds any.

    Args:
        parts: (lanes, rungs), what is to be extrapolated, NaN where a rung does not exist.
        steps: (lanes, rungs), the steps t.
        jitter: (lanes, rungs), standard deviation of each part from noise of its own.
        shared: (lanes, rungs), standard deviation of each from noise that all have in common.
        first: (lanes,), the coarsest column to start from.
        bar: (lanes,), what the result is compared with: fits much blunter say nothing.
    """
    largest = np.zeros(len(parts))
    with np.errstate(all="ignore"):
        jitter, _ = positive(jitter, steps)
        for start in range(0, len(parts), CHUNK):
            rows = slice(start, start + CHUNK)
            columns = np.flatnonzero(np.isfinite(parts[rows]).any(axis=0))
            if len(columns) <= SPARE:
                continue
            some, t, own, common = (a[rows][:, columns] for a in (parts, steps, jitter, shared))
            fits = fit(some, t, own, common, 1)
            sigma = fits.deviation * np.fmax(1.0, fits.residual)
            size = np.abs(fits.value)
            telling = (columns >= first[rows, None])[..., None] & (fits.spare >= SPARE)
            telling &= size > PALPABLE * sigma
            telling &= SIGMAS * sigma <= BLUNTEST * bar[rows, None, None]
            largest[rows] = np.where(telling, size, 0.0)[:, :, INTERCEPT_ORDERS].max(axis=(1, 2))
    return largest


def _choose(
    fits: Fits,
    nodes: Floats,
    columns: NDArray[np.intp],
    is_coarse: NDArray[np.bool_],
    rows: slice,
    result: Extrapolation,
) -> None:
    value = fits.value[:, :, :-1]
    excess = np.fmax(1.0, fits.residual[:, :, :-1])
    rounding = SIGMAS * fits.deviation[:, :, :-1] * excess
    hopeless = fits.spare[:, :, :-1] < SPARE
    truncation = SAFETY * _gap(fits, nodes, columns, is_coarse)
    # NaN, where there is nothing to compare with, stays.
    truncation = np.maximum(truncation, _beyond_lower_bars(value, truncation + rounding, hopeless))
    bar = truncation + rounding
    bar[~np.isfinite(bar) | ~np.isfinite(value) | hopeless] = np.inf
    # A fit that nothing but structure can explain is the last resort (|x|^1.5 has no other at 0).
    most_excess = np.where(is_coarse, MOST_EXCESS_IF_COARSE, MOST_EXCESS)[:, None, None]
    fitting = np.where(excess > most_excess, np.inf, bar)
    bar = np.where(np.isfinite(fitting).any(axis=(1, 2), keepdims=True), fitting, bar)
    lanes, _, orders = bar.shape
    best = np.argmin(bar.reshape(lanes, -1), axis=1)
    top, order = np.divmod(best, orders)
    found = np.flatnonzero(np.isfinite(bar.reshape(lanes, -1)[np.arange(lanes), best]))
    at = (found, top[found], order[found])
    for target, source in (
        (result.value, value),
        (result.truncation, truncation),
        (result.rounding, rounding),
        (result.excess, excess),
    ):
        target[rows][found] = source[at]
    result.first[rows][found] = columns[at[1]]
    rank = np.cumsum(fits.rungs, axis=1)
    wanted = (rank[found, at[1]] + at[2])[:, None]
    result.last[rows][found] = columns[np.argmax(rank[found] >= wanted, axis=1)]


def _gap(
    fits: Fits, nodes: Floats, columns: NDArray[np.intp], is_coarse: NDArray[np.bool_]
) -> Floats:
    """What the value of each candidate changes by, with another order or another top.

    A lower top tells directly. A longer one tells what to expect: a fit of m powers of t^p is off
    by its top's t^(p m), as long as the steps are short against the function's own scale. A change
    much smaller than that is an accident: fits that agree though neither is right. (As far as
    lower tops could not see it.) Where numbers are coarse there may be kinks all the way down.
    """
    value = fits.value[:, :, :-1]
    gap = np.abs(np.diff(fits.value, axis=2))
    visible = _visible_below(fits)
    visible[is_coarse] = np.inf
    powers = np.arange(1, value.shape[2] + 1)
    for upper, lower in _neighbours(columns):
        change = np.abs(value[:, upper] - value[:, lower])
        ratio = (nodes[:, lower] / nodes[:, upper])[..., None]
        shrink = np.where(is_coarse[:, None, None], ratio**ROUGH, ratio**powers)
        gap[:, upper] = np.fmax(gap[:, upper], change)
        foretold = np.fmin(ACCIDENT * shrink, 1.0) * change
        # NaN, where there is no such top, stays NaN, which fmax passes over.
        gap[:, lower] = np.fmax(gap[:, lower], np.minimum(foretold, visible[:, lower]))
    return gap


def _beyond_lower_bars(value: Floats, bar: Floats, hopeless: NDArray[np.bool_]) -> Floats:
    """How far each candidate lies outside the bars of the candidates with lower tops.

    Rungs on the near side of a kink agree with each other; those beyond it may as well, and may
    take the others for noise.
    """
    known = np.isfinite(value + bar) & ~hopeless
    least = np.where(known, value - bar, -np.inf).max(axis=2)
    most = np.where(known, value + bar, np.inf).min(axis=2)
    least = np.maximum.accumulate(least[:, ::-1], axis=1)[:, ::-1]
    most = np.minimum.accumulate(most[:, ::-1], axis=1)[:, ::-1]
    beyond = np.zeros_like(value)
    beyond[:, :-1] = np.fmax(value[:, :-1] - most[:, 1:, None], least[:, 1:, None] - value[:, :-1])
    return np.fmax(beyond, 0.0)


def _visible_below(fits: Fits) -> Floats:
    """The error that a candidate cannot hide from the next lower top, which rounds more.

    Beside a kink the longer tops are wrong and foretell the worst; what lies below knows better.
    """
    bar = SIGMAS * fits.deviation[:, :, :-1] * np.fmax(1.0, fits.residual[:, :, :-1])
    visible = np.full_like(bar, np.inf)
    below = np.full((len(bar), bar.shape[2]), np.inf)
    for top in range(bar.shape[1] - 1, -1, -1):
        visible[:, top] = below
        known = np.isfinite(bar[:, top]) & (fits.spare[:, top, :-1] >= SPARE)
        below = np.where(known, bar[:, top], below)
    return visible


def _neighbours(columns: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Pairs of positions in `columns` whose columns are 1, 2, ... REACH apart."""
    for reach in range(1, REACH + 1):
        lower = np.searchsorted(columns, columns + reach)
        there = lower < len(columns)
        there[there] = columns[lower[there]] == columns[there] + reach
        yield np.flatnonzero(there), lower[there]
