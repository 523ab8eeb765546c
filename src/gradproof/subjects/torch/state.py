"""What f may write to while it runs, and how it stood at first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: A module's attributes: where they stand, and how they stood.
Attributes = list[tuple[dict[str, Any], dict[str, Any]]]


class State:
    """Tensors and attributes of modules, put back after every call of f.

    Args:
        tensors: that are checked.
        constants: other tensors among the arguments.
        modules: all that f uses.

    Attributes:
        written: positions of the checked tensors that f was seen to write to.
    """

    def __init__(
        self, tensors: Sequence[Tensor], constants: Iterable[Tensor], modules: Iterable[nn.Module]
    ) -> None:
        self.written: set[int] = set()
        self._parts = list({id(part): part for m in modules for part in m.modules()}.values())
        # Batch norm writes to buffers without a trace.
        self._buffers = _different(b for part in self._parts for b in part._buffers.values())
        plain = (x for part in self._parts for x in vars(part).values() if isinstance(x, Tensor))
        parameters = (p for part in self._parts for p in part._parameters.values())
        known = {id(x) for x in (*tensors, *self._buffers)}
        others = _different([*parameters, *constants, *plain])
        self._held = [*tensors, *(x for x in others if id(x) not in known)]
        self._count = len(tensors)
        self._first = [x.detach().clone() for x in self._held]
        self._first_buffers = [b.detach().clone() for b in self._buffers]
        # Written to through `.data`, which leaves no trace either.
        self._unseen: set[int] = set()
        self._carried: Attributes = []

    def versions(self) -> list[int]:
        """Counts of the writes to each tensor until now."""
        return [x._version for x in self._held]

    def put_back(self, versions: Sequence[int]) -> None:
        """All as it was at first, whatever was written since then."""
        for part, attributes in self._carried:
            for key in part.keys() - attributes.keys():
                del part[key]
            part.update(attributes)
        for buffer, first in zip(self._buffers, self._first_buffers, strict=True):
            buffer.copy_(first)
        for k, (tensor, first) in enumerate(zip(self._held, self._first, strict=True)):
            if tensor._version != versions[k] or k in self._unseen:
                tensor.detach().copy_(first)
                if k < self._count:
                    self.written.add(k)

    def put_back_tensors(self) -> None:
        """The checked tensors as they were at first."""
        for tensor, first in zip(self._held[: self._count], self._first, strict=False):
            tensor.detach().copy_(first)

    def look_for_unseen(self, versions: Sequence[int]) -> None:
        """Find what a call has written to without a trace, before it is put back."""
        for k, (tensor, first) in enumerate(zip(self._held, self._first, strict=True)):
            is_traced = tensor._version != versions[k] or tensor.shape != first.shape
            if not is_traced and not _is_same(tensor, first):
                self._unseen.add(k)

    def attributes(self) -> Attributes:
        """Attributes and buffers of all modules, as they are."""
        places = [held for part in self._parts for held in (vars(part), part._buffers)]
        return [(held, dict(held)) for held in places]

    def changed(self, before: Attributes) -> Attributes:
        """Those that were set anew since then."""
        return [
            (held, was)
            for held, was in before
            if held.keys() != was.keys() or any(held[key] is not was[key] for key in was)
        ]

    def carry(self, attributes: Attributes) -> None:
        """Put these attributes back from now on: f's next value depends on them."""
        self._carried = attributes


def _different(tensors: Iterable[Tensor | None]) -> list[Tensor]:
    return list({id(x): x for x in tensors if x is not None}.values())


def _is_same(one: Tensor, other: Tensor) -> bool:
    if one.layout is not torch.strided:
        return True
    if one.shape != other.shape:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one != one)).all())


def are_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two calls returned the same."""
    return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
