"""One function against one claim: pre-flight, probes, ladders, and the report on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gradproof.coverage import entries as coverage_entries
from gradproof.coverage.asking import request_of, sampler_of
from gradproof.coverage.branches import clear_at
from gradproof.coverage.climb import Clear, climb, ladders, look_again
from gradproof.coverage.probe import Probes, probe, scales
from gradproof.coverage.request import Numeric, Request
from gradproof.diagnosis.preflight import (
    Claim,
    Value,
    least_noise,
    look_at_claim,
    look_at_value,
)
from gradproof.diagnosis.second_opinion import compare_modes
from gradproof.numerics.sampling import SINGLE, Floats, Lanes, Sampler
from gradproof.outcome.asked import rows_of, with_asked
from gradproof.outcome.assemble import empty_report, make_report, with_findings
from gradproof.outcome.budget import Lack, about_budget
from gradproof.outcome.trial import Settings, Trial
from gradproof.probing import examine_by_probes
from gradproof.report.model import Finding, Report, Severity
from gradproof.subjects.base import Places, Subject

#: Random directions that start a check.
PROBES = 2
#: Entries climbed again one by one when a probe contradicts what the pairs let pass.
RECHECKED = 4096


@dataclass(frozen=True)
class Examined:
    """A function, the gradient claimed for it, and the report on that.

    `claim` is what `grad` claims; None where f has no usable value.
    """

    subject: Subject
    grad: object
    claim: Claim | None
    report: Report


def examine(
    subject: Subject,
    grad: object,
    settings: Settings,
    rng: np.random.Generator,
    value: Value | None = None,
) -> Examined:
    """Compare what `grad` claims with the subject's numerical derivatives.

    Args:
        subject: the function around its point.
        grad: the claim.
        settings: what the caller asked for.
        rng: for directions.
        value: what the pre-flight said of the function's value, where there has been one.
    """
    if value is None:
        value = look_at_value(subject)
    if not value.is_usable:
        return Examined(subject, grad, None, empty_report(subject, settings, value))
    scale = scales(subject.point)
    claim = look_at_claim(subject, grad, scale, rng)
    if settings.coverage == "probe":
        report = examine_by_probes(subject, value, claim, scale, settings, rng)
    else:
        report = compare(subject, value, claim, places_of(subject, settings), settings, rng)
    # Drawn last, so that what was found before does not depend on it.
    more = compare_modes(subject, claim, scale, rng) if grad is None else []
    if subject.exhausted is not None and not any(f.kind == "budget" for f in report.findings):
        more.append(about_budget(subject, Lack.OF_EXTRAS))
    report = replace(with_findings(report, more), evaluations=subject.evaluations)
    return Examined(subject, grad, claim, report)


@np.errstate(all="ignore")
def compare(
    subject: Subject,
    value: Value,
    claim: Claim,
    places: Places,
    settings: Settings,
    rng: np.random.Generator,
    *,
    is_complete: bool = True,
) -> Report:
    """Find the numeric values at `places`, judge the claim and report.

    Args:
        subject: the function around its point.
        value: what the pre-flight said of its value.
        claim: the gradient claimed.
        places: the entries to compare one by one.
        settings: what the caller asked for.
        rng: for directions.
        is_complete: whether the claim is meant for all entries, not only for those at `places`.
    """
    steps = tuple(rows_of(label, subject, places) for label in settings.steps)
    scale = scales(subject.point)
    probes = probe(subject, scale, claim.gradient, claim.rounding, value.value, PROBES, rng)
    noise = max(probes.noise, least_noise(subject, value))
    request = request_of(subject, places, scale, claim.gradient, claim.rounding)
    sampler = sampler_of(subject, places)

    def clear(lanes: Lanes, longest: Floats) -> Floats:
        return clear_at(subject, places[lanes], longest)

    numeric = climb(
        sampler,
        request,
        value=value.value,
        noise=noise,
        resolution=settings.resolution,
        clear=clear,
    )
    findings: list[Finding] = []
    # Where the budget ran out, the probes may lack values, and nothing more can be seen.
    is_seen = subject.exhausted is None and probes.contradict.all()
    if is_complete and is_seen and not numeric.confirmed.any():
        _climb_the_widest(sampler, request, numeric, value.value, clear)
        if settings.coverage != "full" and not numeric.confirmed.any():
            again = probe(subject, scale, claim.gradient, claim.rounding, value.value, PROBES, rng)
            findings += _about_probes(probes, again, subject) if subject.exhausted is None else []
    trial = Trial(
        subject,
        value,
        claim,
        places,
        request,
        numeric,
        noise,
        probes.reach,
        steps,
        tuple(findings),
        sampler.lacking,
    )
    return make_report(trial, settings, rng)


def places_of(subject: Subject, settings: Settings) -> Places:
    """The entries to compare one by one."""
    sizes = [len(tensor) for tensor in subject.point]
    if settings.coverage == "full":
        return coverage_entries.full(sizes)
    # A generator of its own: every term of a sum draws the same entries.
    rng = np.random.default_rng(settings.seed)
    drawn = coverage_entries.sample(sizes, settings.samples, rng)
    return with_asked(drawn, settings.steps, subject)


def _climb_the_widest(
    sampler: Sampler, request: Request, numeric: Numeric, value: float, clear: Clear
) -> None:
    """Climb again where the bars let most pass: probes contradict what they let pass together."""
    weight = (numeric.error + request.rounding) * request.scale
    widest = np.argsort(-weight, kind="stable")[:RECHECKED]
    numeric.put(widest, ladders(sampler, request, widest, value, None))
    look_again(sampler, request, numeric, value, clear)


def _about_probes(first: Probes, second: Probes, subject: Subject) -> list[Finding]:
    """Entries that were not drawn are wrong, if four directions over all of them say so."""
    if not second.contradict.all():
        return []
    message = (
        "every entry that was drawn agrees, but not the gradient as a whole: along a random "
        f"direction over all entries it gives {second.analytic[0]:.10g}, and f changes by "
        f"{second.numeric[0]:.10g} to within {second.error[0]:.1e}; an entry that was not drawn is "
        "wrong, and coverage='full' finds it"
    )
    both = (first, second)
    evidence = {
        "analytic": tuple(float(a) for p in both for a in p.analytic),
        "numeric": tuple(float(n) for p in both for n in p.numeric),
        "error": tuple(float(e) for p in both for e in p.error),
    }
    # With numbers coarser than float32's a direction through kinks at the point may look smooth.
    severity: Severity = "bug" if max(subject.spacing) <= SINGLE else "warning"
    return [Finding("not-drawn", message, severity=severity, evidence=evidence)]
