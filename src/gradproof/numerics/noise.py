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
from functools import lru_cache

import numpy as np

from gradproof.numerics.sampling import (
    EPS,
    TINY,
    Floats,
    Sampler,
    offset_on_grid,
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
#: The spacing is at least this many times that of the numbers that the function can be given.
UNITS = 8.0
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


def floor(*values: Floats, unit: float = EPS) -> Floats:
    """The least noise a function can have: half an ulp of its largest value.

    Args:
        values: values of the function, of one shape.
        unit: relative spacing of the numbers that the function returns.
    """
    largest = np.fmax.reduce([np.abs(v) for v in values])
    ulp = unit_in_last_place(np.nan_to_num(largest), unit)
    return np.fmax(FLOOR_IN_ULPS * ulp, np.fmin(ulp, TINY))


def difference_weights(nodes: Floats, order: int) -> Floats:
    """Rows of weights: the divided differences of this order, scaled to unit length.

    Applied to independent noise of standard deviation s they give values of standard deviation s;
    applied to a polynomial of degree < order they give 0.

    >>> difference_weights(np.arange(4.0), 2).round(3).tolist()
    [[0.408, -0.816, 0.408, 0.0], [0.0, 0.408, -0.816, 0.408]]
    """
    count = nodes.shape[-1]
    rows = np.zeros((*nodes.shape[:-1], count - order, count))
    for first in range(count - order):
        window = nodes[..., first : first + order + 1]
        gaps = window[..., :, None] - window[..., None, :] + np.eye(order + 1)
        row = 1.0 / np.prod(gaps, axis=-1)
        length = np.sqrt(row[..., None, :] @ row[..., :, None])[..., 0]
        rows[..., first, first : first + order + 1] = row / length
    return rows


@lru_cache(maxsize=256)
def _common_weights(nodes: tuple[float, ...], order: int) -> Floats:
    """`difference_weights` of nodes that all lanes share: nearly always the same ones."""
    weights = difference_weights(np.array(nodes), order)
    weights.flags.writeable = False
    return weights


def table_noise(values: Floats, nodes: Floats) -> Floats:
    """Noise level from values (lanes, n) at `nodes`, n >= 6 (More and Wild 2011, section 3).

    `nodes` has shape (n,), or (lanes, n) where every lane has its own.

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
    for order in range(1, nodes.shape[-1] - 1):
        if nodes.ndim == 1:
            differences = values @ _common_weights(tuple(nodes.tolist()), order).T
        else:
            differences = np.einsum("ln,lrn->lr", values, difference_weights(nodes, order))
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


def measure_noise(
    sampler: Sampler,
    center: Floats,
    scale: Floats,
    value: Floats,
    unit: Floats | float = EPS,
    value_unit: float = EPS,
) -> Noise:
    """Noise right at each centre, from one table at the spacing `SPACING` * scale.

    Costs `COST` evaluations a lane. A function with a float32 or quantised stage is flat at this
    spacing; `staircase` finds that out from farther away.

    Args:
        sampler: the lanes' values.
        center: shape (lanes,), the point.
        scale: shape (lanes,), the size of the point's surroundings.
        value: shape (lanes,), the function's value at the centre.
        unit: scalar or (lanes,), relative spacing of the numbers the function can be given; where
            they are coarser than doubles the table is wider, and its points are of their number.
        value_unit: relative spacing of the numbers that the function returns.
    """
    unit = np.broadcast_to(unit, center.shape)
    is_coarse = unit > EPS
    width = np.where(is_coarse, np.fmax(SPACING, UNITS * unit), SPACING) * scale
    away = NODES[NODES != 0.0]
    step = representable(center[:, None], width[:, None] * np.abs(away)) * np.sign(away)
    step = offset_on_grid(center[:, None], step, unit[:, None])
    values = sample_grid(sampler, np.arange(len(center)), step)
    middle = int(np.argmax(NODES == 0.0))
    table = np.insert(values, middle, value, axis=1)
    with np.errstate(all="ignore"):
        # Halved first, against overflow. A table that leaves the domain says nothing.
        level = 2.0 * table_noise(0.5 * table, NODES)
        if is_coarse.any():
            nodes = np.insert(step / width[:, None], middle, 0.0, axis=1)[is_coarse]
            level[is_coarse] = 2.0 * table_noise(0.5 * table[is_coarse], nodes)
        level = np.nan_to_num(level)
        slope = (0.5 * values[:, -1] - 0.5 * values[:, 0]) / (0.5 * (step[:, -1] - step[:, 0]))
    return Noise(np.fmax(floor(*table.T, unit=value_unit), level), np.nan_to_num(slope))


def _root_mean_square(values: Floats) -> Floats:
    largest = np.abs(values).max(axis=1)
    scale = np.where(largest > 0, largest, 1.0)
    rms: Floats = scale * np.sqrt(np.mean((values / scale[:, None]) ** 2, axis=1))
    return rms
