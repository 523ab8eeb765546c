"""A layer where the network uses it, as a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradproof.subjects.base import Floats, Subject
from gradproof.subjects.layers.draws import Draws
from gradproof.subjects.layers.naming import lookup, nested, tensor_names
from gradproof.subjects.layers.part import Array, Arrays, Part, as_gradient, renewed
from gradproof.subjects.numpy import ArraySubject


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


@dataclass(frozen=True)
class Place:
    """A layer's place in a network: all that it takes to check it there.

    Attributes:
        name: the layer's.
        use: of it in the network.
        cotangent: that reaches it.
        own: its parameters.
        takes_input: whether the layer claims a gradient in its input.
        constants: the network's.
    """

    name: str
    use: Use
    cotangent: Array
    own: Arrays
    takes_input: bool
    constants: Mapping[str, float]

    @property
    def entry(self) -> str:
        """What the stage calls its input."""
        return "layer_input" if "input" in self.own else "input"

    def names(self) -> dict[str, str]:
        """The layer's own names for its parameters, by those that the stage's tensors have."""
        labels = list(self.own)
        numbered = nested({label: k for k, label in enumerate(labels)})
        numbered = {**({self.entry: -1} if self.takes_input else {}), **numbered}
        return {name: labels[k] for k, name in tensor_names(numbered).items() if k >= 0}

    def open(self) -> tuple[Subject, object]:
        """The layer as a subject around its input, and its claim."""
        x = self.use.x
        point = {self.entry: x.copy()} if self.takes_input else {}
        point |= nested({label: array.copy() for label, array in self.own.items()})
        is_usable = np.isfinite(self.cotangent).all() and self.cotangent.any()
        subject = ArraySubject(
            self._forward,
            point,
            cotangent=self.cotangent if is_usable else None,
            rng=np.random.default_rng(0),
        )
        subject.constants = {
            **self.constants,
            **{f"{self.name}.{n}": value for n, value in self.use.part.numbers().items()},
            **{f"dimension {i} of {self.name}'s input": float(n) for i, n in enumerate(x.shape)},
        }
        return subject, self._claim

    def _run(self, point: Mapping[str, Any]) -> tuple[Part, Array]:
        # The subject hands over copies.
        own = {label: np.asarray(lookup(point, label)) for label in self.own}
        x = np.asarray(point[self.entry]) if self.takes_input else self.use.x.copy()
        return self.use.again(own, x)

    def _forward(self, point: Mapping[str, Any]) -> Array:
        return self._run(point)[1]

    def _claim(self, point: Mapping[str, Any], dy: Floats) -> dict[Any, Any]:
        part, _ = self._run(point)
        with self.use.draws.replayed():
            dx = part.backward(dy.copy())
        claims = nested(part.gradients())
        if self.takes_input:
            what = f"{part.backward_name} to return dx"
            claims[self.entry] = as_gradient(dx, self.use.x.shape, what)
        return claims
