"""The one place that wires the parts: subject, coverage, numerics, verdict, diagnosis, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from gradproof._errors import GradientMismatch, Inconclusive, InputError
from gradproof.coverage import entries as coverage_entries
from gradproof.coverage.climb import Numeric, Request, climb, ladders, look_again
from gradproof.coverage.probe import Probes, probe, root_mean_square, scales
from gradproof.diagnosis.preflight import Claim, Value, look_at_claim, look_at_value
from gradproof.engines import Engine, serial
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import Floats, Lanes, Sampler
from gradproof.outcome.assemble import empty_report, make_report
from gradproof.outcome.trial import Settings, Trial
from gradproof.report.model import Finding, Report
from gradproof.report.progress import OnProgress, progress_bar
from gradproof.subjects.base import Places
from gradproof.subjects.numpy import ArraySubject
from gradproof.verdict import overall

Term = Callable[[Any], Any] | tuple[Callable[[Any], Any], Any]

#: Random directions that start a check.
PROBES = 2
COVERAGES = ("full", "sample")
#: Entries climbed again one by one when a probe contradicts what the pairs let pass.
RECHECKED = 4096


def check(
    f: Callable[[Any], Any],
    x: Any,
    grad: Any = None,
    *,
    coverage: str = "full",
    samples: int = 20,
    resolution: float = 1e-3,
    seed: int = 0,
    cotangent: Any = None,
    f_batch: Callable[[Any], Any] | None = None,
    terms: Mapping[str, Term] = MappingProxyType({}),
    customary: Sequence[float] = (1e-4, 1e-5),
    steps: str | None = None,
    engine: Engine = serial,
    progress: bool | OnProgress = False,
) -> Report:
    """Compare the gradient that is claimed for `f` at `x` with numerical derivatives.

    Nothing of the caller's is changed: `f` and `grad` are called with copies of `x`.

    Args:
        f: a function of `x` that returns a real number or an array of them.
        x: an array or float, or any nesting of dicts, lists, tuples and dataclasses of them.
        grad: a callable `grad(x)`, or the gradient itself, in x's structure. Where `f` returns an
            array, the Jacobian (each tensor of shape f(x).shape + its own), or a callable
            `grad(x, cotangent)` that returns the product of the cotangent with the Jacobian.
        coverage: "full", every entry, or "sample".
        samples: with "sample", entries drawn at random from every tensor.
        resolution: relative error bar that an entry needs; a wider one is `unresolved`.
        seed: for random directions, cotangents and samples.
        cotangent: what an array-valued `f` is contracted with, in its shape; random by default.
        f_batch: `f` at many points at once: every tensor gets a first axis, and so does the result.
        terms: parts that `f` is the sum of, each checked by itself too, so that a large one cannot
            hide a small one: a function with its gradient, `{"data": (f1, g1), "l2": (f2, g2)}`, or
            a function alone, whose claim is then `grad` less the numeric gradients of the others.
        customary: fixed steps h at which to show what the rules of thumb would say. They cost
            evaluations only where `f` has kinks near `x`.
        steps: an entry ("w[2, 1]") or tensor ("w") whose error is tabulated against the step; the
            worst entry by default.
        engine: a map-like callable that runs chunks of evaluations.
        progress: True for a progress bar, or a callable that gets (done, expected).

    Raises:
        InputError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> report = check(lambda x: np.sum(np.sin(x)), np.ones(3), np.cos)
    >>> report.verdict, report.tensors["x"].digits_agree.minimum > 8
    ('pass', True)
    >>> check(lambda x: np.sum(np.sin(x)), np.ones(3), lambda x: -np.cos(x)).verdict
    'fail'
    """
    settings = Settings(coverage, samples, resolution, seed, tuple(customary), steps)
    _validate(settings, grad)
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    subject = ArraySubject(f, x, f_batch=f_batch, cotangent=cotangent, rng=rng, engine=engine)
    with progress_bar(progress) as on_progress:
        expected = _cost(subject, settings)
        subject.on_progress = lambda done: on_progress(done, expected)
        report = _examine(subject, grad, settings, rng)
        parts = {name: _check_term(name, terms, x, grad, settings, rng) for name in terms}
    if parts:
        report = _with_terms(report, parts)
    return replace(report, seconds=time.perf_counter() - started)


def assert_gradients(f: Callable[[Any], Any], x: Any, grad: Any = None, **options: Any) -> Report:
    """`check`, raising unless the verdict is `pass`; same arguments. Returns the report.

    Raises:
        GradientMismatch: the gradient is wrong; its `report` says where.
        Inconclusive: the gradient could be neither confirmed nor refuted.

    >>> assert_gradients(lambda x: x**2, 3.0, lambda x: 2 * x).verdict
    'pass'
    """
    report = check(f, x, grad, **options)
    if report.verdict == "fail":
        raise GradientMismatch(str(report), report)
    if report.verdict == "inconclusive":
        raise Inconclusive(str(report), report)
    return report


def _validate(settings: Settings, grad: object) -> None:
    if settings.coverage == "probe":
        raise InputError(
            "Expected coverage='full' or 'sample' but got coverage='probe', which is still to come"
        )
    if settings.coverage not in COVERAGES:
        raise InputError(f"Expected coverage='full' or 'sample' but got {settings.coverage!r}")
    if grad is None:
        raise InputError(
            "Expected grad, a callable or the gradient itself, but got grad=None: only a framework "
            "with automatic differentiation can do without it"
        )
    if (
        isinstance(settings.samples, bool)
        or not isinstance(settings.samples, int)
        or settings.samples < 1
    ):
        raise InputError(f"Expected a positive integer but got samples={settings.samples!r}")
    if not 0.0 < settings.resolution < 1.0:
        raise InputError(
            f"Expected a number between 0 and 1 but got resolution={settings.resolution!r}"
        )
    if not all(np.isfinite(h) and h > 0 for h in settings.customary):
        raise InputError(f"Expected positive steps but got customary={settings.customary!r}")


def _cost(subject: ArraySubject, settings: Settings) -> int:
    """Evaluations to expect of a right, smooth gradient."""
    sizes = [len(t) for t in subject.point]
    entries = (
        sum(sizes) if settings.coverage == "full" else sum(min(s, settings.samples) for s in sizes)
    )
    return 2 * entries + 100


def _examine(
    subject: ArraySubject, grad: object, settings: Settings, rng: np.random.Generator
) -> Report:
    value = look_at_value(subject)
    if not value.is_usable:
        return empty_report(subject, settings, value)
    claim = look_at_claim(subject, grad, scales(subject.point), rng)
    return _compare(subject, value, claim, settings, rng)


@np.errstate(all="ignore")
def _compare(
    subject: ArraySubject,
    value: Value,
    claim: Claim,
    settings: Settings,
    rng: np.random.Generator,
) -> Report:
    scale = scales(subject.point)
    probes = probe(subject, scale, claim.gradient, claim.rounding, value.value, PROBES, rng)
    noise = max(probes.noise, value.jitter, float(floor(np.array([value.value]))[0]))
    places = _places(subject, settings)
    request = _request(subject, places, scale, claim)
    sampler = _sampler(subject, places)
    numeric = climb(
        sampler, request, value=value.value, noise=noise, resolution=settings.resolution
    )
    _weigh_probes(sampler, request, numeric, probes, value.value)
    trial = Trial(subject, value, claim, places, request, numeric, noise, probes.reach)
    return make_report(trial, settings, rng)


def _places(subject: ArraySubject, settings: Settings) -> Places:
    sizes = [len(tensor) for tensor in subject.point]
    if settings.coverage == "full":
        return coverage_entries.full(sizes)
    # A generator of its own: every term of a sum draws the same entries.
    return coverage_entries.sample(sizes, settings.samples, np.random.default_rng(settings.seed))


def _request(
    subject: ArraySubject, places: Places, scale: Sequence[Floats], claim: Claim
) -> Request:
    def pick(tensors: Sequence[Floats]) -> Floats:
        offsets = np.cumsum([0, *(len(t) for t in tensors[:-1])])
        chosen: Floats = np.concatenate(tensors)[offsets[places.tensor] + places.index]
        return chosen

    typical = [
        np.full(len(g), root_mean_square(g[np.isfinite(g)])) for g in claim.gradient
    ]
    return Request(
        center=pick(subject.point),
        scale=pick(scale),
        claim=pick(claim.gradient),
        rounding=pick(claim.rounding),
        typical=pick(typical),
        group=places.tensor,
    )


def _sampler(subject: ArraySubject, places: Places) -> Sampler:
    def at_entries(lanes: Lanes, offsets: Floats, /) -> Floats:
        return subject.at_entries(places[lanes], offsets)

    return at_entries


def _weigh_probes(
    sampler: Sampler, request: Request, numeric: Numeric, probes: Probes, value: float
) -> None:
    """Where probes contradict what every entry's own bar let pass, climb the widest bars again."""
    if not probes.contradict.all() or numeric.confirmed.any():
        return
    weight = (numeric.error + request.rounding) * request.scale
    widest = np.argsort(-weight, kind="stable")[:RECHECKED]
    numeric.put(widest, ladders(sampler, request, widest, value, None))
    look_again(sampler, request, numeric, value)


