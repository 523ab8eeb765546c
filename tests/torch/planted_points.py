"""Bugs that show at some points alone: negative values, ties, zeros, large arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.torch.planted_case import Plant, leaf, normal
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

Formula = Callable[[Tensor], Tensor]


def elementwise(of: Formula, slope: Formula) -> type[Function]:
    """A Function of one tensor from its formula and the formula of its derivative."""

    class Elementwise(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return of(x)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return g * slope(ctx.saved_tensors[0])

    return Elementwise


def leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2)


def double_where(x: Tensor) -> Tensor:
    return torch.where(x > 0, torch.where(x > 0, x, 1.0).sqrt(), 0.0)


def double_where_slope(x: Tensor) -> Tensor:
    return torch.where(x > 0, 0.5 / torch.where(x > 0, x, 1.0).sqrt(), 0.0)


def single_where(x: Tensor) -> Tensor:
    return torch.where(x > 0, x.sqrt(), 0.0)


def logistic_slope_overflowing(x: Tensor) -> Tensor:
    return x.exp() / (1 + x.exp()).square()


class LogSumExp(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.logsumexp(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g[..., None] * x.softmax(-1)


class MaximumNotSubtracted(LogSumExp):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g[..., None] * x.exp() / x.exp().sum(-1, keepdim=True)


class RowMaximum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.amax(-1)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        wins = (x == y[..., None]).double()
        return g[..., None] * wins / wins.sum(-1, keepdim=True)


class EveryTieWins(RowMaximum):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g[..., None] * (x == y[..., None])


class NoTieWins(RowMaximum):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        wins = (x == y[..., None]).double()
        return g[..., None] * wins * (wins.sum(-1, keepdim=True) == 1)


class Product(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.prod()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        others = x.expand(len(x), -1).clone().fill_diagonal_(1.0)
        return g * others.prod(-1)


class ProductDivided(Product):
    """NaN where an entry is zero."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * x.prod() / x


class ProductZeroSkipped(Product):
    """Zero where an entry is zero, though the other entries' product is not."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return torch.where(x == 0, 0.0, Product.backward(ctx, g))


class Norm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square().sum(-1).sqrt()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        size = x.square().sum(-1, keepdim=True).sqrt()
        return g[..., None] * torch.where(size > 0, x / size.clamp(min=1e-300), 0.0)


class NormNotANumber(Norm):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g[..., None] * x / x.norm(dim=-1, keepdim=True)


class NormTooSteep(Norm):
    """At zero each entry is within its one-sided slopes, but all together are too steep."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        at_zero = x.norm(dim=-1, keepdim=True) == 0
        return torch.where(at_zero, 0.9 * g[..., None], Norm.backward(ctx, g))


class Sort(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y, order = x.sort()
        ctx.save_for_backward(order)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (order,) = ctx.saved_tensors
        return torch.zeros_like(g).scatter(-1, order, g)


class SortOrderNotInverted(Sort):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (order,) = ctx.saved_tensors
        return g.gather(-1, order)


def _matrix() -> tuple[Tensor]:
    return (normal(3, 4),)


def _large() -> tuple[Tensor]:
    return (leaf([[-900.0, 0.3, -1.0], [800.0, 799.0, 798.5]]),)


def _tied() -> tuple[Tensor]:
    return (leaf([[1.0, 3.0, 3.0], [2.0, 0.5, -1.0]]),)


def _with_a_zero() -> tuple[Tensor]:
    return (leaf([1.5, 0.0, -0.7, 2.0]),)


def _with_a_zero_row() -> tuple[Tensor]:
    return (leaf([[0.6, -0.8, 0.3], [0.0, 0.0, 0.0]]),)


RELU = elementwise(torch.relu, lambda x: (x > 0).double())
LEAKY = elementwise(leaky, lambda x: torch.where(x > 0, 1.0, 0.2).double())
ABS = elementwise(torch.abs, torch.sign)
CLAMP = elementwise(lambda x: x.clamp(-0.5, 0.5), lambda x: (x.abs() <= 0.5).double())
SOFTPLUS = elementwise(functional.softplus, torch.sigmoid)
LOGISTIC = elementwise(torch.sigmoid, lambda x: x.sigmoid() * (1 - x.sigmoid()))
ROOT = elementwise(double_where, double_where_slope)

PLANTS = (
    Plant(
        "relu_mask_shifted",
        RELU,
        elementwise(torch.relu, lambda x: (x > 0.2).double()),
        _matrix,
        ("x",),
    ),
    Plant(
        "relu_mask_of_everything",
        RELU,
        elementwise(torch.relu, torch.ones_like),
        _matrix,
        ("x",),
    ),
    Plant(
        "negative_slope_forgotten",
        LEAKY,
        elementwise(leaky, lambda x: (x > 0).double()),
        _matrix,
        ("x",),
    ),
    Plant(
        "sign_forgotten_below_zero",
        ABS,
        elementwise(torch.abs, torch.ones_like),
        _matrix,
        ("x",),
    ),
    Plant(
        "gradient_beyond_the_clamp",
        CLAMP,
        elementwise(lambda x: x.clamp(-0.5, 0.5), lambda x: (x <= 0.5).double()),
        _matrix,
        ("x",),
    ),
    Plant(
        "softplus_linear_too_early",
        SOFTPLUS,
        elementwise(functional.softplus, lambda x: torch.where(x > 1.0, 1.0, x.sigmoid())),
        _matrix,
        ("x",),
    ),
    Plant(
        "logistic_overflows",
        LOGISTIC,
        elementwise(torch.sigmoid, logistic_slope_overflowing),
        _large,
        ("x",),
    ),
    Plant(
        "single_where_in_backward",
        ROOT,
        elementwise(double_where, lambda x: (x > 0) * 0.5 / x.sqrt()),
        _matrix,
        ("x",),
    ),
    Plant("single_where", double_where, single_where, _matrix, ("x",)),
    Plant("maximum_not_subtracted", LogSumExp, MaximumNotSubtracted, _large, ("x",)),
    Plant("every_tie_wins", RowMaximum, EveryTieWins, _tied, ("x",)),
    Plant("no_tie_wins", RowMaximum, NoTieWins, _tied, ("x",)),
    Plant("product_divided_by_zero", Product, ProductDivided, _with_a_zero, ("x",)),
    Plant("product_zero_skipped", Product, ProductZeroSkipped, _with_a_zero, ("x",)),
    Plant("norm_not_a_number_at_zero", Norm, NormNotANumber, _with_a_zero_row, ("x",)),
    Plant("norm_too_steep_at_zero", Norm, NormTooSteep, _with_a_zero_row, ("x",)),
    Plant("sort_not_inverted", Sort, SortOrderNotInverted, lambda: (normal(5),), ("x",)),
)
