"""Kinks that many entries share: ties, at which a gradient must be given to one, not to all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradproof.coverage.bisect import Piece, gaps
from gradproof.coverage.directions import Line, sizes_of
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import Floats
from gradproof.report.model import Finding, Report

#: The first step, in units of the entries' sizes.
STEP = 2.0**-7


@np.errstate(all="ignore")
def with_shared_kinks(report: Report, line: Line, scale: Sequence[Floats]) -> Report:
    """The report, failing if a tensor that is moved as a whole changes f otherwise than claimed.

    A common move of all entries leaves ties between them as they are, so that f is smooth along it
    where it is along no random direction. Each entry's claim by itself may be one of the two slopes
    that f has there, and their sum still be no slope of f: if the gradient was given to every entry
    that is as large as the largest.

    Args:
        report: on single entries, which does not fail.
        line: the function and its claimed gradient.
        scale: the entries' surroundings, per tensor.
    """
    tensors, findings = dict(report.tensors), list(report.findings)
    for k, name in enumerate(line.subject.names):
        direction = [np.zeros(len(x)) for x in line.subject.point]
        amount = float(np.max(sizes_of(scale)[k], initial=0.0))
        direction[k] += amount
        whole = [Piece(k, 0, len(direction[k]))]
        if len(direction[k]) < 2 or gaps(line, whole, direction, STEP, report.noise)[0] == 0.0:
            continue
        ladder = line.ladder(direction, STEP)
        if ladder.status[0] != code(Status.SMOOTH):
            continue
        analytic = line.claimed(direction)[0] / amount
        numeric, error = float(ladder.value[0]) / amount, float(ladder.error[0]) / amount
        message = (
            "entries that tie are acceptable one by one, but not together: moved all by the same "
            f"amount, f changes by {numeric:.6g} for each unit of it where the claim says "
            f"{analytic:.6g}; at a tie the gradient belongs to one of the entries, or is shared, "
            "not given to each of them"
        )
        evidence = {"analytic": analytic, "numeric": numeric, "error": error}
        findings.append(Finding("kink-inconsistent", message, name, "bug", evidence))
        tensors[name] = replace(tensors[name], verdict="fail", reason=message)
    if len(findings) == len(report.findings):
        return report
    return replace(report, verdict="fail", tensors=tensors, findings=tuple(findings))
