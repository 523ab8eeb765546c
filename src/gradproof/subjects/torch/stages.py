"""The parts of f that have a backward pass of their own: modules and custom autograd.Functions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gradproof._errors import InputError
from gradproof.subjects.base import Stage, Subject
from gradproof.subjects.torch.arguments import names_of
from gradproof.subjects.torch.function import Function
from gradproof.subjects.torch.outputs import Cotangent, differentiable
from gradproof.subjects.torch.stage_calls import Buffers, Call, Recorder

#: Outputs without a graph that are looked at: whether f depends on them.
MOST_CUT = 8


class Maker(Protocol):
    """Makes a subject of a part, in the surroundings of the whole."""

    def __call__(
        self,
        f: Callable[..., Any],
        x: tuple[Any, ...],
        *,
        kwargs: Mapping[str, Any],
        loss: Callable[[Any], Any],
        cotangent: object,
    ) -> Subject:
        """The subject; a cotangent of None is drawn."""
        ...


def find_stages(function: Function, cotangent: Cotangent, make: Maker) -> tuple[Stage, ...]:
    """The calls of modules and autograd.Functions in f, in the order in which they begin.

    One forward and one backward pass find them. A module or Function that is called several times
    is several parts. No parts are: f itself, where it is a module made of others; what is called
    without grad, or with nothing that requires grad; PyTorch's own Functions.

    A part is contracted with the cotangent that reaches it. Where none does, or only zeros (what
    uses its result gives no gradient, or writes to a view that it returned), or where it is not
    finite, it is a random one; so it is for outputs that f's value depends on though they have no
    graph (one more forward pass each). A module or Function that returns one of its arguments
    itself gets the cotangent of all uses of that.

    `Stage.open` raises InputError where a part cannot be called by itself.

    Args:
        function: f, at its point.
        cotangent: what it is contracted with.
        make: makes the subjects.
    """
    runs = _Runs(function, cotangent)
    try:
        value, calls = runs.recorded(_through_grad)
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        value, calls = runs.recorded(_through_backward)
    cut = [(k, path) for k, call in enumerate(calls) for path in call.cut]
    needed = {place for place in cut[:MOST_CUT] if runs.is_needed(place, value)}
    for k, call in enumerate(calls):
        call.cut = tuple(path for path in call.cut if (k, path) in needed)
    pairs = zip(function.tensors, function.names, strict=True)
    names = {id(tensor): name for tensor, name in pairs}
    return tuple(_stage(call, names, make) for call in calls if call.outputs or call.cut)


Backward = Callable[[Tensor, Function], None]


@dataclass(frozen=True)
class _Runs:
    """Runs of f with its calls recorded."""

    function: Function
    cotangent: Cotangent

    def recorded(
        self, backward: Backward | None, moved: tuple[int, str] | None = None
    ) -> tuple[float, list[Call]]:
        """F's value, and the calls."""
        function, root = self.function, self.function.module
        whole = root if root is not None and list(root.children()) else None
        recorder = Recorder(function.modules, whole, moved)
        with function.fresh(), recorder.forward():
            result = function.call(with_graph=backward is not None)
            total = self.cotangent.contract(differentiable(result))
            if backward is not None and total.requires_grad:
                with recorder.backward():
                    backward(total, function)
        return total.item(), recorder.calls

    def is_needed(self, place: tuple[int, str], value: float) -> bool:
        """Whether f's value is another one where an output is moved."""
        try:
            return self.recorded(None, place)[0] != value
        except Exception:  # nothing can be said of it then
            return False


def _through_grad(total: Tensor, function: Function) -> None:
    torch.autograd.grad(total, function.tensors, allow_unused=True)


def _through_backward(total: Tensor, function: Function) -> None:
    """The way that alone goes through a reentrant checkpoint."""
    held = [p for module in function.modules.values() for p in module.parameters()]
    try:
        total.backward()  # type: ignore[no-untyped-call]
    finally:
        for tensor in (*function.tensors, *held):
            tensor.grad = None


def _stage(call: Call, names: Mapping[int, str], make: Maker) -> Stage:
    inside = call.inside
    while inside is not None and not (inside.outputs or inside.cut):
        inside = inside.inside
    arguments = names_of(call.part, len(call.args), call.kwargs)
    own = [(name, i) for name, i in zip(arguments, call.given, strict=True) if i is not None]
    if isinstance(call.part, nn.Module):
        own += [(name, id(parameter)) for name, parameter in call.part.named_parameters()]
    tensors = {name: names[i] for name, i in own if i in names}
    parent = None if inside is None else inside.name
    return Stage(call.name, call.kind, parent, tensors, lambda: (_opened(call, make), None))


def _opened(call: Call, make: Maker) -> Subject:
    reached = {path: c for path, c in call.cotangents.items() if _is_usable(c)}
    cotangent = None if call.cut or not reached else list(reached.values())
    loss = _chosen((*(reached or call.outputs), *call.cut))
    try:
        with _with_buffers(call.buffers):
            return make(call.part, call.args, kwargs=call.kwargs, loss=loss, cotangent=cotangent)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"Expected {call.name} to run by itself but it raised {error!r}"
        ) from error


def _is_usable(cotangent: Tensor) -> bool:
    return bool(torch.isfinite(cotangent).all() and cotangent.any())


def _chosen(paths: Sequence[str]) -> Callable[[Any], list[Tensor]]:
    """The outputs at these paths, of all that a part returns."""

    def choose(result: Any) -> list[Tensor]:
        found = differentiable(result)
        # Copies: an argument that the part wrote to and returned is put back after the call.
        return [found[path].clone() for path in paths]

    return choose


@contextlib.contextmanager
def _with_buffers(buffers: Buffers) -> Iterator[None]:
    """Modules with these buffers in place of those that they hold."""
    before = [(held, key, held[key]) for held, key, _ in buffers]
    for held, key, value in buffers:
        held[key] = value
    try:
        yield
    finally:
        for held, key, old in before:
            held[key] = old
