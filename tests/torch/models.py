"""Small models as people build them, each with a place for one wrong backward.

`resnet`, `transformer` and `lstm` return a model in double precision and an input for it, drawn
from a seed. `plant` names a bug that sits in the backward of one `torch.autograd.Function` inside
one layer; the values are right, and so are the gradients of what lies above that layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from tests.torch.wrong_backwards import (
    MeanlessLayerNorm,
    ShiftedReLU,
    TwiceScaledScores,
    WrongSigmoid,
    applied,
)
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
        self._relu = applied(ShiftedReLU) if shifted else functional.relu

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
        normal, _ = applied(MeanlessLayerNorm)(input)
        return torch.addcmul(self.bias, normal, self.weight)


class _Attention(nn.Module):
    """Attention over (length, batch, channels), written out: a causal mask, dropped-out weights."""

    def __init__(self, width: int, heads: int, dropout: float, *, twice: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.dropout = nn.Dropout(dropout)
        self._scores = applied(TwiceScaledScores) if twice else self._plain_scores

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
        self._forget = applied(WrongSigmoid) if wrong else torch.sigmoid

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
