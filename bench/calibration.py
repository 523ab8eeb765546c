"""How often an error bar holds, and how sharp it is, for gradproof and the libraries beside it.

An error bar makes two promises: the true derivative lies inside it, and it is no wider than it
must be. Either is easy alone, so both are measured on the same random functions (`families.py`),
with the price in function values beside them.

    python -m bench.calibration --count 200 --seed 0 --write docs/compare.md

exits with 1 where gradproof breaks one of the limits below, and lists every bar of gradproof's
that missed. The libraries run on their defaults, and where the function is undefined they are
given nan, the array libraries' convention: an exception would end them at once.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import bench.page
import jacobi
import numdifftools
import numpy as np
import scipy.differentiate
from bench.families import FAMILIES, Case, Phi, cases
from rich import box
from rich.console import Console
from rich.table import Table

from gradproof.numerics import derivative

__all__ = ["Miss", "Row", "Summary", "main", "overview", "summary"]

# What gradproof must keep. Percentages are of the cases of one family.
COVERAGE = 99.5
RESOLVED = 98.0
RESOLVED_IN = ("smooth", "scales", "offset", "wiggle", "kink near", "domain edge")
RESOLUTION = 1e-3  # a bar this small against the value counts as resolved
MEDIAN_BAR = {"smooth": 1e-12, "scales": 1e-12, "offset": 5e-8, "noise 1e-9": 1e-5, "float32": 1e-5}
EVALUATIONS = {"smooth": 40.0}

Tool = Callable[[Phi, float], tuple[float, float]]  # (phi, t0) -> (value, error)


@dataclass(frozen=True)
class Row:
    """One tool on one family; medians are over the cases whose derivative is not zero."""

    family: str
    tool: str
    cases: int
    coverage: float  # % with |value - truth| <= error
    bar: float  # median of error / |truth|
    true_error: float  # median of |value - truth| / |truth|
    resolved: float  # % with error <= 1e-3 |value|
    evaluations: float  # mean number of function values


@dataclass(frozen=True)
class Miss:
    """A bar of gradproof's that does not contain the derivative, or no answer at all."""

    family: str
    label: str
    t0: float
    truth: float
    value: float
    error: float
    raised: str

    @property
    def ratio(self) -> float:
        """True error against the bar; nan where there was no answer."""
        distance = abs(self.value - self.truth)
        return distance / self.error if self.error else math.copysign(math.inf, distance)


@dataclass(frozen=True)
class Summary:
    """Everything measured; `broken` says in words which limits gradproof did not keep."""

    rows: tuple[Row, ...]
    misses: tuple[Miss, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True)
class _Outcome:
    value: float
    error: float
    evaluations: int
    raised: str

    def covers(self, truth: float) -> bool:
        """False also for nan, by the rules of comparison."""
        return abs(self.value - truth) <= self.error

    def is_resolved(self) -> bool:
        return self.error <= RESOLUTION * abs(self.value)


def _gradproof(phi: Phi, t0: float) -> tuple[float, float]:
    estimate = derivative(phi, t0)
    return float(estimate.value), float(estimate.error)


def _elementwise(phi: Phi) -> Any:
    """For libraries that pass arrays, and do not expect exceptions."""

    def forgiving(x: float) -> float:
        try:
            return phi(float(x))
        except (ValueError, ArithmeticError):
            return math.nan

    return np.vectorize(forgiving, otypes=[float])


def _numdifftools(phi: Phi, t0: float) -> tuple[float, float]:
    result = numdifftools.Derivative(_elementwise(phi), full_output=True)(t0)
    return float(result.estimate), float(result.error_estimate)


def _jacobi(phi: Phi, t0: float) -> tuple[float, float]:
    value, error = jacobi.jacobi(_elementwise(phi), t0)
    return float(value), float(error)


def _scipy(phi: Phi, t0: float) -> tuple[float, float]:
    result = scipy.differentiate.derivative(_elementwise(phi), t0)
    return float(result.df), float(result.error)


_OURS = "gradproof"
_PEERS: dict[str, Tool] = {
    "numdifftools": _numdifftools,
    "jacobi": _jacobi,
    "scipy.differentiate": _scipy,
}


def summary(
    count: int, seed: int, *, peers: bool = False, families: Sequence[str] = FAMILIES
) -> Summary:
    """Run `count` cases of each family: gradproof always, the other libraries if asked for."""
    rows: list[Row] = []
    misses: list[Miss] = []
    for family in families:
        drawn = cases(family, count, seed)
        outcomes = [_run(_gradproof, case) for case in drawn]
        rows.append(_row(family, _OURS, drawn, outcomes))
        misses.extend(_misses(drawn, outcomes))
        for name, tool in _PEERS.items() if peers else ():
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                rows.append(_row(family, name, drawn, [_run(tool, case) for case in drawn]))
    broken = tuple(line for row in rows if row.tool == _OURS for line in _broken(row))
    return Summary(tuple(rows), tuple(misses), broken)


def _run(tool: Tool, case: Case) -> _Outcome:
    """A tool's answer; function values are counted here, not taken from the tool's own word."""
    calls = 0

    def counted(x: float) -> float:
        nonlocal calls
        calls += 1
        return case.phi(x)

    try:
        value, error = tool(counted, case.t0)
    except Exception as problem:  # whatever a tool raises, it gave no answer
        return _Outcome(math.nan, math.nan, calls, f"{type(problem).__name__}: {problem}")
    return _Outcome(value, error, calls, "")


