"""A report as text: the verdict first, then the evidence, what is worst last."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gradproof.report.entries import Entries
from gradproof.report.model import Finding, Report, TensorReport
from gradproof.report.probes_text import directions, limits
from gradproof.report.ranking import WORST_SEVERITIES, badness
from gradproof.report.steps_text import (
    VERDICT_STYLES,
    Column,
    Page,
    derivative_pair,
    heading,
    lay_out,
    left_out,
    number,
    render_steps,
    rules_of_thumb,
    spread,
    step_tables,
    the_worst,
)

__all__ = ["print_report", "render_steps", "render_table_of_tensors", "render_text"]

#: How many tensors and entries are listed, and how many when verbose.
MOST_TENSORS = (40, 1000)
MOST_ENTRIES = (10, 100)
MOST_NAMES = 4
ROOMY = 100  # narrower than this, indices stand below the names

_STYLES = {
    **VERDICT_STYLES,
    "bug": "bold red",
    "warning": "yellow",
    "info": "cyan",
    "mismatch": "red",
    "unresolved": "yellow",
}


def render_text(
    report: Report,
    *,
    width: int = 100,
    color: bool = False,
    verbose: bool = False,
    encoding: str = "ascii",
) -> str:
    """The report as text, each line at most `width` wide (from 80 on).

    Plain ASCII by default, so that it can be printed, logged or raised anywhere; with
    `encoding="utf-8"` names keep their letters. `verbose` shows the evidence and longer lists.
    """
    page = Page.in_memory(width, color=color, verbose=verbose, encoding=encoding)
    return page.text(*_report(report, page))


def print_report(report: Report, console: Console, *, verbose: bool = False) -> None:
    """The same on a rich console, in its width, colours and encoding."""
    for part in _report(report, Page(console, verbose)):
        console.print(part)


def render_table_of_tensors(
    report: Report,
    *,
    width: int = 100,
    color: bool = False,
    verbose: bool = False,
    encoding: str = "ascii",
) -> str:
    """The table of tensors alone: one row each, in the order of the model."""
    page = Page.in_memory(width, color=color, verbose=verbose, encoding=encoding)
    return page.text(*_tensors(report, list(report.tensors.values()), page))


def _report(report: Report, page: Page) -> Iterator[RenderableType]:
    yield verdict_line(report, page)
    yield from _findings(report, page)
    if report.probes:
        yield from limits(report, page)
        yield from _reasons(report, page)
        yield from directions(report, page)
    looked_at = [t for t in report.tensors.values() if t.checked or not report.probes]
    if looked_at:
        yield heading("Entries looked at one by one" if report.probes else "Tensors")
        yield from _tensors(report, looked_at, page)
        yield from () if report.probes else _reasons(report, page)
    yield from _entries(report, page)
    yield from rules_of_thumb(report, page)
    yield from step_tables(report, page)
    if report.terms:
        yield heading("Terms, each checked by itself")
        for name, term in report.terms.items():
            yield page.name(name).append(": ").append_text(verdict_line(term, page))
    yield Text()
    yield _last_line(report)


def verdict_line(report: Report, page: Page) -> Text:
    """The verdict and its reason, on one line until it is printed."""
    line = Text.assemble((report.verdict.upper(), _STYLES[report.verdict]), ": ")
    return line.append_text(page.say(report.reason))


def _findings(report: Report, page: Page) -> Iterator[RenderableType]:
    if report.findings:
        yield heading("Findings")
        yield finding_table(report.findings, page)


def finding_table(findings: Iterable[Finding], page: Page) -> Table:
    """One row a finding, what is worst last."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in ("severity", "kind", "message"):
        grid.add_column(overflow="fold")  # the default is an ellipsis, which is not ASCII
    for finding in sorted(findings, key=lambda f: -WORST_SEVERITIES.index(f.severity)):
        message = page.say(finding.message)
        # The message often names its tensor already; a tensor `b` is not named by "both".
        named = rf"(?<![\w.]){re.escape(finding.tensor or '')}(?!\w)"
        if finding.tensor is not None and not re.search(named, finding.message):
            message = page.name(finding.tensor).append(": ").append_text(message)
        if page.verbose and finding.evidence:
            evidence = "; ".join(f"{key} = {value}" for key, value in finding.evidence.items())
            message.append(" [").append_text(page.say(evidence)).append("]")
        severity = Text(finding.severity, _STYLES[finding.severity])
        grid.add_row(severity, page.say(finding.kind, 30), message)
    return grid


def _tensors(report: Report, tensors: list[TensorReport], page: Page) -> Iterator[RenderableType]:
    columns = (
        Column("tensor", "left"),
        Column("shape", "left"),
        Column("checked"),
        Column("verdict", "left"),
        Column("digits agree\n min  med  max"),
        Column("attainable\n min  med  max"),
        Column("at a\nkink"),
        Column("sign mis-\nmatches"),
        Column("norm\nratio"),
        Column("max rel.\nerror"),
        Column("detection\nlimit"),
        Column("worst\nentry", "left"),
    )
    shown = the_worst(tensors, MOST_TENSORS[page.verbose], badness)
    rows = [
        [
            page.name(t.name),
            Text("x".join(map(str, t.shape)) or "scalar"),
            Text(_checked(t.checked, t.size)),
            Text(t.verdict, _STYLES[t.verdict]),
            spread(t.digits_agree),
            spread(t.digits_attainable),
            Text(str(t.counts.get("kink", 0))),
            Text(str(t.sign_mismatches)),
            _size(t.norm_ratio, t.checked),
            _size(t.max_relative_error, t.checked),
            _size(t.detection_limit, t.checked),
            Text("-" if t.worst is None else str(list(t.worst.index))),
        ]
        for t in shown
    ]
    total = [_total(report)] if len(tensors) > 1 else []
    yield from lay_out(page, columns, [*rows, *total], keys=1, closing=len(total))
    yield from left_out(len(tensors) - len(shown), "tensors, none of them worse, are")


