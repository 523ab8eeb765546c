"""Networks and functions of all kinds, with right backwards, and the names of their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tests.torch.stage_parts import Cube, Dirty, OnceOnly, Tied, TwoOutputs, at_import
from torch import Tensor, nn
from torch.nn.utils import parametrizations, rnn
from torch.utils.checkpoint import checkpoint

#: f, its arguments, and the names of its parts.
Case = tuple[Any, tuple[Any, ...], list[str]]
DOUBLE = torch.float64


def _randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE)


def _in_place() -> Case:
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Hardtanh(inplace=True),
        nn.Linear(8, 3),
    )
    return net.double(), (_randn(2, 1, 6, 6),), list("012345")


class _Outputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, x: Tensor, scale: float = 1.0, *, mask: Tensor | None = None) -> Any:
        h = self.inner(x) * scale
        return {"h": h, "none": None, "more": (h.tanh(), torch.arange(3))}


@dataclass
class Record:
    hidden: Tensor
    extra: object = None


class _Recorded(nn.Module):
    def forward(self, x: Tensor) -> Record:
        return Record(x.exp())


class _Structured(nn.Module):
    """Outputs in containers, constants and keywords among the arguments, an input returned."""

    def __init__(self) -> None:
        super().__init__()
        self.many, self.recorded, self.act = _Outputs(), _Recorded(), nn.Tanh()
        self.pair = nn.Bilinear(4, 4, 2)
        self.same = nn.Identity()

    def forward(self, x: Tensor) -> Any:
        outputs = self.many(x, 2.0, mask=torch.ones(3, dtype=torch.bool))
        one, other = self.act(outputs["h"]), self.act(outputs["more"][0])
        same = self.same(one)
        return self.pair(input2=other + one, input1=self.recorded(same).hidden)


def _structured() -> Case:
    names = ["many", "many.inner", "act", "act (call 2)", "same", "recorded", "pair"]
    return _Structured().double(), (_randn(2, 3),), names


def _weight_norm() -> Case:
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 4)), nn.Tanh())
    names = ["0", "0.parametrizations.weight", "0.parametrizations.weight.0", "1"]
    return net.double(), (_randn(2, 3),), names


def _spectral_norm() -> Case:
    """In eval mode: in training its gradient leaves out what a step of its iteration does."""
    net = nn.Sequential(parametrizations.spectral_norm(nn.Linear(3, 4)), nn.Tanh()).eval()
    names = ["0", "0.parametrizations.weight", "0.parametrizations.weight.0", "1"]
    return net.double(), (_randn(2, 3),), names


def _tied() -> Case:
    return Tied().double(), (torch.tensor([[1, 4, 0]]),), ["embedding", "linear"]


class _Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 4, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Any:
        packed = rnn.pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
        output, _ = rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return self.head(output)


def _packed() -> Case:
    return _Packed().double(), (_randn(2, 3, 3),), ["gru", "head"]


def _encoder() -> Case:
    parts = ("self_attn", "dropout1", "norm1", "linear1", "dropout", "linear2", "dropout2", "norm2")
    layer = nn.TransformerEncoderLayer(4, 2, 8, 0.1, activation="gelu", batch_first=True)
    net = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
    return net.double(), (_randn(2, 3, 4),), ["layers.0", *(f"layers.0.{p}" for p in parts)]


class _Checkpointed(nn.Module):
    def __init__(self, *, use_reentrant: bool) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        self.last = nn.Linear(3, 2)
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Any:
        inner = checkpoint(self.inner, self.first(x), use_reentrant=self.use_reentrant)
        return self.last(inner)


def _checkpointed(*, use_reentrant: bool) -> Callable[[], Case]:
    def make() -> Case:
        net = _Checkpointed(use_reentrant=use_reentrant).double()
        x = _randn(2, 3).requires_grad_()
        return net, (x,), ["first", "inner", "inner.0", "inner.1", "last"]

    return make


class _New(nn.Module):
    """Makes new tensors, which have the default dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return x @ torch.ones(3, 3).triu()


def _single() -> Case:
    net = nn.Sequential(nn.Linear(3, 3), _New(), nn.Tanh())
    return net, (torch.randn(4, 3),), ["0", "1", "2"]


def _complex() -> Case:
    linear = nn.Linear(2, 2, dtype=torch.complex128)
    x = torch.randn(3, 2, dtype=torch.complex128)
    return nn.Sequential(linear, linear), (x,), ["0", "0 (call 2)"]


@torch.library.custom_op("gradproof_stages::sine", mutates_args=())
def sine(x: Tensor, k: float) -> Tensor:
    return torch.sin(k * x)


def _keep(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0])
    ctx.k = inputs[1]


def _sine_backward(ctx: Any, g: Tensor) -> Any:
    return g * ctx.k * (ctx.k * ctx.saved_tensors[0]).cos(), None


sine.register_autograd(_sine_backward, setup_context=_keep)


def _operator() -> Case:
    x = _randn(3).requires_grad_()
    return lambda x: sine(x.exp(), 2.0).square(), (x,), ["gradproof_stages_sine"]


def _functions() -> Case:
    def f(x: Tensor, w: Tensor) -> Any:
        product, total, _ = TwoOutputs.apply(x, w)  # type: ignore[no-untyped-call]
        dirty = Dirty.apply(total + 1.0)  # type: ignore[no-untyped-call]
        return OnceOnly.apply(product, 3) * dirty + at_import(x)  # type: ignore[no-untyped-call]

    x, w = _randn(3).requires_grad_(), _randn(3).requires_grad_()
    return f, (x, w), ["TwoOutputs", "Dirty", "OnceOnly", "Cube"]


class _Again(nn.Module):
    """A gradient inside the forward, and a module made there."""

    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Any:
        x = x.detach().requires_grad_()
        energy = nn.Softplus()(self.energy(x)).sum()
        (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return force + Cube.apply(energy)  # type: ignore[no-untyped-call]


def _again() -> Case:
    return _Again().double(), (_randn(2, 3),), ["energy", "Softplus", "Cube"]


CASES: dict[str, Callable[[], Case]] = {
    "in-place operations": _in_place,
    "structured outputs": _structured,
    "weight norm": _weight_norm,
    "spectral norm": _spectral_norm,
    "tied weights": _tied,
    "packed sequences": _packed,
    "transformer encoder": _encoder,
    "checkpoint": _checkpointed(use_reentrant=False),
    "reentrant checkpoint": _checkpointed(use_reentrant=True),
    "single precision": _single,
    "complex": _complex,
    "custom operator": _operator,
    "autograd.Functions": _functions,
    "gradient inside": _again,
}
