"""Copies of whatever a check calls, so that nothing of the user's is touched.

Modules and tensors are copied wherever they are found: among the arguments, and in what a function
holds on to (its closure, its defaults, the globals that it names, a method's own object). Equal
objects stay equal: a tensor that is an argument and held by a module too is one tensor in the copy.
"""

from __future__ import annotations

import copy
import dis
import functools
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from gradproof._errors import InputError
from gradproof.subjects.torch.held import is_named, is_record, reaches

_WIDE = {True: torch.complex128, False: torch.float64}


class Copier:
    """Copies modules, tensors, functions and plain containers of them.

    Attributes:
        modules: the modules that were met, copied, by the names under which they were found.
        generators: random generators that were met, copied, with their states.
        promoted: whether a tensor was found that is in double precision only in its copy.
    """

    def __init__(self, *, promote: bool) -> None:
        self.modules: dict[str, nn.Module] = {}
        self.generators: list[tuple[torch.Generator, Tensor]] = []
        self.promoted = False
        self._hooked: list[tuple[Tensor, Tensor]] = []
        self._promote = promote
        self._memo: dict[int, Any] = {}
        self._alive: list[Any] = []  # an id is good only as long as its object lives

    def __call__(self, value: Any, name: str = "f") -> Any:
        """The copy of `value`, or `value` itself where there is nothing to copy in it."""
        key = id(value)
        if key in self._memo:
            return self._memo[key]
        self._alive.append(value)
        if isinstance(value, nn.Module):
            self._module(value, name)
        elif isinstance(value, Tensor):
            self._memo[key] = self._tensor(value)
            self._hooked.append((value, self._memo[key]))
        elif isinstance(value, torch.Generator):
            twin = value.clone_state()
            self.generators.append((twin, twin.get_state()))
            self._memo[key] = twin
        elif isinstance(value, types.FunctionType):
            self._memo[key] = value  # a function may name itself
            self._memo[key] = self._function(value)
        elif isinstance(value, types.MethodType):
            owner = self(value.__self__, name)
            changed = owner is not value.__self__
            self._memo[key] = types.MethodType(value.__func__, owner) if changed else value
        elif isinstance(value, functools.partial):
            parts = self([value.func, *value.args, value.keywords], name)
            self._memo[key] = functools.partial(parts[0], *parts[1:-1], **parts[-1])
        elif type(value) in (list, tuple) or isinstance(value, dict) or is_named(value):
            self._memo[key] = value  # it may hold itself
            self._memo[key] = self._container(value, name)
        elif is_record(value) and reaches(value, (nn.Module, Tensor, torch.Generator)):
            # Made before it is filled: what it holds may hold it.
            self._memo[key] = twin = copy.copy(value)
            for part, held in vars(value).items():
                vars(twin)[part] = self(held, f"{name}.{part}".lstrip("."))
        else:
            return value
        return self._memo[key]

    def hook(self) -> None:
        """Give the copies the hooks that change a tensor's gradient, once they require one."""
        for original, twin in self._hooked:
            if twin.requires_grad:
                for hook in (original._backward_hooks or {}).values():
                    twin.register_hook(hook)  # type: ignore[no-untyped-call]

    def _container(self, value: Any, name: str) -> Any:
        if isinstance(value, dict):
            found = {k: self(item, f"{name}.{k}") for k, item in value.items()}
            if all(found[k] is item for k, item in value.items()):
                return value
            twin = copy.copy(value)  # an OrderedDict stays one
            twin.update(found)
            return twin
        items = [self(item, f"{name}.{i}") for i, item in enumerate(value)]
        changed = any(new is not old for new, old in zip(items, value, strict=True))
        if not changed:
            return value
        return type(value)._make(items) if is_named(value) else type(value)(items)

    def _module(self, module: nn.Module, name: str) -> None:
        for part in module.modules():
            for key, held in vars(part).items():
                # Only leaves can be copied deeply; what a hook left there (an old weight_norm, a
                # stored activation) is recomputed.
                if isinstance(held, Tensor) and not held.is_leaf and id(held) not in self._memo:
                    self._memo[id(held)] = held.detach().clone()
                    self._alive.append((key, held))
                elif isinstance(held, torch.Generator):
                    self(held)  # a deep copy takes it from the memo
            if any(p is not None and is_lazy(p) for p in part._parameters.values()):
                raise InputError(
                    "Expected f's parameters to be initialised but got a lazy module: call it once "
                    "before it is checked"
                )
        # A scripted module's copies would be no leaves, with a graph.
        with torch.no_grad():
            twin = self._deep(module)
        for own, copied in zip(module.parameters(), twin.parameters(), strict=True):
            copied.requires_grad_(own.requires_grad)
        for part in twin.modules():
            for parameter in part._parameters.values():
                if parameter is not None:
                    parameter.grad = None
            held = {k: v for k, v in vars(part).items() if isinstance(v, Tensor)}
            for key, tensor in held.items():
                vars(part)[key] = self._widened(tensor)
        self._hooked += zip(module.parameters(), twin.parameters(), strict=True)
        if self._promote:
            twin._apply(self._widened)  # type: ignore[no-untyped-call]
        while name in self.modules:
            name += "'"
        self.modules[name] = twin
        self._memo[id(module)] = twin

    def _deep(self, module: nn.Module) -> nn.Module:
        """A deep copy; attributes that cannot be copied (locks, files) are shared."""
        memo = dict(self._memo)
        try:
            twin = copy.deepcopy(module, memo)
        except Exception:
            memo = dict(self._memo)
            for part in module.modules():
                for key, held in vars(part).items():
                    if key not in ("_parameters", "_buffers", "_modules"):
                        try:
                            copy.deepcopy(held, dict(memo))
                        except Exception:
                            memo[id(held)] = held
            twin = copy.deepcopy(module, memo)
        self._memo = memo
        return twin

    def _tensor(self, tensor: Tensor) -> Tensor:
        source = tensor.detach()
        if source.layout is not torch.strided:
            return self._widened(source.clone())
        twin = torch.empty_strided(
            source.size(), _own_strides(source), dtype=source.dtype, device=source.device
        )
        twin = self._like(source, twin)
        twin.copy_(source)
        return twin

    def _like(self, source: Tensor, twin: Tensor) -> Tensor:
        wide = self._wide(source)
        if wide is source.dtype:
            return twin
        self.promoted = True
        return torch.empty_strided(twin.size(), twin.stride(), dtype=wide, device=twin.device)

    def _widened(self, tensor: Tensor) -> Tensor:
        wide = self._wide(tensor)
        if wide is tensor.dtype:
            return tensor
        self.promoted = True
        return tensor.to(wide)

    def _wide(self, tensor: Tensor) -> torch.dtype:
        numbers = tensor.is_floating_point() or tensor.is_complex()
        return _WIDE[tensor.is_complex()] if self._promote and numbers else tensor.dtype

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        """The function with copies in place of the modules and tensors that it holds."""
        if (function.__module__ or "").partition(".")[0] == "torch":
            return function
        cells = tuple(self._cell(cell, name) for cell, name in _cells(function))
        scope = function.__globals__
        names = {n for n in _global_names(function.__code__) if self._is_held(scope, n)}
        held = {name: self(scope[name], name) for name in names}
        changed = {name: twin for name, twin in held.items() if twin is not scope[name]}
        defaults = self(function.__defaults__, function.__name__)
        keywords = self(function.__kwdefaults__, function.__name__)
        after = [*cells, defaults, keywords]
        before = [cell for cell, _ in _cells(function)]
        before += [function.__defaults__, function.__kwdefaults__]  # type: ignore[list-item]
        same = all(new is old for new, old in zip(after, before, strict=True))
        if same and not changed:
            return function
        twin = types.FunctionType(
            function.__code__,
            {**scope, **changed} if changed else scope,
            function.__name__,
            defaults,
            cells or None,
        )
        twin.__kwdefaults__ = keywords
        twin.__dict__.update(function.__dict__)
        twin.__qualname__, twin.__module__ = function.__qualname__, function.__module__
        stored = _stored_globals(function.__code__) - changed.keys()
        return _written_through(twin, scope, stored) if changed and stored else twin

    def _cell(self, cell: types.CellType, name: str) -> types.CellType:
        try:
            content = cell.cell_contents
        except ValueError:  # not bound yet
            return cell
        twin = self(content, name)
        # Counters and caches stay the caller's own.
        return cell if twin is content else types.CellType(twin)

    def _is_held(self, scope: dict[str, Any], name: str) -> bool:
        value = scope.get(name)
        if isinstance(value, types.FunctionType):
            return value.__globals__ is scope
        kinds = (nn.Module, Tensor, torch.Generator, list, tuple, dict, functools.partial)
        return isinstance(value, (*kinds, types.MethodType)) or is_record(value)


