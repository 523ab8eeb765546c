"""The one place that wires the parts: subject, coverage, numerics, verdict, diagnosis, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from gradproof._errors import GradientMismatch, Inconclusive
from gradproof.arguments import as_steps, demand, validate, validate_claim, validate_terms
from gradproof.engines import Engine, serial
from gradproof.examine import examine
from gradproof.outcome.trial import Settings
from gradproof.report.model import Report
from gradproof.report.progress import OnProgress, progress_bar
from gradproof.subjects.base import Subject
from gradproof.subjects.choose import maker
from gradproof.terms import Term, check_terms, with_terms


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
    kwargs: Mapping[str, Any] = MappingProxyType({}),
    loss: Callable[[Any], Any] | None = None,
    promote: bool = True,
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
        coverage: "full", every entry, or "sample".
        samples: with "sample", entries drawn at random from every tensor.
        resolution: relative error bar that an entry needs; a wider one is `unresolved`.
        seed: for random directions, cotangents and samples.
        cotangent: what an array-valued `f` is contracted with, in its shape; random by default.
        f_batch: `f` at many points at once: every tensor gets a first axis, and so does the result.
        terms: parts that `f` is the sum of, each checked by itself too, so that a large one cannot
            hide a small one: a function with its gradient, `{"data": (f1, g1), "l2": (f2, g2)}`,
            and its own f_batch in third place if it has one; or a function alone, whose claim is
            then `grad` less the numeric gradients of the others.
        customary: fixed steps h at which to show what the rules of thumb would say. They cost
            evaluations only where `f` has kinks near `x`.
        steps: an entry ("w[2, 1]") or tensor ("w") whose error is tabulated against the step; the
            worst entry by default.
        engine: a map-like callable that runs chunks of evaluations.
        progress: True for a progress bar, or a callable that gets (done, expected).
        kwargs: keyword arguments of `f`, for PyTorch and JAX.
        loss: a function of what `f` returns, for PyTorch and JAX; without it, and without
            `cotangent`, every output is given a random weight.
        promote: whether to check in double precision, on copies, what came in less.

    Raises:
        InputError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> report = check(lambda x: np.sum(np.sin(x)), np.ones(3), np.cos)
    >>> report.verdict, report.tensors["x"].digits_agree.minimum > 8
    ('pass', True)
    >>> check(lambda x: np.sum(np.sin(x)), np.ones(3), lambda x: -np.cos(x)).verdict
    'fail'
    """
    demand(callable(engine), "a map-like callable", "engine", engine)
    demand(
        callable(progress) or isinstance(progress, bool), "a bool or callable", "progress", progress
    )
    validate_terms(terms)
    settings = Settings(coverage, samples, resolution, seed, as_steps(customary), steps)
    validate(settings)
    demand(isinstance(promote, bool), "a bool", "promote", promote)
    rng = np.random.default_rng(seed)
    started = time.perf_counter()
    make = maker(
        f,
        x,
        kwargs=kwargs,
        loss=loss,
        promote=promote,
        rng=rng,
        engine=None if engine is serial else engine,
    )
    subject = make(f, f_batch, cotangent)
    validate_claim(subject, grad)
    with subject.session(), progress_bar(progress) as on_progress:
        expected = _cost(subject, settings)
        subject.on_progress = lambda done: on_progress(done, expected)
        report = examine(subject, grad, settings, rng)
        parts = check_terms(terms, make, grad, subject, settings, rng)
    if parts:
        report = with_terms(report, parts)
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


def _cost(subject: Subject, settings: Settings) -> int:
    """Evaluations to expect of a right, smooth gradient."""
    sizes = [len(t) for t in subject.point]
    entries = (
        sum(sizes) if settings.coverage == "full" else sum(min(s, settings.samples) for s in sizes)
    )
    return 2 * entries + 100
