"""Where an object keeps its parameters and their gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.layers.part import Array, told

#: One step from an object to what it holds: an attribute, an item, the result of a method.
Step: TypeAlias = tuple[Literal["attribute", "item", "call"], Any]
Path: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True)
class Slot:
    """A parameter of a layer, the way to it and the way to its gradient.

    Attributes:
        name: as in `W`, `conv1.W` for a layer in a layer, `params.0` for an item of a list.
    """

    name: str
    value: Path
    gradient: Path

    def read(self, layer: object) -> Array:
        """The parameter."""
        return np.asarray(follow(layer, self.value))

    def read_gradient(self, layer: object) -> object:
        """Its gradient; None where there is none."""
        return follow(layer, self.gradient)

    def put(self, layer: object, value: Array) -> None:
        """Make `value` the parameter.

        Raises:
            InputError: it is what a method returned.
        """
        _put(layer, self.value, value, self.name)

    def clear(self, layer: object) -> None:
        """Make its gradient 0 where that is a number; arrays are `renewed`'s business."""
        gradient = follow(layer, self.gradient)
        if isinstance(gradient, (float, np.floating)):
            _put(layer, self.gradient, np.zeros(()), self.name)


def _put(layer: object, path: Path, value: Array, name: str) -> None:
    *way, (kind, key) = path
    holder = follow(layer, tuple(way))
    number = value if value.ndim else value[()]
    try:
        if kind == "attribute":
            setattr(holder, key, number)
        else:
            holder[key] = number
    except (AttributeError, TypeError) as error:
        raise InputError(
            f"Expected parameters that can be replaced but got {told(holder)} that holds {name}"
        ) from error


def follow(layer: object, path: Path) -> Any:
    """What lies at the end of a path; None where it ends before."""
    value: Any = layer
    for kind, key in path:
        try:
            if kind == "attribute":
                value = getattr(value, key, None)
            elif kind == "item":
                value = None if value is None else value[key]
            else:
                value = value()
        except LookupError:
            return None
        if isinstance(value, Iterator):
            value = list(value)
    return value


def attributes(holder: object) -> dict[str, Any]:
    """The attributes that an object itself has."""
    found = dict(getattr(holder, "__dict__", {}))
    for kind in type(holder).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(holder, name):
                found[name] = getattr(holder, name)
    return found


def is_layer(value: object) -> bool:
    """Whether an object has a forward and a backward pass."""
    return (
        not isinstance(value, type)
        and callable(getattr(value, "backward", None))
        and (callable(getattr(value, "forward", None)) or callable(value))
    )


def is_number(value: object) -> bool:
    """Whether it is a float or an array of floats."""
    return isinstance(value, (float, np.floating)) or is_float_array(value)


def is_float_array(value: object) -> bool:
    """Whether it is an array of floats, and not an empty one."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 0
