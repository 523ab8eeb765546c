"""The arguments of a check: one clear message for each that cannot be used."""

from __future__ import annotations

import importlib.util
import numbers
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

import numpy as np

from gradproof._errors import InputError
from gradproof.outcome.trial import Settings
from gradproof.subjects.base import Subject

COVERAGES = ("probe", "sample", "full")


def validate(settings: Settings) -> None:
    """Refuse settings that make no sense."""
    if settings.coverage not in COVERAGES:
        raise InputError(
            f"Expected coverage='probe', 'sample' or 'full' but got {settings.coverage!r}"
        )
    samples, resolution, seed = settings.samples, settings.resolution, settings.seed
    demand(_is_integer(samples) and samples > 0, "a positive integer", "samples", samples)
    demand(_is_integer(seed) and seed >= 0, "an integer that is not negative", "seed", seed)
    confidence = settings.confidence
    is_confidence = isinstance(confidence, numbers.Real) and 0.5 <= confidence < 1.0
    demand(is_confidence, "a number from 0.5 to below 1", "confidence", confidence)
    is_resolution = isinstance(resolution, numbers.Real) and 0.0 < resolution < 1.0
    demand(is_resolution, "a number between 0 and 1", "resolution", resolution)


def validate_claim(subject: Subject, grad: object) -> None:
    """Refuse a claim that is none."""
    if subject.has_claim(grad):
        return
    missing = [name for name in ("torch", "jax") if importlib.util.find_spec(name) is None]
    remedy = " or ".join(f"pip install 'gradproof[{name}]'" for name in missing)
    raise InputError(
        "Expected grad, a callable or the gradient itself, but got grad=None: only PyTorch's "
        f"tensors and JAX's arrays can do without it{f' ({remedy})' if remedy else ''}"
    )


def validate_terms(terms: object) -> None:
    """Refuse terms that are not named functions, alone or with their gradients."""
    if not isinstance(terms, Mapping):
        raise InputError(f"Expected a dict of functions but got terms={reprlib.repr(terms)}")
    for name, term in terms.items():
        demand(isinstance(name, str), "a string as the name of a term", "terms", terms)
        is_pair = isinstance(term, tuple) and len(term) in (2, 3) and callable(term[0])
        expected = "a function or a tuple (function, gradient) or (function, gradient, f_batch)"
        demand(callable(term) or is_pair, expected, f"terms[{name!r}]", term)


def validate_budget(max_evaluations: object, max_seconds: object) -> None:
    """Refuse budgets that are none."""
    is_count = max_evaluations is None or (_is_integer(max_evaluations) and max_evaluations > 0)
    demand(is_count, "a positive integer or None", "max_evaluations", max_evaluations)
    is_time = max_seconds is None or (
        isinstance(max_seconds, numbers.Real)
        and not isinstance(max_seconds, bool)
        and float(max_seconds) > 0.0
    )
    demand(is_time, "a positive number or None", "max_seconds", max_seconds)


def as_steps(customary: object) -> tuple[float, ...]:
    """The customary steps as positive numbers."""
    given = customary if isinstance(customary, Iterable) else [None]
    steps = tuple(float(h) if isinstance(h, numbers.Real) else np.nan for h in given)
    are_positive = all(np.isfinite(h) and h > 0.0 for h in steps)
    demand(are_positive, "positive steps", "customary", customary)
    return steps


def as_labels(steps: object) -> tuple[str, ...]:
    """The entries and tensors whose error is tabulated, each once; none where nobody said."""
    if steps is None:
        return ()
    given = [steps] if isinstance(steps, str) else steps
    are_names = isinstance(given, Sequence) and all(isinstance(label, str) for label in given)
    demand(are_names and bool(given), "the name of an entry or tensor", "steps", steps)
    return tuple(dict.fromkeys(given)) if isinstance(given, Sequence) else ()


def demand(holds: bool, expected: str, name: str, value: object) -> None:
    """Raise the one kind of message there is about an argument, unless it holds."""
    if not holds:
        raise InputError(f"Expected {expected} but got {name}={reprlib.repr(value)}")


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
