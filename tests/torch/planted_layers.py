"""Bugs that belong to a layer: convolutions, norms, softmax, activations, losses."""

from __future__ import annotations

from typing import Any

import torch
from tests.torch.planted_case import Plant, normal
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.nn import grad as of_convolutions

# torch gives them no types.
conv2d_input: Any = of_convolutions.conv2d_input
conv2d_weight: Any = of_convolutions.conv2d_weight


class Conv(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return functional.conv2d(x, w, padding=1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return (
            conv2d_input(x.shape, w, g, padding=1),
            conv2d_weight(x, w.shape, g, padding=1),
        )


class KernelFlipped(Conv):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw = Conv.backward(ctx, g)
        return gx, gw.flip(2, 3)


class KernelNotFlipped(Conv):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _, w = ctx.saved_tensors
        _, gw = Conv.backward(ctx, g)
        return functional.conv2d(g, w.transpose(0, 1), padding=1), gw


class AxesPermuted(Conv):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw = Conv.backward(ctx, g)
        return gx.transpose(2, 3), gw


class BorderOffByOne(Conv):
    """The last line of the border is not written."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw = Conv.backward(ctx, g)
        gx[..., -1] = 0.0
        return gx, gw


class PaddingShifted(Conv):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        gx, _ = Conv.backward(ctx, g)
        shifted = functional.pad(x, (2, 0, 1, 1))
        return gx, conv2d_weight(shifted, w.shape, g)


class Scale(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return x * y.exp()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y.exp(), (g * x * y.exp()).sum(-1, keepdim=True)


class BroadcastNotSummed(Scale):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y.exp(), (g * x * y.exp())[..., :1]


class BroadcastAveraged(Scale):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y.exp(), (g * x * y.exp()).mean(-1, keepdim=True)


class Softmax(Function):
    """New style, with its own rule for vmap."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.softmax(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(-1, keepdim=True))

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int | None], x: Tensor) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        moved = x.movedim(in_dims[0], 0)
        return cls.apply(moved), 0  # type: ignore[no-untyped-call]


class SoftmaxWrongAxis(Softmax):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return y * (g - (g * y).sum(0, keepdim=True))


class SoftmaxDiagonalOnly(Softmax):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


class LayerNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        inverse = (centred.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward(centred * inverse, inverse)
        return centred * inverse

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        y, inverse = ctx.saved_tensors
        return inverse * (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True))


class LayerNormVarianceTermMissing(LayerNorm):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        _, inverse = ctx.saved_tensors
        return inverse * (g - g.mean(-1, keepdim=True))


class LayerNormMeanTermMissing(LayerNorm):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        y, inverse = ctx.saved_tensors
        return inverse * (g - y * (g * y).mean(-1, keepdim=True))


class BatchNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mean, variance = x.mean(0), x.var(0)  # of n - 1
        ctx.save_for_backward(x - mean, variance)
        return (x - mean) * (variance + 1e-5).rsqrt()

    @staticmethod
    def backward(ctx: Any, g: Tensor, less: int = 1) -> Any:
        centred, variance = ctx.saved_tensors
        inverse = (variance + 1e-5).rsqrt()
        of_variance = (g * centred).sum(0) * inverse**3 / (len(g) - less)
        return inverse * (g - g.mean(0)) - centred * of_variance


class BatchNormStatisticsConstant(BatchNorm):
    @staticmethod
    def backward(ctx: Any, g: Tensor, less: int = 1) -> Any:
        _, variance = ctx.saved_tensors
        return g * (variance + 1e-5).rsqrt()


class BatchNormBiased(BatchNorm):
    """The variance of n in a backward whose forward has that of n - 1."""

    @staticmethod
    def backward(ctx: Any, g: Tensor, less: int = 1) -> Any:
        return BatchNorm.backward(ctx, g, 0)


