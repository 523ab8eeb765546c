"""Error against the step h on logarithmic axes: truncation, rounding, kinks and the error bar."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradproof.report.escape import one_line
from gradproof.report.figures import canvas
from gradproof.report.model import StepTable
from gradproof.report.steps_text import derivative_pair, number

Floats = NDArray[np.float64]

_CAUSE_COLOURS = {
    "wrong gradient": canvas.VERMILION,
    "unclear": canvas.VERDICT_COLOURS["inconclusive"],
}


def step_figure(table: StepTable) -> Figure:
    """The figure of one step table; words alone where no step has a finite difference."""
    columns = _Columns(table)
    is_drawn = bool(np.isfinite(columns.difference).any())
    figure = canvas.new_figure(8.0, 5.4 if is_drawn else 1.4)
    colour = _CAUSE_COLOURS.get(table.cause, canvas.INK)
    notes = (_values(table), f"{table.cause}: {table.explanation}")
    canvas.title(figure, f"{one_line(table.label, canvas.NAME)}: error against step", notes, colour)
    if is_drawn:
        _draw(figure.add_subplot(), table, columns)
    return figure


class _Columns:
    """The table's columns as arrays, sorted by the step."""

    def __init__(self, table: StepTable) -> None:
        rows = sorted(table.rows, key=lambda row: row.step)
        steps = np.array([row.step for row in rows], np.float64)
        steps = np.clip(steps, canvas.LEAST, canvas.MOST)
        longest = float(np.fmax.reduce(steps, initial=canvas.LEAST))
        self.step: Floats = np.maximum(steps, longest / canvas.WIDEST)
        self.numeric: Floats = np.array([row.numeric for row in rows], np.float64)
        self.difference: Floats = np.array([row.difference for row in rows], np.float64)
        self.truncation: Floats = np.array([row.truncation for row in rows], np.float64)
        self.rounding: Floats = np.array([row.rounding for row in rows], np.float64)


def _values(table: StepTable) -> str:
    if not any(math.isfinite(row.numeric) for row in table.rows):
        return f"root mean squares over the tensor's entries; error bar {number(table.error)}"
    analytic, numeric = derivative_pair(table.analytic, table.numeric, table.error)
    bar = number(table.error)
    return f"analytic {analytic.strip()}, numeric {numeric.strip()} ± {bar}"


def _draw(axes: Axes, table: StepTable, columns: _Columns) -> None:
    canvas.dress(axes, x="step h", y="error of the central difference")
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = _limits(columns, table.error)
    # Set first, so that no margin is sought around what may be close to overflow.
    axes.set_ylim(low, high)
    step = columns.step
    # Written on the plot: where the kink is crossed, and how far the numeric value can be trusted.
    if table.cause == "kink":
        _mark_kinks(axes, columns)
    if low < table.error < high:
        axes.axhspan(
            low,
            table.error,
            color=canvas.PALE,
            alpha=0.6,
            lw=0,
            zorder=0,
            label=f"error bar of the numeric value, {number(table.error)}",
        )
    axes.plot(
        step,
        _drawn(columns.rounding),
        ":",
        color=canvas.ORANGE,
        lw=2,
        label="rounding to be expected at h",
    )
    beyond = "kink" if table.cause == "kink" else "truncation"
    axes.plot(
        step,
        _drawn(columns.truncation),
        "s",
        color=canvas.GREEN,
        ms=10,
        mfc="none",
        mew=1.5,
        label=f"{beyond}, what is left beyond rounding",
    )
    _fitted_lines(axes, table, columns, (low, high))
    axes.plot(
        step,
        _drawn(columns.difference),
        "o-",
        color=canvas.BLUE,
        ms=5,
        lw=1.2,
        zorder=4,
        label="|difference at h - analytic|",
    )
    zero = columns.difference == 0.0
    if zero.any():
        axes.plot(
            step[zero],
            np.full(np.count_nonzero(zero), low),
            "v",
            color=canvas.BLUE,
            ms=8,
            clip_on=False,
            label="no difference at all",
        )
    axes.grid(True, which="major", color=canvas.PALE, lw=0.6)
    axes.set_axisbelow(True)
    canvas.legend(axes, columns=2, is_below=True)


def _drawn(values: Floats) -> Floats:
    """What a logarithmic axis can show; gaps elsewhere."""
    sizes = np.where(np.isfinite(values) & (values > 0.0), values, np.nan)
    return np.clip(sizes, canvas.LEAST, canvas.MOST)


def _limits(columns: _Columns, error: float) -> tuple[float, float]:
    values = np.concatenate(
        [columns.difference, columns.truncation, columns.rounding, np.array([error])]
    )
    some = _drawn(values)
    some = some[~np.isnan(some)]
    if not some.size:  # every difference is 0, and so is its bar
        return 1e-17, 1.0
    highest = float(some.max())
    return max(float(some.min()), highest / canvas.WIDEST) / 10.0, highest * 10.0


def _mark_kinks(axes: Axes, columns: _Columns) -> None:
    """A stripe behind every step whose interval holds the kink."""
    ratio = _half_gap(columns.step)
    with np.errstate(invalid="ignore"):
        inside = columns.truncation > columns.rounding
    for k, h in enumerate(columns.step[inside]):
        axes.axvspan(
            h / ratio,
            h * ratio,
            facecolor=canvas.PURPLE,
            alpha=0.22,
            lw=0,
            zorder=0,
            label="a kink lies between x - h and x + h" if k == 0 else None,
        )


def _half_gap(step: Floats) -> float:
    """The factor from one step to the middle between it and the next, as logarithms go."""
    return float(np.sqrt(np.median(step[1:] / step[:-1]))) if len(step) > 1 else 2.0


def _fitted_lines(
    axes: Axes, table: StepTable, columns: _Columns, limits: tuple[float, float]
) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(columns.numeric - table.numeric)
    off = np.where(np.isfinite(off), off, columns.difference)
    is_rounding = np.isnan(columns.truncation) & (off > 0.0)
    for order, mask, values, colour, what in (
        (table.order, columns.truncation > 0.0, columns.truncation, canvas.GREEN, "truncation"),
        (table.rounding_order, is_rounding, off, canvas.VERMILION, "rounding"),
    ):
        mask = mask & np.isfinite(values)
        if not math.isfinite(order) or not mask.any():
            continue
        # Through the middle of the points in logarithms: one odd row does not move it.
        with np.errstate(all="ignore"):
            height = np.median(np.log(values[mask]) - order * np.log(columns.step[mask]))
            line = np.exp(height + order * np.log(columns.step))
        shown = np.where((line >= limits[0]) & (line <= limits[1]), line, np.nan)
        expected = "h^2" if what == "truncation" else "1/h"
        axes.plot(
            columns.step,
            shown,
            "--",
            color=colour,
            lw=1.2,
            label=f"{what} goes as h^{order:.2f} (expected {expected})",
        )
