"""Two coefficients by which an error would be inside all bars, for each of several groups."""

from __future__ import annotations

import numpy as np

from gradproof.diagnosis.patterns.field import Codes
from gradproof.numerics.agreement import Floats

#: Rounds of reweighting, and how far outside the bars the first fit may be to be worth any.
ROUNDS, HOPEFUL = 40, 20.0


def fit_two(
    target: Floats, error: Floats, u: Floats, v: Floats, group: Codes, count: int
) -> tuple[Floats, Floats]:
    """Fit a u + b v to a target so that the largest miss, in units of the bars, is smallest.

    By least squares, the entries that are missed most weighted up from round to round: that tends
    to the best fit in the largest miss (Lawson 1961). It ends once all are inside the bars.

    Args:
        target: (k,).
        error: half-width of the bar around each, (k,).
        u: what it is made of, (k,).
        v: and this, (k,); not 0.
        group: the group of each entry, (k,), each with coefficients of its own.
        count: of groups.

    Returns:
        a and b, (count,) each; a is 0 in groups that do not tell u from v, b NaN in empty ones.
    """

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(group, values, count))

    units = 1.0 / error
    weight = np.ones(len(target))
    a = b = np.full(count, np.nan)
    for _ in range(ROUNDS):
        w = weight * units**2
        # One column after the other: what v explains is taken out of u and of the target.
        of_v = total(w * v * v)
        u_on_v, target_on_v = total(w * v * u) / of_v, total(w * v * target) / of_v
        rest, gap = u - u_on_v[group] * v, target - target_on_v[group] * v
        of_rest = total(w * rest * rest)
        a = np.where(of_rest > 0.0, total(w * rest * gap) / of_rest, 0.0)
        b = target_on_v - a * u_on_v
        miss = np.abs(gap - a[group] * rest) * units
        largest = np.zeros(count)
        np.maximum.at(largest, group, miss)
        if not 1.0 < np.max(largest, initial=0.0) < HOPEFUL:
            break
        weight = weight * miss / np.where(largest > 0.0, largest, 1.0)[group]
        top = np.zeros(count)
        np.maximum.at(top, group, weight)
        weight = weight / np.where(top > 0.0, top, 1.0)[group]
    return a, b
