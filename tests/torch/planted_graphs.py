"""Bugs in how a graph is built: detached parts, hooks, checkpoints, operators, layouts of x."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.torch.planted_case import Plant, normal
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


def normalised(x: Tensor) -> Tensor:
    return x / x.square().sum().sqrt()


def normalised_by_a_constant(x: Tensor) -> Tensor:
    with torch.no_grad():
        size = x.square().sum().sqrt()
    return x / size


def scaled(x: Tensor) -> Tensor:
    return x.sin() / x.abs().max()


def scaled_by_a_number(x: Tensor) -> Tensor:
    return x.sin() / x.abs().max().item()


def gated(x: Tensor) -> Tensor:
    return x * x.tanh()


def gated_by_data(x: Tensor) -> Tensor:
    return x * x.data.tanh()


def exponential(x: Tensor) -> Tensor:
    return x.exp().cumsum(-1)


def exponential_by_numpy(x: Tensor) -> Tensor:
    """Half of it goes through NumPy, where there is no graph."""
    values = x.exp()
    found = values.detach().numpy().cumsum(-1)
    return values + torch.as_tensor(found) - values.detach()


class WithoutDerivative(Function):
    """Its second output is marked as not differentiable, though it changes with x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        square = x.square()
        ctx.mark_non_differentiable(square)
        return x.sin(), square

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g[0] * x.cos()


def sine_and_square(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.sin(), x.square()


def hooked(hook: Callable[[Tensor], Tensor | None]) -> Any:
    """A hook on an inner result sees its gradient, and may replace it."""

    def f(x: Tensor) -> Tensor:
        y = x.sin()
        if y.requires_grad:
            y.register_hook(hook)  # type: ignore[no-untyped-call]
        return y * y

    return f


def checkpointed(*, keeps_random_state: bool) -> Any:
    """Dropout that the backward computes again."""

    def dropout(x: Tensor) -> Tensor:
        return functional.dropout(x.sin(), 0.5)

    def f(x: Tensor) -> Any:
        return checkpoint(dropout, x, use_reentrant=False, preserve_rng_state=keeps_random_state)

    return f


def operator(name: str, backward: Callable[[Any, Tensor], Any]) -> Any:
    """A custom operator, whose inside torch does not see."""

    @torch.library.custom_op(f"gradproof_planted::{name}", mutates_args=())
    def cube(x: Tensor) -> Tensor:
        return x**3

    def keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    cube.register_autograd(backward, setup_context=keep)

    def f(x: Tensor) -> Any:
        return cube(x)

    return f


def cube_backward(ctx: Any, g: Tensor) -> Any:
    return 3 * g * ctx.saved_tensors[0].square()


def cube_exponent_kept(ctx: Any, g: Tensor) -> Any:
    return 3 * g * ctx.saved_tensors[0] ** 3


def _matrix() -> tuple[Tensor]:
    return (normal(3, 4),)


PLANTS = (
    Plant("no_grad_inside", normalised, normalised_by_a_constant, _matrix, ("x",)),
    Plant("number_instead_of_tensor", scaled, scaled_by_a_number, _matrix, ("x",)),
    Plant("data_instead_of_tensor", gated, gated_by_data, _matrix, ("x",)),
    Plant("numpy_inside", exponential, exponential_by_numpy, _matrix, ("x",)),
    Plant("marked_non_differentiable", sine_and_square, WithoutDerivative, _matrix, ("x",)),
    Plant(
        "hook_halves",
        hooked(lambda g: None),
        hooked(lambda g: g / 2),
        _matrix,
        ("x",),
    ),
    Plant(
        "checkpoint_with_other_dropout",
        checkpointed(keeps_random_state=True),
        checkpointed(keeps_random_state=False),
        _matrix,
        ("x",),
    ),
    Plant(
        "operator_exponent_kept",
        operator("right", cube_backward),
        operator("wrong", cube_exponent_kept),
        _matrix,
        ("x",),
    ),
)
