"""A bug whose place and kind are known, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradproof import Report
from gradproof.report.model import Finding

__all__ = ["Bug", "Diagnosis", "accused", "bug_findings", "diagnosis_of", "is_cause"]


@dataclass(frozen=True)
class Bug:
    """A wrong backward pass in one place of a network or function.

    `check` gets `wrong`, or its twin `right`, and returns the report on the network that it is part
    of. `where` is the layer whose own backward pass is wrong; in a function without layers the
    tensor, or the term, whose gradient is. `kinds` are what a careful engineer would call it; more
    than one only where each is true.
    """

    name: str
    family: str
    where: str
    kinds: tuple[str, ...]
    check: Callable[[Any], Report]
    wrong: Any
    right: Any


@dataclass(frozen=True)
class Diagnosis:
    """What was said of a bug.

    `first` is who is accused first, `innocents` are all who are accused without being guilty,
    `kinds` is what is said of the one who is, and `message` the first accusation.
    """

    bug: Bug
    verdict: str
    first: str
    innocents: tuple[str, ...]
    kinds: tuple[str, ...]
    message: str
    evaluations: int
    seconds: float

    @property
    def is_first(self) -> bool:
        """Whether the culprit is named before all others."""
        return self.first == self.bug.where

    @property
    def is_right(self) -> bool:
        """Whether something is said of the culprit, and all of it is true."""
        return bool(self.kinds) and all(kind in self.bug.kinds for kind in self.kinds)


def diagnosis_of(bug: Bug, report: Report, seconds: float) -> Diagnosis:
    """What a report says of a bug."""
    findings = bug_findings(report)
    causes = [finding for finding in findings if is_cause(finding)]
    places = dict.fromkeys(accused(finding) for finding in causes)
    return Diagnosis(
        bug,
        report.verdict,
        accused(findings[0]) if findings else "",
        tuple(place for place in places if place != bug.where),
        tuple(dict.fromkeys(f.kind for f in findings if accused(f) == bug.where)),
        findings[0].message if findings else report.reason,
        report.evaluations,
        seconds,
    )


def is_cause(finding: Finding) -> bool:
    """Whether a finding says where an error comes from, and not just what is wrong."""
    is_explained = "tensors" in finding.evidence and finding.kind != "kink-inconsistent"
    return "layer" in finding.evidence or is_explained


def bug_findings(report: Report) -> list[Finding]:
    """The findings that make a report fail."""
    return [finding for finding in report.findings if finding.severity == "bug"]


def accused(finding: Finding) -> str:
    """The layer that a finding names, without the call or line; or the term or tensor."""
    layer = finding.evidence.get("layer")
    if isinstance(layer, str):
        return re.sub(r" \(call \d+\)| at \S+:\d+", "", layer)
    return str(finding.evidence.get("term", finding.tensor))
