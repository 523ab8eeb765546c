"""The figure of one tensor: what there is to show of it, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradproof.report.entries import Entries
from gradproof.report.escape import one_line
from gradproof.report.figures import canvas, heatmap, panels
from gradproof.report.model import Report, TensorReport
from gradproof.report.steps_text import number

#: Inches of a plot, and plots in a row.
WIDTH, HEIGHT, MOST_COLUMNS = 4.5, 3.7, 3

Draw = Callable[[Axes], None]


def tensor_figure(report: Report, tensor: TensorReport) -> Figure:
    """Map, digits and scatter of the entries looked at; limits and directions of the others."""
    entries = report.entries.filter(tensor=tensor.name)
    plots = [*_of_entries(tensor, entries), *_of_directions(report, tensor)]
    columns = min(len(plots), MOST_COLUMNS)
    rows = math.ceil(len(plots) / MOST_COLUMNS)
    figure = canvas.new_figure(max(columns, 2) * WIDTH, HEIGHT * rows + 1.3)
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    heading = f"{one_line(tensor.name, canvas.NAME)} ({one_line(shape, canvas.NAME)})"
    colour = canvas.VERDICT_COLOURS[tensor.verdict]
    notes = _notes(report, tensor, entries)
    canvas.title(figure, f"{heading}: {tensor.verdict.upper()}", notes, colour)
    for place, draw in enumerate(plots):
        draw(figure.add_subplot(rows, columns, place + 1))
    return figure


def _of_entries(tensor: TensorReport, entries: Entries) -> list[Draw]:
    if not len(entries):
        return []
    (worst,) = entries.worst(1)
    plots: list[Draw] = []
    if tensor.size > 1:
        plots.append(lambda axes: heatmap.draw_map(axes, tensor.shape, entries, worst.index))
    digits = panels.with_digits(entries)
    if len(digits):
        plots.append(lambda axes: panels.draw_digits(axes, digits))
    known = np.isfinite(entries["analytic"]) & np.isfinite(entries["numeric"])
    if known.any():
        finite = entries.filter(where=known)
        plots.append(lambda axes: panels.draw_scatter(axes, finite, worst))
    return plots


def _of_directions(report: Report, tensor: TensorReport) -> list[Draw]:
    if not report.probes:
        return []
    plots: list[Draw] = []
    tensors = list(report.tensors.values())
    if any(0.0 < one.detection_limit < math.inf for one in tensors):
        plots.append(lambda axes: panels.draw_limits(axes, tensors, tensor, report.resolution))
    probes = panels.finite_probes(report.probes, tensor.name)
    if probes:
        plots.append(lambda axes: panels.draw_directions(axes, probes))
    return plots


def _notes(report: Report, tensor: TensorReport, entries: Entries) -> list[str]:
    lines = [tensor.reason] if tensor.reason else []
    if not tensor.size:
        return [*lines, "It has no entries."]
    counts = ", ".join(f"{n:,} {verdict}" for verdict, n in entries.counts().items() if n)
    looked = f"Looked at one by one: {len(entries):,} of {tensor.size:,} entries"
    lines.append(f"{looked}{f' ({counts})' if counts else ''}.")
    # With random directions the reason has said it already.
    if math.isfinite(tensor.detection_limit) and not report.probes:
        limit = number(tensor.detection_limit)
        lines[-1] += f" A relative error of their gradient above {limit} would have been seen."
    unknown = ~(np.isfinite(entries["analytic"]) & np.isfinite(entries["numeric"]))
    if unknown.any():
        lines[-1] += f" Not finite, and so not in the scatter: {np.count_nonzero(unknown):,}."
    if len(entries) and len(entries) < tensor.size:
        lines[-1] += " Hatched: not looked at."
    return lines
