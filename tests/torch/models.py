"""Small models as people build them, each with a place for one wrong backward.

`resnet`, `transformer` and `lstm` return a model in double precision and an input for it, drawn
from a seed. `plant` names a bug that sits in the backward of one `torch.autograd.Function` inside
one layer; the values are right, and so are the gradients of what lies above that layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["MODELS", "PLANTS", "Plant", "lstm", "resnet", "transformer"]

Built = tuple[nn.Module, Tensor]


@dataclass(frozen=True)
class Plant:
    """A bug, and the tensors whose gradient it leaves right; it spoils all the others."""

    model: str
    spared: tuple[str, ...]


# What lies above the wrong layer, or on a branch beside it.
PLANTS = {
    "a shifted ReLU mask in one channel": Plant(
        "resnet", ("head.", "block2.conv2.", "block2.norm2.", "block2.shortcut.")
    ),
    "a LayerNorm without its mean term": Plant(
        "transformer", ("head.", "norm.", "block2.expand.", "block2.contract.", "block2.norm2.")
    ),
    "attention scaled twice": Plant(
        "transformer",
        ("head.", "norm.", "block2.expand.", "block2.contract.", "block2.norm2.", "block2.out."),
    ),
    "a forget gate's derivative": Plant("lstm", ("head.", "norm.")),
}


# -- the wrong backwards -----------------------------------------------------------------------


class _ShiftedReLU(torch.autograd.Function):
    """ReLU whose backward opens channel 0 where the input exceeds -0.5 instead of 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp_min(0.0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        threshold = torch.zeros(x.shape[1], 1, 1, dtype=x.dtype)
        threshold[0] = -0.5
        opened: Tensor = torch.where(x > threshold, grad, 0.0)
        return opened


class _MeanlessLayerNorm(torch.autograd.Function):
    """Normalisation whose backward lacks - grad.mean(-1), as if the mean did not depend on x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        deviation = torch.sqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)
        return (x - x.mean(-1, keepdim=True)) / deviation, deviation

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Tensor:
        normal, deviation = ctx.saved_tensors
        along = normal * (grad * normal).mean(-1, keepdim=True)
        wrong: Tensor = (grad - along) / deviation
        return wrong


class _TwiceScaledScores(torch.autograd.Function):
    """Scores q k' / sqrt(d) whose backward divides by sqrt(d) twice."""

    generate_vmap_rule = True

    @staticmethod
    def forward(q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        q, k = ctx.saved_tensors
        scaled = grad / q.shape[-1]
        return scaled @ k, scaled.transpose(-1, -2) @ q


class _WrongSigmoid(torch.autograd.Function):
    """A sigmoid s whose derivative is taken for s rather than s (1 - s).

    In the style of the first autograd Functions, which vmap does not take.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        gate = torch.sigmoid(x)
        ctx.save_for_backward(gate)
        return gate

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate,) = ctx.saved_tensors
        wrong: Tensor = grad * gate
        return wrong


def _applied(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    apply: Any = function.apply
    return apply  # type: ignore[no-any-return]


# -- a residual network ------------------------------------------------------------------------


class _Block(nn.Module):
    """Two convolutions beside a shortcut, which has one of its own where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, *, shifted: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            conv = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))
        self._relu = _applied(_ShiftedReLU) if shifted else functional.relu

    def forward(self, x: Tensor) -> Tensor:
        inner = self._relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class _ResNet(nn.Module):
    def __init__(self, plant: str | None) -> None:
        super().__init__()
        shifted = plant == "a shifted ReLU mask in one channel"
        self.stem = nn.Conv2d(2, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.block1 = _Block(6, 6, 1, shifted=False)
        self.block2 = _Block(6, 8, 2, shifted=shifted)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(images)))
        x = self.pool(self.block2(self.block1(x)))
        logits: Tensor = self.head(x.flatten(1))
        return logits


def resnet(seed: int, plant: str | None = None) -> Built:
    """1,923 weights, BatchNorm in training mode; images (4, 2, 6, 6) to logits (4, 3)."""
    torch.manual_seed(seed)
    model = _ResNet(plant).double()
    _move_affine(model, nn.BatchNorm2d)
    return model, torch.randn(4, 2, 6, 6, dtype=torch.float64)


# -- a transformer -----------------------------------------------------------------------------


class _LayerNorm(nn.LayerNorm):
    """A LayerNorm on the wrong normalisation; weight and bias get right gradients."""

    def forward(self, input: Tensor) -> Tensor:
        normal, _ = _applied(_MeanlessLayerNorm)(input)
        return torch.addcmul(self.bias, normal, self.weight)


