"""Bugs in the backward of a linear layer: signs, factors, axes, rows, and single entries."""

from __future__ import annotations

from typing import Any

import torch
from tests.torch.planted_case import Plant, normal
from torch import Tensor
from torch.autograd import Function


class Linear(Function):
    """Old style: no rule for vmap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.mT + b

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g @ w, g.mT @ x, g.sum(0)


class SignFlipped(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        return gx, -gw, gb


class Doubled(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        return gx + gx, gw, gb


class Halved(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        return gx, gw, gb / 2


class DividedByBatch(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        return gx, gw / len(g), gb / len(g)


class BiasNotSummed(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, _ = Linear.backward(ctx, g)
        return gx, gw, g[0]


class Transposed(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        return gx, gw.mT, gb


class InputsSwapped(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        return gw, gx, gb


class NoneForWeight(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, _, gb = Linear.backward(ctx, g)
        return gx, None, gb


class RowZeroed(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        gw[-1] = 0.0
        return gx, gw, gb


class ColumnZeroed(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        gx[:, 0] = 0.0
        return gx, gw, gb


class ElementZeroed(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        gw[1, 2] = 0.0
        return gx, gw, gb


class ElementOffByTenThousandth(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        gw[1, 2] *= 1.0001
        return gx, gw, gb


class OnlyFirstSample(Linear):
    """Right for a batch of one."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return g @ w, torch.outer(g[0], x[0]), g.sum(0)


class LastTileForgotten(Linear):
    """A kernel that works in tiles of two rows and forgets the remainder."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        whole = len(g) // 2 * 2
        return g @ w, g[:whole].mT @ x[:whole], g.sum(0)


class WrongWhenWeightIsFrozen(Linear):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw, gb = Linear.backward(ctx, g)
        if not ctx.needs_input_grad[1]:
            return gx / 3, None, gb
        return gx, gw, gb


class CotangentOverwritten(Linear):
    """Right by itself; whoever shares the cotangent gets what is left of it."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gradients = Linear.backward(ctx, g)
        g.mul_(0.5)
        return gradients


def with_skip(function: type[Function]) -> Any:
    def skip(x: Tensor, w: Tensor, b: Tensor) -> Any:
        # The skip comes first: its gradient is the cotangent itself, shared with the layer.
        return x + function.apply(x, w, b)  # type: ignore[no-untyped-call]

    return skip


class Sine(Function):
    """New style, with a rule for vmap that torch writes itself."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.sin()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.cos()


class OneOfAThousandOff(Sine):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx = Sine.backward(ctx, g)
        return gx * (1.0 + 1e-4 * (torch.arange(gx.numel()) == 617))


class CrossTalk(Sine):
    """One entry of a thousand gets a little of its neighbour's gradient."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx = Sine.backward(ctx, g)
        return gx + 1e-3 * gx.roll(1) * (torch.arange(gx.numel()) == 404)


class SmallestZeroed(Sine):
    """Entries whose gradient is small against the others' are lost."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx = Sine.backward(ctx, g)
        return torch.where(gx.abs() < 1e-3 * gx.abs().max(), 0.0, gx)


class WrongAboveOneInput(Sine):
    """A clipped gradient: right as long as it is small."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return Sine.backward(ctx, g).clamp(-0.9, 0.9)


class CastToHalf(Sine):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return Sine.backward(ctx, g).half().double()


class CastToBfloat(Sine):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.bfloat16().cos().double()


def _layer(batch: int = 5, inputs: int = 4, outputs: int = 3) -> Any:
    return lambda: (normal(batch, inputs), normal(outputs, inputs, seed=1), normal(outputs, seed=2))


def _square() -> tuple[Tensor, Tensor, Tensor]:
    return normal(4, 4), normal(4, 4, seed=1), normal(4, seed=2)


def _frozen() -> tuple[Tensor, Tensor, Tensor]:
    x, w, b = _square()
    return x, w.detach(), b


def _thousand() -> tuple[Tensor]:
    return (normal(1000),)


def _of_many_sizes() -> tuple[Tensor]:
    """Points near the crests of the sine, where its slope is 1e-1 to 1e-5."""
    return ((torch.pi / 2 + torch.logspace(-5, 0, 30, dtype=torch.float64)).requires_grad_(),)


PLANTS = (
    Plant("sign_flipped", Linear, SignFlipped, _layer(), ("w",)),
    Plant("doubled", Linear, Doubled, _layer(), ("x",)),
    Plant("halved", Linear, Halved, _layer(), ("b",)),
    Plant("divided_by_batch", Linear, DividedByBatch, _layer(), ("w", "b")),
    Plant("bias_not_summed", Linear, BiasNotSummed, _layer(), ("b",)),
    Plant("transposed", Linear, Transposed, _square, ("w",)),
    Plant("inputs_swapped", Linear, InputsSwapped, _square, ("x", "w")),
    Plant("none_for_a_gradient", Linear, NoneForWeight, _layer(), ("w",)),
    Plant("row_zeroed", Linear, RowZeroed, _layer(), ("w",)),
    Plant("column_zeroed", Linear, ColumnZeroed, _layer(), ("x",)),
    Plant("element_zeroed", Linear, ElementZeroed, _layer(), ("w",)),
    Plant("element_off_by_1e-4", Linear, ElementOffByTenThousandth, _layer(), ("w",)),
    Plant("only_first_sample", Linear, OnlyFirstSample, _layer(), ("w",)),
    Plant("last_tile_forgotten", Linear, LastTileForgotten, _layer(), ("w",)),
    Plant("wrong_when_weight_is_frozen", Linear, WrongWhenWeightIsFrozen, _frozen, ("x",)),
    Plant(
        "cotangent_overwritten",
        with_skip(Linear),
        with_skip(CotangentOverwritten),
        _square,
        ("x",),
    ),
    Plant("one_of_a_thousand_off_by_1e-4", Sine, OneOfAThousandOff, _thousand, ("x",)),
    Plant("cross_talk", Sine, CrossTalk, _thousand, ("x",)),
    Plant("smallest_zeroed", Sine, SmallestZeroed, _of_many_sizes, ("x",)),
    Plant("gradient_clipped", Sine, WrongAboveOneInput, lambda: (normal(3, 4),), ("x",)),
    Plant("cast_to_float16", Sine, CastToHalf, lambda: (normal(3, 4),), ("x",)),
    Plant("cast_to_bfloat16", Sine, CastToBfloat, lambda: (normal(3, 4),), ("x",)),
)
