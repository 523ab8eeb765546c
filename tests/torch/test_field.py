"""Where torch's own checkers are wrong: each test shows that first, and then gradproof's answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function, gradcheck, gradgradcheck
from torch.autograd.gradcheck import GradcheckError
from torch.nn import grad

import gradproof
from gradproof import Report

#: Every entry, whatever the default is.
check = partial(gradproof.check, coverage="full")

DOUBLE = torch.float64
#: gradcheck warns that it wants double precision, and is used without it all the same.
IN_SINGLE = pytest.mark.filterwarnings("ignore:Input #0 requires gradient and is not a double")

Formula = Callable[[Tensor], Tensor]
of_convolutions: Any = grad  # torch gives it no types


def with_backward(of: Formula, backward: Callable[[Tensor, Tensor], Tensor]) -> type[Function]:
    """A Function of one tensor with `backward(cotangent, x)`."""

    class Formed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return of(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return backward(g, ctx.saved_tensors[0])

    return Formed


def between(low: float, high: float, count: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.linspace(low, high, count, dtype=dtype, requires_grad=True)


def at(*values: float, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.tensor(values, dtype=dtype, requires_grad=True)


def gradcheck_passes(f: Any, x: Any, **options: Any) -> bool:
    is_function = isinstance(f, type) and issubclass(f, Function)
    return gradcheck(f.apply if is_function else f, x, **options)


def gradcheck_raises(f: Any, x: Any, match: str = "Jacobian mismatch", **options: Any) -> None:
    with pytest.raises(GradcheckError, match=match):
        gradcheck_passes(f, x, **options)


def passes(report: Report) -> bool:
    assert report.verdict == "pass", report.reason
    return True


def fails(report: Report) -> bool:
    assert report.verdict == "fail", report.reason
    return True


SINE = with_backward(torch.sin, lambda g, x: g * x.cos())

# -- gradcheck in full mode passes what is wrong ---------------------------------------------------


def test_zero_backward_where_the_true_gradients_are_9e_6() -> None:
    x = between(0.5, 1.5, 4)
    wrong = with_backward(lambda x: 9e-6 * x, lambda g, x: torch.zeros_like(x))
    assert gradcheck_passes(wrong, x)
    assert fails(check(wrong, x))
    assert passes(check(with_backward(lambda x: 9e-6 * x, lambda g, x: 9e-6 * g), x))


def test_scale_error_of_0_09_percent() -> None:
    x = between(0.5, 1.5, 4)
    wrong = with_backward(torch.sin, lambda g, x: 1.0009 * g * x.cos())
    assert gradcheck_passes(wrong, x)
    assert fails(check(wrong, x))
    assert passes(check(SINE, x))


class LinearFunction(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight.mT

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return g @ weight, g.mT @ x


class FiveTimes(LinearFunction):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        gx, gw = LinearFunction.backward(ctx, g)
        return gx, 5 * gw


class Layer(nn.Module):
    def __init__(self, function: type[Function]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(between(-1.0, 1.0, 12).detach().reshape(3, 4))

    def forward(self, x: Tensor) -> Any:
        return self.function.apply(x, self.weight)  # type: ignore[no-untyped-call]


def test_gradients_of_a_modules_weights_five_times_too_large() -> None:
    x = between(0.5, 1.5, 8).detach().reshape(2, 4).requires_grad_()
    wrong = Layer(FiveTimes)
    assert gradcheck_passes(wrong, x)
    report = check(wrong, x)
    assert fails(report)
    assert report.tensors["weight"].verdict == "fail"
    assert [t.verdict for n, t in report.tensors.items() if n != "weight"] == ["pass"]
    assert passes(check(Layer(LinearFunction), x))


def test_output_disconnected_from_the_input() -> None:
    def wrong(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), x.detach().cos()

    x = between(0.5, 1.5, 4)
    assert gradcheck_passes(wrong, x)
    report = check(wrong, x)
    assert fails(report)
    assert any(f.severity == "bug" for f in report.findings), report.findings
    assert passes(check(lambda x: (x.sin(), x.cos()), x))


def test_output_that_does_not_change_may_be_disconnected() -> None:
    def right(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), torch.ones(3, dtype=DOUBLE)

    assert passes(check(right, between(0.5, 1.5, 4)))


def test_gradgradcheck_does_not_see_a_wrong_first_derivative() -> None:
    x = between(0.5, 1.5, 4)
    wrong = with_backward(torch.sin, lambda g, x: 5 * g * x.cos())
    assert gradgradcheck(wrong.apply, x)
    assert fails(check(wrong, x))


# -- gradcheck in full mode raises on what is right ------------------------------------------------


@pytest.mark.parametrize(
    ("f", "point"),
    [
        pytest.param(torch.log, 1e-5, id="log_at_1e-5"),
        pytest.param(torch.sqrt, 1e-6, id="sqrt_at_1e-6"),
        pytest.param(torch.abs, 1e-7, id="abs_at_1e-7"),
        pytest.param(lambda x: 1.0 * x, 1e11, id="identity_at_1e11"),
        pytest.param(lambda x: x.sin() + 1e8, 1.0, id="sine_plus_1e8"),
    ],
)
def test_correct_function_at_an_awkward_point(f: Formula, point: float) -> None:
    gradcheck_raises(f, at(point))
    report = check(f, at(point))
    assert passes(report)
    assert report.tensors["x"].counts["match"] == 1


@pytest.mark.parametrize(
    ("f", "point"),
    [
        pytest.param(torch.log, 1e-5, id="log_at_1e-5"),
        pytest.param(torch.sqrt, 1e-6, id="sqrt_at_1e-6"),
        pytest.param(torch.abs, 1e-7, id="abs_at_1e-7"),
        pytest.param(lambda x: 1.0 * x, 1e11, id="identity_at_1e11"),
        pytest.param(lambda x: x.sin() + 1e8, 1.0, id="sine_plus_1e8"),
    ],
)
def test_error_of_one_percent_at_an_awkward_point(f: Formula, point: float) -> None:
    def slope(g: Tensor, x: Tensor) -> Tensor:
        with torch.enable_grad():
            inner = x.detach().requires_grad_()
            return 1.01 * torch.autograd.grad(f(inner), inner, g)[0]

    assert fails(check(with_backward(f, slope), at(point)))


@IN_SINGLE
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_correct_function_of_low_precision_passes_once_promoted(dtype: torch.dtype) -> None:
    x = between(0.5, 1.5, 4, dtype)
    gradcheck_raises(torch.sin, x)
    assert passes(check(torch.sin, x))
    assert x.dtype == dtype


@IN_SINGLE
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_correct_function_of_low_precision_never_fails_in_its_own(dtype: torch.dtype) -> None:
    x = between(0.5, 1.5, 4, dtype)
    gradcheck_raises(torch.sin, x)
    report = check(torch.sin, x, promote=False)
    assert report.verdict in ("pass", "inconclusive")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_wrong_function_of_low_precision_fails(dtype: torch.dtype) -> None:
    x = between(0.5, 1.5, 4, dtype)
    wrong = with_backward(torch.sin, lambda g, x: -g * x.cos())
    assert fails(check(wrong, x))
    assert fails(check(wrong, x, promote=False))


def test_relu_at_zero() -> None:
    gradcheck_raises(torch.relu, at(0.0))
    report = check(torch.relu, at(0.0))
    assert passes(report)
    assert report.tensors["x"].counts["kink"] == 1


def test_slope_outside_of_the_two_sides_of_relu_at_zero() -> None:
    wrong = with_backward(torch.relu, lambda g, x: g * torch.where(x == 0, 1.5, (x > 0).double()))
    assert fails(check(wrong, at(0.0)))


def test_three_ties_in_amax() -> None:
    x = at(3.0, 3.0, 1.0, 3.0)
    gradcheck_raises(torch.amax, x)
    report = check(torch.amax, x)
    assert passes(report)
    assert report.tensors["x"].counts["kink"] == 3


def test_ties_that_all_win() -> None:
    wrong = with_backward(torch.amax, lambda g, x: g * (x == x.amax()))
    assert fails(check(wrong, at(3.0, 3.0, 1.0, 3.0)))


def test_dropout_is_no_jacobian_mismatch() -> None:
    x = between(1.0, 2.0, 40)
    gradcheck_raises(nn.Dropout(0.5), x)
    assert passes(check(nn.Dropout(0.5), x))


def test_randomness_that_no_seed_reaches_is_named() -> None:
    calls = iter(range(1, 10**6))

    def f(x: Tensor) -> Tensor:
        return x.sin() * (1.0 + 0.1 * (next(calls) * 0.618 % 1.0))

    x = between(0.5, 1.5, 4)
    gradcheck_raises(f, x)
    report = check(f, x)
    assert report.verdict == "inconclusive"
    assert "nondeterministic" in [f.kind for f in report.findings]


# -- what gradcheck says and leaves behind ---------------------------------------------------------


class Convolution(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return nn.functional.conv2d(x, weight)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        gw = of_convolutions.conv2d_weight(x, weight.shape, g)
        gw[5, 1, 2, 0] *= 1.05
        return of_convolutions.conv2d_input(x.shape, weight, g), gw


def test_one_wrong_weight_of_216_is_named_by_its_index() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 3, 4, 4, dtype=DOUBLE, generator=generator)
    weight = torch.randn(8, 3, 3, 3, dtype=DOUBLE, generator=generator).requires_grad_()
    with pytest.raises(GradcheckError) as caught:
        gradcheck_passes(Convolution, (x, weight))
    printed = str(caught.value).replace("analytical:", "numerical:").split("numerical:")[1:]
    assert len(printed) == 2
    assert "5, 1, 2, 0" not in str(caught.value)

    report = check(Convolution, (x, weight))
    assert fails(report)
    assert report.tensors["weight"].counts["mismatch"] == 1
    assert report.tensors["weight"].worst is not None
    assert report.tensors["weight"].worst.name == "weight[5, 1, 2, 0]"
    assert "weight[5, 1, 2, 0]" in str(report)


@dataclass
class Pair:
    """Two tensors, one of them in a list."""

    one: Tensor
    many: list[Tensor]


def test_dicts_as_inputs() -> None:
    def f(x: dict[str, Tensor]) -> Tensor:
        return x["a"].sin() * x["b"]

    x = {"a": between(0.5, 1.5, 4), "b": between(1.0, 2.0, 4)}
    with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
        gradcheck_passes(f, (x,))
    report = check(f, x)
    assert passes(report)
    assert set(report.tensors) == {"a", "b"}


def test_nested_inputs() -> None:
    def f(x: Pair) -> Tensor:
        return x.one.sin() * x.many[0]

    x = Pair(between(0.5, 1.5, 4), [between(1.0, 2.0, 4)])
    with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
        gradcheck_passes(f, (x,))
    report = check(f, x)
    assert passes(report)
    assert set(report.tensors) == {"one", "many.0"}


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "dict": lambda y: {"a": y, "b": 2 * y},
    "nested_tuple": lambda y: (y, (3 * y,)),
    "none": lambda y: (y, None),
    "integer": lambda y: (y, 3),
    "dataclass": lambda y: Pair(y, [y * y]),
}


@pytest.mark.parametrize("wrap", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_outputs_of_other_kinds_than_tensors(wrap: Callable[[Tensor], Any]) -> None:
    x = between(0.5, 1.5, 4)
    with pytest.raises((AttributeError, IndexError, ValueError)):
        gradcheck_passes(lambda x: wrap(x.sin()), x)
    assert passes(check(lambda x: wrap(x.sin()), x))

    wrong: Any = with_backward(torch.sin, lambda g, x: 2 * g * x.cos())
    assert fails(check(lambda x: wrap(wrong.apply(x)), x))


def test_integer_tensors_among_the_outputs_are_left_alone() -> None:
    x = between(0.5, 1.5, 4)
    assert passes(check(lambda x: (x.sin(), x.argmax(), x > 1), x))


@pytest.mark.parametrize("call", [1, 4, 20])
def test_input_is_as_it_was_after_f_raises(call: int) -> None:
    x = between(0.5, 1.5, 4)
    before = x.detach().clone()
    calls = iter(range(1, 10**6))

    def f(x: Tensor) -> Tensor:
        if next(calls) >= call:
            raise RuntimeError("out of order")
        return x.sin()

    with pytest.raises(RuntimeError, match="out of order"):
        check(f, x)
    assert torch.equal(x, before)
    assert x.grad is None

    if call == 4:
        calls = iter(range(1, 10**6))
        with pytest.raises(RuntimeError, match="out of order"):
            gradcheck_passes(f, x)
        assert not torch.equal(x, before)


def test_running_statistics_of_batchnorm_are_unaltered() -> None:
    x = torch.randn(5, 2, dtype=DOUBLE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    touched = nn.BatchNorm1d(2).double()
    assert gradcheck_passes(touched, x)
    assert touched.num_batches_tracked != 0

    module = nn.BatchNorm1d(2)
    before = {name: b.clone() for name, b in module.state_dict().items()}
    assert passes(check(module, x))
    after = module.state_dict()
    assert all(torch.equal(after[name], b) for name, b in before.items())
    assert module.training


# -- gradcheck in fast mode passes what is wrong ---------------------------------------------------


def zeroed(g: Tensor, x: Tensor) -> Tensor:
    return g * x.cos() * (torch.arange(len(x)) != len(x) // 2)


def flipped(g: Tensor, x: Tensor) -> Tensor:
    return g * x.cos() * (1.0 - 2.0 * (torch.arange(len(x)) == len(x) // 2))


@pytest.mark.parametrize("count", [300, 1000])
@pytest.mark.parametrize("backward", [zeroed, flipped])
def test_one_wrong_element_of_hundreds(backward: Any, count: int) -> None:
    x = between(0.1, 1.2, count)
    wrong = with_backward(torch.sin, backward)
    assert gradcheck_passes(wrong, x, fast_mode=True)
    report = check(wrong, x)
    assert fails(report)
    assert report.tensors["x"].counts["mismatch"] == 1
    assert report.tensors["x"].worst is not None
    assert report.tensors["x"].worst.index == (count // 2,)
    assert passes(check(SINE, x))


def test_all_zero_gradient_of_the_identity_of_100_000() -> None:
    x = between(0.1, 1.2, 100_000)
    wrong = with_backward(lambda x: 1.0 * x, lambda g, x: torch.zeros_like(x))
    assert gradcheck_passes(wrong, x, fast_mode=True)
    assert fails(check(wrong, x, coverage="sample"))
    right = with_backward(lambda x: 1.0 * x, lambda g, x: 1.0 * g)
    assert passes(check(right, x, coverage="sample"))


def test_all_zero_gradient_of_a_mean_square_of_20_000() -> None:
    x = torch.randn(20_000, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    wrong = with_backward(lambda x: x.square().mean(), lambda g, x: torch.zeros_like(x))
    assert gradcheck_passes(wrong, x, fast_mode=True)
    assert fails(check(wrong, x, coverage="sample"))
    right = with_backward(lambda x: x.square().mean(), lambda g, x: 2 * g * x / len(x))
    assert passes(check(right, x, coverage="sample"))


def test_all_zero_gradient_of_thousands_of_numbers_is_wrong_in_every_entry() -> None:
    x = between(0.1, 1.2, 2000)
    wrong = with_backward(lambda x: 1.0 * x, lambda g, x: torch.zeros_like(x))
    report = check(wrong, x)
    assert fails(report)
    assert report.tensors["x"].counts["mismatch"] == 2000


def test_one_zeroed_element_that_was_not_drawn_contradicts_the_sample() -> None:
    x = between(0.1, 1.2, 1000)
    wrong = with_backward(torch.sin, zeroed)
    assert gradcheck_passes(wrong, x, fast_mode=True)
    assert fails(check(wrong, x, coverage="sample", samples=5))
