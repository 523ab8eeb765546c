"""Small networks with a place for one layer that may be wrong, in double precision."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from bench.diagnosis_torch_functions import (
    Embedding,
    Layer,
    LayerNorm,
    Scores,
    Softmax,
    SplitHeads,
    normal,
)
from torch import Tensor, nn

import gradproof
from gradproof import Report

__all__ = [
    "BATCH",
    "WIDTH",
    "convnet",
    "linear_layer",
    "mlp",
    "recurrent",
    "transformer",
    "with_activation",
    "with_conv",
    "with_filter",
    "with_linear",
    "with_loss",
    "with_norm",
    "with_pool",
    "with_roll",
]

BATCH, WIDTH, CLASSES = 8, 6, 4


def _checked(net: nn.Module, *x: Tensor, **options: Any) -> Report:
    return gradproof.check(net, x, **options)


def _of(seed: int, **layers: nn.Module) -> nn.Sequential:
    """Layers one after another, with weights drawn from a seed."""
    for i, layer in enumerate(layers.values()):
        if not isinstance(layer, Layer):
            for j, parameter in enumerate(layer.parameters()):
                drawn = normal(100 * seed + 10 * i + j, *parameter.shape)
                parameter.data = 0.5 * drawn
    return nn.Sequential(OrderedDict(layers)).double()


def linear_layer(function: Any) -> Layer:
    """A square one."""
    return Layer(function, weight=0.5 * normal(1, WIDTH, WIDTH), bias=0.3 * normal(2, WIDTH))


def mlp(layer: nn.Module, **options: Any) -> Report:
    """A layer between two of a perceptron, called fc2."""
    net = _of(
        1,
        fc1=nn.Linear(5, WIDTH),
        tanh1=nn.Tanh(),
        fc2=layer,
        gelu2=nn.GELU(),
        fc3=nn.Linear(WIDTH, CLASSES),
    )
    return _checked(net, normal(3, BATCH, 5), **options)


def with_linear(function: Any) -> Report:
    """A perceptron with this for its second layer."""
    return mlp(linear_layer(function))


def with_activation(function: Any) -> Report:
    """A perceptron with this after its first layer, called act."""
    net = _of(2, fc1=nn.Linear(5, WIDTH), act=Layer(function), fc2=nn.Linear(WIDTH, CLASSES))
    return _checked(net, normal(3, BATCH, 5))


def with_norm(function: Any) -> Report:
    """A perceptron with this normalisation, called norm."""
    norm = Layer(function, weight=1.0 + 0.3 * normal(4, WIDTH), bias=0.3 * normal(5, WIDTH))
    net = _of(3, fc1=nn.Linear(5, WIDTH), norm=norm, gelu=nn.GELU(), fc2=nn.Linear(WIDTH, CLASSES))
    return _checked(net, normal(6, BATCH, 5))


def with_loss(function: Any) -> Report:
    """A classifier with this loss."""
    net = _of(4, fc1=nn.Linear(5, WIDTH), relu=nn.ReLU(), fc2=nn.Linear(WIDTH, CLASSES))
    labels = torch.arange(BATCH) % CLASSES
    return _checked(net, normal(7, BATCH, 5), loss=lambda scores: function.apply(scores, labels))


def convnet(layer: nn.Module, channels: int = 4, places: int = 16) -> Report:
    """A layer between two of a convolutional network, called conv2."""
    net = _of(
        5,
        conv1=nn.Conv2d(2, 4, 3, padding=1),
        relu1=nn.ReLU(),
        conv2=layer,
        tanh2=nn.Tanh(),
        pool=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc=nn.Linear(channels * places, CLASSES),
    )
    return _checked(net, normal(8, 3, 2, 8, 8))


def with_conv(function: Any) -> Report:
    """A convolutional network with this for its second layer."""
    weight, bias = 0.3 * normal(9, 4, 4, 3, 3), 0.3 * normal(10, 4)
    return convnet(Layer(function, weight=weight, bias=bias))


def with_pool(function: Any) -> Report:
    """A convolutional network with this pool in place of its second layer."""
    return convnet(Layer(function), places=4)


def with_roll(function: Any) -> Report:
    """A convolutional network with this in place of its second layer."""
    return convnet(Layer(function))


class Attention(nn.Module):
    """Two heads."""

    def __init__(self, split: Any, scores: Any, softmax: Any) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.split, self.scores, self.softmax = split, scores, softmax

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.split.apply(part(x)) for part in (self.q, self.k, self.v))
        mixed = self.softmax.apply(self.scores.apply(q, k)) @ v
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


class Transformer(nn.Module):
    """One block over embedded tokens."""

    def __init__(self, embedding: Any, norm: Any, attention: nn.Module) -> None:
        super().__init__()
        self.embed = Layer(embedding, weight=normal(11, 7, 8))
        self.norm1 = Layer(norm, weight=1.0 + 0.2 * normal(12, 8), bias=0.2 * normal(13, 8))
        self.attend = attention
        self.norm2 = nn.LayerNorm(8)
        self.expand, self.contract = nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        x = x + self.attend(self.norm1(x))
        x = x + self.contract(nn.functional.gelu(self.expand(self.norm2(x))))
        result: Tensor = self.head(x.mean(1))
        return result


def transformer(
    *,
    embedding: Any = Embedding,
    norm: Any = LayerNorm,
    split: Any = SplitHeads,
    scores: Any = Scores,
    softmax: Any = Softmax,
) -> Report:
    """A classifier of six tokens, some of which are the same."""
    torch.manual_seed(0)
    net = Transformer(embedding, norm, Attention(split, scores, softmax)).double()
    return _checked(net, torch.tensor([[0, 3, 3, 5, 1, 0], [2, 2, 6, 4, 0, 1], [5, 3, 1, 1, 1, 6]]))


class Recurrent(nn.Module):
    """A cell over a sequence, unrolled."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(2, len(x), 5)
        for step in x.unbind(1):
            state = self.cell(step, state)
        result: Tensor = self.head(state[0])
        return result


def recurrent(cell: nn.Module) -> Report:
    """A cell of four inputs and a state of hidden units and memory, (2, batch, 5)."""
    net = Recurrent(cell)
    for i, parameter in enumerate(net.parameters()):
        parameter.data = 0.5 * normal(20 + i, *parameter.shape)
    return _checked(net.double(), normal(14, 3, 4, 4))


class Spectral(nn.Module):
    """A filter in the frequencies between two layers."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        weight = torch.complex(normal(15, 5), normal(16, 5))
        self.first, self.filter, self.last = nn.Linear(3, 8), Layer(function), nn.Linear(8, 2)
        self.filter.register_parameter("weight", nn.Parameter(weight))
        for i, layer in enumerate((self.first, self.last)):
            for j, parameter in enumerate(layer.parameters()):
                parameter.data = 0.5 * normal(30 + 2 * i + j, *parameter.shape)

    def forward(self, x: Tensor) -> Tensor:
        amplitudes = torch.fft.fft(self.first(x).tanh())[..., :5]
        filtered = self.filter(amplitudes)
        result: Tensor = self.last(torch.fft.irfft(filtered, n=8))
        return result


def with_filter(function: Any) -> Report:
    """A network with a complex layer, called filter."""
    return _checked(Spectral(function), normal(17, 4, 3))
