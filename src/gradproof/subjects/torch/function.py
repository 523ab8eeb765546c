"""f with copies of everything that it holds and is given, at a point that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradproof.subjects.base import Floats
from gradproof.subjects.torch.arguments import Arguments
from gradproof.subjects.torch.copies import Copier
from gradproof.subjects.torch.moving import Moved, forward_only
from gradproof.subjects.torch.nudges import Nudge
from gradproof.subjects.torch.outputs import real_view, to_array
from gradproof.subjects.torch.surroundings import Seeds


class Function:
    """f, its arguments and its state, all copies.

    Every call starts from the same state (buffers, parameters, random numbers, the inputs).

    Attributes:
        names: of the tensors that are checked.
        tensors: these.
        shapes: theirs; complex numbers are pairs of reals on a last axis.
        point: their values, flattened, in float64.
        module: f's module if it is one.
        modules: all modules that were found, by name.
        is_promoted: whether something came in less than double precision and is in it now.
        expanded: names of tensors whose entries share memory at the caller's.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        x: object,
        kwargs: Mapping[str, Any],
        loss: Callable[[Any], Any] | None,
        *,
        promote: bool,
        seed: int,
    ) -> None:
        copier = Copier(promote=promote)
        is_function = isinstance(f, type) and issubclass(f, torch.autograd.Function)
        self._f: Any = f if is_function else copier(f, "")
        self._is_function = is_function
        self._loss = None if loss is None else copier(loss, "loss")
        self.module = self._f if isinstance(self._f, nn.Module) else None
        self.arguments = Arguments(f, self.module, x, kwargs, copier)
        copier.hook()
        self.names, self.tensors = self.arguments.names, self.arguments.tensors
        self.expanded = self.arguments.expanded
        self.modules = copier.modules
        self.is_promoted = copier.promoted
        self.shapes = tuple(tuple(real_view(t).shape) for t in self.tensors)
        self.point: tuple[Floats, ...] = tuple(to_array(t).ravel() for t in self.tensors)
        self._initial = [t.detach().clone() for t in self.tensors]
        self._buffers, self._others = self._state()
        self._first_buffers = [b.detach().clone() for b in self._buffers]
        self._first_others = [t.detach().clone() for t in self._others]
        self._seeds = Seeds(seed, copier.generators)
        self._draws = self._needs_graph = False
        self._written: set[int] = set()

    @property
    def is_random(self) -> bool:
        """Whether f draws random numbers."""
        return self._draws

    @property
    def mutates(self) -> tuple[str, ...]:
        """Names of the tensors that f writes to."""
        return tuple(self.names[k] for k in sorted(self._written))

    def first_call(self) -> object:
        """Call f and see what it draws, writes to and needs; returns what it returned."""
        results: list[object] = []

        def run() -> None:
            with self.fresh():
                results.append(self.call())

        self._draws = True
        try:
            self._draws = self._seeds.are_used(run)
        except RuntimeError:
            # It may differentiate inside, which takes a graph.
            self._needs_graph = True
            self._draws = self._seeds.are_used(run)
        return results[-1]

    def call(self, *, with_graph: bool = False) -> object:
        """What f returns at its tensors as they are now; to be called in `fresh`."""
        with_graph = with_graph or self._needs_graph
        # A leaf that requires grad cannot be written to.
        copied = with_graph and bool(self._written)
        with (
            torch.set_grad_enabled(with_graph),
            self.arguments.bound({}, copied=copied) as (args, keywords),
        ):
            return self._result(args, keywords)

    def moved(
        self, values: Mapping[int, Tensor | Nudge], *, with_graph: bool = False
    ) -> tuple[object, Moved]:
        """What f returns with other tensors in place of its own (by their ids); in `fresh`.

        Also under vmap and with dual tensors. Returns the mode as well, which knows how much
        memory a lane took.
        """
        written_out = {key: v for key, v in values.items() if isinstance(v, Tensor)}
        mode = Moved(values)
        with (
            torch.set_grad_enabled(with_graph or self._needs_graph),
            self.arguments.bound(written_out) as (args, keywords),
            forward_only(mode),
            mode,
        ):
            return self._result(args, keywords), mode

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Around a call: the same random numbers as ever before, the state put back after."""
        versions = self._versions()
        self._seed()
        try:
            yield
        finally:
            self._put_back(versions)

    @contextmanager
    def at(self, point: Sequence[Floats]) -> Iterator[None]:
        """The tensors at another point, for one call."""
        try:
            for tensor, flat, shape in zip(self.tensors, point, self.shapes, strict=True):
                values = torch.from_numpy(flat.reshape(shape))
                real_view(tensor.detach()).copy_(values)
            yield
        finally:
            for tensor, initial in zip(self.tensors, self._initial, strict=True):
                tensor.detach().copy_(initial)

    @contextmanager
    def at_entry(self, tensor: int, index: int, value: float) -> Iterator[None]:
        """One entry at another value, for one call."""
        real = real_view(self.tensors[tensor].detach())
        where = tuple(int(i) for i in np.unravel_index(index, self.shapes[tensor]))
        before = real[where].clone()
        real[where] = value
        try:
            yield
        finally:
            real[where] = before

    def _result(self, args: list[Any], keywords: dict[str, Any]) -> object:
        function = self._f.apply if self._is_function else self._f
        result = function(*args, **keywords)
        return result if self._loss is None else self._loss(result)

    def _seed(self) -> None:
        if self._draws:
            self._seeds.set()

    def _state(self) -> tuple[list[Tensor], list[Tensor]]:
        """Buffers, which batch norm writes to without a trace, and what else f may write to."""
        checked = {id(t) for t in self.tensors}
        modules = self.modules.values()
        buffers = {id(b): b for m in modules for b in m.buffers()}
        others = [*(p for m in modules for p in m.parameters()), *self.arguments.constants()]
        rest = {id(t): t for t in others if id(t) not in checked and id(t) not in buffers}
        return list(buffers.values()), list(rest.values())

    def _versions(self) -> list[int]:
        return [t._version for t in (*self.tensors, *self._others)]

    def _put_back(self, versions: list[int]) -> None:
        """State as it was at first, whatever the last call wrote."""
        for buffer, initial in zip(self._buffers, self._first_buffers, strict=True):
            buffer.copy_(initial)
        held = [*self.tensors, *self._others]
        first = [*self._initial, *self._first_others]
        for k, (tensor, initial) in enumerate(zip(held, first, strict=True)):
            if tensor._version != versions[k]:
                tensor.detach().copy_(initial)
                if k < len(self.tensors):
                    self._written.add(k)
