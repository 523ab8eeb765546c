"""A failed check in a few lines, for where a whole report would be too much, such as a test's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rich.console import RenderableType
from rich.text import Text

from gradproof.report.model import Finding, Report, Severity, TensorReport
from gradproof.report.ranking import badness
from gradproof.report.steps_text import (
    VERDICT_STYLES,
    Column,
    Page,
    derivative_pair,
    lay_out,
    number,
    the_worst,
)
from gradproof.report.text import finding_table, verdict_line

#: How many tensors and findings are listed.
MOST_TENSORS = 5
MOST_FINDINGS = 5


def render_brief(report: Report, *, width: int = 100, encoding: str = "ascii") -> str:
    """The verdict, what decided it, and the worst tensors, each line at most `width` wide."""
    page = Page.in_memory(width, color=False, verbose=False, encoding=encoding)
    return page.text(*_brief(report, page))


def render_verdict(report: Report) -> str:
    """The verdict and its reason in one line of ASCII, however long."""
    page = Page.in_memory(80, color=False, verbose=False, encoding="ascii")
    return verdict_line(report, page).plain


def render_figure(report: Report) -> str:
    """How good the gradient is, in a few words.

    With random directions that is the largest detection limit of the tensors; where entries were
    looked at one by one, or something is wrong, the fewest digits to which one of them agrees.
    """
    limits = [t.detection_limit for t in report.tensors.values() if t.size]
    if report.probes and limits and report.verdict != "fail" and all(map(math.isfinite, limits)):
        return f"detection limit {number(max(limits), 1)}"
    fewest = report.digits_agree.minimum
    return "-" if math.isnan(fewest) else f"{fewest:z.1f} digits at worst"


def _brief(report: Report, page: Page) -> Iterator[RenderableType]:
    yield verdict_line(report, page)
    decisive: Severity = "bug" if report.verdict == "fail" else "warning"
    found = [finding for finding in report.findings if finding.severity == decisive]
    if found and report.verdict != "pass":
        yield Text()
        yield finding_table([_unsaid(f, report) for f in found[:MOST_FINDINGS]], page)
        yield from _more(len(found) - MOST_FINDINGS, "findings")
    tensors = [t for t in report.tensors.values() if t.verdict != "pass"]
    if tensors:
        yield Text()
        yield from _tensors(tensors, page)
        yield from _more(len(tensors) - MOST_TENSORS, "tensors that did not pass")


def _unsaid(finding: Finding, report: Report) -> Finding:
    """The finding without what the line of the verdict has said already."""
    said = finding.message in report.reason
    return replace(finding, message="as said above", tensor=None) if said else finding


def _tensors(tensors: list[TensorReport], page: Page) -> Iterator[RenderableType]:
    columns = (
        Column("tensor and its\nworst entry", "left"),
        Column("verdict\nof entries", "left"),
        Column(f" analytic\n numeric {page.plus_minus} error", "left"),
        Column("digits agree\nattainable"),
    )
    rows = []
    for tensor in the_worst(tensors, MOST_TENSORS, badness):
        name, pair, digits = page.name(tensor.name), Text("-"), Text("-")
        worst = tensor.worst
        if worst is not None:
            name.append(f"\n{list(worst.index)}" if worst.index else "")
            analytic, numeric = derivative_pair(worst.analytic, worst.numeric, worst.error)
            pair = Text(f"{analytic}\n{numeric} {page.plus_minus} {number(worst.error)}")
            digits = Text(f"{worst.digits_agree:.1f}\n{worst.digits_attainable:.1f}")
        verdict = Text(tensor.verdict, VERDICT_STYLES[tensor.verdict])
        rows.append([name, verdict.append(_open(tensor)), pair, digits])
    yield from lay_out(page, columns, rows)


def _open(tensor: TensorReport) -> str:
    what = "mismatch" if tensor.verdict == "fail" else "unresolved"
    count = tensor.counts.get(what, 0)
    return f"\n{count:,} of {tensor.checked:,}" if count else ""


def _more(count: int, what: str) -> Iterator[RenderableType]:
    if count > 0:
        yield Text(f"and {count:,} more {what}")
