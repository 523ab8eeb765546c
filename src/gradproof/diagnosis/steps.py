"""The step table: how the gap between claim and difference behaves as the step shrinks.

Shrinking as h^2 it is truncation (Cauchy's remainder, h^2 f'''(xi) / 6); growing as 1/h it is
rounding; a constant gap is a wrong gradient; a sudden drop is a kink left outside.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradproof.numerics.extrapolation import SIGMAS
from gradproof.report.model import Cause, StepRow, StepTable
from gradproof.report.steps_text import step_size
from gradproof.subjects.base import Floats

#: The steps of the table, absolute, as people choose them by hand.
STEPS = tuple(10.0**-k for k in range(2, 10))


def step_table(
    label: str,
    analytic: Floats,
    numeric: Floats,
    error: Floats,
    rounding: Floats,
    slopes: Floats,
    levels: Floats,
    *,
    steps: Sequence[float] = STEPS,
    at_kink: bool = False,
) -> StepTable:
    """Build the table for one entry, or for several of a tensor as root mean squares.

    Args:
        label: the entry's or the tensor's name.
        analytic: what is claimed, (entries,).
        numeric: what was found, (entries,).
        error: half-width of the bar around `numeric`, (entries,).
        rounding: the claim's own rounding, (entries,).
        slopes: central differences, (steps, entries).
        levels: noise of the values they were made of, (steps, entries).
        steps: h, from coarse to fine.
        at_kink: the numeric value is the mean of two different one-sided slopes.
    """
    one = len(analytic) == 1
    # Entries that a step takes out of the domain count at the other steps.
    off = _size(slopes - numeric)
    gap = _size(slopes - analytic)
    noise = SIGMAS * _size(levels) / (np.sqrt(2.0) * np.array(steps))
    truncation = np.where(off > noise, off, np.nan)
    bar, wrong = _size(error + rounding)[0], _size(analytic - numeric)[0]
    order, rounding_order = _orders(np.array(steps), off, noise)
    drop = _sudden_drop(np.array(steps), off, noise)
    cause, explanation = _explain(wrong, bar, order, drop, gap, np.array(steps), at_kink)
    if cause == "kink":
        order = float("nan")  # no power of h describes a jump from one branch to another
    rows = [
        StepRow(
            float(h),
            float(slopes[i, 0]) if one else float("nan"),
            float(gap[i]),
            float(truncation[i]),
            float(noise[i]),
        )
        for i, h in enumerate(steps)
    ]
    return StepTable(
        label=label,
        analytic=float(analytic[0]) if one else float("nan"),
        numeric=float(numeric[0]) if one else float("nan"),
        error=float(bar),
        rows=tuple(rows),
        order=order,
        rounding_order=rounding_order,
        cause=cause,
        explanation=explanation,
    )


def _size(values: Floats) -> Floats:
    """Root mean square over the entries, for each step."""
    values = np.atleast_2d(values)
    known = np.isfinite(values)
    largest = np.max(np.abs(values), axis=1, initial=0.0, where=known)
    scale = np.where(largest > 0, largest, 1.0)[:, None]
    squares = np.sum((values / scale) ** 2, axis=1, where=known)
    size: Floats = scale[:, 0] * np.sqrt(squares / known.sum(axis=1))
    return size


def _orders(steps: Floats, off: Floats, noise: Floats) -> tuple[float, float]:
    """Slopes of log(off) against log(h) where truncation rules and where rounding does."""
    lowest = int(np.argmin(np.where(off > 0, off, np.inf)))
    ruled = (off > 4.0 * noise) & (np.arange(len(steps)) <= lowest)
    rough = (off > 0) & (np.arange(len(steps)) >= lowest) & (off <= noise)
    return _fit(steps[ruled], off[ruled]), _fit(steps[rough], off[rough])


def _fit(steps: Floats, off: Floats) -> float:
    """Median slope between neighbours: one odd row does not bend it."""
    if len(steps) < 3:
        return float("nan")
    return float(np.median(np.diff(np.log(off)) / np.diff(np.log(steps))))


def _sudden_drop(steps: Floats, off: Floats, noise: Floats) -> float:
    """The step at which the gap falls by much more than h^2, or NaN."""
    with np.errstate(all="ignore"):
        fall = off[:-1] / np.fmax(off[1:], noise[1:])
    smooth = (steps[:-1] / steps[1:]) ** 2
    sudden = np.flatnonzero((fall > 30.0 * smooth) & (off[:-1] > 10.0 * noise[:-1]))
    return float(steps[sudden[-1] + 1]) if len(sudden) else float("nan")


def _explain(
    wrong: float,
    bar: float,
    order: float,
    drop: float,
    gap: Floats,
    steps: Floats,
    at_kink: bool,
) -> tuple[Cause, str]:
    if not np.isfinite(gap).any():
        if np.isfinite(wrong):
            return "unclear", "x - h or x + h lies outside f's domain at every step of the table"
        return "wrong gradient", "the analytic value is not a finite number"
    best = int(np.nanargmin(gap))
    where = step_size(steps[best])
    if at_kink:
        return "kink", (
            "the point lies on a kink: the slopes on its two sides differ, and the central "
            "difference is their mean at every step, however short"
        )
    if wrong > bar:
        return "wrong gradient", (
            f"the gap stays at {wrong:.1e} however short the step; the numeric value is good to "
            f"{bar:.1e}: it is neither truncation nor rounding, the gradient is wrong"
        )
    if np.isfinite(drop):
        return "kink", (
            f"the gap drops suddenly, to {gap[best]:.1e}, once the step is {step_size(drop)} or "
            "shorter: a kink lies between x - h and x + h at longer steps and outside at shorter "
            "ones"
        )
    if np.isfinite(order) and order > 1.0:
        return "truncation", (
            f"the gap falls as h^{order:.1f} down to {gap[best]:.1e} at h = {where}, "
            "which is truncation (h^2 f'''/6), and then rises as 1/h, which is rounding: the "
            "gradient is right"
        )
    if np.all(gap <= 10.0 * bar) or best == 0:
        return "rounding", (
            f"the gap is smallest, {gap[best]:.1e}, at h = {where} and rises as the step shrinks: "
            "it is rounding at every step"
        )
    return (
        "agrees",
        f"the gap falls to {gap[best]:.1e} at h = {where}, within the error bar",
    )
