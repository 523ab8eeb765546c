"""f with copies of everything that it holds and is given, at a point that can be moved."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradproof.subjects.base import Floats
from gradproof.subjects.torch.arguments import Arguments
from gradproof.subjects.torch.copies import Copier
from gradproof.subjects.torch.cuts import Cuts
from gradproof.subjects.torch.dropout import Strides, Watched
from gradproof.subjects.torch.exceptions import is_own
from gradproof.subjects.torch.moving import Moved, forward_only
from gradproof.subjects.torch.nudges import Nudge
from gradproof.subjects.torch.outputs import kept, real_view, to_array
from gradproof.subjects.torch.power import hold
from gradproof.subjects.torch.state import State, are_same
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
        self._state = State(self.tensors, self.arguments.constants(), copier.modules.values())
        self._seeds = Seeds(seed, copier.generators)
        self._draws = self._needs_graph = False
        self._dropouts: list[Strides] = []
        #: Calls that `first_call` took.
        self.first_calls = 0
        #: Power iterations whose vectors are held, by the names of the weights.
        self.iterations = hold(copier.modules)
        #: What is held constant besides, where something is.
        self.cuts: Cuts | None = None

    @property
    def is_random(self) -> bool:
        """Whether f draws random numbers."""
        return self._draws

    @property
    def mutates(self) -> tuple[str, ...]:
        """Names of the tensors that f writes to."""
        return tuple(self.names[k] for k in sorted(self._state.written))

    def first_call(self) -> dict[str, Tensor]:
        """Call f and see what it draws, writes to and needs; returns copies of its outputs."""
        results: list[dict[str, Tensor]] = []
        before = self._state.attributes()

        def run() -> None:
            self.first_calls += 1
            with self.fresh():
                versions = self._state.versions()
                with Watched() as watched:
                    results.append(kept(self.call()))
                self._dropouts = watched.strides
                self._state.look_for_unseen(versions)

        self._draws = True
        try:
            self._draws = self._seeds.are_used(run)
        except RuntimeError as error:
            if is_own(error):
                raise
            # It may differentiate inside, which takes a graph.
            self._needs_graph = True
            self._draws = self._seeds.are_used(run)
        changed = self._state.changed(before)
        if changed:
            # A cache that the first call filled may stay; what changes the next value may not.
            run()
            if not are_same(*results[-2:]):
                self._state.carry(changed)
                with self.fresh():
                    pass
        return results[0]

    def call(self, *, with_graph: bool = False) -> object:
        """What f returns at its tensors as they are now; to be called in `fresh`."""
        with_graph = with_graph or self._needs_graph or self.cuts is not None
        # A leaf that requires grad cannot be written to.
        copied = with_graph and bool(self._state.written)
        with (
            torch.set_grad_enabled(with_graph),
            self.arguments.bound({}, copied=copied) as (args, keywords),
            contextlib.nullcontext() if self.cuts is None else self.cuts.run(),
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
        mode = Moved(values, self._dropouts)
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
        versions = self._state.versions()
        self._seed()
        for iteration in self.iterations.values():
            iteration.restart()
        try:
            yield
        finally:
            self._state.put_back(versions)

    @contextmanager
    def at(self, point: Sequence[Floats]) -> Iterator[None]:
        """The tensors at another point, for one call."""
        try:
            for tensor, flat, shape in zip(self.tensors, point, self.shapes, strict=True):
                values = torch.from_numpy(np.require(flat, requirements="W").reshape(shape))
                real_view(tensor.detach()).copy_(values)
            yield
        finally:
            self._state.put_back_tensors()

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
