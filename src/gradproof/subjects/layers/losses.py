"""The last part of a network: scores to one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.layers.calls import noted, positional, required
from gradproof.subjects.layers.part import Array, Arrays, Part, numbers_of, told
from gradproof.subjects.layers.slots import attributes, is_layer


def as_loss(loss: object, where: str) -> Part:
    """The loss as a `Part`, by its style.

    Raises:
        InputError: it fits none.
    """
    first, *rest = loss if isinstance(loss, (tuple, list)) and loss else (loss,)
    if is_layer(first):
        return ObjectLoss(first, rest, where)
    if callable(first) and not isinstance(first, type):
        if rest and callable(rest[0]):
            return PairLoss(first, rest[0], rest[1:], where)
        return FunctionLoss(first, rest, where)
    raise InputError(
        f"Expected {where} to be an object with forward(scores) and backward(), a function "
        "scores -> (value, gradient), a pair of functions (value, gradient), or a tuple of one of "
        f"these with further arguments, such as the labels, but got {told(loss)}"
    )


class _Loss(Part):
    """A function of the scores and of constant arguments: labels, say.

    The cotangent that reaches it is 1.
    """

    _state: ClassVar[tuple[str, ...]] = ("arguments",)

    def __init__(self, arguments: Sequence[object], where: str, kind: str) -> None:
        super().__init__(where, kind)
        self.arguments = list(arguments)

    def parameters(self) -> Arrays:
        """A loss has none."""
        return {}

    def put(self, name: str, value: Array) -> None:
        """A loss has no parameters."""
        raise KeyError(name)

    def gradients(self) -> Arrays:
        """A loss has no parameters."""
        return {}

    def _number(self, value: object) -> Array:
        array = np.asarray(value) if isinstance(value, (np.generic, float, int)) else value
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.size != 1:
            raise InputError(f"Expected {self.where} to make one number but got {told(value)}")
        return array.reshape(())


class FunctionLoss(_Loss):
    """A function scores -> (value, gradient in the scores)."""

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[object], where: str
    ) -> None:
        super().__init__(arguments, where, getattr(function, "__name__", type(function).__name__))
        self._function = function

    def forward(self, x: Array) -> Array:
        """Call it, and remember the gradient."""
        with noted(self.where):
            result = self._function(x, *self.arguments)
        if not isinstance(result, tuple) or len(result) != 2:
            raise InputError(
                f"Expected {self.where} to return (value, gradient in the scores) but got "
                f"{told(result)}"
            )
        value, self.memory = result
        return self._number(value)

    def backward(self, dy: Array) -> Array | None:
        """The gradient that it returned."""
        gradient: Array | None = self.memory
        return gradient


class PairLoss(_Loss):
    """Two functions of the scores: the value, and its gradient."""

    def __init__(
        self,
        function: Callable[..., Any],
        gradient: Callable[..., Any],
        arguments: Sequence[object],
        where: str,
    ) -> None:
        super().__init__(arguments, where, getattr(function, "__name__", type(function).__name__))
        self._function, self._gradient = function, gradient

    def forward(self, x: Array) -> Array:
        """Call the one."""
        self.memory = x.copy()
        with noted(self.where):
            value = self._function(x, *self.arguments)
        return self._number(value)

    def backward(self, dy: Array) -> Array | None:
        """Call the other."""
        with noted(f"{self.where}'s gradient"):
            gradient: Array | None = self._gradient(self.memory, *self.arguments)
        return gradient


class ObjectLoss(_Loss):
    """An object with `forward(scores, *arguments)` and `backward`.

    Its forward pass returns the value, or the value and a memory. Backward gets that memory and
    the arguments; or, without one, what it asks for by the names that forward has for it; or the
    derivative of the loss in itself, 1.
    """

    _state: ClassVar[tuple[str, ...]] = ("layer", "arguments")

    def __init__(self, layer: Any, arguments: Sequence[object], where: str) -> None:
        super().__init__(arguments, where, type(layer).__name__)
        self.layer = layer
        self._scores: Array = np.empty(0)
        self._has_memory = False
        run = getattr(layer, "forward", None)
        self._given = positional(run if callable(run) else self.layer) or []
        self._wanted = required(self.layer.backward) or []

    def forward(self, x: Array) -> Array:
        """Call its forward pass."""
        run = getattr(self.layer, "forward", None)
        self._scores = x.copy()
        with noted(self.forward_name):
            result = (run if callable(run) else self.layer)(x, *self.arguments)
        self._has_memory = isinstance(result, tuple) and len(result) == 2
        if self._has_memory:
            result, self.memory = result
        return self._number(result)

    def backward(self, dy: Array) -> Array | None:
        """Call its backward pass."""
        arguments = self._arguments()
        with noted(self.backward_name):
            dx: Array | None = self.layer.backward(*arguments)
        return getattr(self.layer, "dinputs", None) if dx is None else dx

    def _arguments(self) -> list[Any]:
        """What backward is called with."""
        if self._has_memory:
            return [self.memory, *self.arguments]
        wanted = self._wanted
        given = dict(zip(self._given, [self._scores, *self.arguments], strict=False))
        if all(name in given for name in wanted):
            return [given[name] for name in wanted]
        if len(wanted) == 1:
            return [1.0]
        if len(wanted) == 1 + len(self.arguments):
            return [self._scores, *self.arguments]
        raise InputError(
            f"Expected {self.backward_name} to take nothing, or what forward takes, but it wants "
            f"{', '.join(wanted)}"
        )

    def numbers(self) -> dict[str, float]:
        """The loss's attributes that are numbers."""
        return numbers_of(attributes(self.layer))
