"""Moved tensors in place of f's own, wherever f uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from gradproof.subjects.torch.blocks import Block
from gradproof.subjects.torch.dropout import Strides, masked
from gradproof.subjects.torch.nudges import Nudge, apply_rule
from gradproof.subjects.torch.recurrent import in_steps

#: What a tensor is, apart from its numbers.
_KIND = {
    Tensor.shape.__get__,  # type: ignore[attr-defined]
    Tensor.dtype.__get__,  # type: ignore[attr-defined]
    Tensor.device.__get__,
    Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.size,
    Tensor.dim,
    Tensor.numel,
    Tensor.element_size,
    Tensor.is_floating_point,
    Tensor.is_complex,
    Tensor.__len__,
    torch.numel,
    torch.is_floating_point,
    torch.is_complex,
}


class Moved(TorchFunctionMode):
    """Inside this context every operation sees moved tensors in place of some of f's own.

    What f holds of a result that is moved in one block only is the result as it would be without
    the move; the block is known here.

    Attributes:
        bytes: held, for one lane of a batch, by the results that differ from lane to lane.
    """

    def __init__(
        self, values: Mapping[int, Tensor | Nudge], dropouts: Iterable[Strides] = ()
    ) -> None:
        super().__init__()
        self._dropouts = iter(dropouts)
        self.bytes = 0
        self._moves: dict[int, Nudge | Block] = {
            key: v for key, v in values.items() if isinstance(v, Nudge)
        }
        self._tensors = {key: v for key, v in values.items() if isinstance(v, Tensor)}
        #: Results that are known by their ids, which are theirs as long as they live.
        self._kept: list[Tensor] = []

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Put the moved tensors among the arguments, or apply a rule to a moved weight."""
        kwargs = kwargs or {}
        if func in _KIND:
            return func(*args, **kwargs)  # the same of the moved tensor, which need not be made
        steps = in_steps(func) if torch._C._are_functorch_transforms_active() else None
        if steps is not None:
            with self:
                return steps(*args, **kwargs)
        result: Any = None
        if self._moves:
            result = apply_rule(func, args, kwargs, self._moves, self.replaced)
        if isinstance(result, Block):
            self._count(result.part)
            self._kept.append(result.whole)
            self._moves[id(result.whole)] = result
            return result.whole
        if result is None:
            args, kwargs = self.replaced(args), self.replaced(kwargs)
            if func is functional.batch_norm:
                args, kwargs = _without_statistics(args, kwargs)
            result = masked(func, args, kwargs, self._dropouts)
            if result is None:
                result = func(*args, **kwargs)
        if isinstance(result, Tensor):
            self._count(result)
        return result

    def replaced(self, value: Any) -> Any:
        """The value with moved tensors in place of f's own."""
        if isinstance(value, Tensor):
            return self._moved(value)
        if type(value) in (tuple, list):
            return type(value)(self.replaced(item) for item in value)
        if type(value) is dict:
            return {key: self.replaced(item) for key, item in value.items()}
        return value

    def _moved(self, tensor: Tensor) -> Tensor:
        key = id(tensor)
        if key not in self._tensors and key in self._moves:
            # Written out once: what f writes to it must be there the next time it is used.
            move = self._moves[key]
            self._tensors[key] = move.tensor()
            self._count(self._tensors[key])
            if isinstance(move, Block):
                del self._moves[key]
        return self._tensors.get(key, tensor)

    def _count(self, result: Tensor) -> None:
        if torch._C._functorch.is_batchedtensor(result):
            self.bytes += result.numel() * result.element_size()


def _without_statistics(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Batch norm in training without its running statistics, which it does not read.

    It would write to them, for all lanes of a batch at once; they are put back after each
    evaluation anyway.
    """
    names = ("input", "running_mean", "running_var", "weight", "bias", "training")
    given = {**dict(zip((*names, "momentum", "eps"), args, strict=False)), **kwargs}
    if not given.get("training", False):
        return args, kwargs
    return (), {**given, "running_mean": None, "running_var": None}


@contextmanager
def forward_only(mode: Moved) -> Iterator[None]:
    """Run the forward of custom autograd.Functions as plain operations.

    Their backward is not wanted in a numeric evaluation, and most of them have no rule for vmap,
    though their forward is made of operations that do.
    """
    original = torch.autograd.Function.__dict__["apply"]

    def apply(cls: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        args, kwargs = mode.replaced(args), mode.replaced(kwargs)
        has_rule = cls.vmap is not torch.autograd.Function.vmap
        if has_rule or not torch._C._are_functorch_transforms_active():
            return original.__get__(None, cls)(*args, **kwargs)
        if cls.setup_context is not torch.autograd.Function.setup_context:
            return cls.forward(*args, **kwargs)
        return cls.forward(_context(len(args)), *args, **kwargs)

    torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.autograd.Function.apply = original  # type: ignore[method-assign]


def _context(count: int) -> Any:
    context: Any = torch.autograd.function.FunctionCtx()
    context.needs_input_grad = (False,) * count
    return context