class Swish(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x.sigmoid()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        gate = x.sigmoid()
        return g * gate * (1 + x * (1 - gate))


class GateDetached(Swish):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.sigmoid()


class Gelu(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return functional.gelu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        density = (-x.square() / 2).exp() / (2 * torch.pi) ** 0.5
        return g * (0.5 * (1 + torch.erf(x / 2**0.5)) + x * density)


class GeluOfTanh(Gelu):
    """The derivative of the approximation by tanh, right to three digits."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        factor = (2 / torch.pi) ** 0.5
        inner = (factor * (x + 0.044715 * x**3)).tanh()
        slope = factor * (1 + 3 * 0.044715 * x.square())
        return g * 0.5 * (1 + inner + x * (1 - inner.square()) * slope)


class CrossEntropy(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(x, labels)
        return functional.cross_entropy(x, labels)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, labels = ctx.saved_tensors
        return g * (x.softmax(-1) - functional.one_hot(labels, x.shape[-1])) / len(x), None


class BatchMeanMissing(CrossEntropy):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, _ = ctx.saved_tensors
        gx, _ = CrossEntropy.backward(ctx, g)
        return gx * len(x), None


class CotangentIgnored(CrossEntropy):
    """Right as long as the loss comes last."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return CrossEntropy.backward(ctx, torch.ones_like(g))


def weighted(function: type[Function]) -> Any:
    def loss(x: Tensor, labels: Tensor) -> Any:
        return 3.0 * function.apply(x, labels)  # type: ignore[no-untyped-call]

    return loss


def _images() -> tuple[Tensor, Tensor]:
    return normal(2, 3, 5, 5), normal(4, 3, 3, 3, seed=1)


def _square_images() -> tuple[Tensor, Tensor]:
    return normal(2, 3, 5, 5), normal(3, 3, 3, 3, seed=1)


def _columns() -> tuple[Tensor, Tensor]:
    return normal(4, 3), normal(4, 1, seed=1)


def _matrix() -> tuple[Tensor]:
    return (normal(4, 3),)


def _classes() -> tuple[Tensor, Tensor]:
    return normal(4, 3), torch.tensor([0, 2, 1, 1])


PLANTS = (
    Plant("kernel_flipped", Conv, KernelFlipped, _images, ("w",)),
    Plant("kernel_not_flipped", Conv, KernelNotFlipped, _square_images, ("x",)),
    Plant("axes_permuted", Conv, AxesPermuted, _images, ("x",)),
    Plant("border_off_by_one", Conv, BorderOffByOne, _images, ("x",)),
    Plant("padding_shifted", Conv, PaddingShifted, _images, ("w",)),
    Plant("broadcast_not_summed", Scale, BroadcastNotSummed, _columns, ("y",)),
    Plant("broadcast_averaged", Scale, BroadcastAveraged, _columns, ("y",)),
    Plant("softmax_wrong_axis", Softmax, SoftmaxWrongAxis, _matrix, ("x",)),
    Plant("softmax_diagonal_only", Softmax, SoftmaxDiagonalOnly, _matrix, ("x",)),
    Plant("layernorm_variance_term", LayerNorm, LayerNormVarianceTermMissing, _matrix, ("x",)),
    Plant("layernorm_mean_term", LayerNorm, LayerNormMeanTermMissing, _matrix, ("x",)),
    Plant("batchnorm_constants", BatchNorm, BatchNormStatisticsConstant, _matrix, ("x",)),
    Plant("batchnorm_biased_variance", BatchNorm, BatchNormBiased, _matrix, ("x",)),
    Plant("gate_detached", Swish, GateDetached, _matrix, ("x",)),
    Plant("gelu_of_tanh", Gelu, GeluOfTanh, _matrix, ("x",)),
    Plant(
        "cotangent_ignored",
        weighted(CrossEntropy),
        weighted(CotangentIgnored),
        _classes,
        ("x",),
    ),
    Plant("batch_mean_missing", CrossEntropy, BatchMeanMissing, _classes, ("x",)),
)
