"""Which of an object's attributes are parameters, and which are their gradients."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from typing import Any

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.layers.calls import required
from gradproof.subjects.layers.part import told
from gradproof.subjects.layers.slots import (
    Path,
    Slot,
    Step,
    attributes,
    follow,
    is_float_array,
    is_layer,
    is_number,
)

#: Attributes or methods that declare parameters, and those with their gradients.
DECLARED = ("params", "parameters")
GRADIENTS = ("grads", "gradients", "dparams", "grad")
#: Attributes that a parameter object may have for its number and its gradient.
_DATA, _GRAD = ("data", "value"), ("grad", "gradient")
#: The names that a parameter's gradient may have, for instance those of W.
_PARTNERS = ("d{}", "d_{}", "{}_grad", "grad_{}", "grad{}", "{}_gradient", "gradient_{}", "{}grad")


def numbers_in(layer: object) -> dict[Path, Any]:
    """What could be a parameter: the floats and arrays of a layer and of the layers in it."""
    found: dict[Path, Any] = {}
    for way in _holders(layer):
        for name, value in attributes(follow(layer, way)).items():
            path: Path = (*way, ("attribute", name))
            if is_number(value):
                found[path] = value
            elif not is_layer(value) and (names := _names_of_pair(value)) is not None:
                data = names[0]
                found[(*path, ("attribute", data))] = getattr(value, data)
    return found


def find_slots(layer: object, left_alone: Container[Path]) -> tuple[Slot, ...]:
    """The parameters of a layer, and of the layers in it, after a backward pass.

    Those that it declares, in `params` and `grads` and the like, are taken as they are. Of the
    other attributes, a parameter is a number or array that the forward pass left alone and beside
    which the backward pass left a gradient, by the names that are customary: `dW` beside `W`.
    """
    slots: list[Slot] = []
    for way in _holders(layer):
        holder = follow(layer, way)
        if declared := _declared(holder):
            slots += (_below(slot, way) for slot in declared)
            continue
        pairs = (_below(slot, way) for slot in _pairs(holder))
        slots += (slot for slot in pairs if slot.value in left_alone)
    return _without_repeats(slots, layer)


def find_constants(layer: object, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """Arrays of a layer that are no parameters and no gradients of such."""
    known = {id(follow(layer, path)) for s in slots for path in (s.value, s.gradient)}
    return tuple(
        Slot(".".join(str(key) for _, key in path), path, ())
        for path, value in numbers_in(layer).items()
        if is_float_array(value) and id(value) not in known
    )


def _holders(layer: object, way: Path = (), depth: int = 4) -> Iterator[Path]:
    """Ways to the layer and to the layers in it; none into one that declares what is in it."""
    yield way
    holder = follow(layer, way)
    if depth == 0 or _declared(holder):
        return
    for path in _children(holder):
        yield from _holders(layer, way + path, depth - 1)


def _children(holder: object) -> Iterator[Path]:
    """Ways to the layers that an object holds, by themselves or in a list or dict."""
    for name, value in attributes(holder).items():
        here: Step = ("attribute", name)
        if is_layer(value):
            yield (here,)
        elif isinstance(value, (list, tuple)):
            yield from ((here, ("item", i)) for i, item in enumerate(value) if is_layer(item))
        elif isinstance(value, dict):
            yield from ((here, ("item", key)) for key, item in value.items() if is_layer(item))


def _below(slot: Slot, way: Path) -> Slot:
    name = ".".join([*(str(key) for _, key in way), slot.name])
    return Slot(name, way + slot.value, way + slot.gradient)


def _declared(holder: object) -> list[Slot] | None:
    """The parameters that an object itself lists; None if it lists none of its own accord."""
    for name in DECLARED:
        way, container = _open(holder, name)
        if isinstance(container, (dict, list, tuple)):
            break
    else:
        return None
    keys = list(container) if isinstance(container, dict) else range(len(container))
    slots = []
    for key in keys:
        item, path = container[key], (*way, ("item", key))
        label = _label(holder, item, key, name)
        if is_number(item):
            slot = Slot(label, path, _gradient_of(holder, key, len(keys), label))
            # A number without a gradient is a setting, such as a rate.
            if isinstance(item, np.ndarray) or slot.read_gradient(holder) is not None:
                slots.append(slot)
        elif isinstance(item, (tuple, list)) and len(item) == 2 and is_number(item[0]):
            slots.append(Slot(label, (*path, ("item", 0)), (*path, ("item", 1))))
        elif (names := _names_of_pair(item)) is not None:
            data, grad = names
            slots.append(Slot(label, (*path, ("attribute", data)), (*path, ("attribute", grad))))
        elif not isinstance(item, (int, str, tuple, list, dict, type(None))):
            raise InputError(
                f"Expected each of {name} to be an array with a gradient in grads, an object with "
                f"data and grad, or a pair of arrays, but got {told(item)}"
            )
    return slots


def _open(holder: object, name: str) -> tuple[Path, Any]:
    """An attribute's path and value, or those of what a method without arguments returns."""
    path: Path = (("attribute", name),)
    value = getattr(holder, name, None)
    if callable(value):
        if required(value):
            return path, None
        path = (*path, ("call", None))
        value = follow(holder, path)
    return path, value


