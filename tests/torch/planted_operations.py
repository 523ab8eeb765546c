"""Bugs that belong to an operation: products, gathers, scans, recurrences, attention, pools."""

from __future__ import annotations

from typing import Any

import torch
from tests.torch.planted_case import Plant, leaf, normal
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional


class Multiply(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Tensor:
        return x * y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y.conj(), g * x.conj()


class NotConjugated(Multiply):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return g * y, g * x.conj()


def of_pairs(function: type[Function]) -> Any:
    """Complex numbers given as pairs of real ones."""

    def product(x: Tensor, y: Tensor) -> Tensor:
        pair = torch.view_as_complex(x), torch.view_as_complex(y)
        return torch.view_as_real(function.apply(*pair))  # type: ignore[no-untyped-call]

    return product


class Gather(Function):
    """Rows of a table, some of them twice."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.shape = table.shape
        return table[rows]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (rows,) = ctx.saved_tensors
        return g.new_zeros(ctx.shape).index_add(0, rows, g), None


class RepeatedRowsOverwritten(Gather):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (rows,) = ctx.saved_tensors
        table = g.new_zeros(ctx.shape)
        for row, cotangent in zip(rows.tolist(), g, strict=True):
            table[row] = cotangent
        return table, None


class AccumulatedTwice(Gather):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gradient, _ = Gather.backward(ctx, g)
        return gradient.index_add(0, ctx.saved_tensors[0], g), None


class CumulativeSum(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.cumsum(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.flip(-1).cumsum(-1).flip(-1)


class SumNotReversed(CumulativeSum):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return g.cumsum(-1)


class Inverse(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.inverse()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return -y.mT @ g @ y.mT


class InverseNotTransposed(Inverse):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return -y @ g @ y


class Recurrence(Function):
    """h <- tanh(w h), six times over."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, h: Tensor, steps: int) -> Tensor:
        states = [h]
        for _ in range(steps):
            states.append((w @ states[-1]).tanh())
        ctx.save_for_backward(w, *states)
        return states[-1]

    @staticmethod
    def backward(ctx: Any, g: Tensor, oldest: int = 0) -> Any:
        w, *states = ctx.saved_tensors
        gw = torch.zeros_like(w)
        for k in reversed(range(oldest, len(states) - 1)):
            g = g * (1 - states[k + 1].square())
            gw += torch.outer(g, states[k])
            g = w.mT @ g
        return gw, g, None


class TimeTruncated(Recurrence):
    @staticmethod
    def backward(ctx: Any, g: Tensor, oldest: int = 0) -> Any:
        return Recurrence.backward(ctx, g, 4)


class Attention(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights: Tensor = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        q, k, v, weights = ctx.saved_tensors
        of_weights = g @ v.mT
        inner = (of_weights * weights).sum(-1, keepdim=True)
        scores = weights * (of_weights - inner) / q.shape[-1] ** 0.5
        return scores @ k, scores.mT @ q, weights.mT @ g


class ScaleForgotten(Attention):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gq, gk, gv = Attention.backward(ctx, g)
        return gq, gk * ctx.saved_tensors[0].shape[-1] ** 0.5, gv


class MinimumAndMaximum(Function):
    """Two outputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x.argmin(), x.argmax())
        ctx.count = len(x)
        return x.min(), x.max()

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        least, most = (functional.one_hot(i, ctx.count) for i in ctx.saved_tensors)
        return g[0] * least + g[1] * most


class CotangentsSwapped(MinimumAndMaximum):
    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        return MinimumAndMaximum.backward(ctx, g[1], g[0])


class SecondOutputIgnored(MinimumAndMaximum):
    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        return MinimumAndMaximum.backward(ctx, g[0], torch.zeros_like(g[1]))


class AveragePool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Means of three neighbours; two at the border."""
        ctx.length = x.shape[-1]
        return functional.avg_pool1d(x, 3, 1, 1, count_include_pad=False)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        counts = g.new_full((ctx.length,), 3.0)
        counts[[0, -1]] = 2.0
        padded = functional.pad(g / counts, (1, 1))
        return padded.unfold(-1, 3, 1).sum(-1)


class BorderCountsAsInner(AveragePool):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return functional.pad(g / 3.0, (1, 1)).unfold(-1, 3, 1).sum(-1)


def _matrix() -> tuple[Tensor]:
    return (normal(4, 3),)


def _pairs() -> tuple[Tensor, Tensor]:
    return normal(3, 2), normal(3, 2, seed=1)


def _table() -> tuple[Tensor, Tensor]:
    return normal(4, 3), torch.tensor([2, 0, 2, 3, 3, 3])


def _invertible() -> tuple[Tensor]:
    return (leaf(torch.eye(3) * 3 + normal(3, 3).detach()),)


def _states() -> tuple[Tensor, Tensor, int]:
    return normal(4, 4), normal(4, seed=1), 6


def _heads() -> tuple[Tensor, ...]:
    return tuple(normal(2, 5, 4, seed=seed) for seed in range(3))


PLANTS = (
    Plant("not_conjugated", of_pairs(Multiply), of_pairs(NotConjugated), _pairs, ("x",)),
    Plant("repeated_rows_overwritten", Gather, RepeatedRowsOverwritten, _table, ("table",)),
    Plant("accumulated_twice", Gather, AccumulatedTwice, _table, ("table",)),
    Plant("cumulative_sum_not_reversed", CumulativeSum, SumNotReversed, _matrix, ("x",)),
    Plant("inverse_not_transposed", Inverse, InverseNotTransposed, _invertible, ("x",)),
    Plant("time_truncated", Recurrence, TimeTruncated, _states, ("w", "h")),
    Plant("attention_scale_forgotten", Attention, ScaleForgotten, _heads, ("k",)),
    Plant(
        "cotangents_swapped",
        MinimumAndMaximum,
        CotangentsSwapped,
        lambda: (normal(5),),
        ("x",),
    ),
    Plant(
        "second_output_ignored",
        MinimumAndMaximum,
        SecondOutputIgnored,
        lambda: (normal(5),),
        ("x",),
    ),
    Plant(
        "border_counts_as_inner",
        AveragePool,
        BorderCountsAsInner,
        lambda: (normal(2, 6),),
        ("x",),
    ),
)
