"""A gradient that the caller claims, in every form that it can have."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.autograd import Function as AutogradFunction

import gradproof
from gradproof import InputError, Report


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


def verdict(f: Any, x: Any, grad: Any = None, **options: Any) -> str:
    return check(f, x, grad, **options).verdict


def refusal(f: Any, x: Any, grad: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(f, x, grad, **options)
    return str(caught.value)


X, Y = normal(3).detach(), normal(3, seed=1).detach()
W = normal(2, 3, seed=2).detach()


def product(x: Tensor, y: Tensor) -> Tensor:
    return (x.sin() * y).sum()


def of_tree(tree: dict[str, Any]) -> Tensor:
    total: Tensor = (tree["a"].sin() * tree["rest"][0]).sum()
    return total


@dataclass
class Point:
    a: Any
    b: Any


GX, GY = X.cos() * Y, X.sin()
IN_FORMS: dict[str, tuple[Any, Any, Any]] = {
    "a tensor": (lambda x: x.sin().sum(), X, X.cos()),
    "an array": (lambda x: x.sin().sum(), X, X.cos().numpy()),
    "a callable": (lambda x: x.sin().sum(), X, lambda x: x.cos()),
    "a callable that returns an array": (
        lambda x: x.sin().sum(),
        X,
        lambda x: np.cos(x.detach().numpy()),
    ),
    "in single precision": (lambda x: x.sin().sum(), X, X.cos().float()),
    "a tuple": (product, (X, Y), (GX, GY)),
    "a tuple from a callable": (product, (X, Y), lambda x, y: (x.cos() * y, x.sin())),
    "by name": (product, (X, Y), {"y": GY, "x": GX}),
    "by name from a callable": (product, (X, Y), lambda x, y: {"x": x.cos() * y, "y": x.sin()}),
    "one argument in a tuple": (lambda x: x.sin().sum(), (X,), (X.cos(),)),
    "one argument in a tuple, without": (lambda x: x.sin().sum(), (X,), X.cos()),
    "a structure": (of_tree, {"a": X, "rest": [Y, 3]}, {"a": GX, "rest": [GY, None]}),
    "a dataclass": (lambda p: product(p.a, p.b), Point(X, Y), Point(GX, GY)),
    "None for an argument without effect": (
        lambda x, y: x.sin().sum() + 0.0 * y.sum(),
        (X, Y),
        (X.cos(), None),
    ),
    "None for a constant": (
        lambda x, n: x.sin().sum() * n,
        (X, 2),
        (2.0 * X.cos(), None),
    ),
    "a Jacobian": (torch.sin, X, torch.diag(X.cos())),
    "a Jacobian from a callable": (torch.sin, X, lambda x: torch.diag(x.cos())),
    "a Jacobian for each argument": (
        lambda x, y: x * y,
        (X, Y),
        (torch.diag(Y), torch.diag(X)),
    ),
    "a product with the cotangent": (torch.sin, X, lambda x, g: g * x.cos()),
    "a product for each argument": (lambda x, y: x * y, (X, Y), lambda x, y, g: (g * y, g * x)),
    "products of several outputs": (
        lambda x: {"s": x.sin(), "c": x.cos()},
        X,
        lambda x, g: g[".s"] * x.cos() - g[".c"] * x.sin(),
    ),
    "integers and booleans": (lambda x: 2.0 * x.sum(), X, np.array([2, 2, 2])),
    "a sparse gradient": (
        lambda w: w[[0, 0, 2]].sum(),
        normal(4, 2).detach(),
        torch.tensor([[2.0, 2.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]).to_sparse(),
    ),
    "of a complex argument": (
        lambda z: (z * z.conj()).real.sum(),
        torch.complex(X, Y),
        2.0 * torch.complex(X, Y),
    ),
    "a complex array": (
        lambda z: (z * z.conj()).real.sum(),
        torch.complex(X, Y),
        2.0 * torch.complex(X, Y).numpy(),
    ),
}


@pytest.mark.parametrize("form", IN_FORMS)
def test_a_right_gradient_passes_in_every_form(form: str) -> None:
    f, x, grad = IN_FORMS[form]
    report = check(f, x, grad)
    assert report.verdict == "pass", report.reason


def scaled(grad: Any) -> Any:
    """A gradient that is wrong by one in a thousand."""
    if callable(grad):
        return functools.wraps(grad)(lambda *given: scaled(grad(*given)))
    if isinstance(grad, dict):
        return {key: scaled(value) for key, value in grad.items()}
    if isinstance(grad, Point):
        return Point(scaled(grad.a), scaled(grad.b))
    if isinstance(grad, tuple | list):
        return type(grad)(scaled(value) for value in grad)
    return grad if grad is None else grad * 1.001


@pytest.mark.parametrize("form", IN_FORMS)
def test_a_wrong_gradient_fails_in_every_form(form: str) -> None:
    f, x, grad = IN_FORMS[form]
    report = check(f, x, scaled(grad))
    assert report.verdict == "fail", report.reason


# -- modules ---------------------------------------------------------------------------------------


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, 2).double()


def by_hand(module: Any, x: Tensor) -> dict[str, Tensor]:
    output = 2.0 * module(x)
    return {"weight": output.mT @ x, "bias": output.sum(0)}


def squares(output: Tensor) -> Tensor:
    return output.square().sum()


def test_a_modules_gradient_by_name() -> None:
    module, x = linear(), normal(4, 3).detach()
    with torch.no_grad():
        grad = by_hand(module, x)
    assert verdict(module, x, grad, loss=squares) == "pass"
    assert verdict(module, x, grad | {"bias": 1.01 * grad["bias"]}, loss=squares) == "fail"
    assert verdict(module, x, grad | {"more": None}, loss=squares) == "pass"


def test_a_modules_gradient_by_a_callable_of_the_module_and_its_inputs() -> None:
    given: list[Any] = []

    def grad(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
        given.append((module, x))
        return by_hand(module, x)

    module, x = linear(), normal(4, 3).detach()
    report = check(module, x, grad, loss=squares)
    assert report.verdict == "pass", report.reason
    assert all(m is not module and x is not given_x for m, given_x in given), "these are copies"


def test_a_modules_gradient_by_a_callable_of_the_cotangent_too() -> None:
    def grad(module: Any, x: Tensor, g: Tensor) -> dict[str, Tensor]:
        return {"weight": g.mT @ x, "bias": g.sum(0)}

    assert verdict(linear(), normal(4, 3).detach(), grad) == "pass"
    assert verdict(linear(), normal(4, 3).detach(), lambda m, x, g: scaled(grad(m, x, g))) == "fail"


def test_a_modules_gradient_and_that_of_its_input() -> None:
    module, x = linear(), normal(4, 3)

    def grad(module: Any, input: Tensor) -> dict[str, Tensor]:
        return by_hand(module, input) | {"input": 2.0 * module(input) @ module.weight}

    assert verdict(module, x, grad, loss=squares) == "pass"


def test_a_callable_gets_keyword_arguments_and_copies_that_it_may_write_to() -> None:
    def grad(x: Tensor, *, scale: Tensor) -> dict[str, Any]:
        result = {"x": x.cos() * scale, "scale": x.sin()}
        x.zero_()
        return result

    x = X.clone()
    report = check(lambda x, *, scale: (x.sin() * scale).sum(), x, grad, kwargs={"scale": Y})
    assert report.verdict == "pass", report.reason
    assert torch.equal(x, X)


# -- autograd's own --------------------------------------------------------------------------------


def test_a_sparse_gradient_of_autograds_own() -> None:
    words = torch.tensor([[0, 1, 1], [2, 3, 4]])
    report = check(nn.Embedding(6, 3, sparse=True), words)
    assert report.verdict == "pass", report.reason


def test_a_parameter_without_effect_has_gradient_0() -> None:
    class Unused(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.spare = nn.Parameter(torch.ones(2))

    report = check(Unused(), normal(4, 3).detach())
    assert report.verdict == "pass", report.reason
    assert report.tensors["spare"].verdict == "pass"


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_autograd_goes_through_checkpoints(use_reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Tanh())

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, x: Tensor) -> Any:
            return checkpoint(self.inner, x, use_reentrant=use_reentrant)

    report = check(Checkpointed(), normal(5, 3))
    assert report.verdict == "pass", report.reason
    assert all(p.grad is None for p in module.parameters())


class WithoutConjugate(AutogradFunction):
    """z times a constant, whose backward forgets to conjugate the constant."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        return z * (1.0 + 2.0j)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * (1.0 + 2.0j)


