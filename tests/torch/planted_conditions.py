"""Bugs that show under some conditions alone: random masks, memory layouts, batches, old caches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tests.torch.planted_case import Plant, normal
from torch import Tensor
from torch.autograd import Function


class Dropout(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        kept = torch.rand_like(x) < 0.75
        ctx.save_for_backward(kept)
        return x * kept / 0.75

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return g * kept / 0.75


class MaskDrawnAnew(Dropout):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g * (torch.rand_like(g) < 0.75) / 0.75


class WrongKeepProbability(Dropout):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return g * kept / 0.25


class ScaleMissing(Dropout):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (kept,) = ctx.saved_tensors
        return g * kept


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * g * x.square()


class SavedInputOverwritten(Cube):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        with torch.no_grad():
            return 3 * g * x.mul_(1.01).square()


class ReadsMemoryInOrder(Cube):
    """Reads the saved tensor as if it were contiguous."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        in_memory = torch.as_strided(x, (x.numel(),), (1,)).reshape(x.shape)
        return 3 * g * in_memory.square()


class ReadsCotangentInOrder(Cube):
    """Reads the cotangent as if it were contiguous."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        in_memory = torch.as_strided(g, (g.numel(),), (1,)).reshape(g.shape)
        return 3 * in_memory * x.square()


class WrongIfCotangentIsExpanded(Cube):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        factor = 2.0 if 0 in g.stride() else 1.0
        return factor * Cube.backward(ctx, g)


class WrongForABatch(Cube):
    """Right for one row, and divided by the batch once too often for more."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return Cube.backward(ctx, g) / len(g)


def cube_of(function: type[Function], view: Callable[[Tensor], Tensor]) -> Any:
    """The cube of a view, taken inside f."""

    def viewed(x: Tensor) -> Any:
        return function.apply(view(x))  # type: ignore[no-untyped-call]

    return viewed


def then_transposed(function: type[Function]) -> Any:
    """A transposition after the Function: its cotangent is not contiguous."""

    def transposed(x: Tensor, w: Tensor) -> Any:
        return function.apply(x).mT * w  # type: ignore[no-untyped-call]

    return transposed


def stale() -> Any:
    """A cache that keeps what the first call put into it."""
    cache: dict[str, Tensor] = {}

    class Stale(Cube):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            cache.setdefault("x", x.detach().clone())
            return Cube.forward(ctx, x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return 3 * g * cache["x"].square()

    Stale.apply(normal(3, 4, seed=9))  # type: ignore[no-untyped-call]
    return Stale


def _matrix() -> tuple[Tensor]:
    return (normal(3, 4),)


def _transposed() -> tuple[Tensor]:
    return (normal(4, 3).detach().mT.requires_grad_(),)


def _square() -> tuple[Tensor, Tensor]:
    return normal(4, 4), normal(4, 4, seed=1)


def _transposing(x: Tensor) -> Tensor:
    return x.mT


def _expanding(x: Tensor) -> Tensor:
    return x[:1].expand(3, 4)


PLANTS = (
    Plant("dropout_mask_drawn_anew", Dropout, MaskDrawnAnew, _matrix, ("x",)),
    Plant("dropout_wrong_keep_probability", Dropout, WrongKeepProbability, _matrix, ("x",)),
    Plant("dropout_scale_missing", Dropout, ScaleMissing, _matrix, ("x",)),
    Plant("saved_input_overwritten", Cube, SavedInputOverwritten, _matrix, ("x",)),
    Plant("stale_cache", Cube, stale(), _matrix, ("x",)),
    Plant("wrong_if_not_contiguous", Cube, ReadsMemoryInOrder, _transposed, ("x",)),
    Plant(
        "wrong_if_a_view_is_not_contiguous",
        cube_of(Cube, _transposing),
        cube_of(ReadsMemoryInOrder, _transposing),
        _matrix,
        ("x",),
    ),
    Plant(
        "wrong_if_expanded",
        cube_of(Cube, _expanding),
        cube_of(ReadsMemoryInOrder, _expanding),
        _matrix,
        ("x",),
    ),
    Plant(
        "wrong_if_the_cotangent_is_not_contiguous",
        then_transposed(Cube),
        then_transposed(ReadsCotangentInOrder),
        _square,
        ("x",),
    ),
    Plant(
        "wrong_if_the_cotangent_is_expanded",
        Cube,
        WrongIfCotangentIsExpanded,
        _matrix,
        ("x",),
        torch.sum,
    ),
    Plant("wrong_for_a_batch", Cube, WrongForABatch, _matrix, ("x",)),
)
