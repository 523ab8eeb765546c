"""Names of layers, and of tensors in nested containers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gradproof.subjects.layers.part import Part
from gradproof.tree import short_names, take_apart


def layer_names(parts: Sequence[Part], layers: Sequence[object]) -> list[str]:
    """Names for layers in a list: their own `name`, or what they are and the how many-th of it.

    >>> from gradproof.subjects.layers.functions import FunctionPart
    >>> def relu_forward(x): ...
    >>> part = FunctionPart(relu_forward, print, (), "layers[0]")
    >>> layer_names([part, part], [None, None])
    ['relu1', 'relu2']
    """
    own = [getattr(layer, "name", None) for layer in layers]
    if all(isinstance(name, str) and name for name in own) and len(set(own)) == len(own):
        return [str(name) for name in own]
    seen: Counter[str] = Counter()
    names = []
    for part in parts:
        stem = re.sub(r"_?layer_?", "", part.kind.lower()).strip("_") or part.kind.lower()
        seen[stem] += 1
        names.append(f"{stem}{'_' * stem[-1].isdecimal()}{seen[stem]}")
    return names


def nested(flat: Mapping[str, Any]) -> dict[Any, Any]:
    """Values by dotted names as nested dicts; what is a number counts.

    >>> nested({"W": 1, "block.b": 2, "params.0": 3})
    {'W': 1, 'block': {'b': 2}, 'params': {0: 3}}
    """
    tree: dict[Any, Any] = {}
    for name, value in flat.items():
        *way, last = _keys(name)
        holder = tree
        for key in way:
            holder = holder.setdefault(key, {})
        holder[last] = value
    return tree


def lookup(tree: Mapping[Any, Any], name: str) -> Any:
    """The value of a dotted name in what `nested` made."""
    value: Any = tree
    for key in _keys(name):
        value = value[key]
    return value


def tensor_names(tree: Mapping[Any, Any]) -> dict[Any, str]:
    """What gradproof calls the places in nested dicts, by what is written there.

    >>> tensor_names({"conv1": {"W": "first", "params": {0: "second"}}})
    {'first': 'conv1.W', 'second': 'conv1.params[0]'}
    """
    nest = take_apart(tree, root="x")
    return dict(zip(nest.leaves, short_names(nest.paths, "x"), strict=True))


def _keys(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in name.split(".")]
