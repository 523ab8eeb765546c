"""gradproof, customary rules and other checkers on gradients whose rightness is known.

Run ``python -m bench.scorecard [--markdown] [--verbose] [--write docs/compare.md]``. The exit
status is 1 when gradproof accuses a right gradient, passes a wrong one, or leaves more than four
cases open.

*scipy*, *cs231n*, *UFLDL* and *gradcheck* are the rules of `bench/customary.py`; *torch*,
*torch fast*, *jax* and *autograd* the checkers of `bench/peers.py`; *probe* and *gradproof* are
gradproof with `coverage="probe"` and `coverage="full"`.

A tool that raises has given no verdict. That counts against it: as a false alarm on a right
gradient, as a miss on a wrong one.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import bench.page
import numpy as np
from bench.cases import Case, correct_cases
from bench.customary import Judgement, Tool, as_vectors, customary_rules
from bench.wrong_cases import wrong_cases

import gradproof

__all__ = [
    "MOST_INCONCLUSIVE",
    "Judgement",
    "Outcome",
    "as_vectors",
    "available_tools",
    "customary_rules",
    "gradproof_tools",
    "main",
    "overview",
    "score",
]

Mistake = Literal["", "false alarm", "miss", "inconclusive"]

MOST_INCONCLUSIVE = 4


@dataclass(frozen=True)
class Outcome:
    """What one tool said about one case, and whether that was a mistake."""

    tool: str
    case: str
    kind: str
    correct: bool
    verdict: str
    reason: str
    evaluations: int
    seconds: float

    @property
    def mistake(self) -> Mistake:
        """What kind of mistake it was; the empty string where the tool was right."""
        if self.verdict == "inconclusive":
            return "inconclusive"
        if self.correct:
            return "" if self.verdict == "pass" else "false alarm"
        return "" if self.verdict == "fail" else "miss"


def score(
    tools: Mapping[str, Tool] | None = None, cases: Iterable[Case] | None = None
) -> list[Outcome]:
    """Put every tool to every case; by default all of them."""
    tools = available_tools() if tools is None else tools
    cases = [*correct_cases(), *wrong_cases()] if cases is None else cases
    return [_outcome(name, tool, case) for case in cases for name, tool in tools.items()]


def _outcome(name: str, tool: Tool, case: Case) -> Outcome:
    start = time.perf_counter()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # a rule may step out of the domain; its verdict tells
        try:
            said = tool(case)
        except Exception as error:
            said = Judgement("raised", f"{type(error).__name__}: {error}")
    seconds = time.perf_counter() - start
    return Outcome(
        tool=name,
        case=case.name,
        kind=case.kind,
        correct=case.correct,
        verdict=said.verdict,
        reason=said.reason,
        evaluations=said.evaluations,
        seconds=seconds,
    )


# -- the tools ---------------------------------------------------------------------------------


def available_tools() -> dict[str, Tool]:
    """Every tool, by the name of its column."""
    from bench.peers import PEERS  # with two frameworks, which the other tools do without

    return customary_rules() | PEERS | gradproof_tools()


def gradproof_tools() -> dict[str, Tool]:
    """Return gradproof with its default coverage, and with every entry looked at."""
    return {
        "probe": lambda case: _ask_gradproof(case, "probe"),
        "gradproof": lambda case: _ask_gradproof(case, "full"),
    }


def _ask_gradproof(case: Case, coverage: str) -> Judgement:
    report = gradproof.check(case.f, copy.deepcopy(case.x), case.grad, coverage=coverage, seed=0)
    return Judgement(report.verdict, report.reason, report.evaluations)


# -- the tables --------------------------------------------------------------------------------

#: The tools as readers know them, in the order of the page; the rule `gradcheck` is left out beside
#: torch's own.
_SHOWN = {
    "gradproof": 'gradproof, `coverage="full"`',
    "probe": "gradproof, default",
    "torch": "torch.autograd.gradcheck",
    "torch fast": "torch.autograd.gradcheck, fast mode",
    "jax": "jax.test_util.check_grads",
    "autograd": "autograd's check_grads",
    "scipy": "scipy.optimize.check_grad",
    "cs231n": "cs231n's rule",
    "UFLDL": "UFLDL's rule",
}
#: Tools that can say that they do not know.
_OWN = ("gradproof", "probe")


def overview(outcomes: Sequence[Outcome]) -> str:
    """One row for each tool: its mistakes in all cases, as Markdown."""
    correct = {outcome.case: outcome.correct for outcome in outcomes}
    right = sum(correct.values())
    columns = ("", f"false alarms of {right}", f"misses of {len(correct) - right}", "inconclusive")
    rows = []
    for tool, shown in _SHOWN.items():
        own = [outcome for outcome in outcomes if outcome.tool == tool]
        made = Counter(outcome.mistake for outcome in own)
        open_ = str(made["inconclusive"]) if tool in _OWN else "-"
        if own:
            rows.append((shown, str(made["false alarm"]), str(made["miss"]), open_))
    return bench.page.markdown(columns, rows)


def _table(outcomes: Sequence[Outcome], *, markdown: bool) -> str:
    """One row per kind: the number of cases, and each tool's mistakes; then what it took."""
    tools = list(dict.fromkeys(outcome.tool for outcome in outcomes))
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    rows = [["kind", "right", "wrong", *tools]]
    rows += [_row(kind, [o for o in outcomes if o.kind == kind], tools) for kind in kinds]
    rows += [_row("all", outcomes, tools)]
    spent = [sum(o.seconds for o in outcomes if o.tool == tool) for tool in tools]
    rows += [["seconds", "", "", *(f"{seconds:.1f}" for seconds in spent)]]
    raised = Counter(o.tool for o in outcomes if o.verdict == "raised")
    rows += [["raised", "", "", *(str(raised[tool]) for tool in tools)]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [
        [cell.ljust(width) if i == 0 else cell.rjust(width)
         for i, (cell, width) in enumerate(zip(row, widths, strict=True))]
        for row in rows
    ]  # fmt: skip
    if not markdown:
        return "\n".join("  ".join(row) for row in aligned)
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [aligned[0], rule, *aligned[1:]])


