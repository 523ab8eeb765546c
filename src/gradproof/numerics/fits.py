"""Weighted polynomial fits in t^p to slopes at steps t, from every rung downwards at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.sampling import TINY, Floats

#: Highest power of t^p in a candidate; one more is fitted, to see what it changes.
MAX_ORDER = 5


def positive(jitter: Floats, steps: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Jitter without zeros, since weights divide by it, and the lanes that have nothing else.

    Rungs at which f is exactly 0 are taken to be as noisy as the quietest of the others.
    """
    level = np.where(jitter > 0, jitter * steps, np.inf).min(axis=1)
    silent = np.isinf(level)
    level[silent] = 1.0
    return np.where(jitter > 0, jitter, np.fmax(level[:, None] / steps, TINY)), silent


@dataclass(frozen=True)
class Fits:
    """Fits from every top, of every order; arrays of shape (lanes, tops, orders).

    `value` at step 0 with its standard `deviation`; the root mean square `residual` in units of the
    jitter, from `spare` rungs beyond the coefficients; `rungs`, (lanes, tops), that exist.
    """

    value: Floats
    deviation: Floats
    residual: Floats
    spare: NDArray[np.intp]
    rungs: NDArray[np.bool_]


def fit(slopes: Floats, steps: Floats, jitter: Floats, shared: Floats, power: int) -> Fits:
    """Fits of all orders from all tops by one QR decomposition each; arguments as in `extrapolate`.

    The columns of a polynomial fit are nested: the first m columns of Q and R are those of the fit
    with m coefficients, and the first row of R's inverse is nested as well.
    """
    exists = np.isfinite(slopes) & np.isfinite(jitter) & (jitter > 0)
    count = slopes.shape[1]
    below = np.arange(count)[None, :] >= np.arange(count)[:, None]
    used = exists[:, None, :] & exists[:, :, None] & below
    # In units of the top's step and jitter, beside a reference slope: small numbers round little.
    reference = _reference(slopes, exists)
    weight = np.where(used, jitter[:, :, None] / jitter[:, None, :], 0.0)
    node = np.where(used, (steps[:, None, :] / steps[:, :, None]) ** power, 0.0)
    unit = jitter[:, :, None]
    data = np.where(used, (slopes[:, None, :] - reference[:, :, None]) / unit, 0.0)
    common = np.where(used, shared[:, None, :] / unit, 0.0)
    columns = min(MAX_ORDER + 2, count)
    q, r = np.linalg.qr(weight[..., None] * node[..., None] ** np.arange(columns))
    inverse = _first_row_of_inverse(r)
    target, squares = _project(q, weight * data)
    value = np.cumsum(inverse * target, axis=2) * unit + reference[:, :, None]
    own = np.sqrt(np.cumsum(inverse**2, axis=2))
    together = np.cumsum(inverse * np.einsum("ltij,lti->ltj", q, weight * common), axis=2)
    spare = used.sum(axis=2)[..., None] - np.arange(1, columns + 1)
    residual = np.sqrt(squares / np.maximum(spare, 1))
    return Fits(value, np.hypot(own, together) * unit, residual, spare, exists)


def _project(q: Floats, data: Floats) -> tuple[Floats, Floats]:
    """Coefficients of `data` along the columns of q, and what is left of its square after each.

    One column after the other: a difference of two squares would lose what is left to rounding.
    """
    target, squares = np.empty(q[..., 0, :].shape), np.empty(q[..., 0, :].shape)
    rest = data
    for j in range(q.shape[-1]):
        column = q[..., j]
        target[..., j] = np.sum(column * rest, axis=-1)
        rest = rest - column * target[..., j, None]
        squares[..., j] = np.sum(rest * rest, axis=-1)
    return target, squares


def _reference(slopes: Floats, exists: NDArray[np.bool_]) -> Floats:
    """A slope near each top's value: that of a rung somewhat below it, where there is one."""
    reference = np.zeros_like(slopes)
    for shift in range(4):
        there = slopes[:, shift:]
        part = reference[:, : there.shape[1]]
        part[exists[:, shift:]] = there[exists[:, shift:]]
    return reference


def _first_row_of_inverse(r: Floats) -> Floats:
    """First row of the inverse of upper triangular matrices; NaN from where they are singular."""
    row = np.zeros(r.shape[:-1])
    row[..., 0] = 1.0 / r[..., 0, 0]
    for j in range(1, r.shape[-1]):
        row[..., j] = -np.einsum("lti,lti->lt", row[..., :j], r[..., :j, j]) / r[..., j, j]
    diagonal = np.abs(np.diagonal(r, axis1=2, axis2=3))
    row[~np.logical_and.accumulate(diagonal > 1e-10, axis=2)] = np.nan
    return row
