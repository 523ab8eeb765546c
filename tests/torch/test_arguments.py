"""Which tensors are checked, and what they are called."""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.autograd import Function as AutogradFunction

import gradproof
from gradproof import InputError, Report
from gradproof.subjects.torch.arguments import Arguments
from gradproof.subjects.torch.copies import Copier


def arguments(f: Any, x: object, **kwargs: Any) -> Arguments:
    copier = Copier(promote=True)
    is_function = isinstance(f, type)
    twin = f if is_function else copier(f, "")
    module = twin if isinstance(twin, nn.Module) else None
    return Arguments(f, module, x, kwargs, copier)


def names(f: Any, x: object, **kwargs: Any) -> tuple[str, ...]:
    return arguments(f, x, **kwargs).names


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


def plain(*shape: int) -> Tensor:
    return normal(*shape).detach()


def score(query: Tensor, key: Tensor, *rest: Tensor, scale: Any = 1.0) -> Tensor:
    result: Tensor = query * key * scale
    return result


@dataclass
class State:
    position: Tensor
    count: int = 3


Pair = namedtuple("Pair", ["left", "right"])


class OldStyle(AutogradFunction):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gain: Tensor) -> Tensor:
        ctx.save_for_backward(value, gain)
        return value * gain

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        value, gain = ctx.saved_tensors
        return g * gain, g * value


class NewStyle(AutogradFunction):
    @staticmethod
    def forward(value: Tensor, gain: Tensor) -> Tensor:
        return value * gain

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        value, gain = ctx.saved_tensors
        return g * gain, g * value


class Scorer:
    def score(self, first: Tensor, second: Tensor) -> Tensor:
        return first * second


NAMES: dict[str, tuple[Any, object, tuple[str, ...]]] = {
    "a single argument": (torch.sin, plain(3), ("x",)),
    "a tuple, by the signature": (score, (plain(3), plain(3)), ("query", "key")),
    "more than the signature names": (
        score,
        (plain(3), plain(3), plain(3), plain(3)),
        ("query", "key", "rest.0", "rest.1"),
    ),
    "no signature": (torch.matmul, (plain(3), plain(3)), ("x.0", "x.1")),
    "a method": (Scorer().score, (plain(3), plain(3)), ("first", "second")),
    "a partial": (functools.partial(score, plain(3)), (plain(3),), ("key",)),
    "an autograd.Function with a context": (OldStyle, (plain(3), plain(3)), ("value", "gain")),
    "an autograd.Function with setup_context": (
        NewStyle,
        (plain(3), plain(3)),
        ("value", "gain"),
    ),
    "a dict": (score, {"a": plain(3), "b c": plain(3)}, ("a", "x['b c']")),
    "a list in a dict": (score, {"a": [plain(3), plain(3)]}, ("a.0", "a.1")),
    "a dataclass": (score, State(plain(3)), ("position",)),
    "a named tuple": (score, Pair(plain(3), plain(3)), ("left", "right")),
    "nested in a tuple": (score, (plain(3), {"a": plain(3)}), ("query", "key.a")),
    "a module": (nn.Linear(3, 2), plain(4, 3), ("weight", "bias")),
    "a module of modules": (
        nn.Sequential(nn.Linear(3, 2, bias=False), nn.Sequential(nn.Linear(2, 1))),
        plain(4, 3),
        ("0.weight", "1.0.weight", "1.0.bias"),
    ),
    "a module's input that requires grad": (
        nn.Linear(3, 2),
        normal(4, 3),
        ("weight", "bias", "input"),
    ),
    "a module as an argument": (
        lambda net, x: net(x),
        (nn.Linear(3, 2), plain(4, 3)),
        ("net.weight", "net.bias"),
    ),
    "constants of all kinds": (
        lambda *all: all[0],
        (plain(3), 2, True, None, "mean", 0.5, torch.arange(3), torch.tensor([True])),
        ("all.0",),
    ),
    "complex numbers": (score, (plain(2).to(torch.complex64), plain(2)), ("query", "key")),
    "half precision": (score, (plain(2).half(), plain(2).bfloat16()), ("query", "key")),
    "no parameters: the inputs": (nn.ReLU(), plain(3), ("input",)),
    "an empty tensor beside others": (score, (plain(0), plain(2)), ("query", "key")),
}


@pytest.mark.parametrize("case", NAMES)
def test_names(case: str) -> None:
    f, x, expected = NAMES[case]
    assert names(f, x) == expected


def test_keyword_arguments_are_called_by_their_keywords() -> None:
    found = names(score, (plain(3), plain(3)), scale={"a": plain(3)}, mode="sum")
    assert found == ("query", "key", "scale.a")
    assert names(score, (), query=plain(3), key=plain(3)) == ("query", "key")


def test_a_parameter_and_an_input_of_one_name_are_told_apart() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(plain(3))

        def forward(self, weight: Tensor) -> Tensor:
            return self.weight * weight

    assert names(Weighted(), normal(3)) == ("weight", "inputs.weight")


