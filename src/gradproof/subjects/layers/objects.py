"""Layers that are objects with parameters and gradients in their attributes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.layers.calls import noted, required
from gradproof.subjects.layers.finding import find_constants, find_slots, numbers_in
from gradproof.subjects.layers.part import (
    Array,
    Arrays,
    Part,
    as_gradient,
    as_output,
    numbers_of,
)
from gradproof.subjects.layers.slots import Path, Slot, attributes, follow

#: Where a layer leaves its output or its input's gradient if it returns nothing.
_OUTPUTS = ("output", "out")
_INPUT_GRADIENTS = ("dinputs", "dinput", "dx", "grad_input")
_FLAGS = re.compile(r"(is_?)?train(ing)?(_fl(a)?g)?")


class ObjectPart(Part):
    """An object with `forward(x)` and `backward(dy)` that holds its parameters and gradients.

    Without a `forward` it is called. A layer that returns nothing leaves its results in
    attributes, `output` and `dinputs`. Flags of the forward pass are left at their defaults, and
    a `training` that has none is True.
    """

    _state: ClassVar[tuple[str, ...]] = ("layer",)

    def __init__(self, layer: Any, where: str) -> None:
        super().__init__(where, type(layer).__name__)
        self.layer = layer
        self.slots: tuple[Slot, ...] = ()
        self.constants: tuple[Slot, ...] = ()
        run = getattr(layer, "forward", None)
        self._flags = _flags(run if callable(run) else self.layer, self.forward_name)
        names = required(self.layer.backward)
        if names is not None and len(names) != 1:
            raise InputError(
                f"Expected {self.backward_name} to take the output's gradient alone but it wants "
                f"{', '.join(names) or 'nothing'}"
            )

    def learn(self, x: Array) -> Array:
        """Find the parameters: for that, run forward and backward at `x`, on a copy."""
        twin = self.twin({})
        before = {path: (v, np.copy(v)) for path, v in numbers_in(twin.layer).items()}
        y = twin.forward(x)
        # A cache is bound anew in every forward pass, so that x with dx is no parameter.
        left_alone = set()
        for path, (value, content) in before.items():
            now = follow(twin.layer, path)
            is_bound = now is value or not isinstance(value, np.ndarray)
            if is_bound and np.array_equal(now, content, equal_nan=True):
                left_alone.add(path)
        output = y.copy()
        twin.backward(np.ones(y.shape, np.result_type(y, np.float32)))
        found = find_slots(twin.layer, left_alone)
        self.slots = tuple(slot for slot in found if _is_written(slot, twin.layer, before))
        without = [s.name for s in self.slots if s.read_gradient(twin.layer) is None]
        if self.slots and len(without) == len(self.slots):
            raise InputError(
                f"Expected {self.backward_name} to leave gradients of {', '.join(without)} in "
                "grads or in attributes such as dW, but found none"
            )
        self.constants = tuple(
            slot
            for slot in find_constants(twin.layer, self.slots)
            if isinstance(follow(self.layer, slot.value), np.ndarray) and slot.value in left_alone
        )
        return output

    def keep_to(self, others: Iterable[object]) -> None:
        """Leave alone what belongs to other layers, which this one refers to."""
        foreign = {id(other) for other in others} - {id(self.layer)}
        self.slots = tuple(s for s in self.slots if not self._passes(s, foreign))
        self.constants = tuple(s for s in self.constants if not self._passes(s, foreign))

    def _passes(self, slot: Slot, foreign: set[int]) -> bool:
        ways = (slot.value[:length] for length in range(1, len(slot.value)))
        return any(id(follow(self.layer, way)) in foreign for way in ways)

    def parameters(self) -> Arrays:
        """Those of the slots."""
        return {slot.name: slot.read(self.layer) for slot in self.slots}

    def put(self, name: str, value: Array) -> None:
        """Put it in its slot."""
        next(slot for slot in self.slots if slot.name == name).put(self.layer, value)

    def buffers(self) -> Iterable[Array]:
        """The gradients' arrays, as far as there are any before the first backward pass."""
        held = (slot.read_gradient(self.layer) for slot in self.slots)
        return [array for array in held if isinstance(array, np.ndarray)]

    def clear(self) -> None:
        """Make gradients 0 that are numbers."""
        for slot in self.slots:
            slot.clear(self.layer)

    def gradients(self) -> Arrays:
        """Those of the slots; zero where backward left none."""
        found = {}
        for slot in self.slots:
            value, gradient = slot.read(self.layer), slot.read_gradient(self.layer)
            if gradient is None:
                gradient = np.zeros_like(value)
            what = f"{self.backward_name} to leave a gradient of {slot.name}"
            found[slot.name] = as_gradient(gradient, value.shape, what)
        return found

    def forward(self, x: Array) -> Array:
        """Call the layer's forward pass."""
        run = getattr(self.layer, "forward", None)
        run = run if callable(run) else self.layer
        with noted(self.forward_name):
            y = run(x, **self._flags)
        return as_output(self._or_left(y, _OUTPUTS), self.forward_name)

    def backward(self, dy: Array) -> Array | None:
        """Call the layer's backward pass."""
        with noted(self.backward_name):
            dx = self.layer.backward(dy)
        dx = self._or_left(dx, _INPUT_GRADIENTS)
        if isinstance(dx, tuple) and len(dx) == 1 + len(self.slots):
            dx = dx[0]
        checked: Array | None = dx
        return checked

    def numbers(self) -> Mapping[str, float]:
        """The layer's attributes that are numbers."""
        return numbers_of(attributes(self.layer))

    def _or_left(self, result: object, names: Sequence[str]) -> Any:
        """What was returned, or what was left in an attribute instead."""
        if result is None:
            held = (getattr(self.layer, name, None) for name in names)
            result = next((value for value in held if value is not None), None)
        return result


def _is_written(slot: Slot, layer: object, before: Mapping[Path, tuple[Any, Array]]) -> bool:
    """Whether a gradient is one: plain numbers like t and dt may be anything, if left alone."""
    gradient, old = slot.read_gradient(layer), before.get(slot.gradient)
    return slot.read(layer).ndim > 0 or old is None or gradient != old[0]


def _flags(run: Callable[..., Any], where: str) -> dict[str, bool]:
    """Arguments beside x that a forward pass cannot do without.

    Raises:
        InputError: it needs one that is no flag for training.
    """
    names = required(run)
    others = names[1:] if names is not None else []
    if strange := [name for name in others if not _FLAGS.fullmatch(name)]:
        raise InputError(
            f"Expected {where} to take the input alone but it wants {', '.join(strange)} too"
        )
    return dict.fromkeys(others, True)
