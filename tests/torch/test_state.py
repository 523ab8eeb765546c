"""Every evaluation starts from the same state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn

import gradproof
from gradproof import Report
from gradproof.subjects.torch.function import Function


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


class Stateful(nn.Linear):
    """Its next value depends on the last one; how it keeps it is up to `keep`."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.seen: Any = torch.zeros(3)
        self.kept: Any
        self.register_buffer("kept", torch.zeros(3))
        self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        kept: Tensor = self.keep(output.detach().mean(0))
        return output + kept

    def keep(self, mean: Tensor) -> Any:
        raise NotImplementedError


class InAttribute(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.seen = 0.5 * self.seen + mean
        return self.seen


class InAttributeInPlace(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.seen.mul_(0.5).add_(mean)
        return self.seen.clone()


class InNewAttribute(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.more = getattr(self, "more", 0.0) + mean
        return self.more


class InNewBuffer(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.kept = 0.5 * self.kept + mean
        return self.kept


class InBufferInPlace(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.kept.mul_(0.5).add_(mean)
        return self.kept.clone()


class InData(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.frozen.data.mul_(0.5).add_(mean)
        return self.frozen.clone()


class InParameter(Stateful):
    def keep(self, mean: Tensor) -> Any:
        with torch.no_grad():
            self.frozen.mul_(0.5).add_(mean)
        return self.frozen.clone()


class InCounter(Stateful):
    def keep(self, mean: Tensor) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        return torch.ones(3) / self.calls


KINDS = [
    InAttribute,
    InAttributeInPlace,
    InNewAttribute,
    InNewBuffer,
    InBufferInPlace,
    InData,
    InParameter,
    InCounter,
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_does_not_build_up(kind: type[Stateful]) -> None:
    module, x = kind(), normal(4, 3).detach()
    function = Function(module, x, {}, None, promote=True, seed=0)
    values: list[object] = [*function.first_call().values()]
    for _ in range(3):
        with function.fresh():
            values.append(function.call())
    for value in values[1:]:
        assert isinstance(value, Tensor)
        assert torch.equal(value, values[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_own_state_stays_as_it_is(kind: type[Stateful]) -> None:
    module = kind()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    attributes = set(vars(module))
    # The mean is detached: let it not be part of the derivative.
    report = check(module, normal(4, 3).detach(), loss=lambda y: (y - y.detach().mean(0)).sin())
    assert not [f for f in report.findings if f.kind == "nondeterministic"], report.reason
    assert set(vars(module)) == attributes
    assert not module.seen.any()
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_cache_that_the_first_call_fills_is_kept() -> None:
    class Cached(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 3)
            self.made: list[int] = made
            self.table: Any = None

        def forward(self, input: Tensor) -> Tensor:
            if self.table is None:
                made.append(1)
                self.table = torch.arange(3.0)
            output: Tensor = super().forward(input) * self.table
            return output

    made: list[int] = []
    report = check(Cached(), normal(4, 3).detach())
    assert report.verdict == "pass", report.reason
    assert made == [1]


def test_writing_to_the_inputs_is_put_back_and_said() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    report = check(lambda x: x.mul_(2.0).sin(), x)
    assert report.verdict == "pass", report.reason
    (finding,) = [f for f in report.findings if f.kind == "mutates-input"]
    assert finding.evidence["tensors"] == ("x",)
    assert x.tolist() == [1.0, 2.0, 3.0]


def test_writing_to_a_weight_without_a_trace_is_put_back_and_said() -> None:
    class Doubling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))

        def forward(self, x: Tensor) -> Tensor:
            self.weight.data.mul_(2.0)
            return x * self.weight

    module = Doubling()
    function = Function(module, torch.ones(2), {}, None, promote=True, seed=0)
    function.first_call()
    assert function.mutates == ("weight",)
    with function.fresh():
        assert torch.equal(function.call(), torch.tensor([2.0, 4.0]).double())  # type: ignore[arg-type]
    assert module.weight.tolist() == [1.0, 2.0]


def test_a_weight_that_f_writes_to_before_it_uses_it() -> None:
    def f(w: Tensor, x: Tensor) -> Tensor:
        w.mul_(2.0)
        return torch.nn.functional.linear(x, w) * w.sum()

    report = check(f, (normal(4, 3).detach(), normal(5, 3, seed=1).detach()))
    assert report.verdict == "pass", report.reason
