"""Right gradients where they are hard to tell from rounding; none of them may fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from tests.torch.planted_case import leaf
from torch import Tensor
from torch.nn import functional

import gradproof

#: Every entry, whatever the default is.
check = partial(gradproof.check, coverage="full")

Formula = Callable[[Tensor], Tensor]


def cross_entropy(x: Tensor) -> Tensor:
    return functional.cross_entropy(x[None], torch.tensor([0]))


def first_probability(x: Tensor) -> Tensor:
    return x.softmax(0)[0]


SATURATING: dict[str, Formula] = {
    "softmax": lambda x: x.softmax(0),
    "first_probability": first_probability,
    "log_softmax": lambda x: x.log_softmax(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "cross_entropy": cross_entropy,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": functional.softplus,
}
each_saturating = pytest.mark.parametrize("f", SATURATING.values(), ids=SATURATING.keys())


@each_saturating
@pytest.mark.parametrize("logit", [-10.0, -20.0])
def test_nearly_saturated_function_passes(f: Formula, logit: float) -> None:
    report = check(f, leaf([0.0, logit, logit - 1.0]))
    assert report.verdict == "pass", report.reason


@each_saturating
@pytest.mark.parametrize("logit", [-30.0, -40.0, -100.0, -700.0])
def test_saturated_function_does_not_fail(f: Formula, logit: float) -> None:
    report = check(f, leaf([0.0, logit, logit - 1.0]))
    assert report.verdict != "fail", report.reason


@each_saturating
def test_gradient_twice_too_large_fails_as_long_as_it_can_be_seen(f: Formula) -> None:
    def doubled(x: Tensor) -> Tensor:
        y = f(x)
        return 2.0 * y - y.detach()

    report = check(doubled, leaf([0.0, -10.0, -11.0]))
    assert report.verdict == "fail", report.reason


@pytest.mark.parametrize("f", [torch.round, torch.floor, torch.ceil, torch.trunc, torch.sign])
@pytest.mark.parametrize(
    "x",
    [
        pytest.param([0.3, 1.2, -0.7, 2.4], id="between_jumps"),
        pytest.param([-30.3, 8.2, 1e3 + 0.3, 1e5 + 0.2], id="large"),
    ],
)
def test_steps_are_flat(f: Formula, x: list[float]) -> None:
    report = check(f, leaf(x))
    assert report.verdict == "pass", report.reason


@pytest.mark.parametrize("f", [torch.round, torch.floor, torch.ceil, torch.trunc, torch.sign])
@pytest.mark.parametrize(
    "x",
    [
        pytest.param([0.3, 1.2, -0.7, 2.4], id="between_jumps"),
        pytest.param([-30.3, 8.2, 1e3 + 0.3, 1e5 + 0.2], id="large"),
    ],
)
def test_steps_with_a_gradient_passed_straight_through_fail(f: Formula, x: list[float]) -> None:
    def straight(x: Tensor) -> Tensor:
        return x + (f(x) - x).detach()

    report = check(straight, leaf(x))
    assert report.verdict == "fail", report.reason


def test_rounding_of_integers_is_flat() -> None:
    report = check(torch.round, leaf([-30.0, -8.0, 8.0, 30.0, 5.0]))
    assert report.verdict == "pass", report.reason


@pytest.mark.parametrize("scale", [1.0, 1e2, 1e4, 1e8])
def test_remainder_has_slope_one_between_its_jumps(scale: float) -> None:
    x = leaf([scale, -1.3 * scale, 0.7 * scale])
    report = check(lambda x: torch.fmod(x, 0.61), x)
    assert report.verdict in (("pass",) if scale < 1e8 else ("pass", "inconclusive"))


def test_gradient_of_sinc_next_to_zero_is_wrong_in_torch() -> None:
    """Seen with torch 2.13: cancellation costs it a third of its value."""
    x = leaf(1e-8)
    (analytic,) = torch.autograd.grad(torch.sinc(x), x)
    slope = -(torch.pi**2) * 1e-8 / 3.0
    is_right = abs(float(analytic) - slope) < 1e-6 * abs(slope)
    # Two ways to the truth: torch is put right one day, and gradproof is right on either.
    assert (check(torch.sinc, x).verdict == "pass") == is_right
