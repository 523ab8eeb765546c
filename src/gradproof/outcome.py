"""From numeric values to a report: verdicts, joint tests, rules of thumb, findings, step table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradproof._errors import InputError
from gradproof.coverage.climb import Numeric, Request, gap_beyond
from gradproof.coverage.customary import at_fixed_steps
from gradproof.coverage.kinks import test_together
from gradproof.diagnosis import advice
from gradproof.diagnosis.preflight import Claim, Value
from gradproof.diagnosis.steps import STEPS, step_table
from gradproof.numerics import agreement
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import Floats
from gradproof.report import build
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.model import (
    Customary,
    Finding,
    Report,
    Severity,
    StepTable,
    TensorReport,
    Verdict,
)
from gradproof.subjects.base import Codes, Places
from gradproof.subjects.numpy import ArraySubject
from gradproof.verdict import (
    IMPRECISE,
    JOINTLY_WRONG,
    REASONS,
    Judgement,
    judge,
    of_tensor,
    overall,
)

#: Entries of a tensor that stand for it in a step table.
STEP_ENTRIES = 32


@dataclass(frozen=True)
class Settings:
    """What the caller asked for."""

    coverage: str
    samples: int
    resolution: float
    seed: int
    customary: tuple[float, ...]
    steps: str | None


@dataclass(frozen=True)
class Trial:
    """Everything that was found out about one function and one claim."""

    subject: ArraySubject
    value: Value
    claim: Claim
    places: Places
    request: Request
    numeric: Numeric
    noise: float
    reach: float


@dataclass(frozen=True)
class RulesOfThumb:
    """Figures at the customary steps, overall and per tensor (position in the subject's names).

    `gap` is each entry's relative error at the first step where a kink lies within it, else -1;
    all are empty where f is smooth out to the customary steps.
    """

    overall: tuple[Customary, ...] = ()
    of_tensor: Mapping[int, tuple[Customary, ...]] = field(default_factory=dict)
    gap: Floats | None = None


def empty_report(subject: ArraySubject, settings: Settings, value: Value) -> Report:
    """The report where nothing could be compared."""
    nothing = build.spread(np.empty(0))
    stopper = value.findings[-1]
    return Report(
        verdict="inconclusive",
        reason=stopper.message,
        tensors={},
        entries=Entries.empty(subject.names, subject.shapes),
        findings=value.findings,
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
    """Judge, explain and put together. Spends evaluations on kinks, customary steps and the table."""
    subject = trial.subject
    judgement = judge(
        trial.request, trial.numeric, value=trial.value.value, resolution=settings.resolution
    )
    together = _test_kinks(trial, judgement, rng)
    rules = _rules_of_thumb(trial, settings, judgement)
    entries = _entries(trial, judgement)
    tensors = _tensors(trial, entries, judgement, rules)
    findings = [*trial.value.findings, *trial.claim.findings, *together]
    findings += _advice(trial, judgement, tensors, rules.overall)
    steps = _steps(trial, settings, judgement, rules)
    verdict = overall([t.verdict for t in tensors.values()] + [_verdict_of(f) for f in findings])
    smooth = build.smooth_part(entries)
    analytic, numeric = smooth["analytic"], smooth["numeric"]
    agree, attainable = build.digits(smooth)
    return Report(
        verdict=verdict,
        reason=_reason(verdict, tensors, findings),
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


def _test_kinks(trial: Trial, judgement: Judgement, rng: np.random.Generator) -> list[Finding]:
    """Test entries at a kink together; where they do not fit, all of them are mismatches."""
    at = np.flatnonzero(judgement.verdict == VERDICTS.index("kink"))
    # One entry by itself has been tested already; two make a gradient.
    if len(at) < 2:
        return []
    request, numeric = trial.request, trial.numeric
    result = test_together(
        trial.subject,
        trial.places[at],
        request.claim[at],
        numeric.value[at],
        numeric.half_jump[at],
        request.scale[at],
        trial.noise,
        rng,
    )
    if result.fits:
        return []
    judgement.verdict[at] = VERDICTS.index("mismatch")
    judgement.reason[at] = JOINTLY_WRONG
    message = (
        f"the {len(at)} entries at a kink are acceptable one by one, but not together: along a direction "
        f"over them the analytic slope is {result.analytic:.6g}, while f's slopes around the point lie "
        f"between {result.low:.6g} and {result.high:.6g}; the gradient is no subgradient"
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


def _rules_of_thumb(trial: Trial, settings: Settings, judgement: Judgement) -> RulesOfThumb:
    """Evaluated only where f has kinks: elsewhere gradproof's own figures are the better ones."""
    steps = settings.customary
    request = trial.request
    if not steps or len(trial.places) == 0:
        return RulesOfThumb()
    reach = trial.reach * float(np.median(request.scale))
    if reach >= max(steps) and not (judgement.verdict == VERDICTS.index("kink")).any():
        return RulesOfThumb()
    found = at_fixed_steps(trial.subject, trial.places, steps, trial.value.value, trial.noise)

    def figures(rows: Codes) -> tuple[Customary, ...]:
        return tuple(
            build.customary(h, request.claim[rows], slopes[rows], crossed[rows])
            for h, slopes, crossed in zip(steps, found.slopes, found.crossed, strict=True)
        )

    count = len(trial.subject.names)
    return RulesOfThumb(
        figures(np.arange(len(trial.places))),
        {k: figures(np.flatnonzero(trial.places.tensor == k)) for k in range(count)},
        np.where(found.crossed[0], agreement.relative_error(request.claim, found.slopes[0]), -1.0),
    )


def _entries(trial: Trial, judgement: Judgement) -> Entries:
    subject, request, numeric = trial.subject, trial.request, trial.numeric
    reasons, codes = [*REASONS], judgement.reason.copy()
    at_kink = np.flatnonzero((numeric.status == code(Status.KINK)) & (numeric.half_jump != 0.0))
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
        reason = _tensor_reason(verdict, own)
        tensors[name] = build.tensor_report(
            name, trial.subject.shapes[k], own, verdict, reason, rules.of_tensor.get(k, ())
        )
    return tensors


def _tensor_reason(verdict: Verdict, entries: Entries) -> str:
    counts = entries.counts()
    if len(entries) == 0:
        return "empty: nothing to check"
    if verdict == "fail":
        wrong = entries.filter(verdict="mismatch")
        return f"{len(wrong)} of {len(entries)} entries: {wrong.worst(1)[0].reason}"
    if verdict == "inconclusive":
        open_ = entries.filter(verdict="unresolved")
        return f"{len(open_)} of {len(entries)} entries: {open_.worst(1)[0].reason}"
    kinks = counts.get("kink", 0)
    rest = f", {kinks} of them at a kink, between its one-sided slopes" if kinks else ""
    return f"all {len(entries)} entries agree within their error bars{rest}"


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


_CONSEQUENCE: Mapping[Severity, Verdict] = {
    "bug": "fail",
    "warning": "inconclusive",
    "info": "pass",
}


def _verdict_of(finding: Finding) -> Verdict:
    return _CONSEQUENCE[finding.severity]


def _reason(verdict: Verdict, tensors: dict[str, TensorReport], findings: Sequence[Finding]) -> str:
    if verdict == "pass":
        kinks = {n: t.counts["kink"] for n, t in tensors.items() if t.counts["kink"]}
        crossed = {
            n: t.customary[0].kinks
            for n, t in tensors.items()
            if t.customary and t.customary[0].kinks
        }
        reason = "every entry agrees to all the digits that its numeric value is worth"
        if kinks:
            reason += "; at a kink: " + _listed(kinks)
        if crossed:
            h = next(t.customary[0].step for t in tensors.values() if t.customary)
            reason += f"; kinks within h = {h:.0e}, stepped around: " + _listed(crossed)
        return reason
    concerned = [t for t in tensors.values() if t.verdict == verdict]
    if concerned:
        names = ", ".join(t.name for t in concerned[:4]) + (", ..." if len(concerned) > 4 else "")
        return (
            f"{names}: {concerned[0].reason}"
            if len(concerned) == 1
            else (
                f"{len(concerned)} of {len(tensors)} tensors ({names}); {concerned[0].name}: "
                f"{concerned[0].reason}"
            )
        )
    return next(f.message for f in findings if _verdict_of(f) == verdict)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} in {name}" for name, n in counts.items())


