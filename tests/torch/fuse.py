"""A net that raises at a given call, and settings of torch that are not the usual ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Fuse", "Net", "Unbatchable", "add_hook", "build", "build_input", "guarded", "unusual"]


class Fuse:
    """Counts the calls of f, and raises from a given one on."""

    def __init__(self, blows_at: int | None = None, error: BaseException | None = None) -> None:
        self.calls = 0
        self.blows_at = blows_at
        self.error = error or RuntimeError("the fuse blew")

    def __deepcopy__(self, memo: dict[int, Any]) -> Fuse:
        return self  # a copy of the module counts here too

    def burn(self) -> None:
        self.calls += 1
        if self.blows_at is not None and self.calls >= self.blows_at:
            raise self.error


class Net(nn.Module):
    """BatchNorm and dropout in training mode, a part in eval mode, and a part that is frozen."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse
        self.inner = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.2)
        self.still = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.outer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.fuse.burn()
        inner = self.dropout(torch.tanh(self.norm(self.inner(x))))
        output: Tensor = self.outer(inner + self.still(inner))
        return output

    def score(self, x: Tensor) -> Tensor:
        return torch.logsumexp(self(x), 1)


class Unbatchable(Net):
    """Looks at a number, which vmap does not allow."""

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        return output if output.sum().item() < 1e9 else 2.0 * output


def build(fuse: Fuse, kind: type[Net] = Net, dtype: torch.dtype = torch.float64) -> Net:
    """A net in mixed modes, with hooks, gradients on some tensors, and a frozen part."""
    torch.manual_seed(0)
    net = kind(fuse).to(dtype)
    net.still.eval()
    for parameter in net.still.parameters():
        parameter.requires_grad_(False)
    net.outer.weight.grad = torch.ones_like(net.outer.weight)
    net.norm.bias.grad = torch.full_like(net.norm.bias, -3.0)
    net.inner.register_forward_hook(lambda module, inputs, output: None)
    net.outer.register_forward_pre_hook(lambda module, inputs: None)
    add_hook(net.outer.bias)
    return net


def add_hook(tensor: Any) -> None:
    tensor.register_hook(lambda grad: grad)


def build_input(dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=dtype)
    x.requires_grad_()
    x.grad = torch.full_like(x, 7.0)
    return x


def unusual() -> None:
    """Turn every setting of torch over."""
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = True
    torch.use_deterministic_algorithms(True)


@contextmanager
def guarded() -> Iterator[None]:
    """Undo `unusual`, and whatever a failing test leaves behind."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with warnings.catch_warnings(), np.errstate(), torch.set_grad_enabled(True):
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision("highest")
            matmul.allow_tf32 = False
            matmul.allow_fp16_reduced_precision_reduction = True
            matmul.allow_bf16_reduced_precision_reduction = True
            cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = True, False, False
            torch.use_deterministic_algorithms(False)
            torch.set_rng_state(state)
            torch.set_num_threads(threads)
