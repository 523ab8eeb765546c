"""Whether gradproof says where a gradient went wrong, and what kind of mistake it is.

Run ``python -m bench.diagnosis [--verbose] [--family NAME] [--write docs/compare.md]``. Bugs are
planted in the demo's network, in torch layers, in JAX functions, in hand-written layers and in
plain NumPy functions, one at a time; what is right is known of each. The exit status is 1 unless
the culprit is named first in all of them, the kind is right in 55 of 60, nobody else is accused,
and no right gradient of the scorecard gets a finding of severity bug.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bench.page
import numpy as np
from bench import (
    diagnosis_cases_demo,
    diagnosis_cases_jax,
    diagnosis_cases_numpy,
    diagnosis_cases_torch,
    diagnosis_cases_torch_modules,
)
from bench.cases import Case, correct_cases
from bench.diagnosis_case import Bug, Diagnosis, bug_findings, diagnosis_of

import gradproof

__all__ = ["all_bugs", "diagnose", "false_accusations", "main", "overview"]

#: The share of the kinds that have to be right.
ENOUGH = 55 / 60


def all_bugs() -> list[Bug]:
    """Every planted bug, by family."""
    return [
        *diagnosis_cases_demo.bugs(),
        *diagnosis_cases_torch.bugs(),
        *diagnosis_cases_torch_modules.bugs(),
        *diagnosis_cases_jax.bugs(),
        *diagnosis_cases_numpy.bugs(),
    ]


def diagnose(bug: Bug, *, of_twin: bool = False) -> Diagnosis:
    """Check a bug, or its twin, which is right, and take down what is said.

    What raises is named as such, and counts as a wrong kind.
    """
    start = time.perf_counter()
    planted: Any = bug.right if of_twin else bug.wrong
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            report = bug.check(planted)
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            seconds = time.perf_counter() - start
            return Diagnosis(bug, "raised", "", (), (), message, 0, seconds)
    return diagnosis_of(bug, report, time.perf_counter() - start)


def false_accusations(cases: Iterable[Case], coverage: str) -> list[str]:
    """The right gradients that get a finding of severity bug, and what it says."""
    found = []
    for case in cases:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            report = gradproof.check(
                case.f, copy.deepcopy(case.x), case.grad, coverage=coverage, seed=0
            )
        found += [
            f"{case.name} ({coverage}): {finding.kind}: {finding.message}"
            for finding in bug_findings(report)
        ]
    return found


#: What the bugs of a family are planted in.
_SHOWN = {
    "demo": "the demo's network, by hand",
    "torch": "PyTorch",
    "jax": "JAX",
    "numpy": "NumPy functions",
    "layers": "layers by hand",
}


def overview(diagnoses: Sequence[Diagnosis]) -> str:
    """One row for each family, and one for all, as Markdown."""
    columns = ("planted in", "bugs", "culprit named first", "kind right", "others accused")
    rows = []
    for family in [*dict.fromkeys(d.bug.family for d in diagnoses), None]:
        own = [d for d in diagnoses if family in (None, d.bug.family)]
        first, right = sum(d.is_first for d in own), sum(d.is_right for d in own)
        figures = (len(own), first, right, sum(bool(d.innocents) for d in own))
        rows.append(("all" if family is None else _SHOWN[family], *map(str, figures)))
    return bench.page.markdown(columns, rows)


def _row(d: Diagnosis) -> str:
    kinds = ", ".join(d.kinds) or d.verdict
    return (
        f"{d.bug.name:32}{d.bug.family:8}{'yes' if d.is_first else 'NO':15}{kinds:20}"
        f"{'yes' if d.is_right else 'NO':5}{d.evaluations:11,}{d.seconds:9.1f}"
    )


def _details(diagnoses: Sequence[Diagnosis], *, verbose: bool) -> list[str]:
    lines = []
    for d in diagnoses:
        if not (d.is_first and d.is_right) or d.innocents or verbose:
            kinds = " or ".join(d.bug.kinds)
            lines.append(f"{d.bug.name} ({kinds} in {d.bug.where}): {d.message}")
        if d.innocents:
            lines.append(f"    accused as well: {', '.join(d.innocents)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where gradproof falls short."""
    parser = argparse.ArgumentParser(prog="python -m bench.diagnosis")
    parser.add_argument("--verbose", action="store_true", help="print what was said of every bug")
    parser.add_argument("--family", help="demo, torch, jax, layers or numpy alone")
    parser.add_argument("--write", type=Path, help="a page with the section of docs/compare.md")
    options = parser.parse_args(arguments)

    bugs = [bug for bug in all_bugs() if options.family in (None, bug.family)]
    print(
        f"{'case':32}{'family':8}{'culprit first':15}{'kind':20}{'right':5}"
        f"{'evaluations':>11}{'seconds':>9}"
    )
    diagnoses = []
    for bug in bugs:
        diagnoses.append(diagnose(bug))
        print(_row(diagnoses[-1]), flush=True)
    print()
    print(*_details(diagnoses, verbose=options.verbose), sep="\n")
    if options.write:
        bench.page.write_section(options.write, "diagnosis", overview(diagnoses))
    accusations = [
        said for way in ("probe", "full") for said in false_accusations(correct_cases(), way)
    ]
    first = sum(d.is_first for d in diagnoses)
    right = sum(d.is_right for d in diagnoses)
    blamed = sum(bool(d.innocents) for d in diagnoses)
    print(
        f"\nculprit first in {first} of {len(bugs)}, kind right in {right}; in {blamed} somebody "
        f"else is accused too; right gradients accused: {len(accusations)} of "
        f"{len(correct_cases())} cases; {sum(d.seconds for d in diagnoses):.0f} s"
    )
    print(*accusations, sep="\n")
    enough = first == len(bugs) and right >= ENOUGH * len(bugs)
    return 0 if enough and not blamed and not accusations else 1


if __name__ == "__main__":
    sys.exit(main())
