"""The one place that wires the parts: subject, coverage, numerics, verdict, diagnosis, report."""

from __future__ import annotations

import numbers
import reprlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import GradientMismatch, Inconclusive, InputError
from gradproof.coverage import entries as coverage_entries
from gradproof.coverage.climb import Numeric, Request, climb, ladders, look_again
from gradproof.coverage.probe import Probes, probe, root_mean_square, scales
from gradproof.diagnosis.preflight import Claim, Value, look_at_claim, look_at_value
from gradproof.engines import Engine, serial
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.extrapolation import SIGMAS
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
    _demand(callable(engine), "a map-like callable", "engine", engine)
    _demand(
        callable(progress) or isinstance(progress, bool), "a bool or callable", "progress", progress
    )
    _validate_terms(terms)
    settings = Settings(coverage, samples, resolution, seed, _as_steps(customary), steps)
    _validate(settings, grad)
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    subject = ArraySubject(f, x, f_batch=f_batch, cotangent=cotangent, rng=rng, engine=engine)
    with progress_bar(progress) as on_progress:
        expected = _cost(subject, settings)
        subject.on_progress = lambda done: on_progress(done, expected)
        report = _examine(subject, grad, settings, rng)
        pieces = {name: _piece(name, term, x, subject, rng, engine) for name, term in terms.items()}
        parts = {name: _check_term(name, terms, pieces, grad, settings, rng) for name in terms}
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
    samples, resolution, seed = settings.samples, settings.resolution, settings.seed
    _demand(_is_integer(samples) and samples > 0, "a positive integer", "samples", samples)
    _demand(_is_integer(seed) and seed >= 0, "an integer that is not negative", "seed", seed)
    is_resolution = isinstance(resolution, numbers.Real) and 0.0 < resolution < 1.0
    _demand(is_resolution, "a number between 0 and 1", "resolution", resolution)
    steps = settings.steps
    _demand(
        steps is None or isinstance(steps, str), "the name of an entry or tensor", "steps", steps
    )


def _validate_terms(terms: object) -> None:
    if not isinstance(terms, Mapping):
        raise InputError(f"Expected a dict of functions but got terms={reprlib.repr(terms)}")
    for name, term in terms.items():
        _demand(isinstance(name, str), "a string as the name of a term", "terms", terms)
        is_pair = isinstance(term, tuple) and len(term) == 2 and callable(term[0])
        expected = "a function or a tuple (function, gradient)"
        _demand(callable(term) or is_pair, expected, f"terms[{name!r}]", term)


def _as_steps(customary: object) -> tuple[float, ...]:
    try:
        steps = tuple(map(float, customary))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        steps = (-1.0,)
    is_positive = all(np.isfinite(h) and h > 0.0 for h in steps)
    _demand(
        is_positive and not isinstance(customary, str), "positive steps", "customary", customary
    )
    return steps


def _demand(holds: bool, expected: str, name: str, value: object) -> None:
    if not holds:
        raise InputError(f"Expected {expected} but got {name}={reprlib.repr(value)}")


def _is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


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
    return _compare(subject, value, claim, _places(subject, settings), settings, rng)


@np.errstate(all="ignore")
def _compare(
    subject: ArraySubject,
    value: Value,
    claim: Claim,
    places: Places,
    settings: Settings,
    rng: np.random.Generator,
) -> Report:
    scale = scales(subject.point)
    probes = probe(subject, scale, claim.gradient, claim.rounding, value.value, PROBES, rng)
    noise = max(probes.noise, value.jitter, float(floor(np.array([value.value]))[0]))
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

    moves = [g * s for g, s in zip(claim.gradient, scale, strict=True)]
    typical = [root_mean_square(m[np.isfinite(m)]) / s for m, s in zip(moves, scale, strict=True)]
    return Request(
        center=pick(subject.point),
        scale=pick(scale),
        wide=pick(
            [np.fmax(s, root_mean_square(x)) for s, x in zip(scale, subject.point, strict=True)]
        ),
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


def _piece(
    name: str,
    term: Term,
    x: Any,
    whole: ArraySubject,
    rng: np.random.Generator,
    engine: Engine,
) -> ArraySubject:
    """A term as a subject by itself, seen through the same cotangent as the whole."""
    function = term[0] if isinstance(term, tuple) else term
    try:
        piece = ArraySubject(function, x, rng=rng, engine=engine)
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
    pieces: Mapping[str, ArraySubject],
    grad: Any,
    settings: Settings,
    rng: np.random.Generator,
) -> Report:
    """A term against its own gradient, or against what `grad` leaves for it beside the others."""
    term, subject = terms[name], pieces[name]
    if isinstance(term, tuple):
        try:
            return _examine(subject, term[1], settings, rng)
        except InputError as error:
            raise InputError(f"In terms[{name!r}]: {error}") from error
    value = look_at_value(subject)
    if not value.is_usable:
        return empty_report(subject, settings, value)
    scale = scales(subject.point)
    claim = look_at_claim(subject, grad, scale, rng)
    places = _places(subject, settings)
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
    return _compare(subject, value, rest, places, settings, rng)


@np.errstate(all="ignore")
def _slopes(
    subject: ArraySubject, places: Places, scale: Sequence[Floats], claim: Claim
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Numeric derivatives, their bars, and whether they are at a kink.

    Where there is none, nothing is known: 0 with an infinite bar.
    """
    request = _request(subject, places, scale, claim)
    every = np.arange(len(places))
    found = ladders(_sampler(subject, places), request, every, subject.value(), None)
    is_known = np.isfinite(found.value)
    bars = np.where(is_known, found.error, np.inf)
    return np.where(is_known, found.value, 0.0), bars, found.status == code(Status.KINK)


def _with_terms(report: Report, parts: Mapping[str, Report]) -> Report:
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
        evaluations=sum(part.evaluations for part in together),
        gradient_evaluations=sum(part.gradient_evaluations for part in together),
    )
