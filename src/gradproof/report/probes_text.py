"""What random directions say, as text: a limit for every tensor, and the directions themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from gradproof.report.model import ProbeRow, Report, TensorReport
from gradproof.report.ranking import WORST_VERDICTS
from gradproof.report.steps_text import (
    VERDICT_STYLES,
    Column,
    Page,
    derivative_pair,
    heading,
    lay_out,
    left_out,
    number,
    the_worst,
)

#: How many tensors and directions are listed, and how many when verbose.
MOST_TENSORS = (40, 1000)
MOST_PROBES = (8, 1000)


def limits(report: Report, page: Page) -> Iterator[RenderableType]:
    """One row a tensor: its verdict, and how small an error of it would have been seen."""
    yield heading(f"Tensors, at a confidence of {report.confidence:.12g}")
    columns = (
        Column("tensor", "left"),
        Column("shape", "left"),
        Column("entries"),
        Column("verdict", "left"),
        Column("detection\nlimit"),
        Column("entries\nlooked at"),
    )
    shown = the_worst(report.tensors.values(), MOST_TENSORS[page.verbose], _badness)
    rows = [
        [
            page.name(t.name),
            Text("x".join(map(str, t.shape)) or "scalar"),
            Text(f"{t.size:,}"),
            Text(t.verdict, VERDICT_STYLES[t.verdict]),
            Text(number(t.detection_limit, 1) if math.isfinite(t.detection_limit) else "-"),
            Text(f"{t.checked:,}" if t.checked else "-"),
        ]
        for t in shown
    ]
    yield from lay_out(page, columns, rows, keys=1)
    yield from left_out(len(report.tensors) - len(shown), "tensors, none of them worse, are")
    yield Text(
        "Detection limit: the smallest error of a tensor's gradient, relative to it in the "
        "Euclidean norm, that would have been caught at this confidence.",
        "dim",
    )


def directions(report: Report, page: Page) -> Iterator[RenderableType]:
    """One row a random direction, those that disagree last."""
    yield heading("Random directions")
    columns = (
        Column("over", "left"),
        Column("analytic\nnumeric +- error", "left"),
        Column("difference"),
        Column("agree", "left"),
    )
    most = MOST_PROBES[page.verbose]
    shown = sorted(report.probes, key=_disagrees)[-most:]
    rows = []
    for probe in shown:
        analytic, numeric = derivative_pair(probe.analytic, probe.numeric, probe.error)
        says = "no" if _disagrees(probe) else "yes" if math.isfinite(probe.error) else "-"
        rows.append(
            [
                _over(probe, page),
                Text(f"{analytic}\n{numeric} {page.plus_minus} {number(probe.error)}"),
                Text(number(probe.analytic - probe.numeric)),
                Text(says, "bold red" if says == "no" else ""),
            ]
        )
    yield from lay_out(page, columns, rows)
    yield from left_out(len(report.probes) - len(shown), "directions are")


def _over(probe: ProbeRow, page: Page) -> Text:
    """What was moved: a tensor, or some from one to another in the order of f's names."""
    if probe.tensors is None:
        return Text("all")
    name = page.name(probe.tensors[0])
    if len(probe.tensors) > 1:
        name.append(" to ").append_text(page.name(probe.tensors[-1]))
    return name


def _disagrees(probe: ProbeRow) -> bool:
    return not abs(probe.analytic - probe.numeric) <= probe.error and probe.error < math.inf


def _badness(tensor: TensorReport) -> tuple[int, float]:
    return -WORST_VERDICTS.index(tensor.verdict), tensor.detection_limit