def test_a_keyword_and_a_positional_argument_of_one_name_are_told_apart() -> None:
    def f(a: Tensor, /, **named: Tensor) -> Tensor:
        return a * named["a"]

    assert names(f, (plain(3),), a=plain(3)) == ("x.0", "a")


def test_only_what_requires_grad_is_checked_where_something_does() -> None:
    assert names(score, (normal(3), plain(3))) == ("query",)
    assert names(score, (plain(3), plain(3)), scale=normal(3)) == ("scale",)


def test_a_frozen_parameter_is_a_constant() -> None:
    net = nn.Linear(3, 2)
    net.weight.requires_grad_(False)
    assert names(net, plain(4, 3)) == ("bias",)


def test_where_every_parameter_is_frozen_the_inputs_are_checked() -> None:
    net = nn.Linear(3, 2).requires_grad_(False)
    assert names(net, plain(4, 3)) == ("input",)


def test_a_tied_weight_is_named_once_and_is_one_tensor() -> None:
    embedding, output = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    output.weight = embedding.weight
    assert names(nn.Sequential(embedding, output), torch.tensor([0, 4])) == ("0.weight",)


def test_a_tensor_given_twice_is_one_tensor() -> None:
    x = plain(3)
    assert names(score, (x, x)) == ("query",)
    report = check(score, (x, x))
    assert report.verdict == "pass"
    wrong = check(score, (x, x), lambda a, b, g: (g * b, g * a))
    assert wrong.verdict == "fail", "its gradient is the sum of both"


def test_a_parameter_that_is_an_argument_too_is_one_tensor() -> None:
    net = nn.Linear(3, 2)
    assert names(net, (net.weight.detach(),)) == ("weight", "bias")
    report = check(lambda w: net(torch.ones(4, 3).to(w)) + w.sum(), net.weight)
    assert report.verdict == "pass"
    assert list(report.tensors) == ["x"]


def test_tensors_are_copies_and_leaves_in_double_precision() -> None:
    x = torch.ones(3, requires_grad=True) * 2.0
    (copied,) = arguments(torch.sin, x).tensors
    assert copied.is_leaf
    assert copied.requires_grad
    assert copied.dtype is torch.float64
    copied.detach().zero_()
    assert x.tolist() == [2.0, 2.0, 2.0]


def test_an_expanded_tensor_is_named_and_its_entries_move_apart() -> None:
    found = arguments(score, (plain(1).expand(4), plain(4)))
    assert found.expanded == ("query",)
    assert found.tensors[0].stride() == (1,)


def test_bound_puts_others_in_their_place_everywhere_and_puts_them_back() -> None:
    net = nn.Linear(3, 2, bias=False)
    found = arguments(lambda m, x: m(x), (net, plain(4, 3)))
    (own,) = found.tensors
    other = torch.zeros(2, 3)
    with found.bound({id(own): other}) as (args, keywords):
        assert args[0].weight is other
        assert keywords == {}
    with found.bound({}) as (args, _):
        assert args[0].weight is own


def test_bound_puts_back_when_f_raises() -> None:
    found = arguments(lambda m: m.weight, (nn.Linear(3, 2, bias=False),))
    (own,) = found.tensors
    with pytest.raises(KeyError), found.bound({id(own): torch.zeros(2, 3)}):
        raise KeyError
    with found.bound({}) as (args, _):
        assert args[0].weight is own


def refusal(f: Callable[..., Any], x: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(f, x, **options)
    return str(caught.value)


def test_nothing_to_differentiate_by() -> None:
    message = refusal(nn.ReLU(), torch.arange(3))
    assert "at least one floating point number to differentiate by" in message
    assert "none" in refusal(nn.ReLU(), torch.zeros(0))


def test_numbers_that_are_not_finite_are_named() -> None:
    message = refusal(score, (plain(2), torch.tensor([1.0, float("nan")])))
    assert message == "Expected finite numbers but key has NaN or infinity"


def test_a_sparse_tensor_cannot_be_moved_entry_by_entry() -> None:
    sparse = torch.eye(3).to_sparse().requires_grad_()
    message = refusal(lambda s, x: torch.sparse.mm(s, x), (sparse, plain(3, 2)))
    assert "dense" in message
    assert " s " in message


def test_a_sparse_tensor_may_be_a_constant() -> None:
    f = torch.sparse.mm
    report = check(lambda s, x: f(s, x), (torch.eye(3).to_sparse(), plain(3, 2)))
    assert report.verdict == "pass", report.reason
    assert list(report.tensors) == ["x"]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_a_lazy_module_must_have_been_called() -> None:
    net = nn.LazyLinear(3)
    assert "lazy" in refusal(net, plain(4, 3))
    net(torch.ones(4, 3))
    assert check(net, plain(4, 3)).verdict == "pass"