def _steps(
    trial: Trial,
    settings: Settings,
    judgement: Judgement,
    rules: RulesOfThumb,
) -> tuple[StepTable, ...]:
    """Error against step for the entry or tensor asked for, or for the worst entry."""
    if len(trial.places) == 0:
        return ()
    rows, label = _chosen(trial, settings, judgement, rules)
    subject, request, numeric = trial.subject, trial.request, trial.numeric
    count = len(rows)
    where = trial.places[np.tile(rows, len(STEPS))]
    offsets = np.repeat(np.array(STEPS), count)
    with np.errstate(all="ignore"):
        plus = subject.at_entries(where, offsets).reshape(len(STEPS), count)
        minus = subject.at_entries(where, -offsets).reshape(len(STEPS), count)
        slopes = (0.5 * plus - 0.5 * minus) / np.array(STEPS)[:, None]
        levels = np.fmax(trial.noise, floor(plus, minus))
        table = step_table(
            label,
            request.claim[rows],
            numeric.value[rows],
            numeric.error[rows],
            request.rounding[rows],
            slopes,
            levels,
            at_kink=count == 1 and bool(numeric.half_jump[rows[0]]),
        )
    return (table,)


def _chosen(
    trial: Trial, settings: Settings, judgement: Judgement, rules: RulesOfThumb
) -> tuple[Codes, str]:
    subject, places = trial.subject, trial.places
    if settings.steps is None:
        row = _worst(trial, judgement, rules)
        name = subject.describe(int(places.tensor[row]), int(places.index[row]))
        return np.array([row]), name
    wanted = settings.steps
    if wanted in subject.names:
        rows = np.flatnonzero(places.tensor == subject.names.index(wanted))
        stride = max(1, len(rows) // STEP_ENTRIES)
        return rows[::stride][:STEP_ENTRIES], wanted
    found = re.fullmatch(r"(?P<name>.*)\[(?P<index>[\d, ]*)\]", wanted, flags=re.DOTALL)
    if found and found["name"] in subject.names:
        k = subject.names.index(found["name"])
        index = tuple(int(i) for i in found["index"].split(",") if i.strip())
        try:
            flat = int(np.ravel_multi_index(index, subject.shapes[k]))
        except ValueError as error:
            shape = subject.shapes[k]
            raise InputError(
                f"Expected an entry of shape {shape} but got steps={wanted!r}"
            ) from error
        rows = np.flatnonzero((places.tensor == k) & (places.index == flat))
        if len(rows):
            return rows, wanted
        raise InputError(f"Expected an entry that is checked but got steps={wanted!r}")
    raise InputError(
        f"Expected one of {', '.join(subject.names[:8])}, or an entry of it, but got steps={wanted!r}"
    )


def _worst(trial: Trial, judgement: Judgement, rules: RulesOfThumb) -> int:
    """A mismatch if there is one, else the entry that a fixed step does least justice."""
    ratio = np.nan_to_num(gap_beyond(trial.request, trial.numeric), nan=np.inf)
    wrong = judgement.verdict == VERDICTS.index("mismatch")
    if wrong.any():
        return int(np.argmax(np.where(wrong, ratio, -1.0)))
    if rules.gap is not None and (rules.gap > 0.0).any():
        smooth = np.where(judgement.verdict == VERDICTS.index("match"), rules.gap, -1.0)
        return int(np.argmax(smooth if (smooth > 0.0).any() else rules.gap))
    return int(np.argmax(ratio))
