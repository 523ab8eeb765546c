"""What f returns: any nesting of tensors, contracted to one number."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor

import gradproof
from gradproof import InputError, Report
from gradproof.subjects.torch.outputs import Cotangent, differentiable, real_view, to_array

X = normal(3).detach()


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


@dataclass
class Result(OrderedDict[str, Any]):
    """As Hugging Face's models return it: a dataclass and a dict at once."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    steps: list[int] = field(default_factory=list)


OUTPUTS: dict[str, Any] = {
    "a number": lambda x: x.sin().sum(),
    "an array": lambda x: x.sin(),
    "a tuple": lambda x: (x.sin(), x.cos()),
    "with integers, booleans and None": lambda x: (x.sin(), x > 0.0, x.argmax(), None, 3, "text"),
    "a dict": lambda x: {"a": x.sin(), "b": {"c": [x.cos()]}},
    "a dataclass that is a dict": lambda x: Result(x.sum(), x.sin(), [1]),
    "a named tuple of torch's": lambda x: torch.max(x, dim=0),
    "in half precision besides": lambda x: {"a": x.sin(), "n": torch.arange(2)},
    "complex": lambda x: torch.complex(x.sin(), x.cos()),
    "an empty tensor besides": lambda x: (x.sin(), x[:0]),
    "of very different sizes": lambda x: (1e6 * x.sin(), 1e-6 * x.cos()),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_nesting_of_outputs_passes(name: str) -> None:
    report = check(OUTPUTS[name], X)
    assert report.verdict == "pass", report.reason


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 1.001 * g


wrong: Any = Wrong.apply


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_mistake_is_seen_in_every_nesting_of_outputs(name: str) -> None:
    assert check(lambda x: OUTPUTS[name](wrong(x)), X).verdict == "fail"


def test_a_mistake_in_a_small_output_is_not_drowned_by_a_large_one() -> None:
    assert check(lambda x: (1e3 * x.sin(), wrong(x.cos())), X).verdict == "fail"


@pytest.mark.parametrize("result", [None, 3.0, "text", torch.arange(3), (None, 2), torch.zeros(0)])
def test_something_must_be_differentiable(result: Any) -> None:
    with pytest.raises(
        InputError, match=r"Expected f to return at least one floating point tensor"
    ):
        check(lambda x: result, X)


def test_detached_outputs_count_all_the_same() -> None:
    report = check(lambda x: (x.sin(), x.detach().cos()), X)
    assert report.verdict == "fail"
    (finding,) = [f for f in report.findings if f.kind == "disconnected"]
    assert finding.severity == "bug"
    assert finding.evidence["outputs"] == (".1",)
    assert "f(x).1" in finding.message


def test_outputs_that_do_not_change_may_be_detached() -> None:
    report = check(lambda x: (x.sin(), torch.ones(3), x.detach() * 0.0), X)
    assert report.verdict == "pass", report.reason
    assert not [f for f in report.findings if f.kind == "disconnected"]


def test_none_in_the_cotangent_leaves_an_output_out() -> None:
    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), x.detach().cos()

    assert check(f, X, cotangent=(torch.ones(3), None)).verdict == "pass"
    assert check(f, X, cotangent=(torch.ones(3), torch.ones(3))).verdict == "fail"


def test_the_callers_cotangent_is_used() -> None:
    def f(x: Tensor) -> dict[str, Tensor]:
        return {"right": x.sin(), "wrong": wrong(x)}

    assert check(f, X).verdict == "fail"
    assert check(f, X, cotangent={"right": np.ones(3), "wrong": None}).verdict == "pass"
    assert check(f, X, cotangent={"right": None, "wrong": torch.ones(3)}).verdict == "fail"


def refusal(f: Any, cotangent: Any) -> str:
    with pytest.raises(InputError) as caught:
        check(f, X, cotangent=cotangent)
    return str(caught.value)


def test_a_cotangent_that_does_not_fit_is_refused() -> None:
    assert "cotangent" in refusal(torch.sin, torch.ones(4))
    assert "f(x).a" in refusal(lambda x: {"a": x.sin()}, {"b": torch.ones(3)})
    assert "cotangent" in refusal(torch.sin, None or torch.zeros(3))
    assert "f(x).0" in refusal(lambda x: (x.sin(), x.argmax()), (torch.ones(3), torch.ones(())))


def test_outputs_that_change_their_shape_are_refused() -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x.sin()[: 3 if calls < 3 else 2]

    with pytest.raises(InputError, match=r"Expected f to return shape \(3,\) again but got \(2,\)"):
        check(f, X)


def test_contraction_is_the_weighted_sum_in_double_precision() -> None:
    outputs = {"": torch.tensor([1.0, 2.0]), ".z": torch.tensor([3.0 + 4.0j])}
    weights = {"": np.array([10.0, 100.0]), ".z": np.array([[1e3, 1e4]])}
    total = Cotangent({"": (2,), ".z": (1, 2)}, weights).contract(outputs)
    assert total.dtype is torch.float64
    assert total.item() == 10.0 + 200.0 + 3e3 + 4e4


def test_tensors_of_a_cotangent_are_like_the_outputs() -> None:
    outputs = {"": torch.ones(2), ".z": torch.ones(1, dtype=torch.complex64)}
    weights = {"": np.array([1.0, 2.0]), ".z": np.array([[3.0, 4.0]])}
    found = Cotangent({"": (2,), ".z": (1, 2)}, weights).tensors(outputs)
    assert found[""].dtype is torch.float32
    assert found[".z"].tolist() == [3.0 + 4.0j]


def test_paths_of_the_differentiable_outputs() -> None:
    found = differentiable({"a": torch.ones(1), "b": [torch.arange(2), torch.ones(2).half()]})
    assert list(found) == [".a", ".b.1"]


def test_complex_numbers_are_pairs_also_if_conjugated() -> None:
    z = torch.tensor([1.0 + 2.0j]).conj()
    assert real_view(z).tolist() == [[1.0, -2.0]]
    assert to_array(z).tolist() == [[1.0, -2.0]]
    assert to_array(torch.eye(2).to_sparse()).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert to_array(torch.ones(1, dtype=torch.bfloat16)).dtype == np.float64
