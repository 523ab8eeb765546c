"""Layers in the styles in which people write them."""

from __future__ import annotations

from collections.abc import Mapping

from gradproof._errors import InputError
from gradproof.subjects.layers.functions import FunctionPart, MemoryPart
from gradproof.subjects.layers.objects import ObjectPart
from gradproof.subjects.layers.part import Part, told
from gradproof.subjects.layers.slots import is_layer


def as_part(layer: object, where: str) -> Part:
    """The layer as a `Part`, by its style.

    Raises:
        InputError: it fits none.
    """
    if isinstance(layer, type):
        raise InputError(f"Expected a layer but got the class {where}={layer.__name__}")
    if is_layer(layer):
        return ObjectPart(layer, where)
    if isinstance(layer, (tuple, list)) and layer:
        first, *rest = layer
        if is_layer(first) and len(rest) == 1 and isinstance(rest[0], Mapping):
            return MemoryPart(first, rest[0], where)
        if callable(first) and rest and callable(rest[0]):
            return FunctionPart(first, rest[0], rest[1:], where)
    raise InputError(
        f"Expected {where} to be an object with forward(x) and backward(dy), a tuple of such with "
        "its parameters, or a tuple of two functions, forward(x, *params) -> (y, cache) and "
        f"backward(dy, cache) -> (dx, *gradients), with the parameters, but got {told(layer)}"
    )