class _Attention(nn.Module):
    """Attention over (length, batch, channels), written out: a causal mask, dropped-out weights."""

    def __init__(self, width: int, heads: int, dropout: float, *, twice: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.dropout = nn.Dropout(dropout)
        self._scores = _applied(_TwiceScaledScores) if twice else self._plain_scores

    def forward(self, x: Tensor) -> Tensor:
        length, batch, width = x.shape
        split = (length, batch, 3, self.heads, width // self.heads)
        q, k, v = self.qkv(x).view(split).permute(2, 1, 3, 0, 4)
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = self._scores(q, k).masked_fill(future, -math.inf).softmax(-1)
        mixed: Tensor = self.dropout(weights) @ v
        return mixed.permute(2, 0, 1, 3).reshape(x.shape)

    @staticmethod
    def _plain_scores(q: Tensor, k: Tensor) -> Tensor:
        return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])


class _Layer(nn.Module):
    """A transformer layer, normalised first, around torch's attention or the one above."""

    def __init__(self, width: int, heads: int, *, own: bool, plant: str | None) -> None:
        super().__init__()
        meanless = plant == "a LayerNorm without its mean term"
        self.norm1 = nn.LayerNorm(width)
        if own:
            self.own: nn.Module | None = _Attention(
                width, heads, 0.1, twice=plant == "attention scaled twice"
            )
            self.out = nn.Linear(width, width)
        else:
            self.own = None
            self.attention = nn.MultiheadAttention(width, heads, 0.1)
        self.norm2 = (_LayerNorm if meanless else nn.LayerNorm)(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm1(x)
        if self.own is not None:
            mixed = self.out(self.own(normal))
        else:
            mixed, _ = self.attention(normal, normal, normal, need_weights=False)
        x = x + self.dropout(mixed)
        x = x + self.dropout(self.contract(functional.gelu(self.expand(self.norm2(x)))))
        return x


class _Transformer(nn.Module):
    def __init__(self, plant: str | None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.position = nn.Parameter(0.3 * torch.randn(5, 1, 8))
        self.dropout = nn.Dropout(0.1)
        self.block1 = _Layer(8, 2, own=False, plant=None)
        self.block2 = _Layer(8, 2, own=True, plant=plant)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens) + self.position)
        logits: Tensor = self.head(self.norm(self.block2(self.block1(x))))
        return logits


def transformer(seed: int, plant: str | None = None) -> Built:
    """1,443 weights, dropout 0.1 in training mode; tokens (length 5, 2) to logits (5, 2, 11)."""
    torch.manual_seed(seed)
    model = _Transformer(plant).double()
    _move_affine(model, nn.LayerNorm)
    return model, torch.randint(11, (5, 2))


# -- a recurrent network -----------------------------------------------------------------------


class _Cell(nn.Module):
    """An LSTM layer written out, over (batch, time, channels); gates in torch's order."""

    def __init__(self, channels: int, width: int, *, wrong: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(channels, 4 * width)
        self.recurrent = nn.Linear(width, 4 * width, bias=False)
        self._forget = _applied(_WrongSigmoid) if wrong else torch.sigmoid

    def forward(self, sequence: Tensor) -> Tensor:
        hidden = sequence.new_zeros(len(sequence), self.recurrent.in_features)
        cell, outputs = torch.zeros_like(hidden), []
        for x in sequence.unbind(1):
            i, f, g, o = (self.inner(x) + self.recurrent(hidden)).chunk(4, -1)
            cell = self._forget(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            hidden = torch.sigmoid(o) * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs, 1)


class _Recurrent(nn.Module):
    def __init__(self, plant: str | None) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.cell = _Cell(5, 5, wrong=plant == "a forget gate's derivative")
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, 3)

    def forward(self, sequence: Tensor) -> Tensor:
        hidden, _ = self.lstm(sequence)
        logits: Tensor = self.head(self.norm(self.cell(hidden)[:, -1]))
        return logits


def lstm(seed: int, plant: str | None = None) -> Built:
    """468 weights; sequences (3, 5, 4) to logits (3, 3)."""
    torch.manual_seed(seed)
    model = _Recurrent(plant).double()
    _move_affine(model, nn.LayerNorm)
    return model, torch.randn(3, 5, 4, dtype=torch.float64)


MODELS: dict[str, Callable[[int, str | None], Built]] = {
    "resnet": resnet,
    "transformer": transformer,
    "lstm": lstm,
}


def _move_affine(model: nn.Module, kind: type[nn.Module]) -> None:
    """Move weights off 1 and biases off 0, where special cases hide."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, kind):
                for parameter in module.parameters(recurse=False):
                    parameter.add_(0.3 * torch.randn_like(parameter))
