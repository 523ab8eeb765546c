"""A layer where the network uses it, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradproof.subjects.base import Floats, Stage, Subject
from gradproof.subjects.layers.draws import Draws
from gradproof.subjects.layers.naming import lookup, nested, tensor_names
from gradproof.subjects.layers.part import Array, Arrays, Part, as_gradient, renewed
from gradproof.subjects.numpy import ArraySubject

#: What a stage calls its input, and what if it has a parameter of this name.
_INPUT, _ITS_INPUT = "input", "layer_input"


@dataclass(frozen=True)
class Use:
    """A layer in a forward pass.

    Attributes:
        part: as it was before the pass, to be copied.
        ran: after it, for the backward pass.
        x: its input before the pass.
        y: its output.
        draws: where the global generators stood.
    """

    part: Part
    ran: Part
    x: Array
    y: Array
    draws: Draws

    def again(self, own: Arrays, x: Array) -> tuple[Part, Array]:
        """Repeat it with other parameters and another input; the used layer and its output."""
        (part,) = renewed([self.part], [own])
        with self.draws.replayed():
            return part, part.forward(x)


def stage_of(
    name: str,
    use: Use,
    cotangent: Array,
    own: Arrays,
    tensors: Mapping[str, str],
    *,
    constants: Mapping[str, float],
    takes_input: bool,
) -> Stage:
    """The stage of a layer.

    Args:
        name: the layer's.
        use: of it in the network.
        cotangent: that reaches it.
        own: its parameters.
        tensors: what the network calls them.
        constants: the network's.
        takes_input: whether the layer claims a gradient in its input.
    """
    x = use.x
    entry = _ITS_INPUT if _INPUT in own else _INPUT
    labels = list(own)
    numbered = nested({label: k for k, label in enumerate(labels)})
    if takes_input:
        numbered = {entry: -1, **numbered}
    names = {k: written for k, written in tensor_names(numbered).items() if k >= 0}

    def run(point: Mapping[str, Any]) -> tuple[Part, Array]:
        moved = {label: np.array(lookup(point, label)) for label in labels}
        return use.again(moved, np.array(point[entry]) if takes_input else x.copy())

    def forward(point: Mapping[str, Any]) -> Array:
        return run(point)[1]

    def claim(point: Mapping[str, Any], dy: Floats) -> dict[Any, Any]:
        part, _ = run(point)
        dx = part.backward(dy.copy())
        claims = nested(part.gradients())
        if takes_input:
            claims[entry] = as_gradient(dx, x.shape, f"{part.backward_name} to return dx")
        return claims

    def open_stage() -> tuple[Subject, object]:
        point = nested({label: array.copy() for label, array in own.items()})
        if takes_input:
            point = {entry: x.copy(), **point}
        is_usable = np.isfinite(cotangent).all() and cotangent.any()
        subject = ArraySubject(
            forward,
            point,
            cotangent=cotangent if is_usable else None,
            rng=np.random.default_rng(0),
        )
        subject.constants = {
            **constants,
            **{f"dimension {i} of {name}'s input": float(n) for i, n in enumerate(x.shape)},
            **{f"{name}.{number}": value for number, value in use.part.numbers().items()},
        }
        return subject, claim

    return Stage(
        name=name,
        kind=use.part.kind,
        inside=None,
        tensors={stage_name: tensors[labels[k]] for k, stage_name in names.items()},
        open=open_stage,
    )