def _check_term(
    name: str,
    terms: Mapping[str, Term],
    x: Any,
    grad: Any,
    settings: Settings,
    rng: np.random.Generator,
) -> Report:
    """A term against its own gradient, or against what `grad` leaves for it beside the others."""
    term = terms[name]
    if isinstance(term, tuple):
        function, own = term
        return _examine(ArraySubject(function, x, rng=rng), own, settings, rng)
    subject = ArraySubject(term, x, rng=rng)
    value = look_at_value(subject)
    if not value.is_usable:
        return empty_report(subject, settings, value)
    scale = scales(subject.point)
    claim = look_at_claim(subject, grad, scale, rng)
    places = _places(subject, settings)
    gradient = [g.copy() for g in claim.gradient]
    rounding = [r.copy() for r in claim.rounding]
    for other, part in terms.items():
        if other == name:
            continue
        one = ArraySubject(part[0] if isinstance(part, tuple) else part, x, rng=rng)
        request = _request(one, places, scale, claim)
        found = ladders(_sampler(one, places), request, np.arange(len(places)), one.value(), None)
        for k in range(len(gradient)):
            here = places.tensor == k
            gradient[k][places.index[here]] -= found.value[here]
            rounding[k][places.index[here]] += found.error[here]
        subject.evaluations += one.evaluations
    rest = replace(claim, gradient=tuple(gradient), rounding=tuple(rounding))
    return _compare(subject, value, rest, settings, rng)


def _with_terms(report: Report, parts: Mapping[str, Report]) -> Report:
    """The report on f with those on its terms: a wrong term makes f wrong."""
    total = sum(part.value for part in parts.values())
    findings = report.findings
    if not abs(total - report.value) <= 1e-9 * max(abs(report.value), abs(total)):
        message = (
            f"the terms add up to {total!r}, but f(x) is {report.value!r}: they are not its parts"
        )
        findings = (*findings, Finding("terms-do-not-add-up", message, severity="warning"))
    verdict = overall([report.verdict, *(part.verdict for part in parts.values())])
    if findings is not report.findings:
        verdict = overall([verdict, "inconclusive"])
    reason = report.reason
    if verdict != report.verdict:
        culprits = [name for name, part in parts.items() if part.verdict == verdict]
        reason = (
            f"by itself, the term {culprits[0]!r} is {verdict}"
            if culprits
            else findings[-1].message
        )
    return replace(
        report,
        verdict=verdict,
        reason=reason,
        findings=findings,
        terms=dict(parts),
        evaluations=report.evaluations + sum(part.evaluations for part in parts.values()),
    )