def _gradient_of(holder: object, key: Any, count: int, label: str) -> Path:
    """Where the gradient of a declared parameter is."""
    for name in GRADIENTS:
        way, container = _open(holder, name)
        if isinstance(container, (dict, list, tuple)):
            if not isinstance(container, dict) and len(container) != count:
                raise InputError(
                    f"Expected as many gradients in {name} as parameters, {count}, but got "
                    f"{told(container)}"
                )
            return (*way, ("item", key))
    found = attributes(holder)
    for name in _partners(str(key)) + _partners(label):
        if name in found:
            return (("attribute", name),)
    return (("attribute", f"d{key}"),)


def _label(holder: object, item: Any, key: Any, container: str) -> str:
    """A name for a declared parameter: its own, that of its attribute, or its place."""
    own = getattr(item, "name", None)
    if isinstance(own, str) and own:
        return own
    if isinstance(key, str):
        return key
    value = item[0] if isinstance(item, (tuple, list)) and len(item) else item
    for way in ((), *_children(holder)):
        for name, held in attributes(follow(holder, way)).items():
            if held is item or (held is value and isinstance(value, np.ndarray)):
                return ".".join([*(str(k) for _, k in way), name])
    return f"{container}.{key}"


def _pairs(holder: object) -> Iterator[Slot]:
    """Attributes with a gradient beside them, by their names."""
    found = attributes(holder)
    for name, value in found.items():
        if is_number(value):
            for partner in _partners(name):
                if partner in found and (found[partner] is None or is_number(found[partner])):
                    yield Slot(name, (("attribute", name),), (("attribute", partner),))
                    break
        elif not is_layer(value) and (names := _names_of_pair(value)) is not None:
            data, grad = names
            here: Step = ("attribute", name)
            yield Slot(name, (here, ("attribute", data)), (here, ("attribute", grad)))


def _partners(name: str) -> list[str]:
    stem = name.lstrip("_")
    both = [name] if stem == name else [name, stem]
    plain = [form.format(n) for n in both for form in _PARTNERS]
    # gradW beside W, gradWeight beside weight, _dW beside _W.
    return [*plain, f"grad{stem[:1].upper()}{stem[1:]}", *(f"_{n}" for n in plain if stem != name)]


def _names_of_pair(item: object) -> tuple[str, str] | None:
    """Names of a parameter object's number and gradient: `data` and `grad`."""
    if isinstance(item, (np.ndarray, np.generic)):
        return None
    data = [n for n in _DATA if is_number(getattr(item, n, None))]
    grad = [n for n in _GRAD if hasattr(item, n)]
    return (data[0], grad[0]) if data and grad else None


def _without_repeats(slots: list[Slot], layer: object) -> tuple[Slot, ...]:
    """Each array once: what a layer declares may be an attribute of a layer in it, too."""
    seen: set[int] = set()
    names: set[str] = set()
    kept = []
    for slot in slots:
        value = follow(layer, slot.value)
        if isinstance(value, np.ndarray) and id(value) in seen:
            continue
        seen.add(id(value))
        name = slot.name
        while name in names:
            name = re.sub(r"(_(\d+))?$", lambda m: f"_{int(m[2] or 1) + 1}", name, count=1)
        names.add(name)
        kept.append(Slot(name, slot.value, slot.gradient))
    return tuple(kept)
