"""Why a gradient is wrong: where the error enters, and what kind of mistake it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from numbers import Real

import numpy as np

from gradproof.coverage import entries as coverage_entries
from gradproof.coverage.directions import Line
from gradproof.coverage.probe import scales
from gradproof.diagnosis.cuts import held_constant
from gradproof.diagnosis.localise import Origin, localise, unexplained, victims
from gradproof.diagnosis.patterns.explain import Explanation
from gradproof.diagnosis.patterns.field import SECOND_CALL
from gradproof.diagnosis.preflight import Claim, look_at_claim, look_at_value
from gradproof.diagnosis.reasons import Case, reason
from gradproof.diagnosis.ties import with_shared_kinks
from gradproof.examine import Examined, compare
from gradproof.outcome.budget import Lack, about_budget
from gradproof.outcome.trial import Settings
from gradproof.probing import examine_by_probes
from gradproof.report.model import Finding, Report
from gradproof.subjects.base import Stage, Subject
from gradproof.verdict import JOINTLY_WRONG, REASONS

#: Evaluations that evidence may take, of all tensors together; an entry takes four.
EVIDENCE, EACH = 512, 4
#: Entries looked at for a tensor's explanation, besides those in the report.
LEAST, MOST = 16, 128
#: Tensors that are explained each by itself.
TENSORS = 8
#: Entries of each tensor of a part that are looked at where directions say nothing.
SAMPLED = 64
#: Causes that make up the reason of the verdict.
HEADLINES = 3
#: Victims that are named.
NAMED = 4


def causes_of(
    whole: Examined,
    parts: Mapping[str, Examined],
    settings: Settings,
    known: Mapping[str, object],
    rng: np.random.Generator,
) -> list[Finding]:
    """What is wrong, if anything is; the causes nearest to f's value first.

    Args:
        whole: the function.
        parts: the terms that it is the sum of. Where some fail, errors are looked for in those.
        settings: what the caller asked for.
        known: numbers, and gradients in x's structure, that an error may be made of.
        rng: for entries and directions.
    """
    subject = whole.subject
    failing = _failing(whole)
    wrong = {name: part for name, part in parts.items() if _failing(part)}
    for part in wrong.values():
        failing += [name for name in _failing(part) if name not in failing]
    if not failing or subject.exhausted is not None:
        return []

    def judge(part: Subject, grad: object) -> tuple[Claim, Report] | None:
        return examine_part(part, grad, settings, rng)

    stages = subject.stages(whole.grad)
    origins = localise(stages, failing, judge, subject.budget, rng)
    findings = [
        finding
        for origin in reversed(origins)
        for finding in _about_origin(origin, failing, origins, stages, subject.constants, rng)
    ]
    left = unexplained(failing, origins, stages)
    for name, one in (wrong or {"": whole}).items():
        case = _case(one, known)
        findings += _about_tensors(case, [n for n in _failing(one) if n in left], name, rng)
    findings = _with_precision_last(findings)
    if subject.exhausted is not None:
        findings.append(about_budget(subject, Lack.OF_EXTRAS))
    return findings


def _with_precision_last(findings: Sequence[Finding]) -> list[Finding]:
    """What is only computed in single precision is no more than a warning beside real mistakes."""
    single = [f for f in findings if f.evidence.get("format") == "float32"]
    others = [f for f in findings if f not in single]
    if not others:
        return single
    return [*others, *(replace(f, severity="warning") for f in single)]


def with_causes(report: Report, causes: Sequence[Finding]) -> Report:
    """The report with the causes of its failure; what they say in short is the reason."""
    lines = [line for cause in causes if (line := _headline(cause))]
    reason = "; ".join(lines[:HEADLINES]) or report.reason
    # First: what else is found, such as NaN in all that lies before, may be no more than an effect.
    return replace(report, findings=(*causes, *report.findings), reason=reason)


def examine_part(
    part: Subject, grad: object, settings: Settings, rng: np.random.Generator
) -> tuple[Claim, Report] | None:
    """What a part of f claims, and a report on it by itself; None where it has no usable value.

    Args:
        part: the part around its inputs.
        grad: its claim.
        settings: what the caller asked for of f.
        rng: for entries and directions.
    """
    value = look_at_value(part)
    if not value.is_usable:
        return None
    scale = scales(part.point)
    claim = look_at_claim(part, grad, scale, rng)
    plain = replace(settings, coverage="probe", customary=(), steps=())
    report = examine_by_probes(part, value, claim, scale, plain, rng)
    if report.verdict == "inconclusive" and part.exhausted is None:
        # Where the point lies on kinks no direction has a slope, but most entries have one.
        places = coverage_entries.sample([len(x) for x in part.point], SAMPLED, rng)
        report = compare(part, value, claim, places, plain, rng, is_complete=False)
        if report.verdict != "fail":
            line = Line(part, claim.gradient, claim.rounding, value.value, value.jitter)
            report = with_shared_kinks(report, line, scale)
    return claim, report


def _headline(cause: Finding) -> str | None:
    """Where, and what kind of mistake; None where nothing has been explained."""
    if "layer" in cause.evidence:
        return f"{cause.message.partition(': ')[0]} ({cause.kind})"
    return None if cause.kind in ("unexplained", "budget") else cause.message


def _failing(one: Examined) -> list[str]:
    return [name for name, tensor in one.report.tensors.items() if tensor.verdict == "fail"]


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
    claim = origin.claim
    with part.session():
        known = {**constants, **part.constants}
        case = Case(part, claim.gradient, claim.rounding, origin.report, {}, known)
        for name in origin.wrong:
            found = _of_kinks(origin.report, name) or _reason(case, name, MOST, rng)
            whole = origin.whole(name)
            own = "its input" if name == "input" else f"its input {name}"
            what = f"the gradient of {own if whole is None else whole}"
            message = f"the error enters in {origin.stage.name}, in {what}: {found.message}"
            if origin.again:
                message += f"; the same in {len(origin.again)} more of its calls"
            spoiled = victims(failing, origins, stages) if whole is None else []
            if spoiled:
                each = "lies before it and is" if len(spoiled) == 1 else "lie before it and are"
                message += f"; {_listed(spoiled)} {each} wrong because of it"
            evidence = {
                "layer": origin.stage.name,
                "layer's kind": origin.stage.kind,
                "quantity": name,
                "calls": tuple(stage.name for _, stage in origin.again),
                "victims": tuple(spoiled),
                **found.evidence,
            }
            yield Finding(found.kind, message, whole, "bug", evidence)


def _of_kinks(report: Report, name: str) -> Explanation | None:
    """Where no entry is wrong by itself, what is wrong with them together."""
    wrong = report.entries.filter(tensor=name, verdict="mismatch")
    if any(not entry.reason.startswith(REASONS[JOINTLY_WRONG]) for entry in wrong):
        return None
    for finding in report.findings:
        if finding.kind == "kink-inconsistent":
            return Explanation(finding.kind, finding.message, finding.evidence, None)
    return None


def _reason(case: Case, name: str, entries: int, rng: np.random.Generator) -> Explanation:
    # First: what is left out of a gradient by a cut may look like many a mistake.
    return held_constant(case, name, rng) or reason(case, name, entries, rng)


def _about_tensors(
    case: Case, names: Sequence[str], term: str, rng: np.random.Generator
) -> Iterator[Finding]:
    """One finding for each tensor, or for several that are wrong in the same way."""
    chosen = names[:TENSORS]
    entries = int(np.clip(EVIDENCE // (EACH * max(len(chosen), 1)), LEAST, MOST))
    alike: dict[object, list[tuple[str, Explanation]]] = {}
    for name in chosen:
        if _of_kinks(case.report, name) is not None:
            continue  # that has been said
        found = _reason(case, name, entries, rng)
        if case.subject.exhausted is not None:
            break
        if found.kind == "nan" and any(f.kind == "nan" for f in case.report.findings):
            continue  # that has been said
        alike.setdefault(_likeness(found), []).append((name, found))
    for some in alike.values():
        name, found = some[0]
        concerned = [each for each, _ in some]
        evidence = {"tensors": tuple(concerned), **found.evidence}
        where = ""
        if term:
            where = f"in the term {term!r}, "
            evidence["term"] = term
        message = f"{where}{_listed(concerned)}: {found.message}"
        yield Finding(found.kind, message, name, "bug", evidence)


def _likeness(found: Explanation) -> object:
    """What explanations of several tensors have in common if they are one mistake."""
    number = found.evidence.get("ratio", found.evidence.get("coefficient"))
    return found.kind, f"{number:.6g}" if isinstance(number, float) else None


def _case(one: Examined, known: Mapping[str, object]) -> Case:
    subject, claim = one.subject, one.claim
    assert claim is not None, "a tensor fails only where there was a claim"
    numbers = {what: float(n) for what, n in known.items() if isinstance(n, Real)}
    arrays = {what: subject.claims(g) for what, g in known.items() if what not in numbers}
    constants = {**subject.constants, **numbers}
    if any(f.kind in ("accumulated", "gradient-changes") for f in one.report.findings):
        arrays[SECOND_CALL] = subject.claims(one.grad)
    return Case(subject, claim.gradient, claim.rounding, one.report, arrays, constants)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
