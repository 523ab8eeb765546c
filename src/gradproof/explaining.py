"""Why a gradient is wrong: where the error enters, and what kind of mistake it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from gradproof.coverage.probe import scales
from gradproof.diagnosis.localise import Origin, localise, unexplained, victims
from gradproof.diagnosis.patterns.explain import Explanation
from gradproof.diagnosis.preflight import Claim, look_at_claim, look_at_value
from gradproof.diagnosis.reasons import Case, reason
from gradproof.numerics.sampling import Floats
from gradproof.outcome.trial import Settings
from gradproof.probing import examine_by_probes
from gradproof.report.model import Finding, Report
from gradproof.subjects.base import Stage, Subject

#: Evaluations that evidence may take, of all tensors together; an entry takes four.
EVIDENCE, EACH = 1024, 4
#: Entries looked at for a tensor's explanation, besides those in the report.
LEAST, MOST = 16, 128
#: Tensors that are explained each by itself.
TENSORS = 12
#: Victims that are named.
NAMED = 4


def explained(
    report: Report,
    subject: Subject,
    claim: Claim,
    grad: object,
    settings: Settings,
    known: Mapping[str, object],
    rng: np.random.Generator,
) -> Report:
    """The report with findings that say what is wrong, if anything is.

    Args:
        report: on the function.
        subject: the function.
        claim: its gradient.
        grad: what claims it.
        settings: what the caller asked for.
        known: numbers, and gradients in x's structure, that an error may be made of.
        rng: for entries and directions.
    """
    failing = [name for name, tensor in report.tensors.items() if tensor.verdict == "fail"]
    if not failing or subject.exhausted is not None:
        return report
    stages = subject.stages(grad)

    def judge(part: Subject, grad: object) -> Report | None:
        return _examined(part, grad, settings, rng)

    origins = localise(stages, failing, judge, rng)
    findings = [
        finding
        for origin in reversed(origins)
        for finding in _about_origin(origin, failing, origins, stages, subject.constants, rng)
    ]
    left = unexplained(failing, origins, stages)
    case = _case(subject, claim, report, known)
    findings += _about_tensors(case, left, rng)
    if subject.exhausted is not None and not findings:
        return report
    reason = report.reason if not findings else f"{findings[0].message}"
    return replace(report, findings=(*report.findings, *findings), reason=reason)


def _examined(
    part: Subject, grad: object, settings: Settings, rng: np.random.Generator
) -> Report | None:
    """A report on a part of f by itself; None where it has no usable value."""
    value = look_at_value(part)
    if not value.is_usable:
        return None
    scale = scales(part.point)
    claim = look_at_claim(part, grad, scale, rng)
    plain = replace(settings, coverage="probe", customary=(), steps=None)
    return examine_by_probes(part, value, claim, scale, plain, rng)


def _about_origin(
    origin: Origin,
    failing: Sequence[str],
    origins: Sequence[Origin],
    stages: Sequence[Stage],
    constants: Mapping[str, float],
    rng: np.random.Generator,
) -> Iterator[Finding]:
    """One finding for each tensor of a part whose gradient the part's own backward gets wrong."""
    part = origin.subject
    with part.session():
        gradient = part.claims(origin.grad)
        rounding = _rounding(part, gradient)
        case = Case(part, gradient, rounding, origin.report, {}, {**constants, **part.constants})
        for name in origin.wrong:
            found = reason(case, name, MOST, rng)
            whole = origin.whole(name)
            what = f"the gradient of its {name}" if whole is None else f"the gradient of {whole}"
            message = f"the error enters in {origin.stage.name}, in {what}: {found.message}"
            spoiled = victims(failing, origins, stages) if whole is None else []
            if spoiled:
                message += f"; {_listed(spoiled)} lie before it and are wrong because of it"
            evidence = {
                "layer": origin.stage.name,
                "layer's kind": origin.stage.kind,
                "quantity": name,
                "victims": tuple(spoiled),
                **found.evidence,
            }
            yield Finding(found.kind, message, whole, "bug", evidence)


def _about_tensors(case: Case, names: Sequence[str], rng: np.random.Generator) -> Iterator[Finding]:
    """One finding for each tensor, or for several that are wrong in the same way."""
    chosen = names[:TENSORS]
    entries = int(np.clip(EVIDENCE // (EACH * max(len(chosen), 1)), LEAST, MOST))
    alike: dict[tuple[str, str], list[tuple[str, Explanation]]] = {}
    for name in chosen:
        found = reason(case, name, entries, rng)
        if case.subject.exhausted is not None:
            break
        alike.setdefault((found.kind, found.message.replace(name, "")), []).append((name, found))
    for (kind, _), some in alike.items():
        name, found = some[0]
        concerned = [each for each, _ in some]
        evidence = {"tensors": tuple(concerned), **found.evidence}
        yield Finding(kind, f"{_listed(concerned)}: {found.message}", name, "bug", evidence)


def _case(subject: Subject, claim: Claim, report: Report, known: Mapping[str, object]) -> Case:
    numbers = {what: float(n) for what, n in known.items() if isinstance(n, (int, float))}
    arrays = {what: subject.claims(g) for what, g in known.items() if what not in numbers}
    return Case(
        subject,
        claim.gradient,
        claim.rounding,
        report,
        arrays,
        {**subject.constants, **numbers},
    )


def _rounding(part: Subject, gradient: Sequence[Floats]) -> list[Floats]:
    units = [max(part.claim_spacing, unit) for unit in part.spacing]
    return [16.0 * unit * np.abs(g) for unit, g in zip(units, gradient, strict=True)]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
