"""How much a function's own values jitter: Hamming's difference table.

The difference table separates noise from a smooth function: high differences of a smooth function
vanish as the spacing shrinks, those of noise do not. R. W. Hamming, Introduction to Applied
Numerical Analysis (1971), ch. 6; J. J. More and S. M. Wild, Estimating computational noise, SIAM
J. Sci. Comput. 33 (2011), algorithm ECnoise.

Those tables are evenly spaced. Rounding is not random, though: at evenly spaced points its errors
may drift so slowly that all differences miss them. The spacing here is uneven, and the differences
are divided ones, scaled so that unit noise gives unit differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gradproof.numerics.sampling import (
    TINY,
    Floats,
    Sampler,
    representable,
    sample_grid,
    unit_in_last_place,
)

#: A rounded result is off by up to half a unit in the last place, uniformly: 0.29 ulp as a
#: standard deviation. A few operations make it a little more; nothing makes it less.
FLOOR_IN_ULPS = 0.5
#: The table's points, in units of its spacing; the one at 0 is the centre.
NODES = np.array([-3.11, -2.23, -0.87, 0.0, 1.0, 1.79, 2.93])
#: Its spacing, relative to the lane's scale: far below any structure worth a name, so that a kink
#: at the point is not taken for noise, far above the spacing of doubles. Not a power of two: every
#: intermediate result would be rounded alike and the noise would not show.
SPACING = 1.37e-11
#: Evaluations that a table costs, beside the value at the centre.
COST = len(NODES) - 1


@dataclass(frozen=True)
class Noise:
    """Noise right at each centre, shape (lanes,).

    `level` is the standard deviation of the jitter in the values, floored; `slope` the slope over
    the table's tiny spacing, which is a bad derivative but tells a stair's own slope.
    """

    level: Floats
    slope: Floats


def floor(*values: Floats) -> Floats:
    """The least noise a double-precision function can have: half an ulp of its largest value."""
    largest = np.fmax.reduce([np.abs(v) for v in values])
    ulp = unit_in_last_place(np.nan_to_num(largest))
    return np.fmax(FLOOR_IN_ULPS * ulp, np.fmin(ulp, TINY))


def difference_weights(nodes: Floats, order: int) -> Floats:
    """Rows of weights: the divided differences of this order, scaled to unit length.

    Applied to independent noise of standard deviation s they give values of standard deviation s;
    applied to a polynomial of degree < order they give 0.

    >>> difference_weights(np.arange(4.0), 2).round(3).tolist()
    [[0.408, -0.816, 0.408, 0.0], [0.0, 0.408, -0.816, 0.408]]
    """
    rows = np.zeros((len(nodes) - order, len(nodes)))
    for first in range(len(rows)):
        window = nodes[first : first + order + 1]
        gaps = window[:, None] - window[None, :] + np.eye(order + 1)
        row = 1.0 / np.prod(gaps, axis=1)
        rows[first, first : first + order + 1] = row / np.linalg.norm(row)
    return rows


def table_noise(values: Floats, nodes: Floats) -> Floats:
    """Noise level from values at `nodes` (lanes, n), n >= 6 (More and Wild 2011, section 3).

    The root mean square sigma_k of the k-th differences estimates the noise once k is large enough
    for the smooth part to have vanished. The first k is taken from which three successive estimates
    agree within a factor of 4 and the differences change sign; where there is none, the median over
    the high orders (at a spacing this small they are noise, steady or not).

    >>> rng = np.random.default_rng(0)
    >>> x = np.linspace(0, 1e-6, 9)
    >>> noise = table_noise(np.sin(x) + 1e-9 * rng.standard_normal((1, 9)), x)
    >>> 3e-10 < float(noise[0]) < 3e-9
    True
    """
    sigmas, changes = [], []
    for order in range(1, len(nodes) - 1):
        differences = values @ difference_weights(nodes, order).T
        sigmas.append(_root_mean_square(differences))
        changes.append((differences.min(axis=1) < 0) & (differences.max(axis=1) > 0))
    sigma, change = np.stack(sigmas, axis=1), np.stack(changes, axis=1)
    level = np.median(sigma[:, 2:], axis=1)
    found = np.zeros(len(values), dtype=np.bool_)
    for k in range(sigma.shape[1] - 2):
        window = sigma[:, k : k + 3]
        steady = (window.max(axis=1) <= 4.0 * window.min(axis=1)) & change[:, k] & ~found
        level[steady] = sigma[steady, k]
        found |= steady
    return level


def measure_noise(sampler: Sampler, center: Floats, scale: Floats, value: Floats) -> Noise:
    """Noise right at each centre, from one table at the spacing `SPACING` * scale.

    Costs `COST` evaluations a lane. A function with a float32 or quantised stage is flat at this
    spacing; `staircase` finds that out from farther away.

    Args:
        sampler: the lanes' values.
        center: shape (lanes,), the point.
        scale: shape (lanes,), the size of the point's surroundings.
        value: shape (lanes,), the function's value at the centre.
    """
    away = NODES[NODES != 0.0]
    step = representable(center[:, None], SPACING * scale[:, None] * np.abs(away)) * np.sign(away)
    values = sample_grid(sampler, np.arange(len(center)), step)
    table = np.insert(values, int(np.argmax(NODES == 0.0)), value, axis=1)
    with np.errstate(all="ignore"):
        # Halved first, against overflow. A table that leaves the domain says nothing.
        level = np.nan_to_num(2.0 * table_noise(0.5 * table, NODES))
        slope = (0.5 * values[:, -1] - 0.5 * values[:, 0]) / (0.5 * (step[:, -1] - step[:, 0]))
    return Noise(np.fmax(floor(*table.T), level), np.nan_to_num(slope))


def _root_mean_square(values: Floats) -> Floats:
    largest = np.abs(values).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0)
    rms: Floats = scale * np.sqrt(np.mean((values / scale[:, None]) ** 2, axis=1))
    return rms
