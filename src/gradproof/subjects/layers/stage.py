"""A layer where the network uses it, as a stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradproof.subjects.base import Floats, Subject
from gradproof.subjects.layers.draws import Draws
from gradproof.subjects.layers.kinks import aside, contradicts, has_kink
from gradproof.subjects.layers.naming import lookup, nested, tensor_names
from gradproof.subjects.layers.part import Array, Arrays, Part, as_gradient, renewed
from gradproof.subjects.numpy import ArraySubject

#: What a stage calls the lengths of the moves that its input makes as the network moves it.
MOVED = "moved_input"


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
        moves: directions in which the network's parameters can move the layer's input.
        constants: the network's.
    """

    name: str
    use: Use
    cotangent: Array
    own: Arrays
    takes_input: bool
    moves: Callable[[], Sequence[Array]]
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
        """The layer as a subject, and its claim.

        The input is that which the layer has in the network, unless there are kinks: in windows
        of equal numbers, where any winner is right, and at zeros. There it is moved aside a
        little, and if the claim is right at that point it is moved as the network moves it, which
        keeps equal what is equal for a reason.
        """
        here = self._at(self.use.x)
        if not self.takes_input or not has_kink(here, self._claim):
            return here, self._claim
        beside = self._at(aside(self.use.x))
        if contradicts(beside, self._claim):
            return beside, self._claim
        moves = self.moves()
        if not moves:
            return beside, self._claim
        stacked = np.stack(moves)

        def where(point: Mapping[str, Any]) -> dict[Any, Any]:
            lengths = np.asarray(point[MOVED]) - 1.0
            own = {key: value for key, value in point.items() if key != MOVED}
            return {self.entry: self.use.x + np.tensordot(lengths, stacked, 1), **own}

        def forward(point: Mapping[str, Any]) -> Array:
            return self._forward(where(point))

        def claim(point: Mapping[str, Any], dy: Floats) -> dict[Any, Any]:
            claims = self._claim(where(point), dy)
            along = np.tensordot(stacked, claims.pop(self.entry), stacked.ndim - 1)
            return {MOVED: along, **claims}

        return self._subject(forward, {MOVED: np.ones(len(moves)), **self._parameters()}), claim

    def _at(self, x: Array) -> ArraySubject:
        point = {self.entry: x.copy()} if self.takes_input else {}
        return self._subject(self._forward, {**point, **self._parameters()})

    def _parameters(self) -> dict[Any, Any]:
        return nested({label: array.copy() for label, array in self.own.items()})

    def _subject(
        self, forward: Callable[[Mapping[str, Any]], Array], point: dict[Any, Any]
    ) -> ArraySubject:
        is_usable = np.isfinite(self.cotangent).all() and self.cotangent.any()
        subject = ArraySubject(
            forward,
            point,
            cotangent=self.cotangent if is_usable else None,
            rng=np.random.default_rng(0),
        )
        x = self.use.x
        subject.constants = {
            **self.constants,
            **{f"dimension {i} of {self.name}'s input": float(n) for i, n in enumerate(x.shape)},
            **{f"{self.name}.{n}": value for n, value in self.use.part.numbers().items()},
        }
        return subject

    def _run(self, point: Mapping[str, Any]) -> tuple[Part, Array]:
        own = {label: np.array(lookup(point, label)) for label in self.own}
        x = np.array(point[self.entry]) if self.takes_input else self.use.x.copy()
        return self.use.again(own, x)

    def _forward(self, point: Mapping[str, Any]) -> Array:
        return self._run(point)[1]

    def _claim(self, point: Mapping[str, Any], dy: Floats) -> dict[Any, Any]:
        part, _ = self._run(point)
        dx = part.backward(dy.copy())
        claims = nested(part.gradients())
        if self.takes_input:
            what = f"{part.backward_name} to return dx"
            claims[self.entry] = as_gradient(dx, self.use.x.shape, what)
        return claims
