"""Operations of f that make NaN or infinity of finite numbers, in f's gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradproof.subjects.jax.stage_calls import CALLS, LOOPS_AND_CONDITIONS, is_custom
from gradproof.subjects.jax.stage_parts import Part, capture
from gradproof.subjects.jax.stage_walk import Survey
from gradproof.subjects.jax.tracing import Traced


def not_finite(traced: Traced, point: Sequence[Any], cotangents: Sequence[Any]) -> list[Part]:
    """The operations whose own derivatives are no finite numbers though all that they get is.

    Functions with a rule that somebody wrote are not among them. Where an operation returns no
    finite number either, as it may in the branch that is not taken, and nothing of f's depends on
    it, that entry is left out of what the operation returns.

    Args:
        traced: f's flat outputs.
        point: where f is looked at.
        cotangents: of the outputs.
    """
    parts, _ = capture(traced, Survey(traced.jaxpr, _is_leaf), point, cotangents, None)
    parts = [part for part in parts if not is_custom(part.call.equation)]
    return [_of_numbers(part) for part in parts if not _are_finite(part.gradient())]


def _is_leaf(equation: Any) -> bool:
    return equation.primitive.name not in CALLS | LOOPS_AND_CONDITIONS


def _of_numbers(part: Part) -> Part:
    kept = []
    for output, cotangent in zip(part.by_rule(part.point), part.cotangents, strict=True):
        counts = np.isfinite(output) | (np.asarray(cotangent) != 0)
        kept.append(None if counts.all() else np.flatnonzero(counts))
    return replace(part, kept=tuple(kept))


def _are_finite(arrays: Sequence[Any]) -> bool:
    return all(bool(np.isfinite(np.asarray(a, np.complex128)).all()) for a in arrays)
