"""Four torch.autograd.Functions with right values and a wrong backward, for the models' layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["MeanlessLayerNorm", "ShiftedReLU", "TwiceScaledScores", "WrongSigmoid", "applied"]


class ShiftedReLU(torch.autograd.Function):
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


class MeanlessLayerNorm(torch.autograd.Function):
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


class TwiceScaledScores(torch.autograd.Function):
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


class WrongSigmoid(torch.autograd.Function):
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


def applied(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """A function that applies it."""

    def apply(*args: Any) -> Any:
        return function.apply(*args)  # type: ignore[no-untyped-call]

    return apply