def _row(label: str, outcomes: Sequence[Outcome], tools: Sequence[str]) -> list[str]:
    correct = {outcome.case: outcome.correct for outcome in outcomes}
    cells = []
    for tool in tools:
        made = Counter(outcome.mistake for outcome in outcomes if outcome.tool == tool)
        cells.append(f"{made['false alarm']}/{made['miss']}/{made['inconclusive']}")
    right = sum(correct.values())
    return [label, str(right), str(len(correct) - right), *cells]


def _details(outcomes: Sequence[Outcome], *, verbose: bool) -> list[str]:
    lines = []
    for outcome in outcomes:
        if outcome.mistake and (verbose or outcome.tool == "gradproof"):
            lines.append(f"{outcome.tool}: {outcome.mistake}: {outcome.case}: {outcome.reason}")
        elif verbose and outcome.tool == "gradproof":
            cost = f"{outcome.evaluations} evaluations, {outcome.seconds:.2f} s"
            lines.append(f"gradproof: {outcome.verdict}: {outcome.case} ({cost})")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the scorecard; return 1 where gradproof falls short of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.scorecard")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--verbose", action="store_true", help="list every tool's mistakes")
    parser.add_argument("--write", type=Path, help="a page with the section of docs/compare.md")
    options = parser.parse_args(arguments)

    outcomes = score()
    if options.write:
        bench.page.write_section(options.write, "scorecard", overview(outcomes))
    print("false alarms/misses/inconclusive; raised counts as one of the first two", end="\n\n")
    print(_table(outcomes, markdown=options.markdown))
    print(*_details(outcomes, verbose=options.verbose), sep="\n")
    own = Counter(outcome.mistake for outcome in outcomes if outcome.tool == "gradproof")
    fell_short = own["false alarm"] or own["miss"] or own["inconclusive"] > MOST_INCONCLUSIVE
    return 1 if fell_short else 0


if __name__ == "__main__":
    sys.exit(main())
