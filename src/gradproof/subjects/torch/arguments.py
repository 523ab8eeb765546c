"""The tensors that are checked: their names, and where f finds them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradproof._errors import InputError
from gradproof.subjects.torch.copies import Copier
from gradproof.tree import Nest, short_names, take_apart


@dataclass(frozen=True)
class _Root:
    """One argument: its name, its keyword if it is one, and what it holds, copied."""

    name: str
    keyword: str | None
    nest: Nest
    leaves: tuple[Any, ...]


class Arguments:
    """f's arguments, copied, and the tensors among them and in f's module that are checked.

    Attributes:
        names: of the tensors that are checked.
        tensors: the tensors themselves, leaves that require grad.
        is_many: whether x is a tuple, the positional arguments.
        expanded: names of tensors whose entries share memory at the caller's.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        module: nn.Module | None,
        x: object,
        kwargs: Mapping[str, Any],
        copier: Copier,
    ) -> None:
        self.is_many = isinstance(x, tuple) and not hasattr(x, "_fields")
        given = x if self.is_many else (x,)
        assert isinstance(given, tuple)
        names = names_of(f, len(given), kwargs) if self.is_many or module is not None else ["x"]
        self._roots = [
            *(_root(name, None, value, copier) for name, value in zip(names, given, strict=True)),
            *(_root(key, key, value, copier) for key, value in kwargs.items()),
        ]
        found = [(name, tensor) for name, tensor in _parameters("", module)]
        taken = {name for name, _ in found}
        inputs, expanded = [], []
        #: Where an input lies: the number of its argument, and its path in it.
        self.places: dict[str, tuple[int, str]] = {}
        for number, root in enumerate(self._roots):
            for path, name, twin, original in _tensors_of(root, is_short=names == ["x"]):
                name = f"inputs.{name}" if name in taken else name
                inputs.append((name, twin, _wants_grad(original)))
                self.places[name] = (number, path)
                if isinstance(original, Tensor) and _is_expanded(original):
                    expanded.append(name)
        found = [(name, tensor) for name, tensor in found if tensor.requires_grad]
        wanted = [(name, tensor) for name, tensor, is_wanted in inputs if is_wanted]
        if not found and not wanted:
            wanted = [(name, tensor) for name, tensor, _ in inputs if _is_dense(tensor)]
        for name, tensor in (*found, *wanted):
            if not _is_dense(tensor):
                raise InputError(
                    f"Expected dense tensors to differentiate by but {name} has layout "
                    f"{tensor.layout}; make its values the argument, and build it from them in f"
                )
        different = {id(tensor): (name, tensor) for name, tensor in reversed([*found, *wanted])}
        chosen = list(reversed(different.values()))
        if not any(tensor.numel() for _, tensor in chosen):
            raise InputError(
                "Expected at least one floating point number to differentiate by, among the "
                "module's parameters and the arguments, but got none"
            )
        self.names = tuple(name for name, _ in chosen)
        self.tensors = tuple(tensor for _, tensor in chosen)
        self.expanded = tuple(name for name in expanded if name in self.names)
        for name, tensor in chosen:
            if not bool(torch.isfinite(tensor).all()):
                raise InputError(f"Expected finite numbers but {name} has NaN or infinity")
            tensor.requires_grad_(True)
        # Every place in a module that holds one of them.
        self._slots = [
            (part._parameters, key, id(parameter))
            for root in copier.modules.values()
            for part in root.modules()
            for key, parameter in part._parameters.items()
            if any(parameter is tensor for tensor in self.tensors)
        ]

    @contextmanager
    def bound(
        self, values: Mapping[int, Tensor], *, copied: bool = False
    ) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """F's arguments with other tensors in place of those that are checked (by their id).

        Modules hold the others too, until the context ends.

        Args:
            values: what stands in for which.
            copied: whether tensors that nothing stands in for are passed as copies.
        """
        for held, key, which in self._slots:
            if which in values:
                held[key] = values[which]  # type: ignore[assignment]
        try:
            args: list[Any] = []
            keywords: dict[str, Any] = {}
            for root in self._roots:
                leaves = [self._placed(leaf, values, copied) for leaf in root.leaves]
                value = root.nest.unflatten(leaves)
                if root.keyword is None:
                    args.append(value)
                else:
                    keywords[root.keyword] = value
            yield args, keywords
        finally:
            for held, key, which in self._slots:
                if which in values:
                    held[key] = self._of(which)  # type: ignore[assignment]

    def _placed(self, leaf: Any, values: Mapping[int, Tensor], copied: bool) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        if id(leaf) in values:
            return values[id(leaf)]
        return leaf.clone() if copied else leaf

    def _of(self, which: int) -> Tensor:
        return next(tensor for tensor in self.tensors if id(tensor) == which)

    def constants(self) -> list[Tensor]:
        """Tensors among the arguments that are not checked."""
        checked = {id(tensor) for tensor in self.tensors}
        leaves = [leaf for root in self._roots for leaf in root.leaves]
        return [x for x in leaves if isinstance(x, Tensor) and id(x) not in checked]

    @property
    def positional(self) -> int:
        """How many positional arguments there are."""
        return sum(root.keyword is None for root in self._roots)


def _root(name: str, keyword: str | None, value: object, copier: Copier) -> _Root:
    nest = take_apart(value, root=name)
    return _Root(name, keyword, nest, tuple(copier(leaf, name) for leaf in nest.leaves))


def _tensors_of(root: _Root, *, is_short: bool) -> Iterator[tuple[str, str, Tensor, object]]:
    """Path, name, copy and original of each floating tensor in an argument."""
    paths = root.nest.paths
    names = short_names(paths, root.name) if is_short else [root.name + path for path in paths]
    each = zip(paths, names, root.leaves, root.nest.leaves, strict=True)
    for path, name, twin, original in each:
        if isinstance(twin, nn.Module):
            pairs = zip(twin.named_parameters(), original.parameters(), strict=True)
            for (own, parameter), given in pairs:
                yield f"{path}.{own}", f"{name}.{own}", parameter, given
        elif isinstance(twin, Tensor) and (twin.is_floating_point() or twin.is_complex()):
            yield path, name, twin, original


def _parameters(prefix: str, module: nn.Module | None) -> list[tuple[str, Tensor]]:
    return [] if module is None else list(module.named_parameters(prefix=prefix))


def _wants_grad(original: object) -> bool:
    return isinstance(original, Tensor) and original.requires_grad


def _is_dense(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _is_expanded(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided:
        return False
    pairs = zip(tensor.size(), tensor.stride(), strict=True)
    return any(stride == 0 and size > 1 for size, stride in pairs)


def names_of(f: Callable[..., Any], count: int, kwargs: Mapping[str, Any]) -> list[str]:
    """Names of the positional arguments, as f's signature calls them."""
    if isinstance(f, type) and issubclass(f, torch.autograd.Function):
        has_context = f.setup_context is torch.autograd.Function.setup_context
        function: Callable[..., Any] = f.forward
        skipped = 1 if has_context else 0
    else:
        function = f.forward if isinstance(f, nn.Module) else f
        skipped = 0
    try:
        parameters = list(inspect.signature(function).parameters.values())[skipped:]
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.kind in kinds][:count]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "x")
    names += [f"{rest}.{i}" for i in range(count - len(names))]
    return names if not set(names) & set(kwargs) else [f"x.{i}" for i in range(count)]
