"""Calls of modules and custom autograd.Functions, with what goes in and what comes back."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradproof._errors import InputError
from gradproof.tree import take_apart

#: What is called: a module, or the class of a Function.
Part = nn.Module | type[torch.autograd.Function]
#: A module's buffers: where they are held, under which name, and their values.
Buffers = list[tuple[dict[str, Tensor | None], str, Tensor]]
#: How PyTorch names the Function of a custom operator, before its namespace and name.
_OPERATOR = "GeneratedBackwardFor_"
#: The base of autograd.Function through which every `apply` goes, also one bound beforehand.
_BASE: Any = torch.autograd.Function.__mro__[1]


@dataclass(eq=False)
class Call:
    """One call of a part.

    Attributes:
        name: of the part; in a second call with that behind it.
        kind: of the part.
        inside: the call in which it was made, if not by f itself.
        part: what was called.
        args: its positional arguments, detached copies that require grad where they did.
        kwargs: its keyword arguments, likewise.
        given: the tensors that were its positional arguments themselves, by their ids.
        buffers: those of a module that had other values than when f was called.
        outputs: paths of the outputs that have a graph.
        cut: paths of floating outputs that have none, though something that goes in has one.
        cotangents: what reached the outputs, as far as something did.
    """

    name: str
    kind: str
    inside: Call | None
    part: Part
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    given: tuple[int | None, ...] = ()
    buffers: Buffers = field(default_factory=list)
    outputs: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    cotangents: dict[str, Tensor] = field(default_factory=dict)


class Recorder:
    """Records the calls made while f runs, and the cotangents while its backward pass does.

    What is called without a graph and again with one in the backward pass (by a reentrant
    checkpoint) is recorded then, at the place of its first call.

    Args:
        modules: that f uses, by name.
        whole: f itself, if it is a module made of others: no part.
        moved: an output to be moved, by the position of its call in `calls` and its path.

    Attributes:
        calls: in the order in which they were begun.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        whole: nn.Module | None,
        moved: tuple[int, str] | None = None,
    ) -> None:
        self.calls: list[Call] = []
        self._moved = moved
        self._moving: Call | None = None
        self._names: dict[int, str] = {}
        for root, module in modules.items():
            for name, part in module.named_modules(prefix=root):
                self._names.setdefault(id(part), name)
        self._whole = whole
        parts = {id(p): p for module in modules.values() for p in module.modules()}
        self._first = {
            (id(part), key): buffer.clone()
            for part in parts.values()
            for key, buffer in part._buffers.items()
            if buffer is not None
        }
        self._met: Counter[str] = Counter()
        self._running: list[Call] = []
        self._copies: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        self._without_graph: defaultdict[int, list[Call]] = defaultdict(list)
        self._handles: list[Any] = []
        self._is_backward = False
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def forward(self) -> Iterator[None]:
        """Around the forward pass and `backward`."""
        call_module = nn.Module.__call__

        def module(part: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return self._recorded(part, lambda: call_module(part, *args, **kwargs), args, kwargs)

        def function(cls: Any, *args: Any, **kwargs: Any) -> Any:
            base: Any = super(_BASE, cls)
            return self._recorded(cls, lambda: base.apply(*args, **kwargs), args, kwargs)

        with contextlib.ExitStack() as stack:
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.callback(self._forget)
            stack.callback(setattr, nn.Module, "__call__", call_module)
            nn.Module.__call__ = module  # type: ignore[method-assign]
            stack.callback(delattr, _BASE, "apply")
            _BASE.apply = classmethod(function)
            yield

    @contextlib.contextmanager
    def backward(self) -> Iterator[None]:
        """Around the backward pass."""
        self._is_backward = True
        try:
            yield
        finally:
            self._is_backward = False

    def _forget(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._copies.clear()

    def _recorded(
        self, part: Part, run: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        call = self._begun(part)
        if call is None:
            return run()
        try:
            # Before the call, which may write to them.
            call.args, call.kwargs = self._copied(args), self._copied(kwargs)
        except InputError:  # no tree
            return run()
        call.given = tuple(id(arg) if isinstance(arg, Tensor) else None for arg in args)
        call.buffers = self._changed(part) if isinstance(part, nn.Module) else []
        self._running.append(call)
        try:
            result = run()
        finally:
            self._running.pop()
        try:
            return self._watched(call, result)
        except InputError:  # no tree
            return result

    def _begun(self, part: Part) -> Call | None:
        """The record to make of a call; None for what is no part."""
        if part is self._whole or torch._C._are_functorch_transforms_active():
            return None
        if self._is_backward:
            waiting = self._without_graph[id(part)]
            return waiting.pop(0) if waiting else None
        if threading.get_ident() != self._thread:
            return None
        inside = self._running[-1] if self._running else None
        if isinstance(part, nn.Module):
            kind = type(part).__name__
            name = self._names.get(id(part)) or _below(inside, kind)
        elif part.__name__.startswith(_OPERATOR):
            operator = part.__name__.removeprefix(_OPERATOR).removesuffix("_default")
            kind, name = f"custom operator {operator}", _below(inside, operator)
        elif part.__module__.partition(".")[0] == "torch":
            return None
        else:
            kind, name = f"autograd.Function {part.__name__}", _below(inside, part.__name__)
        self._met[name] += 1
        if self._met[name] > 1:
            name = f"{name} (call {self._met[name]})"
        call = Call(name, kind, inside, part)
        if self._moved is not None and self._moved[0] == len(self.calls):
            self._moving = call
        self.calls.append(call)
        return call

    def _copied(self, value: Any) -> Any:
        """The same with detached copies; equal tensors stay equal."""
        nest = take_apart(value, root="x")
        return nest.unflatten([self._copy(leaf) for leaf in nest.leaves])

    def _copy(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        key = (id(leaf), leaf._version)
        if key not in self._copies:
            copy = leaf.detach().clone()
            copy.requires_grad_(leaf.requires_grad)
            # With the tensor itself: an id is good only as long as its object lives.
            self._copies[key] = (leaf, copy)
        return self._copies[key][1]

    def _changed(self, module: nn.Module) -> Buffers:
        found: Buffers = []
        for part in module.modules():
            for key, buffer in part._buffers.items():
                first = self._first.get((id(part), key))
                if buffer is not None and (first is None or not _are_equal(first, buffer)):
                    found.append((part._buffers, key, buffer.detach().clone()))
        return found

    def _watched(self, call: Call, result: Any) -> Any:
        """Have the cotangents of what a part returned kept."""
        nest = take_apart(result, root="output")
        floating = {
            path: leaf
            for path, leaf in zip(nest.paths, nest.leaves, strict=True)
            if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex())
        }
        # One tensor at two places gets one cotangent.
        first = {id(leaf): path for path, leaf in reversed(floating.items())}
        own = {path: leaf for path, leaf in floating.items() if first[id(leaf)] == path}
        if torch.is_grad_enabled() and _has_graph(call):
            call.outputs = tuple(path for path, leaf in own.items() if leaf.requires_grad)
            call.cut = tuple(path for path in own if path not in call.outputs)
        if not call.outputs and not call.cut:
            call.args, call.kwargs = (), {}
            if not self._is_backward:
                self._without_graph[id(call.part)].append(call)
        for path in call.outputs:

            def keep(gradient: Tensor | None, path: str = path) -> None:
                if gradient is not None:
                    # A copy: the next part's backward may write to it.
                    call.cotangents[path] = gradient.detach().clone()

            self._handles.append(own[path].register_hook(keep))  # type: ignore[no-untyped-call]
        if self._moved is not None and call is self._moving:
            own[self._moved[1]] = _moved(own[self._moved[1]])
            return nest.unflatten(
                [own[first[id(leaf)]] if id(leaf) in first else leaf for leaf in nest.leaves]
            )
        return result


def _below(inside: Call | None, name: str) -> str:
    return name if inside is None else f"{inside.name} > {name}"


def _has_graph(call: Call) -> bool:
    """Whether something requires grad that is seen to go into a call."""
    given = [*take_apart([call.args, call.kwargs], root="x").leaves]
    if isinstance(call.part, nn.Module):
        given += call.part.parameters()
    return any(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in given)


def _moved(tensor: Tensor) -> Tensor:
    """Another tensor of about the same size."""
    return 1.03125 * tensor + 0.03125 * (tensor.abs().mean() if tensor.any() else 1.0)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
