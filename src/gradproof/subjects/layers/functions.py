"""Layers that keep nothing: parameters and memory are handed to them at every call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.layers.calls import noted, positional
from gradproof.subjects.layers.part import (
    Array,
    Arrays,
    Part,
    as_gradient,
    as_output,
    numbers_of,
    told,
)
from gradproof.subjects.layers.slots import attributes


class _Pure(Part):
    """A layer whose parameters are handed to it at every call."""

    _state: ClassVar[tuple[str, ...]] = ("own",)

    def __init__(self, own: Mapping[str, Array], where: str, kind: str) -> None:
        super().__init__(where, kind)
        self.own: Arrays = dict(own)
        self._claims: Arrays = {}

    def parameters(self) -> Arrays:
        """Those that it was given with."""
        return dict(self.own)

    def put(self, name: str, value: Array) -> None:
        """Hand the layer another one."""
        self.own[name] = value

    def gradients(self) -> Arrays:
        """Those that backward returned."""
        return self._claims

    def _note(self, claims: Mapping[str, object]) -> None:
        if set(claims) != set(self.own):
            raise InputError(
                f"Expected {self.backward_name} to return gradients of {_listed(self.own)} but "
                f"got {_listed(claims)}"
            )
        self._claims = {
            name: as_gradient(
                claims[name], array.shape, f"{self.backward_name} to return a gradient of {name}"
            )
            for name, array in self.own.items()
        }


class MemoryPart(_Pure):
    """An object with forward(x, own) -> (y, memory), backward(dy, memory, own) -> (dx, gradients).

    `own` are the parameters by name, and so are the gradients.
    """

    _state: ClassVar[tuple[str, ...]] = ("layer", "own")

    def __init__(self, layer: object, own: Mapping[str, Array], where: str) -> None:
        super().__init__(own, where, type(layer).__name__)
        self.layer: Any = layer

    def forward(self, x: Array) -> Array:
        """Call the layer's forward pass, and remember."""
        with noted(self.forward_name):
            result = self.layer.forward(x, self.own)
        y, self.memory = _two(result, self.forward_name, "(y, memory)")
        return as_output(y, self.forward_name)

    def backward(self, dy: Array) -> Array | None:
        """Call the layer's backward pass with what it wanted to see again."""
        with noted(self.backward_name):
            result = self.layer.backward(dy, self.memory, self.own)
        dx, claims = _two(result, self.backward_name, "(dx, gradients)")
        self._note(claims)
        checked: Array | None = dx
        return checked

    def numbers(self) -> Mapping[str, float]:
        """The layer's attributes that are numbers."""
        return numbers_of(attributes(self.layer))


class FunctionPart(_Pure):
    """Two functions, forward(x, *arguments) -> (y, cache), backward(dy, cache) -> (dx, *gradients).

    Of the arguments, arrays of floats are parameters, by themselves or in a dict of such; all
    else, such as a dict of settings, is constant.
    """

    _state: ClassVar[tuple[str, ...]] = ("own", "arguments")

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        arguments: Sequence[object],
        where: str,
    ) -> None:
        self._names = names = (positional(forward) or [])[1:]
        own: Arrays = {}
        #: For each argument the name of a parameter, or None and the constant.
        self.arguments: list[tuple[str | None, Any]] = []
        for argument in arguments:
            if (
                isinstance(argument, Mapping)
                and argument
                and all(map(_is_float, argument.values()))
            ):
                given = {str(key): value for key, value in argument.items()}
                if set(given) <= set(names):
                    given = {name: given[name] for name in names if name in given}
                own |= given
                self.arguments += ((name, None) for name in given)
            elif isinstance(argument, Mapping) and not argument:
                continue
            elif _is_float(argument):
                place = len(self.arguments)
                name = names[place] if place < len(names) else f"param{place + 1}"
                own[name] = argument  # type: ignore[assignment]
                self.arguments.append((name, None))
            else:
                self.arguments.append((None, argument))
        kind = getattr(forward, "__name__", type(forward).__name__)
        super().__init__(own, where, re.sub("_?forward_?", "", kind) or kind)
        self.forward_name = f"{where}'s forward function"
        self.backward_name = f"{where}'s backward function"
        self._run, self._pull = forward, backward

    def forward(self, x: Array) -> Array:
        """Call the forward function, and remember the cache."""
        extra = [a if name is None else self.own[name] for name, a in self.arguments]
        with noted(self.forward_name):
            result = self._run(x, *extra)
        y, self.memory = _two(result, self.forward_name, "(out, cache)")
        return as_output(y, self.forward_name)

    def backward(self, dy: Array) -> Array | None:
        """Call the backward function with the cache."""
        with noted(self.backward_name):
            result = self._pull(dy, self.memory)
        if not isinstance(result, tuple):
            result = (result,)
        dx, *claims = result
        if len(claims) == 1 and isinstance(claims[0], Mapping):
            self._note(claims[0])
        elif len(claims) == len(self.own):
            self._note(dict(zip(self.own, claims, strict=True)))
        else:
            raise InputError(
                f"Expected {self.backward_name} to return dx and the gradients of "
                f"{_listed(self.own)} but got {told(result)}"
            )
        checked: Array | None = dx
        return checked

    def numbers(self) -> Mapping[str, float]:
        """The numbers among the constants."""
        found: dict[str, float] = {}
        for place, (name, argument) in enumerate(self.arguments):
            if isinstance(argument, Mapping):
                found |= numbers_of(argument)
            elif name is None:
                is_named = place < len(self._names)
                label = self._names[place] if is_named else f"argument {place + 1}"
                found |= numbers_of({label: argument})
        return found


def _two(result: object, where: str, form: str) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise InputError(f"Expected {where} to return {form} but got {told(result)}")
    return result


def _is_float(argument: object) -> bool:
    return isinstance(argument, np.ndarray) and argument.dtype.kind == "f"


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) if isinstance(names, Mapping) and names else "nothing"
