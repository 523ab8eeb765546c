"""Judge, explain and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradproof.coverage.kinks import ENTRIES, JointTest, slopes_beside, try_together
from gradproof.diagnosis import advice
from gradproof.diagnosis.preflight import Value
from gradproof.diagnosis.units import about_units
from gradproof.numerics import agreement
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import Floats
from gradproof.outcome.budget import Lack, about_budget
from gradproof.outcome.rules import RulesOfThumb, rules_of_thumb
from gradproof.outcome.sentences import reason_of, tensor_reason, verdict_of
from gradproof.outcome.stepping import tabulate
from gradproof.outcome.trial import Settings, Trial
from gradproof.report import build
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.model import Customary, Finding, Report, TensorReport
from gradproof.subjects.base import Codes, Subject
from gradproof.verdict import (
    BESIDE,
    IMPRECISE,
    JOINTLY_WRONG,
    LACKING,
    OUTSIDE,
    REASONS,
    Judgement,
    judge,
    of_tensor,
    overall,
)


def empty_report(subject: Subject, settings: Settings, value: Value) -> Report:
    """The report where nothing could be compared."""
    nothing = build.spread(np.empty(0))
    lack = [] if subject.exhausted is None else [about_budget(subject, Lack.OF_EVERYTHING)]
    stopper = [*value.findings, *lack][-1]
    return Report(
        verdict="inconclusive",
        reason=stopper.message,
        tensors={},
        entries=Entries.empty(subject.names, subject.shapes),
        findings=(*subject.findings(), *value.findings, *lack),
        norm_ratio=np.nan,
        max_relative_error=np.nan,
        sign_mismatches=0,
        digits_agree=nothing,
        digits_attainable=nothing,
        evaluations=subject.evaluations,
        gradient_evaluations=0,
        seconds=0.0,
        noise=value.jitter,
        seed=settings.seed,
        coverage=settings.coverage,
        resolution=settings.resolution,
        value=value.value,
    )


def make_report(trial: Trial, settings: Settings, rng: np.random.Generator) -> Report:
    """Spend the last evaluations (joint kinks, fixed steps, the step table) and report."""
    subject = trial.subject
    judgement = judge(
        trial.request,
        trial.numeric,
        value=trial.value.value,
        resolution=settings.resolution,
        lacking=trial.lacking,
    )
    together = _test_kinks(trial, judgement, rng)
    lack = Lack.OF_EXTRAS if subject.exhausted is None else Lack.OF_EVIDENCE
    rules = rules_of_thumb(trial, settings, judgement)
    entries = _entries(trial, judgement)
    tensors = _tensors(trial, entries, judgement, rules)
    findings = [*subject.findings(), *trial.value.findings]
    findings += [*trial.claim.findings, *trial.findings, *together]
    findings += _advice(trial, judgement, tensors, rules.overall)
    findings += _about_units(trial, judgement, rules)
    steps = tabulate(trial, settings, judgement, rules)
    if subject.exhausted is not None:
        findings.append(about_budget(subject, lack, entries))
    verdict = overall([t.verdict for t in tensors.values()] + [verdict_of(f) for f in findings])
    smooth = build.smooth_part(entries)
    analytic, numeric = smooth["analytic"], smooth["numeric"]
    agree, attainable = build.digits(smooth)
    return Report(
        verdict=verdict,
        reason=reason_of(verdict, tensors, findings),
        tensors=tensors,
        entries=entries,
        findings=tuple(findings),
        norm_ratio=agreement.norm_ratio(analytic, numeric),
        max_relative_error=agreement.max_relative_error(analytic, numeric),
        sign_mismatches=agreement.sign_mismatches(analytic, numeric),
        digits_agree=agree,
        digits_attainable=attainable,
        evaluations=subject.evaluations,
        gradient_evaluations=trial.claim.calls,
        seconds=0.0,
        noise=trial.noise,
        seed=settings.seed,
        coverage=settings.coverage,
        resolution=settings.resolution,
        value=trial.value.value,
        customary=rules.overall,
        steps=steps,
    )


def with_findings(report: Report, more: Sequence[Finding]) -> Report:
    """The report with findings that were made after it."""
    if not more:
        return report
    verdict = overall([report.verdict, *map(verdict_of, more)])
    findings = (*report.findings, *more)
    reason = report.reason
    if verdict != report.verdict:
        reason = next(f.message for f in more if verdict_of(f) == verdict)
    return replace(report, verdict=verdict, findings=findings, reason=reason)


def _test_kinks(trial: Trial, judgement: Judgement, rng: np.random.Generator) -> list[Finding]:
    """Test entries at a kink together; where they do not fit, all of them are mismatches."""
    beside = _look_beside(trial, judgement, rng)
    if trial.subject.exhausted is not None:
        # Whether f has these slopes beside x was not seen.
        open_ = judgement.reason == OUTSIDE
        judgement.verdict[open_], judgement.reason[open_] = VERDICTS.index("unresolved"), LACKING
    at = np.flatnonzero(judgement.verdict == VERDICTS.index("kink"))
    # One entry by itself has been tested already; two make a gradient.
    if len(at) < 2:
        return []
    result = _together(trial, at, rng, beside)
    if result.fits:
        return []
    tensors = trial.places.tensor[at]
    own = {k: np.flatnonzero(tensors == k) for k in np.unique(tensors).tolist()}
    alone = {
        k: found
        for k, rows in own.items()
        if len(own) > 1
        and len(rows) > 1
        and not (found := _together(trial, at[rows], rng, beside[:, rows])).fits
    }
    if alone:
        # The others need not be wrong for those that are.
        at = np.concatenate([at[own[k]] for k in alone])
        result = next(iter(alone.values()))
    judgement.verdict[at] = VERDICTS.index("mismatch")
    judgement.reason[at] = JOINTLY_WRONG
    message = (
        f"the {len(at)} entries at a kink are acceptable one by one, but not together: along a "
        f"direction over them the analytic slope is {result.analytic:.6g}, while f's slopes around "
        f"the point lie between {result.low:.6g} and {result.high:.6g}; it is no subgradient"
    )
    names = sorted({trial.subject.names[k] for k in trial.places.tensor[at]})
    evidence = {
        "analytic": result.analytic,
        "slopes": (result.low, result.high),
        "error": result.error,
        "directions": result.directions,
        "tensors": tuple(names),
    }
    return [Finding("kink-inconsistent", message, names[0], "bug", evidence)]


def _together(trial: Trial, at: Codes, rng: np.random.Generator, beside: Floats) -> JointTest:
    request, numeric = trial.request, trial.numeric
    return try_together(
        trial.subject,
        trial.places[at],
        request.claim[at],
        numeric.value[at],
        numeric.half_jump[at],
        request.scale[at],
        trial.noise,
        rng,
        beside,
    )


def _look_beside(trial: Trial, judgement: Judgement, rng: np.random.Generator) -> Floats:
    """Accept a claim outside of its one-sided slopes where f has that slope right beside x.

    Returns offsets of points where it has, (points, entries at a kink).
    """
    outside = judgement.reason == OUTSIDE
    at = np.flatnonzero(outside | (judgement.verdict == VERDICTS.index("kink")))
    # One kink by itself has no other slopes than its two.
    if len(at) < 2 or not outside.any():
        return np.empty((0, len(at) - int(outside.sum())))
    claim, scale = trial.request.claim, trial.request.scale[at]
    places = trial.places[at]
    points = [np.empty((0, len(at)))]
    rows = np.flatnonzero(outside[at])
    looked_at = np.sort(rng.permutation(rows)[:ENTRIES])
    for row in looked_at.tolist():
        found = slopes_beside(
            trial.subject, places, row, float(claim[at[row]]), scale, trial.noise, rng
        )
        if len(found):
            points.append(found)
            judgement.verdict[at[row]] = VERDICTS.index("kink")
            judgement.reason[at[row]] = BESIDE
    if np.all(judgement.reason[at[looked_at]] == BESIDE):
        # Then so will the others: whether all fit together is looked at next.
        judgement.verdict[at[rows]] = VERDICTS.index("kink")
        judgement.reason[at[rows]] = BESIDE
    accepted = judgement.verdict[at] == VERDICTS.index("kink")
    return np.concatenate(points)[:, accepted]


def _about_units(trial: Trial, judgement: Judgement, rules: RulesOfThumb) -> list[Finding]:
    """Name the units at kinks near the entries, and right at them."""
    at = judgement.verdict == VERDICTS.index("kink")
    near = np.zeros(0, dtype=np.intp)
    step = 0.0
    if rules.gap is not None:
        near, step = np.flatnonzero((rules.gap >= 0.0) & ~at), rules.overall[0].step
    places, scale = trial.places, trial.request.scale
    return about_units(trial.subject, places, near, step, np.flatnonzero(at), scale)


def _entries(trial: Trial, judgement: Judgement) -> Entries:
    subject, request, numeric = trial.subject, trial.request, trial.numeric
    reasons, codes = [*REASONS], judgement.reason.copy()
    at_kink = np.flatnonzero(
        (numeric.status == code(Status.KINK)) & (numeric.half_jump != 0.0) & (codes != LACKING)
    )
    for i in at_kink:
        left, right = (
            numeric.value[i] - numeric.half_jump[i],
            numeric.value[i] + numeric.half_jump[i],
        )
        sentence = f"{REASONS[codes[i]]} (left {left:.6g}, right {right:.6g})"
        codes[i] = len(reasons)
        reasons.append(sentence)
    return Entries(
        names=subject.names,
        shapes=subject.shapes,
        tensor_code=trial.places.tensor,
        flat_index=trial.places.index,
        value=request.center,
        analytic=request.claim,
        numeric=numeric.value,
        error=numeric.error,
        rounding=request.rounding,
        verdict_code=judgement.verdict,
        reason_code=codes,
        reasons=tuple(reasons),
    )


def _tensors(
    trial: Trial,
    entries: Entries,
    judgement: Judgement,
    rules: RulesOfThumb,
) -> dict[str, TensorReport]:
    tensors = {}
    for k, name in enumerate(trial.subject.names):
        here = trial.places.tensor == k
        verdict = of_tensor(judgement.verdict[here])
        own = entries.filter(where=here)
        reason = tensor_reason(verdict, own)
        tensors[name] = build.tensor_report(
            name, trial.subject.shapes[k], own, verdict, reason, rules.of_tensor.get(k, ())
        )
    return tensors


def _advice(
    trial: Trial,
    judgement: Judgement,
    tensors: dict[str, TensorReport],
    customary: Sequence[Customary],
) -> list[Finding]:
    counts = {name: t.counts["kink"] for name, t in tensors.items()}
    sizes = {name: t.checked for name, t in tensors.items()}
    numeric: dict[str, Floats] = {
        name: trial.numeric.value[trial.places.tensor == k]
        for k, name in enumerate(trial.subject.names)
    }
    imprecise = np.bincount(
        trial.places.tensor[judgement.reason == IMPRECISE], minlength=len(tensors)
    )
    return [
        *advice.about_precision(dict(zip(tensors, imprecise.tolist(), strict=True)), sizes),
        *advice.about_kinks(counts, sizes, customary),
        *advice.about_start(trial.subject.names, trial.subject.point, numeric),
    ]
