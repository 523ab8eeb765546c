"""The one place that wires the parts: subject, coverage, numerics, verdict, diagnosis, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from gradproof._errors import GradientMismatch, Inconclusive
from gradproof.arguments import (
    as_labels,
    as_steps,
    demand,
    validate,
    validate_budget,
    validate_claim,
    validate_terms,
)
from gradproof.diagnosis.preflight import look_at_value
from gradproof.engines import Engine, serial
from gradproof.examine import examine
from gradproof.explaining import causes_of, with_causes
from gradproof.outcome.assemble import with_findings
from gradproof.outcome.trial import Settings
from gradproof.planning import advice_on, plan_of
from gradproof.report.model import Report
from gradproof.report.progress import OnProgress, progress_bar
from gradproof.report.versions import versions_in_use
from gradproof.subjects.base import Subject
from gradproof.subjects.budget import Budget
from gradproof.subjects.choose import maker
from gradproof.subjects.layers.network import Network
from gradproof.subjects.numpy import ArraySubject
from gradproof.terms import Term, check_terms, with_terms


def check(
    f: Callable[..., Any],
    x: Any,
    grad: Any = None,
    *,
    coverage: str = "probe",
    samples: int = 20,
    resolution: float = 1e-3,
    confidence: float = 1.0 - 1e-6,
    seed: int = 0,
    cotangent: Any = None,
    f_batch: Callable[[Any], Any] | None = None,
    terms: Mapping[str, Term] = MappingProxyType({}),
    customary: Sequence[float] = (1e-4, 1e-5),
    steps: str | Sequence[str] | None = None,
    engine: Engine = serial,
    progress: bool | OnProgress = False,
    max_evaluations: int | None = None,
    max_seconds: float | None = None,
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    loss: Callable[[Any], Any] | None = None,
    promote: bool = True,
    known: Mapping[str, Any] = MappingProxyType({}),
    layers: Network | None = None,
) -> Report:
    """Compare the gradient that is claimed for `f` at `x` with numerical derivatives.

    Nothing of the caller's is changed: `f` and `grad` are called with copies of `x`.

    PyTorch: `f` is a module, a function of tensors, or a torch.autograd.Function; what is checked
    are a module's parameters and those tensors in `x` and `kwargs` that require grad, or if there
    are none, all floating ones. JAX: `f` is a function of pytrees, and all floating arrays are
    checked. With both a tuple `x` holds the positional arguments, and integers, booleans, None and
    whatever is no tensor are constants.

    Args:
        f: a function of `x` that returns a real number or an array of them; with PyTorch and JAX
            any nesting of them.
        x: an array or float, or any nesting of dicts, lists, tuples and dataclasses of them.
        grad: a callable `grad(x)`, or the gradient itself, in x's structure. Where `f` returns an
            array, the Jacobian (each tensor of shape f(x).shape + its own), or a callable
            `grad(x, cotangent)` that returns the product of the cotangent with the Jacobian. With
            PyTorch and JAX it may be left out: automatic differentiation's own is checked. For a
            module it is {parameter's name: gradient}.
        coverage: "probe", random directions over all entries at once, at a cost that does not grow
            with their number, and bisection to the entries that are wrong; "sample", some entries
            of every tensor; or "full", every entry.
        samples: with "sample", entries drawn at random from every tensor.
        resolution: relative error bar that an entry needs; a wider one is `unresolved`. With
            "probe", the relative error of a tensor's gradient that must not go unseen.
        confidence: with "probe", the probability with which a larger error is caught.
        seed: for random directions, cotangents and samples.
        cotangent: what an array-valued `f` is contracted with, in its shape; random by default.
        f_batch: `f` at many points at once: every tensor gets a first axis, and so does the result.
        terms: parts that `f` is the sum of, each checked by itself too, so that a large one cannot
            hide a small one: a function with its gradient, `{"data": (f1, g1), "l2": (f2, g2)}`,
            and its own f_batch in third place if it has one; or a function alone, whose claim is
            then `grad` less the numeric gradients of the others.
        customary: fixed steps h at which to show what the rules of thumb would say. They cost
            evaluations only where `f` has kinks near `x`.
        steps: an entry ("w[2, 1]") or tensor ("w") whose error is tabulated against the step, or
            several of them; the worst entry by default.
        engine: a map-like callable that runs chunks of evaluations.
        progress: True for a progress bar, or a callable that gets (done, expected).
        max_evaluations: when f has been evaluated so often, what is known by then is reported, and
            what is not is `unresolved`. The few calls that it takes to set `f` up (one or two; with
            f_batch five, with JAX some for each function that is compiled) are made in any case.
        max_seconds: the same with time; it is looked at between chunks of evaluations.
        kwargs: keyword arguments of `f`, for PyTorch and JAX.
        loss: a function of what `f` returns, for PyTorch and JAX; without it, and without
            `cotangent`, every output is given a random weight.
        promote: whether to check in double precision, on copies, what came in less.
        known: what a wrong gradient may be explained by: numbers, `{"the learning rate": 0.1}`, and
            gradients as `grad` may be given, `{"the previous batch's gradient": g}`.
        layers: hand-written layers that `f` is made of; where the gradient is wrong, each is
            checked by itself. `check_layers` makes `f`, `x` and `grad` of them too.

    Raises:
        InputError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> report = check(lambda x: np.sum(np.sin(x)), np.ones(3), np.cos)
    >>> report.verdict, report.tensors["x"].detection_limit < 1e-6
    ('pass', True)
    >>> report = check(lambda x: np.sum(np.sin(x)), np.ones(3), np.cos, coverage="full")
    >>> report.tensors["x"].digits_agree.minimum > 8
    True
    >>> check(lambda x: np.sum(np.sin(x)), np.ones(3), lambda x: -np.cos(x)).verdict
    'fail'
    """
    demand(callable(engine), "a map-like callable", "engine", engine)
    demand(
        callable(progress) or isinstance(progress, bool), "a bool or callable", "progress", progress
    )
    validate_terms(terms)
    labels = as_labels(steps)
    settings = Settings(
        coverage, samples, resolution, confidence, seed, as_steps(customary), labels
    )
    validate(settings)
    demand(isinstance(promote, bool), "a bool", "promote", promote)
    validate_budget(max_evaluations, max_seconds)
    demand(isinstance(known, Mapping), "a dict of numbers and gradients", "known", known)
    budget = Budget(max_evaluations, max_seconds)
    is_limited = max_evaluations is not None or max_seconds is not None
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    make_any = maker(
        f,
        x,
        kwargs=kwargs,
        loss=loss,
        promote=promote,
        rng=rng,
        engine=None if engine is serial else engine,
        has_grad=grad is not None,
        layers=layers,
    )

    def make(
        f: Callable[[Any], Any], f_batch: Callable[[Any], Any] | None, cotangent: Any = None
    ) -> Subject:
        made = make_any(f, f_batch, cotangent)
        budget.include(made)
        return made

    subject = make(f, f_batch, cotangent)
    validate_claim(subject, grad)
    with subject.session():
        value = look_at_value(subject)
        budget.pace = value.seconds
        plan = plan_of(
            subject,
            settings,
            terms,
            value.seconds,
            is_batched=f_batch is not None or not isinstance(subject, ArraySubject),
        )
        advice = advice_on(plan, settings, has_budget=is_limited)
        with progress_bar(progress, "; ".join([str(plan), *(a.message for a in advice)])) as tell:
            budget.on_progress = lambda done: tell(done, plan.evaluations)
            whole = examine(subject, grad, settings, rng, value)
            parts = check_terms(terms, make, grad, subject, settings, rng)
            causes = causes_of(whole, parts, settings, known, rng)
    report = whole.report
    evaluations = sum(one.subject.evaluations for one in (whole, *parts.values()))
    if parts:
        report = with_terms(report, {name: part.report for name, part in parts.items()})
    report = with_causes(with_findings(report, advice), causes)
    chosen = {
        "samples": samples if coverage == "sample" else None,
        "promote": promote,
        "steps": steps if steps is None or isinstance(steps, str) else labels,
        "max_evaluations": max_evaluations,
        "max_seconds": max_seconds,
    }
    return replace(
        report,
        evaluations=evaluations,
        seconds=time.perf_counter() - started,
        plan=plan,
        settings={name: value for name, value in chosen.items() if value is not None},
        versions=versions_in_use(),
    )


def check_layers(layers: Any, x: Any, loss: Any, **options: Any) -> Report:
    """Check a network of hand-written layers, and where it is wrong say which layer is.

    Args:
        layers: in forward order, a list or {name: layer}. A layer is an object with `forward(x)`
            and `backward(dy)` whose parameters and gradients are attributes (`W`, `dW`), lists or
            dicts (`params`, `grads`); or a tuple `(forward, backward, {name: parameter})` of
            functions that hand on a cache.
        x: what goes into the first layer.
        loss: of what the last one returns: an object like a layer, a function that returns the loss
            and its gradient, or a pair of functions.
        options: those of `check`.

    Raises:
        InputError: a layer is of no known style, or what it returns does not fit; the message names
            it.

    >>> import numpy as np
    >>> class Scale:
    ...     def __init__(self, w):
    ...         self.w = w
    ...     def forward(self, x):
    ...         self.x = x
    ...         return self.w * x
    ...     def backward(self, dy):
    ...         self.dw = (self.x * dy).sum(axis=0)
    ...         return dy  # should be self.w * dy
    >>> def half_square(y):
    ...     return 0.5 * np.sum(y**2), y
    >>> layers = {"first": Scale(np.array([2.0, 3.0])), "second": Scale(np.array([5.0, 7.0]))}
    >>> report = check_layers(layers, np.ones((4, 2)), half_square)
    >>> report.verdict, [f.evidence["layer"] for f in report.findings if f.severity == "bug"]
    ('fail', ['second', 'first'])
    """
    network = Network(layers, x, loss)
    return check(network.f, network.params, network.grad, layers=network, **options)


def assert_gradients(f: Callable[..., Any], x: Any, grad: Any = None, **options: Any) -> Report:
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
