"""Layers with a backward pass by hand, as autograd.Functions, and what bends their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.nn import grad as of_convolutions

__all__ = ["Bend", "Layer", "bent", "normal"]

# torch gives them no types.
conv2d_input: Any = of_convolutions.conv2d_input
conv2d_weight: Any = of_convolutions.conv2d_weight

#: Takes the right gradients, the cotangent and what was saved to the wrong gradients.
Bend = Callable[[Any, Tensor, Any], Any]


def bent(function: Any, bend: Bend) -> Any:
    """A Function with the same values and the same name, and other gradients."""

    class Bent(function):  # type: ignore[misc]
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return bend(function.backward(ctx, g), g, ctx.saved_tensors)

    Bent.__name__ = function.__name__
    return Bent


def normal(seed: int, *shape: int) -> Tensor:
    """Normal numbers in double precision."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


class Layer(nn.Module):
    """A Function of its input and of parameters with these names."""

    def __init__(self, function: Any, **parameters: Tensor) -> None:
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value.clone()))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        result: Tensor = self.function.apply(x, *self.parameters())
        return result


class Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.mT + bias

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return g @ weight, g.mT @ x, g.sum(0)


class Conv(Function):
    """3 x 3, padded by one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return functional.conv2d(x, weight, bias, padding=1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x = conv2d_input(x.shape, weight, g, padding=1)
        return of_x, conv2d_weight(x, weight.shape, g, padding=1), g.sum((0, 2, 3))


class ReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * (x > 0.0)


class LeakyReLU(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0.0, x, 0.2 * x)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return torch.where(x > 0.0, g, 0.2 * g)


class Tanh(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return g * (1.0 - y * y)


class Round(Function):
    """To multiples of a quarter; flat but for its jumps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (4.0 * x).round() / 4.0

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return torch.zeros_like(g)


class Dropout(Function):
    """With a mask that depends on the shape alone; every fourth entry is dropped on average."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mask = (normal(99, *x.shape) > -0.67).to(x.dtype)
        ctx.save_for_backward(mask)
        return x * mask / 0.75

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (mask,) = ctx.saved_tensors
        return g * mask / 0.75


class AvgPool(Function):
    """Windows of 2 x 2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.repeat_interleave(2, -1).repeat_interleave(2, -2) / 4.0


class Roll(Function):
    """By one along the last axis, around the end."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.roll(1, -1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.roll(-1, -1)


class LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        spread = (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        y = (x - x.mean(-1, keepdim=True)) / spread
        ctx.save_for_backward(y, spread, weight)
        return y * weight + bias

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        y, spread, weight = ctx.saved_tensors
        others = tuple(range(g.dim() - 1))
        inner = g * weight
        along = y * (inner * y).mean(-1, keepdim=True)
        of_x = (inner - inner.mean(-1, keepdim=True) - along) / spread
        return of_x, (g * y).sum(others), g.sum(others)


class Softmax(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.softmax(-1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True))


class Scores(Function):
    """Scaled products of queries and keys, (..., length, d) each."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor) -> Tensor:
        ctx.save_for_backward(q, k)
        return q @ k.mT / math.sqrt(q.shape[-1])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        q, k = ctx.saved_tensors
        return g @ k / math.sqrt(q.shape[-1]), g.mT @ q / math.sqrt(q.shape[-1])


class SplitHeads(Function):
    """(batch, length, 2 d) to (batch, 2, length, d)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], 2, -1).transpose(1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.transpose(1, 2).flatten(2)


class Embedding(Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, weight)
        return weight[tokens]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        tokens, weight = ctx.saved_tensors
        return None, torch.zeros_like(weight).index_put((tokens,), g, accumulate=True)


class Filter(Function):
    """Complex amplitudes times a complex weight for each of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return g * weight.conj(), (g * x.conj()).sum(0)


class CrossEntropy(Function):
    """Averaged over the batch."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(scores, labels)
        return functional.cross_entropy(scores, labels)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        scores, labels = ctx.saved_tensors
        right = functional.one_hot(labels, scores.shape[-1])
        return g * (scores.softmax(-1) - right) / len(scores), None
