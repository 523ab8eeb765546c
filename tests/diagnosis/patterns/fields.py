"""Gradients of layers, and what a look at some of their entries finds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import Alternative, Codes, Explanation, Field
from gradproof.examples.layers import Array, Conv2d, Linear

#: Half-widths of bars, relative to what was found, and how many entries were looked at.
BARS = (1e-10, 1e-4)
COUNTS = (None, 24)
#: What `Field.arrays` calls the tensor's own values.
PARAMETER = "the parameter itself"
CONSTANTS = {"the batch size": 5.0, "the spatial size": 36.0, "the keep probability": 0.8}


def field(
    right: Any,
    claim: Any,
    *,
    bar: float = 1e-10,
    count: int | None = None,
    at: Sequence[int] | None = None,
    is_complete: bool | None = None,
    arrays: Mapping[str, Any] | None = None,
    constants: Mapping[str, float] | None = None,
    alternatives: Sequence[Alternative] = (),
    seed: int = 0,
) -> Field:
    """A claim, and a right gradient that was found to within bars.

    Args:
        right: the right gradient.
        claim: what is claimed, of the same shape.
        bar: half-width of the bars, relative to the right gradient.
        count: how many random entries are looked at; all of them by default.
        at: the entries looked at, instead.
        is_complete: whether the others are known to be right.
        arrays, constants, alternatives: see `Field`.
        seed: of what is found within the bars, and of the entries.
    """
    rng = np.random.default_rng(seed)
    claim, right = np.array(claim, float), np.array(right, float).ravel()
    index: Codes = np.arange(right.size)
    if at is not None:
        index = np.array(at, np.intp)
    elif count is not None and count < right.size:
        index = np.sort(rng.choice(right.size, count, replace=False))
    error = bar * np.abs(right[index]) + 1e-14
    return Field(
        "weight",
        claim.shape,
        claim.ravel(),
        index,
        right[index] + error * rng.uniform(-0.9, 0.9, len(index)),
        error,
        len(index) == right.size if is_complete is None else is_complete,
        {name: np.array(array, float).ravel() for name, array in (arrays or {}).items()},
        CONSTANTS if constants is None else constants,
        alternatives,
    )


def first(right: Any, claim: Any, **options: Any) -> Explanation:
    """The simplest explanation, held against what was found."""
    seen = field(right, claim, **options)
    found = explain(seen)
    for explanation in found:
        assert_agrees(seen, explanation)
    return found[0]


def assert_agrees(seen: Field, explanation: Explanation) -> None:
    """An explanation can be told, and what it corrects agrees with all that was found."""
    assert explanation.message.isascii()
    assert json.dumps(explanation.evidence)
    if explanation.corrected is None:
        return
    assert explanation.corrected.shape == seen.claim.shape
    gap = np.abs(explanation.corrected[seen.index] - seen.numeric)
    rounding = 2.0**-50 * np.abs(seen.numeric)
    known = np.isfinite(seen.numeric) & np.isfinite(seen.claim[seen.index])
    assert np.all((gap <= seen.error + rounding)[known]), explanation.kind


def convolution(seed: int = 0) -> Array:
    """The gradient of a convolution's kernels, (4, 3, 3, 3)."""
    rng = np.random.default_rng(seed)
    own = {"weight": rng.standard_normal((4, 3, 3, 3)), "bias": np.zeros(4)}
    layer = Conv2d()
    y, memory = layer.forward(rng.standard_normal((3, 6, 6, 5)), own)
    _, gradients = layer.backward(rng.standard_normal(y.shape) / 5.0, memory, own)
    return gradients["weight"]


def activation(seed: int = 0) -> Array:
    """The gradient of a convolution's input, (3, 6, 6, 5)."""
    rng = np.random.default_rng(seed)
    own = {"weight": rng.standard_normal((4, 3, 3, 3)), "bias": np.zeros(4)}
    layer = Conv2d()
    y, memory = layer.forward(rng.standard_normal((3, 6, 6, 5)), own)
    dx, _ = layer.backward(rng.standard_normal(y.shape) / 5.0, memory, own)
    return dx


def linear(outputs: int = 6, inputs: int = 8, seed: int = 0) -> Array:
    """The gradient of a linear layer's weight."""
    rng = np.random.default_rng(seed)
    own = {"weight": rng.standard_normal((outputs, inputs)), "bias": np.zeros(outputs)}
    layer = Linear()
    y, memory = layer.forward(rng.standard_normal((inputs, 5)), own)
    _, gradients = layer.backward(rng.standard_normal(y.shape) / 5.0, memory, own)
    return gradients["weight"]


def embedding(seed: int = 0) -> Array:
    """The gradient of a table of 12 rows, some of which were not looked up: (12, 6)."""
    rng = np.random.default_rng(seed)
    table = np.zeros((12, 6))
    np.add.at(table, rng.choice(8, 15), rng.standard_normal((15, 6)))
    return table


def normal(*shape: int, seed: int = 1) -> Array:
    """Numbers that have nothing to do with a gradient."""
    return np.random.default_rng(seed).standard_normal(shape)
