"""What the terminal says at the end of a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

VERDICTS = ("pass", "inconclusive", "fail")


def tell(terminal: pytest.TerminalReporter, made: Sequence[tuple[Any, dict[str, Any]]]) -> None:
    """Tell of the checks that tests made: each with -v, else those that failed their tests.

    Args:
        terminal: where to write.
        made: the report of a test, and what it has recorded of one of its checks.
    """
    verbosity = terminal.config.option.verbose
    shown = [
        one for report, one in made if verbosity > 0 or (report.failed and one["verdict"] != "pass")
    ]
    if verbosity < 0 and not shown:
        return
    terminal.section("gradproof: gradients checked", sep="=")
    for line in _table(shown):
        terminal.write_line(line)
    verdicts = [one["verdict"] for _, one in made]
    counts = ", ".join(f"{verdicts.count(v):,} {v}" for v in VERDICTS if v in verdicts)
    evaluations = sum(one["evaluations"] for _, one in made)
    seconds = sum(one["seconds"] for _, one in made)
    terminal.write_line(f"{counts}; {evaluations:,} evaluations, {seconds:.2f} s")


def _table(checks: list[dict[str, Any]]) -> Iterator[str]:
    """A line a check, what is worst last."""
    rows = [
        (
            one["verdict"],
            one["name"],
            one["figure"],
            f"{one['evaluations']:,} evaluations",
            f"{one['seconds']:.2f} s",
        )
        for one in sorted(checks, key=lambda one: VERDICTS.index(one["verdict"]))
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        # Words to the left, numbers to the right.
        cells = [*map(str.ljust, row[:3], widths[:3]), *map(str.rjust, row[3:], widths[3:])]
        yield "  ".join(cells)
