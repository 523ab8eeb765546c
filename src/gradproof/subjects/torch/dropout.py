"""Dropout in a batch: the mask that f's own call draws.

PyTorch fills the mask in the order in which its input lies in memory, and on some devices by a
kernel of its own. Under vmap the input lies otherwise, and the mask would be another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Strides = tuple[int, ...]
_DROPOUTS = (functional.dropout, torch.dropout)


class Watched(TorchFunctionMode):
    """Keeps the strides of what every dropout is given, in the order of their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.strides: list[Strides] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Look at the input, and go on."""
        if func in _DROPOUTS:
            self.strides.append(_input(args, kwargs or {}).stride())
        return func(*args, **(kwargs or {}))


def masked(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], strides: Iterator[Strides]
) -> Tensor | None:
    """What a dropout returns in a batch; None for all that is no such dropout.

    `strides` are those of the inputs of f's own calls, and go on by one with every dropout.
    """
    if func not in _DROPOUTS:
        return None
    stride, input = next(strides, ()), _input(args, kwargs)
    rate, is_on, in_place = _options(args, kwargs)
    is_plain = not torch._C._are_functorch_transforms_active()
    if is_plain or not is_on or rate == 0.0 or len(stride) != input.dim():
        return None
    size, dtype, device = input.shape, input.dtype, input.device
    with temporarily_clear_interpreter_stack():  # vmap draws its masks otherwise
        ones = torch.empty_strided(size, stride, dtype=dtype, device=device).fill_(1)
        mask = functional.dropout(ones, rate, training=True)
    return input.mul_(mask) if in_place else input * mask


def _input(args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else kwargs["input"]
    return found


def _options(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[float, bool, bool]:
    names = ("input", "p", "training", "inplace")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    is_on = given.get("training", given.get("train", True))
    return given.get("p", 0.5), is_on, given.get("inplace", False)
