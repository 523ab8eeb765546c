"""What the templates are given: reports, and those of their terms, each with a name in the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gradproof.report.entries import Entry
from gradproof.report.html.columns import Column, Row, badness, columns_of, grouped, rows_of
from gradproof.report.html.payload import MOST_ENTRIES, most_of_each, pack, rows_of_each
from gradproof.report.html.step_plot import StepPlot, step_plot
from gradproof.report.model import Customary, Finding, Report
from gradproof.report.ranking import WORST_SEVERITIES
from gradproof.report.store import Result

#: Tensors that a table lists, entries that stand in the page itself, and names to one reason.
MOST_TENSORS, MOST_WORST, MOST_NAMES = 2000, 10, 4


@dataclass(frozen=True)
class Section:
    """A report in the page; `key` is the beginning of the fragments that lead to its parts."""

    key: str
    name: str
    result: Result
    report: Report
    findings: tuple[Finding, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    left_out: int
    opened: int | None
    worst: tuple[Entry, ...]
    plots: tuple[StepPlot, ...]
    data: dict[str, Any]
    terms: tuple[Section, ...]

    @property
    def groups(self) -> list[list[Column]]:
        """The columns, those under one header together."""
        return grouped(self.columns)

    @property
    def reasons(self) -> list[tuple[str, list[str], int, str]]:
        """Why tensors did not pass: verdict, some names, how many more, the reason; each once."""
        said: dict[tuple[str, str], list[str]] = {}
        for tensor in self.report.tensors.values():
            if tensor.verdict != "pass" and tensor.reason:
                said.setdefault((tensor.verdict, tensor.reason), []).append(tensor.name)
        return [
            (verdict, names[:MOST_NAMES], max(len(names) - MOST_NAMES, 0), reason)
            for (verdict, reason), names in said.items()
        ]

    @property
    def notes(self) -> list[str]:
        """The reasons of the worst entries, each once."""
        return list(dict.fromkeys(entry.reason for entry in self.worst if entry.reason))

    @property
    def customary(self) -> list[tuple[str | None, Customary]]:
        """The rules of thumb, tensor by tensor and then over all of them, under the name None."""
        of_tensors = [(row.tensor.name, c) for row in self.rows for c in row.tensor.customary]
        # With one tensor its rows say it all.
        whole = self.report.customary if len(self.report.tensors) != 1 else ()
        return [*of_tensors, *((None, c) for c in whole)]

    @property
    def bytes(self) -> int:
        """Of the entries in the page."""
        return sum(len(column["data"]) for column in self.data["columns"].values())


@dataclass(frozen=True)
class View:
    """The page: its sections, which of several is unfolded, and the entries in it and in all."""

    sections: tuple[Section, ...]
    verdict: str
    opened: str | None
    entries: int
    embedded: int
    bytes: int


def view_of(results: Sequence[Result]) -> View:
    """The page's sections; together they hold at most `MOST_ENTRIES` entries."""
    reports = [report for result in results for report in _with_terms(result.report)]
    rows = [rows for report in reports for rows in rows_of_each(report)]
    most = most_of_each(rows, MOST_ENTRIES)
    sections = tuple(
        _section(f"r{i}", result.name, result, result.report, most)
        for i, result in enumerate(results)
    )
    every = [section for top in sections for section in _flat(top)]
    verdicts = {result.report.verdict for result in results}
    worst = next((v for v in ("fail", "inconclusive") if v in verdicts), "pass")
    return View(
        sections=sections,
        verdict=worst,
        opened=next((s.key for s in sections if s.report.verdict == worst != "pass"), None),
        entries=sum(rows),
        embedded=sum(section.data["rows"] for section in every),
        bytes=sum(section.bytes for section in every),
    )


def _with_terms(report: Report) -> Iterator[Report]:
    yield report
    for term in report.terms.values():
        yield from _with_terms(term)


def _flat(section: Section) -> Iterator[Section]:
    yield section
    for term in section.terms:
        yield from _flat(term)


def _section(key: str, name: str, result: Result, report: Report, most: int) -> Section:
    columns = columns_of(report)
    rows = rows_of(report, columns)
    by_badness = sorted(rows, key=lambda row: badness(row.tensor), reverse=True)
    shown = {row.number for row in by_badness[:MOST_TENSORS]}
    wrong = report.entries.filter(verdict=("mismatch", "unresolved"))
    return Section(
        key=key,
        name=name,
        result=result,
        report=report,
        findings=tuple(sorted(report.findings, key=lambda f: WORST_SEVERITIES.index(f.severity))),
        columns=columns,
        rows=tuple(row for row in rows if row.number in shown),
        left_out=len(rows) - len(shown),
        opened=by_badness[0].number if by_badness and len(report.entries) else None,
        worst=tuple(wrong.worst(MOST_WORST)),
        plots=tuple(step_plot(table) for table in report.steps),
        data=pack(report, most),
        terms=tuple(
            _section(f"{key}-t{i}", term, result, part, most)
            for i, (term, part) in enumerate(report.terms.items())
        ),
    )