def _total(report: Report) -> list[Text]:
    tensors = report.tensors.values()
    checked = sum(t.checked for t in tensors)
    return [
        Text(f"all {len(tensors)}", "bold"),
        Text(),
        Text(_checked(checked, sum(t.size for t in tensors))),
        Text(report.verdict, _STYLES[report.verdict]),
        spread(report.digits_agree),
        spread(report.digits_attainable),
        Text(str(sum(t.counts.get("kink", 0) for t in tensors))),
        Text(str(report.sign_mismatches)),
        _size(report.norm_ratio, checked),
        _size(report.max_relative_error, checked),
        Text(),
        Text(),
    ]


def _checked(checked: int, size: int) -> str:
    return str(checked) if checked == size else f"{checked}/{size}"


def _size(x: float, checked: int) -> Text:
    # A NaN that was met is shown; where nothing was checked there was none.
    return Text(number(x) if checked else "-")


def _reasons(report: Report, page: Page) -> Iterator[RenderableType]:
    """Why tensors did not pass, and what was accepted at kinks; same reasons on one line."""
    said: dict[tuple[str, str], list[str]] = {}
    for tensor in report.tensors.values():
        if tensor.verdict != "pass" and tensor.reason:
            said.setdefault((tensor.verdict, tensor.reason), []).append(tensor.name)
    kinks = report.entries.filter(verdict="kink")
    if said or len(kinks):
        yield Text()
    for (verdict, reason), names in said.items():
        line = Text.assemble((verdict, _STYLES[verdict]), " ")
        line.append_text(Text(", ").join(page.name(name) for name in names[:MOST_NAMES]))
        line.append(f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
        yield line.append(": ").append_text(page.say(reason))
    for name in dict.fromkeys(kinks["tensor"].tolist()):
        yield _kinks_of(name, report.entries.filter(tensor=name), page)


def _kinks_of(name: str, entries: Entries, page: Page) -> Text:
    kinks = entries.filter(verdict="kink")
    line = Text.assemble(("kink", "cyan"), " ").append_text(page.name(name))
    line.append(f": {_count(len(kinks), 'entry')} at a kink")
    if kinks[0].reason:
        index = f" [{', '.join(map(str, kinks[0].index))}]" if kinks[0].index else ""
        line.append_text(page.say(f", such as{index}: {kinks[0].reason}"))
    others = entries.filter(where=entries["verdict"] != "kink")
    if len(others):
        digits = float(others["digits_agree"].min())
        line.append(f"; the other {len(others):,} agree to {digits:.1f} digits or more")
    return line


def _count(n: int, what: str) -> str:
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{n:,} {what if n == 1 else plural}"


def _entries(report: Report, page: Page) -> Iterator[RenderableType]:
    wrong = report.entries.filter(verdict=("mismatch", "unresolved"))
    if not len(wrong):
        return
    shown = wrong.worst(MOST_ENTRIES[page.verbose])
    yield heading("Entries that disagree or stay unresolved, the worst last")
    kinds = ((kind, n - shown.counts()[kind]) for kind, n in wrong.counts().items())
    more = ", ".join(f"{n:,} {kind}" for kind, n in kinds if n)
    yield from left_out(len(wrong) - len(shown), f"({more}) are")
    yield from _entry_table(shown, page)


def _entry_table(worst_first: Entries, page: Page) -> Iterator[RenderableType]:
    columns = (
        Column("entry\nverdict", "left"),
        Column(f" analytic\n numeric {page.plus_minus} error", "left"),
        Column("difference\nrel. error"),
        Column("same\nsign", "left"),
        Column("digits agree\nattainable"),
    )
    entries = list(worst_first)[::-1]
    notes = {reason: i + 1 for i, reason in enumerate(dict.fromkeys(e.reason for e in entries))}
    rows = []
    for e in entries:
        note = f" ({notes[e.reason]})" if e.reason else ""
        analytic, numeric = derivative_pair(e.analytic, e.numeric, e.error)
        name = page.name(e.tensor)
        if e.index and page.console.width < ROOMY:
            name.append("\n")
        name.append(str(list(e.index)) if e.index else "").append("\n")
        rows.append(
            [
                name.append(e.verdict, _STYLES[e.verdict]).append(note),
                Text(f"{analytic}\n{numeric} {page.plus_minus} {number(e.error)}"),
                Text(f"{number(e.difference)}\n{number(e.relative_error)}"),
                Text("yes" if e.same_sign else "no", "" if e.same_sign else "red"),
                Text(f"{e.digits_agree:.1f}\n{e.digits_attainable:.1f}"),
            ]
        )
    yield from lay_out(page, columns, rows)
    for reason, i in notes.items():
        if reason:
            yield Text(f"({i}) ").append_text(page.say(reason))


def _last_line(report: Report) -> Text:
    took = report.seconds
    of_f = f"{_count(report.evaluations, 'evaluation')} of f"
    facts = (
        f"{of_f}, {report.gradient_evaluations:,} of the gradient",
        f"{took:,.0f} s" if took >= 100.0 else f"{number(took)} s",
        f"f = {report.value:.6g}",
        f"noise {'-' if math.isnan(report.noise) else number(report.noise)}",
        f"seed {report.seed}",
        f"coverage {report.coverage}",
        f"resolution {number(report.resolution, 1)}",
    )
    return Text("; ".join(facts), "dim")
