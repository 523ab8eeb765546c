"""gradproof and four customary rules on gradients whose rightness is known.

Run ``python -m bench.scorecard [--markdown] [--verbose]``. The exit status is 1 when gradproof
accuses a right gradient, passes a wrong one, or leaves more than four cases open.

The rules are applied as they are published, steps and thresholds absolute:

- *scipy*: ``scipy.optimize.check_grad`` with its default forward step of 1.5e-8. scipy leaves the
  threshold to the user; here its 2-norm of the difference must be below 1e-5.
- *cs231n*: centred differences, h = 1e-5; max |a - n| / max(|a|, |n|) at most 1e-4. Of the notes'
  values (1e-2 is probably wrong, 1e-4 will do with kinks, 1e-7 is good) this is the middle one.
- *UFLDL*: centred differences, h = 1e-4; norm(a - n) / norm(a + n) at most 1e-9.
- *gradcheck*: the rule of torch.autograd.gradcheck, in NumPy: centred differences, h = 1e-6;
  |a - n| <= 1e-5 + 1e-3 |n| in every entry.

A tool that raises has given no verdict. That counts against it: as a false alarm on a right
gradient, as a miss on a wrong one.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import optree
from bench.cases import Case, correct_cases
from bench.wrong_cases import wrong_cases
from scipy import optimize

__all__ = ["Judgement", "Outcome", "as_vectors", "customary_rules", "main", "score"]

Vector = npt.NDArray[Any]
Mistake = Literal["", "false alarm", "miss", "inconclusive"]

MOST_INCONCLUSIVE = 4


@dataclass(frozen=True)
class Judgement:
    """What a tool said about one claim: pass, fail, inconclusive, or raised."""

    verdict: str
    reason: str = ""
    evaluations: int = 0


Tool = Callable[[Case], Judgement]


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
    """The customary rules, and gradproof where it can be imported."""
    check = _gradproof_check()
    if check is None:
        return customary_rules()
    return customary_rules() | {"gradproof": lambda case: _ask_gradproof(check, case)}


def customary_rules() -> dict[str, Tool]:
    """The rules that people use today, by name."""
    return {
        "scipy": _scipy,
        "cs231n": lambda case: _centred_rule(case, 1e-5, "max relative", _max_relative, 1e-4),
        "UFLDL": lambda case: _centred_rule(case, 1e-4, "norm ratio", _norm_ratio, 1e-9),
        "gradcheck": lambda case: _centred_rule(case, 1e-6, "worst excess", _worst_excess, 0.0),
    }


def as_vectors(case: Case) -> tuple[Callable[[Vector], Any], Vector, Vector]:
    """Return f of one vector, the point, and the claim: a vector, or a matrix for a Jacobian.

    Tensors that are float32 in x are float32 again when f sees them; complex ones stay complex.
    """
    leaves, structure = optree.tree_flatten(copy.deepcopy(case.x))
    tensors = [np.asarray(leaf) for leaf in leaves]
    ends = np.cumsum([tensor.size for tensor in tensors])

    def f(vector: Vector) -> Any:
        parts = [
            part.reshape(tensor.shape).astype(np.result_type(tensor, 1j) if np.iscomplexobj(part)
                                              else tensor.dtype)[()]
            for part, tensor in zip(np.split(vector, ends[:-1]), tensors, strict=True)
        ]  # fmt: skip
        value: Any = case.f(structure.unflatten(parts))
        return np.ravel(value) if np.ndim(value) else value

    claim = case.grad(copy.deepcopy(case.x)) if callable(case.grad) else case.grad
    point = np.concatenate([np.ravel(tensor) for tensor in tensors]).astype(float)
    claimed = [np.asarray(leaf, dtype=float) for leaf in optree.tree_leaves(claim)]
    if case.kind == "jacobian":
        return f, point, claimed[0].reshape(-1, point.size)
    return f, point, np.concatenate([np.ravel(tensor) for tensor in claimed])


def _scipy(case: Case) -> Judgement:
    f, x, claim = as_vectors(case)
    distance = float(optimize.check_grad(f, lambda _: claim, x))
    return _judge(f"norm of difference {distance:.1e}", distance < 1e-5)


def _centred_rule(
    case: Case,
    step: float,
    label: str,
    measure: Callable[[Vector, Vector], float],
    threshold: float,
) -> Judgement:
    f, x, claim = as_vectors(case)
    columns = [
        (np.asarray(f(x + offset), float) - np.asarray(f(x - offset), float)) / (2 * step)
        for offset in step * np.eye(x.size)
    ]
    value = measure(claim, np.stack(columns, axis=-1))
    return _judge(f"{label} {value:.1e}", value <= threshold)


def _max_relative(claim: Vector, numeric: Vector) -> float:
    size = np.maximum(np.abs(claim), np.abs(numeric))
    return float(np.max(np.where(size == 0, 0.0, np.abs(claim - numeric) / size)))


def _norm_ratio(claim: Vector, numeric: Vector) -> float:
    difference = np.linalg.norm(claim - numeric)
    return 0.0 if difference == 0 else float(difference / np.linalg.norm(claim + numeric))


def _worst_excess(claim: Vector, numeric: Vector) -> float:
    return float(np.max(np.abs(claim - numeric) - (1e-5 + 1e-3 * np.abs(numeric))))


def _judge(reason: str, passes: bool) -> Judgement:
    return Judgement("pass" if passes else "fail", reason)


def _gradproof_check() -> Callable[..., Any] | None:
    """Return gradproof.check, or None where there is none; a package that breaks is an error."""
    try:
        package = importlib.import_module("gradproof")
    except ModuleNotFoundError as error:
        if error.name != "gradproof":
            raise
        return None
    return getattr(package, "check", None)


def _ask_gradproof(check: Callable[..., Any], case: Case) -> Judgement:
    report = check(case.f, copy.deepcopy(case.x), case.grad, coverage="full", seed=0)
    return Judgement(report.verdict, report.reason, report.evaluations)


# -- the table ---------------------------------------------------------------------------------


def _table(outcomes: Sequence[Outcome], *, markdown: bool) -> str:
    """One row per kind: the number of cases, and each tool's mistakes."""
    tools = list(dict.fromkeys(outcome.tool for outcome in outcomes))
    kinds = list(dict.fromkeys(outcome.kind for outcome in outcomes))
    rows = [["kind", "right", "wrong", *tools]]
    rows += [_row(kind, [o for o in outcomes if o.kind == kind], tools) for kind in kinds]
    rows += [_row("all", outcomes, tools)]
    spent = [sum(o.seconds for o in outcomes if o.tool == tool) for tool in tools]
    rows += [["seconds", "", "", *(f"{seconds:.1f}" for seconds in spent)]]
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
        cells.append(f"{made['false alarm']} / {made['miss']} / {made['inconclusive']}")
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
    options = parser.parse_args(arguments)

    outcomes = score()
    print("false alarms / misses / inconclusive", end="\n\n")
    print(_table(outcomes, markdown=options.markdown))
    print(*_details(outcomes, verbose=options.verbose), sep="\n")
    own = Counter(outcome.mistake for outcome in outcomes if outcome.tool == "gradproof")
    if not own:
        print("There is no gradproof.check to import: its column is left out.")
    fell_short = own["false alarm"] or own["miss"] or own["inconclusive"] > MOST_INCONCLUSIVE
    return 1 if fell_short else 0


if __name__ == "__main__":
    sys.exit(main())
