"""Modules by name: which of them is random, and several under one root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradproof.tree import take_apart


def joined(modules: Mapping[str, nn.Module]) -> nn.Module | None:
    """All modules under one root; None if there are none."""
    if not modules:
        return None
    root = nn.Module()
    for name, module in modules.items():
        root.add_module(name.replace(".", "_") or "f", module)
    return root


def differing_modules(
    call: Callable[[], object], modules: Mapping[str, nn.Module]
) -> tuple[str, ...]:
    """Modules that give another result in a second call though they were given the same.

    Only the innermost are named, "drop1 (Dropout)".
    """
    first, second = _recorded(call, modules), _recorded(call, modules)
    found = []
    for (name, given, returned), (other, again, results) in zip(first, second, strict=False):
        if name != other:
            break
        if _same(given, again) and not _same(returned, results):
            found.append(name)
    return tuple(dict.fromkeys(found))


Record = tuple[str, list[Tensor], list[Tensor]]


def _recorded(call: Callable[[], object], modules: Mapping[str, nn.Module]) -> list[Record]:
    records: list[Record] = []
    handles = []
    for root, module in modules.items():
        for name, part in module.named_modules(prefix=root):
            if not list(part.children()):
                label = f"{name} ({type(part).__name__})" if name else type(part).__name__

                def hook(_: Any, given: Any, result: Any, label: str = label) -> None:
                    records.append((label, _tensors(given), _tensors(result)))

                handles.append(part.register_forward_hook(hook))
    try:
        call()
    finally:
        for handle in handles:
            handle.remove()
    return records


def _tensors(value: object) -> list[Tensor]:
    leaves = take_apart(value, root="x").leaves
    return [leaf.detach().clone() for leaf in leaves if isinstance(leaf, Tensor)]


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in pairs)