def _row(family: str, tool: str, drawn: list[Case], outcomes: list[_Outcome]) -> Row:
    pairs = list(zip(drawn, outcomes, strict=True))
    sloped = [(case, outcome) for case, outcome in pairs if case.truth != 0.0]
    return Row(
        family=family,
        tool=tool,
        cases=len(pairs),
        coverage=_percent([outcome.covers(case.truth) for case, outcome in pairs]),
        bar=_median([outcome.error / abs(case.truth) for case, outcome in sloped]),
        true_error=_median(
            [abs(outcome.value - case.truth) / abs(case.truth) for case, outcome in sloped]
        ),
        resolved=_percent([outcome.is_resolved() for outcome in outcomes]),
        evaluations=float(np.mean([outcome.evaluations for outcome in outcomes])),
    )


def _percent(flags: Sequence[bool]) -> float:
    return 100.0 * sum(flags) / len(flags)


def _median(values: Sequence[float]) -> float:
    """No answer counts as infinitely wide, lest giving up should pass for being sharp."""
    return float(np.median([math.inf if math.isnan(value) else value for value in values]))


def _misses(drawn: list[Case], outcomes: list[_Outcome]) -> Iterator[Miss]:
    for case, outcome in zip(drawn, outcomes, strict=True):
        if not outcome.covers(case.truth):
            answer = (outcome.value, outcome.error, outcome.raised)
            yield Miss(case.family, case.label, case.t0, case.truth, *answer)


def _broken(row: Row) -> Iterator[str]:
    if not row.coverage >= COVERAGE:
        yield f"{row.family}: coverage {row.coverage:.2f} % is below {COVERAGE} %"
    if row.family in RESOLVED_IN and not row.resolved >= RESOLVED:
        yield f"{row.family}: resolved {row.resolved:.2f} % is below {RESOLVED} %"
    if not row.bar <= MEDIAN_BAR.get(row.family, math.inf):
        limit = MEDIAN_BAR[row.family]
        yield f"{row.family}: median relative bar {row.bar:.1e} is above {limit:.0e}"
    if not row.evaluations <= EVALUATIONS.get(row.family, math.inf):
        limit = EVALUATIONS[row.family]
        yield f"{row.family}: mean evaluations {row.evaluations:.1f} are above {limit:g}"


_COLUMNS = ("family", "tool", "covered %", "median bar", "median error", "resolved %", "calls")


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.family,
        row.tool,
        f"{row.coverage:.1f}",
        f"{row.bar:.1e}",
        f"{row.true_error:.1e}",
        f"{row.resolved:.1f}",
        f"{row.evaluations:.1f}",
    )


def _markdown(rows: Sequence[Row]) -> str:
    lines = [_COLUMNS, ("---",) * 2 + ("---:",) * 5, *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


#: Families whose names alone do not say what is in them.
_SHOWN = {
    "scales": "scales 1e-8 to 1e8",
    "extreme": "values 1e-290 to 1e290",
    "offset": "+ offset 1e6",
    "hidden offset": "offset cancelled inside",
    "float32": "float32 inside",
    "wiggle": "fast wiggle",
}


def overview(rows: Sequence[Row]) -> str:
    """One row for each family and one column for each tool, as Markdown.

    A cell has the per cent of cases in which the truth lies in the bar, and in brackets the median
    relative half-width of that.
    """
    tools = list(dict.fromkeys(row.tool for row in rows))
    by_family: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_family.setdefault(row.family, {})[row.tool] = row
    lines = [
        (
            _SHOWN.get(family, family),
            *(f"{own[tool].coverage:.3g} ({own[tool].bar:.0e})" for tool in tools),
        )
        for family, own in by_family.items()
    ]
    return bench.page.markdown(("family", *tools), lines)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))  # within 80 columns
    for index, column in enumerate(_COLUMNS):
        side: Literal["left", "right"] = "left" if index < 2 else "right"
        table.add_column(column.replace(" ", "\n"), justify=side, no_wrap=True)
    for index, row in enumerate(rows):
        is_last = index + 1 == len(rows) or rows[index + 1].family != row.family
        table.add_row(*_cells(row), end_section=is_last)
    return table


def _described(miss: Miss) -> str:
    if miss.raised:
        return f"{miss.family}: raised {miss.raised}\n  t0={miss.t0!r}  {miss.label}"
    return (
        f"{miss.family}: off by {miss.ratio:.3g} bars\n"
        f"  truth={miss.truth!r} value={miss.value!r} error={miss.error:.3e}\n"
        f"  t0={miss.t0!r}  {miss.label}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, gradproof's misses and the limits it broke; 1 if it broke any."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibration", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=200, help="cases per family (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--write", type=Path, help="a page with the section of docs/compare.md")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only these families")
    options = parser.parse_args(argv)
    if options.count < 1:
        parser.error(f"Expected --count of at least 1 but got {options.count}")
    result = summary(
        options.count, options.seed, peers=options.peers, families=options.family or FAMILIES
    )
    if options.markdown:
        print(_markdown(result.rows))
    else:
        Console().print(_table(result.rows))
    if options.write:
        bench.page.write_section(options.write, "calibration", overview(result.rows))
    total = sum(row.cases for row in result.rows if row.tool == _OURS)
    print(f"\n{_OURS} missed {len(result.misses)} of {total} cases")
    for miss in result.misses:
        print(_described(miss))
    for line in result.broken:
        print(f"BROKEN {line}")
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
