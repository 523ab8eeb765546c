"""What the probes of a training found: kept, logged and handed on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from gradproof._errors import GradientMismatch
from gradproof.report.brief_text import render_verdict
from gradproof.report.escape import one_line
from gradproof.report.model import Report
from gradproof.training.untouched import untouched

LOGGER = logging.getLogger("gradproof")
LEVELS = {"pass": logging.INFO, "inconclusive": logging.WARNING, "fail": logging.ERROR}

OnReport = Callable[[int, Report], object]


class Probe(NamedTuple):
    """A probe: the step that it was made before, counted from 0, and its report."""

    step: int
    report: Report


class Failure(NamedTuple):
    """A probe that could not be made: the step, and why."""

    step: int
    reason: str


class Journal:
    """What the probes of one training found.

    Args:
        on_report: gets the step and the report of each probe.
        on_fail: "log", or "raise" to end the training where a gradient is wrong.

    Attributes:
        reports: the probes that were made.
        errors: those that could not be made.
    """

    def __init__(self, on_report: OnReport | None, on_fail: str) -> None:
        self.reports: list[Probe] = []
        self.errors: list[Failure] = []
        self._on_report, self._on_fail = on_report, on_fail

    def enter(self, step: int, make: Callable[[], Report]) -> Report | None:
        """Make a probe, and log what comes of it; None where it could not be made.

        Raises:
            GradientMismatch: the gradient is wrong, and `on_fail` is "raise".
        """
        try:
            report = make()
        except Exception as error:  # whatever it is, the training goes on
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            self._miss(step, one_line(said))
            return None
        self.reports.append(Probe(step, report))
        # Whoever prints a report, makes rich draw random numbers for its styles.
        with untouched():
            LOGGER.log(
                LEVELS[report.verdict],
                "step %d: %s (%d evaluations, %.2g s)",
                *(step, render_verdict(report), report.evaluations, report.seconds),
            )
            if self._on_report is not None:
                self._on_report(step, report)
            if report.verdict == "fail" and self._on_fail == "raise":
                raise GradientMismatch(f"at step {step} of the training\n{report}", report)
        return report

    def _miss(self, step: int, reason: str) -> None:
        is_known = any(reason == one.reason for one in self.errors)
        self.errors.append(Failure(step, reason))
        if not is_known:
            LOGGER.warning("step %d: no probe could be made: %s", step, reason)
