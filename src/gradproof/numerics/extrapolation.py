"""Richardson extrapolation over a ladder of steps, with a bar made of two parts.

Slopes at geometrically shrinking steps are off by truncation, c t^p + c' t^2p + ..., and by
rounding, noise / t. Every entry T[k, m] of the Richardson tableau (rungs k..k+m combined) is a
candidate; each gets a truncation part from its neighbour in the tableau and a rounding part from
the noise and its weights; the candidate with the smallest bar wins. A candidate is only believed as
far as *all finer rungs* allow: what they deviate from its polynomial is noise that its bar must
include. That is what keeps two coarse rungs which agree by accident from being believed (compare
Lepski's rule for choosing a bandwidth, Theory Probab. Appl. 35 (1991)).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.sampling import Floats

MAX_ORDER = 5
#: Standard deviations of rounding in a bar. Rounding errors are bounded rather than Gaussian, but
#: the noise level itself is only known to a factor.
SIGMAS = 6.0
SAFETY = 2.0
ACCIDENT = 4.0
DOUBT = 1.0


@dataclass(frozen=True)
class Extrapolation:
    """The best candidate of each lane; every array has shape (lanes,).

    `excess` is the factor by which the finer rungs deviate more than the noise explains (at least
    1); `first` and `last` the coarsest and finest rung used, -1 where nothing could be said.
    """

    value: Floats
    truncation: Floats
    rounding: Floats
    excess: Floats
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def weights(steps: Floats, power: int) -> Floats:
    """Weights of the slopes at `steps` in their full extrapolation to t = 0.

    The value at 0 of the interpolating polynomial in t^power (Lagrange's form).

    >>> weights(np.array([4.0, 1.0]), power=2).round(4).tolist()
    [-0.0667, 1.0667]
    """
    nodes = steps**power
    others = ~np.eye(len(nodes), dtype=np.bool_)
    ratio = nodes[None, :] / (nodes[None, :] - nodes[:, None] + np.eye(len(nodes)))
    product: Floats = np.prod(np.where(others, ratio, 1.0), axis=1)
    return product


def extrapolate(
    slopes: Floats,
    steps: Floats,
    jitter: Floats,
    *,
    power: int,
) -> Extrapolation:
    """The best Richardson candidate per lane.

    Args:
        slopes: (lanes, rungs), from coarse to fine, NaN where a rung does not exist.
        steps: (lanes, rungs), the steps t, in the same ratios in every lane (but for rounding).
        jitter: (lanes, rungs), standard deviation of each slope from noise in the values.
        power: 2 for central differences, 1 for one-sided ones.
    """
    lanes, rungs = slopes.shape
    best = _Best(lanes)
    tableau, lower = slopes, np.zeros_like(slopes)
    with np.errstate(all="ignore"):
        for order in range(min(MAX_ORDER, rungs - 1) + 1):
            if order == 0:
                gap = np.abs(tableau - _shift(tableau))
            else:
                finer = tableau[:, 1:]
                shrink = (steps[:, :-order] / steps[:, order:]) ** power
                tableau = finer + (finer - tableau[:, :-1]) / (shrink - 1.0)
                gap = np.abs(tableau - finer)
            doubt = np.fmax(_expected_gap(gap, steps, order, power), DOUBT * lower)
            truncation = SAFETY * np.fmax(gap, doubt)
            lower = gap[:, 1:]
            deviation = _deviation(tableau, slopes, steps, jitter, order, power)
            rounding = SIGMAS * _spread(steps, jitter, order, power) * deviation
            best.offer(tableau, truncation, rounding, deviation, order)
    return best.result()


def _expected_gap(gap: Floats, steps: Floats, order: int, power: int) -> Floats:
    """What the next coarser candidate's gap foretells, so that no accident is believed.

    A gap is proportional to the product of t^power over its finer rungs, as long as the steps
    are short against the function's own scale. A gap much smaller than its coarser neighbour
    foretells is an accident: two rungs that agree though neither is right.
    """
    count = gap.shape[1]
    shift = max(order, 1)
    coarse, fine = steps[:, : count - 1], steps[:, shift : shift + count - 1]
    foretold = np.zeros_like(gap)
    foretold[:, 1:] = np.nan_to_num(ACCIDENT * gap[:, :-1] * (fine / coarse) ** power, posinf=0.0)
    return foretold


def _spread(steps: Floats, jitter: Floats, order: int, power: int) -> Floats:
    """Standard deviation of each candidate; the steps' ratios are the same in every lane."""
    nominal = steps[np.argmax(np.isfinite(steps).sum(axis=1))]
    columns = steps.shape[1] - order
    spread = np.full((len(steps), columns), np.nan)
    for k in range(columns):
        w = weights(nominal[k : k + order + 1], power)
        # hypot, since squares would underflow at 1e-170.
        spread[:, k] = functools.reduce(np.hypot, (jitter[:, k : k + order + 1] * w).T)
    return spread


def _shift(array: Floats) -> Floats:
    """Each rung's finer neighbour; the finest has none."""
    return np.concatenate([array[:, 1:], np.full((len(array), 1), np.nan)], axis=1)


def _deviation(
    tableau: Floats, slopes: Floats, steps: Floats, jitter: Floats, order: int, power: int
) -> Floats:
    """How much more than the noise the finer rungs deviate from each candidate, at least 1.

    The candidate's polynomial at a finer step t is value + (its finest slope - value) (t/t_fine)^p
    to leading order.
    """
    rungs = slopes.shape[1]
    candidates = tableau.shape[1]
    result = np.ones_like(tableau)
    for k in range(candidates):
        last = k + order
        if last + 1 >= rungs:
            continue
        value, finest = tableau[:, k, None], slopes[:, last, None]
        ratio = (steps[:, last + 1 :] / steps[:, last, None]) ** power
        expected = value + (finest - value) * ratio
        z = np.abs(slopes[:, last + 1 :] - expected) / jitter[:, last + 1 :]
        known = np.isfinite(z)
        z = np.where(known, z, 0.0)
        count = np.maximum(known.sum(axis=1), 1)
        rms = np.sqrt(np.sum(z * z, axis=1) / count)
        result[:, k] = np.fmax(1.0, np.fmax(rms, z.max(axis=1) / 3.0))
    return result


class _Best:
    """The smallest bar so far, lane by lane."""

    def __init__(self, lanes: int) -> None:
        self.value = np.full(lanes, np.nan)
        self.truncation = np.full(lanes, np.inf)
        self.rounding = np.full(lanes, np.inf)
        self.excess = np.ones(lanes)
        self.first = np.full(lanes, -1, dtype=np.intp)
        self.last = np.full(lanes, -1, dtype=np.intp)

    def offer(
        self, value: Floats, truncation: Floats, rounding: Floats, excess: Floats, order: int
    ) -> None:
        bar = np.where(np.isfinite(value), truncation + rounding, np.inf)
        bar[np.isnan(bar)] = np.inf
        k = np.argmin(bar, axis=1)
        rows = np.arange(len(k))
        better = bar[rows, k] < self.truncation + self.rounding
        rows, k = rows[better], k[better]
        self.value[rows] = value[rows, k]
        self.truncation[rows] = truncation[rows, k]
        self.rounding[rows] = rounding[rows, k]
        self.excess[rows] = excess[rows, k]
        self.first[rows] = k
        self.last[rows] = k + order

    def result(self) -> Extrapolation:
        return Extrapolation(
            self.value, self.truncation, self.rounding, self.excess, self.first, self.last
        )
