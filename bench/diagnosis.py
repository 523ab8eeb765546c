"""Whether gradproof says where a gradient went wrong, and what kind of mistake it is.

Run ``python -m bench.diagnosis [--markdown] [--verbose] [--family NAME]``. Bugs are planted in the
demo's network, in torch layers, in JAX functions, in hand-written layers and in plain NumPy
functions, one at a time; what is right is known of each. The exit status is 1 unless the culprit is
named first in all of them, the kind is right in 55 of 60, nobody else is accused, and no right
gradient of the scorecard gets a finding of severity bug.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from bench import (
    diagnosis_cases_demo,
    diagnosis_cases_jax,
    diagnosis_cases_numpy,
    diagnosis_cases_torch,
    diagnosis_cases_torch_modules,
)
from bench.cases import Case, correct_cases
from bench.diagnosis_case import Bug, Diagnosis, accused, bug_findings

import gradproof

__all__ = ["all_bugs", "diagnose", "false_accusations", "main"]

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
            return Diagnosis(bug, "raised", (), (), message, 0, time.perf_counter() - start)
    findings = bug_findings(report)
    places = tuple(dict.fromkeys(accused(finding) for finding in findings))
    guilty = [finding for finding in findings if accused(finding) == bug.where]
    kinds = dict.fromkeys(finding.kind for finding in guilty or findings[:1])
    return Diagnosis(
        bug,
        report.verdict,
        places,
        tuple(kinds),
        findings[0].message if findings else report.reason,
        report.evaluations,
        time.perf_counter() - start,
    )


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


def _table(diagnoses: Sequence[Diagnosis], *, markdown: bool) -> str:
    rows = [["case", "family", "culprit first", "kind", "right", "evaluations", "seconds"]]
    rows += [
        [
            d.bug.name,
            d.bug.family,
            _said(d.is_first),
            ", ".join(d.kinds) or d.verdict,
            _said(d.is_right),
            str(d.evaluations),
            f"{d.seconds:.1f}",
        ]
        for d in diagnoses
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [
        [
            cell.ljust(width) if i in (0, 1, 3) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in aligned)
    rule = [("-" * (w - 1) + ":" if i not in (0, 1, 3) else ":" + "-" * (w - 1))
            for i, w in enumerate(widths)]  # fmt: skip
    return "\n".join(f"| {' | '.join(row)} |" for row in [aligned[0], rule, *aligned[1:]])


def _said(is_so: bool) -> str:
    return "yes" if is_so else "NO"


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
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--verbose", action="store_true", help="print what was said of every bug")
    parser.add_argument("--family", help="demo, torch, jax, layers or numpy alone")
    options = parser.parse_args(arguments)

    bugs = [bug for bug in all_bugs() if options.family in (None, bug.family)]
    diagnoses = [diagnose(bug) for bug in bugs]
    print(_table(diagnoses, markdown=options.markdown))
    print(*_details(diagnoses, verbose=options.verbose), sep="\n")
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