def test_complex_numbers_in_and_out() -> None:
    z = torch.complex(X, Y)
    assert verdict(lambda z: z * (1.0 + 2.0j), z) == "pass"
    assert verdict(lambda z: torch.fft.fft(z).exp(), z) == "pass"
    assert verdict(torch.angle, z) == "pass"
    assert verdict(lambda x: torch.complex(x, x.sin()), X) == "pass"


def test_a_missing_conjugate_fails() -> None:
    report = check(WithoutConjugate, torch.complex(X, Y))
    assert report.verdict == "fail"
    assert report.tensors["x"].size == 6, "every part is an entry"


# -- what cannot be used ---------------------------------------------------------------------------


def test_errors_name_the_argument_and_what_is_wrong() -> None:
    message = refusal(product, (X, Y), (GX, torch.ones(4)))
    assert message == "Expected shape (3,) but got grad of shape (4,) for y"
    assert "tuple of 2" in refusal(product, (X, Y), (GX,))
    assert "but got 3" in refusal(product, (X, Y), (GX, GY, GY))
    assert refusal(of_tree, {"a": X, "rest": [Y]}, {"a": GX}).endswith("nothing for rest.0")
    assert "returned None" in refusal(torch.sin, X, lambda x: None) or "got None" in refusal(
        torch.sin, X, lambda x: None
    )
    assert "numbers" in refusal(product, (X, Y), (GX, "text"))
    assert "(3, 3)" in refusal(torch.sin, X, X.cos())
    module = linear()
    message = refusal(module, normal(4, 3).detach(), torch.ones(2, 3))
    assert "a dict of weight, bias" in message
    assert "a dict of weight, bias" in refusal(
        module, normal(4, 3).detach(), {"weight": torch.ones(2, 3)}
    )


def test_a_claim_of_nan_never_passes() -> None:
    report = check(lambda x: x.sin().sum(), X, torch.full((3,), float("nan")))
    assert report.verdict == "fail"


def test_an_exception_in_the_claim_comes_out_unchanged() -> None:
    error = KeyError("mine")

    def grad(x: Tensor) -> Tensor:
        raise error

    with pytest.raises(KeyError) as caught:
        check(torch.sin, X, grad)
    assert caught.value is error
