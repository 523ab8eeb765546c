"""Terms that a function is the sum of, each checked by itself, so that none hides another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.coverage.asking import request_of, sampler_of
from gradproof.coverage.climb import ladders
from gradproof.coverage.probe import scales
from gradproof.diagnosis.preflight import Claim, look_at_claim, look_at_value
from gradproof.examine import Examined, compare, examine, places_of
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.extrapolation import SIGMAS
from gradproof.numerics.sampling import Floats
from gradproof.outcome.assemble import empty_report
from gradproof.outcome.trial import Settings
from gradproof.report.model import Finding, Report
from gradproof.subjects.base import Places, Subject
from gradproof.verdict import overall

#: A function alone, with its gradient, or with its gradient and itself at many points at once.
Term = (
    Callable[[Any], Any]
    | tuple[Callable[[Any], Any], Any]
    | tuple[Callable[[Any], Any], Any, Callable[[Any], Any]]
)

#: Makes a subject of a function, and of itself at many points at once, at the whole's x.
Make = Callable[[Callable[[Any], Any], Callable[[Any], Any] | None], Subject]


def check_terms(
    terms: Mapping[str, Term],
    make: Make,
    grad: Any,
    whole: Subject,
    settings: Settings,
    rng: np.random.Generator,
) -> dict[str, Examined]:
    """What is found of each term. The rules of thumb are for the whole alone."""
    plain = replace(settings, customary=(), steps=())
    pieces = {name: _piece(name, term, make, whole) for name, term in terms.items()}
    return {name: _check_term(name, terms, pieces, grad, plain, rng) for name in terms}


def _piece(name: str, term: Term, make: Make, whole: Subject) -> Subject:
    """A term as a subject by itself, seen through the same cotangent as the whole."""
    function = term[0] if isinstance(term, tuple) else term
    batch = term[2] if isinstance(term, tuple) and len(term) == 3 else None
    try:
        piece = make(function, batch)
    except InputError as error:
        raise InputError(f"In terms[{name!r}]: {error}") from error
    if piece.output_shape != whole.output_shape:
        raise InputError(
            f"Expected terms[{name!r}] to return f's shape {whole.output_shape} but got "
            f"{piece.output_shape}"
        )
    piece.cotangent = whole.cotangent
    return piece


def _check_term(
    name: str,
    terms: Mapping[str, Term],
    pieces: Mapping[str, Subject],
    grad: Any,
    settings: Settings,
    rng: np.random.Generator,
) -> Examined:
    """A term against its own gradient, or against what `grad` leaves for it beside the others."""
    term, subject = terms[name], pieces[name]
    own = term[1] if isinstance(term, tuple) else None
    if isinstance(term, tuple) or (grad is None and subject.has_claim(None)):
        try:
            return examine(subject, own, settings, rng)
        except InputError as error:
            raise InputError(f"In terms[{name!r}]: {error}") from error
    value = look_at_value(subject)
    if not value.is_usable:
        return Examined(subject, own, None, empty_report(subject, settings, value))
    scale = scales(subject.point)
    claim = look_at_claim(subject, grad, scale, rng)
    places = places_of(subject, settings)
    gradient = [g.copy() for g in claim.gradient]
    rounding = [r.copy() for r in claim.rounding]
    for other, one in pieces.items():
        if other == name:
            continue
        before = one.evaluations
        slopes, bars, at_kink = _slopes(one, places, scale, claim)
        # At a kink of another term any part of its jump may have been left to this one.
        places, slopes, bars = places[~at_kink], slopes[~at_kink], bars[~at_kink]
        for k in range(len(gradient)):
            here = places.tensor == k
            gradient[k][places.index[here]] -= slopes[here]
            rounding[k][places.index[here]] += bars[here]
        subject.evaluations += one.evaluations - before
        one.evaluations = before
    rest = replace(claim, gradient=tuple(gradient), rounding=tuple(rounding))
    report = compare(subject, value, rest, places, settings, rng, is_complete=False)
    return Examined(subject, own, rest, report)


@np.errstate(all="ignore")
def _slopes(
    subject: Subject, places: Places, scale: Sequence[Floats], claim: Claim
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Numeric derivatives, their bars, and whether they are at a kink.

    Where there is none, nothing is known: 0 with an infinite bar.
    """
    request = request_of(subject, places, scale, claim.gradient, claim.rounding)
    every = np.arange(len(places))
    found = ladders(sampler_of(subject, places), request, every, subject.value(), None)
    is_known = np.isfinite(found.value)
    bars = np.where(is_known, found.error, np.inf)
    return np.where(is_known, found.value, 0.0), bars, found.status == code(Status.KINK)


def with_terms(report: Report, parts: Mapping[str, Report]) -> Report:
    """The report on f with those on its terms: a wrong term makes f wrong."""
    together = [report, *parts.values()]
    total = sum(part.value for part in parts.values())
    findings = report.findings
    size = sum(abs(part.value) for part in together)
    noise = sum(part.noise for part in together)
    # Where a value is random or no number, that is the finding.
    is_known = all(part.tensors for part in together)
    if is_known and not abs(total - report.value) <= 1e-9 * size + SIGMAS * noise:
        message = (
            f"the terms add up to {total!r}, but f(x) is {report.value!r}: they are not its parts"
        )
        findings = (*findings, Finding("terms-do-not-add-up", message, severity="warning"))
    verdict = overall([report.verdict, *(part.verdict for part in parts.values())])
    if findings is not report.findings:
        verdict = overall([verdict, "inconclusive"])
    reason = report.reason
    if verdict != report.verdict:
        does = "fails" if verdict == "fail" else f"is {verdict}"
        culprits = [repr(name) for name, part in parts.items() if part.verdict == verdict]
        sentences = [f"the term {name} {does} by itself" for name in culprits]
        reason = sentences[0] if sentences else findings[-1].message
    return replace(
        report,
        verdict=verdict,
        reason=reason,
        findings=findings,
        terms=dict(parts),
        evaluations=sum(part.evaluations for part in together),
        gradient_evaluations=sum(part.gradient_evaluations for part in together),
    )
