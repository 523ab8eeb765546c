"""Bugs and twins that need more than a function and an x."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tests.torch.planted_case import leaf, normal
from tests.torch.planted_conditions import Cube, ReadsMemoryInOrder
from tests.torch.planted_entries import Linear, Sine
from tests.torch.planted_operations import Multiply, NotConjugated
from torch import Tensor, nn
from torch.autograd import Function

import gradproof
from gradproof import Report

#: Every entry, whatever the default is.
check = partial(gradproof.check, coverage="full")

Backward = Callable[..., Any]


def with_backward(of: Callable[..., Tensor], backward: Backward) -> type[Function]:
    """A Function with `backward(cotangent, *arguments)`."""

    class Formed(Function):
        @staticmethod
        def forward(ctx: Any, *args: Tensor) -> Tensor:
            ctx.save_for_backward(*args)
            return of(*args)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return backward(g, *ctx.saved_tensors)

    return Formed


def kinds(report: Report) -> list[str]:
    return [f.kind for f in report.findings]


# -- precision -------------------------------------------------------------------------------------


def single_at_the_end(g: Tensor, x: Tensor) -> Tensor:
    return (g * x.cos()).float().double()


def single_matrix_product(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return (g.float() @ w.float().mT).double(), (x.float().mT @ g.float()).double()


def single_softmax(g: Tensor, x: Tensor) -> Tensor:
    y, g = x.float().softmax(-1), g.float()
    return (y * (g - (g * y).sum(-1, keepdim=True))).double()


@pytest.mark.parametrize(
    ("of", "backward", "x"),
    [
        pytest.param(torch.sin, single_at_the_end, (normal(3, 4),), id="result"),
        pytest.param(
            torch.matmul, single_matrix_product, (normal(5, 8), normal(8, 6)), id="matrix_product"
        ),
        pytest.param(lambda x: x.softmax(-1), single_softmax, (normal(5, 8),), id="softmax"),
    ],
)
def test_single_precision_inside_a_backward_passes_and_is_named(
    of: Callable[..., Tensor], backward: Backward, x: tuple[Tensor, ...]
) -> None:
    report = check(with_backward(of, backward), x)
    assert report.verdict == "pass", report.reason
    assert "precision" in kinds(report)


def test_wrong_in_single_precision_only_fails_where_it_is_not_promoted() -> None:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        return g * x.cos() * (2.0 if x.dtype == torch.float32 else 1.0)

    x = torch.linspace(0.5, 1.5, 4, requires_grad=True)
    wrong = with_backward(torch.sin, backward)
    assert check(wrong, x, promote=False).verdict == "fail"
    assert "single-precision" in kinds(check(wrong, x))


# -- rules for vmap --------------------------------------------------------------------------------


class Doubled(Sine):
    generate_vmap_rule = False

    @staticmethod
    def batch(y: Tensor) -> Tensor:
        return 2.0 * y

    @classmethod
    def vmap(cls, info: Any, in_dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        return cls.batch(x.movedim(in_dims[0], 0).sin()), 0


class SlightlyOff(Doubled):
    @staticmethod
    def batch(y: Tensor) -> Tensor:
        return 1.00005 * y


class OneEntryOff(Doubled):
    @staticmethod
    def batch(y: Tensor) -> Tensor:
        return y * (1.0 + 0.05 * (torch.arange(y.shape[-1]) == 17))


class LanesReversed(Doubled):
    @staticmethod
    def batch(y: Tensor) -> Tensor:
        return y.flip(0)


class LanesShiftedInLargeBatches(Doubled):
    @staticmethod
    def batch(y: Tensor) -> Tensor:
        return y.roll(1, 0) if len(y) > 16 else y


@pytest.mark.parametrize(
    "function",
    [Doubled, SlightlyOff, OneEntryOff, LanesReversed, LanesShiftedInLargeBatches],
    ids=lambda function: function.__name__,
)
def test_wrong_rule_for_vmap_does_not_touch_a_right_backward(function: type[Function]) -> None:
    report = check(function, (normal(256),))
    assert report.verdict == "pass", report.reason


def test_wrong_rule_for_vmap_does_not_hide_a_backward_wrong_alike() -> None:
    class WrongAlike(Doubled):
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return 2.0 * Sine.backward(ctx, g)

    assert check(WrongAlike, (normal(6),)).verdict == "fail"


# -- backwards that change from call to call -------------------------------------------------------


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
def test_random_backward_never_passes_and_is_named(size: float) -> None:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        return g * x.cos() * (1.0 + size * torch.randn_like(g))

    report = check(with_backward(torch.sin, backward), leaf([0.3, 0.7, 1.1]))
    assert report.verdict != "pass"
    assert "gradient-changes" in kinds(report)


@pytest.mark.parametrize("right", [1, 2])
def test_backward_that_is_right_for_some_calls_only_never_passes(right: int) -> None:
    calls = []

    def backward(g: Tensor, x: Tensor) -> Tensor:
        calls.append(1)
        return g * x.cos() * (1.0 if len(calls) <= right else 1.5)

    report = check(with_backward(torch.sin, backward), leaf([0.3, 0.7, 1.1]))
    assert report.verdict != "pass"
    assert len(calls) > right


# -- hooks, forward mode, layouts, complex numbers -------------------------------------------------


def test_hook_on_an_input_is_part_of_its_gradient() -> None:
    x = normal(4)
    assert check(torch.sin, x).verdict == "pass"
    x.register_hook(lambda g: 2.0 * g)  # type: ignore[no-untyped-call]
    assert check(torch.sin, x).verdict == "fail"


def test_hook_on_a_parameter_is_part_of_its_gradient() -> None:
    module = nn.Linear(3, 2)
    assert check(module, normal(4, 3).detach()).verdict == "pass"
    module.weight.register_hook(lambda g: 2.0 * g)  # type: ignore[no-untyped-call]
    report = check(module, normal(4, 3).detach())
    assert report.tensors["weight"].verdict == "fail"
    assert report.tensors["bias"].verdict == "pass"


def test_wrong_forward_mode_beside_a_right_backward_is_named() -> None:
    class WrongTangent(Sine):
        generate_vmap_rule = False

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def jvp(ctx: Any, tangent: Tensor) -> Tensor:
            return -tangent * ctx.saved_tensors[0].cos()  # type: ignore[no-any-return]

    report = check(WrongTangent, (normal(4),))
    assert report.tensors["x"].verdict == "pass"
    assert "forward-reverse" in kinds(report)


def test_expanded_leaf_is_checked_entry_by_entry() -> None:
    x = normal(1, 4).detach().expand(3, 4).requires_grad_()
    report = check(Cube, (x,))
    assert report.verdict == "pass", report.reason
    assert report.tensors["x"].checked == 12
    assert "expanded" in kinds(report)


def test_wrong_backward_of_an_expanded_leaf_fails() -> None:
    class Off(Cube):
        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return 1.01 * Cube.backward(ctx, g)

    x = normal(1, 4).detach().expand(3, 4).requires_grad_()
    assert check(Off, (x,)).verdict == "fail"


def test_every_second_column_keeps_its_strides() -> None:
    x = normal(3, 8).detach()[:, ::2].requires_grad_()
    assert check(Cube, (x,)).verdict == "pass"
    assert check(ReadsMemoryInOrder, (x,)).verdict == "fail"


def test_conjugation_missing_for_complex_leaves() -> None:
    def pair() -> tuple[Tensor, Tensor]:
        z = torch.view_as_complex(normal(3, 2).detach()).requires_grad_()
        w = torch.view_as_complex(normal(3, 2, seed=1).detach()).requires_grad_()
        return z, w

    assert check(Multiply, pair()).verdict == "pass"
    report = check(NotConjugated, pair())
    assert [report.tensors[n].verdict for n in ("x", "y")] == ["fail", "pass"]


# -- gradients given as callables ------------------------------------------------------------------


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return x @ w.mT + b


def by_hand(x: Tensor, w: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    return g @ w, g.mT @ x, g.sum(0)


def batch_forgotten(x: Tensor, w: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
    return g @ w, g.mT @ x, g[0]


def test_product_with_the_cotangent_given_as_a_callable() -> None:
    x = (normal(5, 4), normal(3, 4, seed=1), normal(3, seed=2))
    assert check(linear, x, by_hand).verdict == "pass"
    report = check(linear, x, batch_forgotten)
    assert [t.verdict for t in report.tensors.values()] == ["pass", "pass", "fail"]


def test_cotangent_given_by_the_caller_reaches_the_backward() -> None:
    x = (normal(5, 4), normal(3, 4, seed=1), normal(3, seed=2))
    cotangent = normal(5, 3, seed=4).detach()
    seen = []

    def hand(x: Tensor, w: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        seen.append(g.clone())
        return by_hand(x, w, b, g)

    assert check(linear, x, hand, cotangent=cotangent).verdict == "pass"
    assert torch.equal(seen[0], cotangent)


def test_gradient_of_a_module_given_by_names() -> None:
    module, x = nn.Linear(4, 3).double(), normal(5, 4).detach()
    value = module(x).square().sum()
    weight, bias = torch.autograd.grad(value, [module.weight, module.bias])
    loss = lambda y: y.square().sum()  # noqa: E731
    right = {"weight": weight, "bias": bias}
    assert check(module, x, right, loss=loss).verdict == "pass"
    wrong = {"weight": weight, "bias": 1.0001 * bias}
    report = check(module, x, wrong, loss=loss)
    assert {n: t.verdict for n, t in report.tensors.items()} == {"weight": "pass", "bias": "fail"}


def test_backward_of_one_function_claimed_for_another_fails() -> None:
    x = (normal(4, 4), normal(4, 4, seed=1), normal(4, seed=2))

    def of_the_transpose(x: Tensor, w: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        return by_hand(x, w.mT, b, g)

    assert check(Linear, x, of_the_transpose).verdict == "fail"