def _cells(function: types.FunctionType) -> list[tuple[types.CellType, str]]:
    return list(zip(function.__closure__ or (), function.__code__.co_freevars, strict=True))


def _global_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _stored_globals(code: types.CodeType) -> set[str]:
    """Names of the globals that a function writes to."""
    steps = dis.get_instructions(code)
    stored = {str(step.argval) for step in steps if step.opname == "STORE_GLOBAL"}
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return stored.union(*(_stored_globals(c) for c in inner))


def _written_through(
    twin: types.FunctionType, scope: dict[str, Any], stored: set[str]
) -> types.FunctionType:
    """The copy of a function, whose writes to globals go where others look."""

    @functools.wraps(twin)
    def call(*args: Any, **kwargs: Any) -> Any:
        own = twin.__globals__
        own.update({name: scope[name] for name in stored if name in scope})
        try:
            return twin(*args, **kwargs)
        finally:
            scope.update({name: own[name] for name in stored if name in own})

    return call  # type: ignore[return-value]


def _own_strides(tensor: Tensor) -> tuple[int, ...]:
    """The tensor's strides, so that its layout is tested too, or dense ones where entries overlap.

    An expanded tensor is one number in many places; in the copy every entry can move by itself.
    """
    order = sorted(range(tensor.dim()), key=tensor.stride)
    reach = 0
    for axis in order:
        size, stride = tensor.size(axis), tensor.stride(axis)
        if size > 1 and stride <= reach:
            return torch.empty(tensor.size(), device="meta").stride()
        reach += (size - 1) * stride
    return tensor.stride()
