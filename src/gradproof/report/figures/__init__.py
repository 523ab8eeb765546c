"""Plots of a report as matplotlib figures; the extra `plot`.

matplotlib is imported when a figure is asked for, and never its pyplot: no backend is chosen and
no setting changed.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gradproof._errors import InputError
from gradproof.report.model import Report, StepTable, TensorReport
from gradproof.report.ranking import worst_first
from gradproof.report.steps_text import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: How many names an error lists, and how much of each.
MOST_NAMES, LONGEST_NAME = 20, 80


def plot_steps(report: Report, label: str | None = None) -> Figure:
    """Error against the step for one of the report's step tables; see `Report.plot_steps`."""
    table = _table(report, label)
    _need_matplotlib("Report.plot_steps()")
    from gradproof.report.figures.steps import step_figure

    return step_figure(table)


def plot_tensor(report: Report, name: str | None = None) -> Figure:
    """What was found in one tensor; see `Report.plot_tensor`."""
    tensor = _tensor(report, name)
    _need_matplotlib("Report.plot_tensor()")
    from gradproof.report.figures.tensor import tensor_figure

    return tensor_figure(report, tensor)


def _worst_tensor(report: Report) -> TensorReport:
    """The one that `plot_tensor` shows by default.

    Raises:
        InputError: the report has no tensors.
    """
    if not report.tensors:
        raise InputError("Expected a report with tensors but it has none")
    return worst_first(report.tensors.values())[0]


def _table(report: Report, label: str | None) -> StepTable:
    if not report.steps:
        raise InputError(
            "Expected a report with a table of steps but it has none: check(..., steps='NAME', "
            "coverage='full') makes one"
        )
    if label is None:
        return report.steps[0]
    for table in report.steps:
        if table.label == label:
            return table
    raise _unknown("label", label, (table.label for table in report.steps))


def _tensor(report: Report, name: str | None) -> TensorReport:
    if name is None:
        return _worst_tensor(report)
    if name not in report.tensors:
        raise _unknown("name", name, report.tensors)
    return report.tensors[name]


def _unknown(argument: str, given: object, known: Iterable[str]) -> InputError:
    names = [repr(shorten(name, LONGEST_NAME)) for name in known]
    more = ", ..." if len(names) > MOST_NAMES else ""
    listed = ", ".join(names[:MOST_NAMES]) or "none"
    found = shorten(repr(given), LONGEST_NAME)
    return InputError(f"Expected {argument} to be one of {listed}{more} but got {argument}={found}")


def _need_matplotlib(method: str) -> None:
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ImportError(
            f"{method} needs matplotlib: pip install 'gradproof[plot]'", name="matplotlib"
        ) from None
