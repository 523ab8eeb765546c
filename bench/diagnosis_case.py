"""A bug whose place and kind are known, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradproof import Report
from gradproof.report.model import Finding

__all__ = ["Bug", "Diagnosis", "accused", "bug_findings"]


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

    `places` are the accused, the first one first; `kinds` what is said of the one that is guilty,
    or if that is not named of the first; `message` is the first accusation.
    """

    bug: Bug
    verdict: str
    places: tuple[str, ...]
    kinds: tuple[str, ...]
    message: str
    evaluations: int
    seconds: float

    @property
    def is_first(self) -> bool:
        """Whether the culprit is named before all others."""
        return self.places[:1] == (self.bug.where,)

    @property
    def innocents(self) -> tuple[str, ...]:
        """Who else is accused."""
        return tuple(place for place in self.places if place != self.bug.where)

    @property
    def is_right(self) -> bool:
        """Whether all that is said of the culprit is true of it."""
        is_named = self.bug.where in self.places
        return is_named and all(kind in self.bug.kinds for kind in self.kinds)


def bug_findings(report: Report) -> list[Finding]:
    """The findings that make a report fail."""
    return [finding for finding in report.findings if finding.severity == "bug"]


def accused(finding: Finding) -> str:
    """The layer that a finding names, without the call or line; or the term or tensor."""
    layer = finding.evidence.get("layer")
    if isinstance(layer, str):
        return re.sub(r" \(call \d+\)| at \S+:\d+", "", layer)
    return str(finding.evidence.get("term", finding.tensor))
