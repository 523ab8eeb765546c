"""What a planted bug consists of: two functions that differ in their gradients alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function


@dataclass(frozen=True)
class Plant:
    """A bug in a backward pass, and its correct twin.

    `right` and `wrong` are functions or autograd.Function classes with the same values; `x` makes
    their positional arguments; `tensors` are the arguments whose gradient is wrong; `loss`, where
    there is one, is applied to the output.
    """

    name: str
    right: Any
    wrong: Any
    x: Callable[[], tuple[Any, ...]]
    tensors: tuple[str, ...]
    loss: Callable[[Any], Tensor] | None = None


def normal(*shape: int, seed: int = 0) -> Tensor:
    """A float64 leaf drawn from the normal distribution."""
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(values).requires_grad_()


def leaf(values: Any) -> Tensor:
    """A float64 leaf of the given values, strides kept."""
    return torch.as_tensor(values, dtype=torch.float64).detach().requires_grad_()


def call(f: Any, x: tuple[Any, ...]) -> Any:
    """The value of a function or of an autograd.Function class."""
    function = f.apply if isinstance(f, type) and issubclass(f, Function) else f
    return function(*x)
