"""Networks that must stay in single precision are decided, or told at which resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradproof import Report, check
from gradproof.coverage import certify


class Times(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return 1.0 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.factor * gradient, None


class Planted(nn.Module):
    """The identity, with a backward pass that is so many times too large."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Any:
        return Times.apply(x, self.factor)  # type: ignore[no-untyped-call]


def mlp(factor: float, **options: Any) -> Report:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), Planted(factor), nn.Linear(20, 3))
    x, y = torch.randn(16, 10), torch.randn(16, 3)
    return check(network, x, loss=lambda z: ((z - y) ** 2).mean(), promote=False, **options)


def cnn(factor: float, **options: Any) -> Report:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        Planted(factor),
        nn.Conv2d(3, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 9, 5),
    )
    x, y = torch.randn(4, 1, 12, 12), torch.arange(4)
    loss = nn.CrossEntropyLoss()
    return check(network, x, loss=lambda z: loss(z, y), promote=False, **options)


def advice(report: Report) -> float:
    (finding,) = (f for f in report.findings if f.kind == "resolution")
    found = finding.evidence["resolution"]
    assert isinstance(found, float)
    assert f"resolution={found:g}" in finding.message
    return found


def limit(report: Report) -> float:
    return max(tensor.detection_limit for tensor in report.tensors.values())


def test_a_smooth_network_passes_with_its_limits_stated() -> None:
    report = mlp(1.0)
    assert report.verdict == "pass", report.reason
    assert 1e-7 < limit(report) <= 1e-3


@pytest.fixture(scope="module")
def undecided() -> Report:
    return cnn(1.0)


def test_a_network_with_kinks_is_told_which_resolution_decides_and_then_passes(
    undecided: Report,
) -> None:
    assert undecided.verdict == "inconclusive"
    enough = advice(undecided)
    assert enough <= 0.3
    assert cnn(1.0, resolution=enough).verdict == "pass"


@pytest.mark.parametrize("network", [mlp, cnn])
@pytest.mark.parametrize(("factor", "kind"), [(2.0, "factor"), (-1.0, "sign-flip")])
def test_a_planted_mistake_fails_and_is_named(
    network: Callable[[float], Report], factor: float, kind: str
) -> None:
    report = network(factor)
    assert report.verdict == "fail"
    assert report.findings[0].kind == kind
    assert "Times" in report.findings[0].message


def test_without_patience_limits_are_coarser(
    undecided: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certify, "PATIENT", 8)
    assert limit(cnn(1.0)) > 2.0 * limit(undecided)


def test_where_no_resolution_decides_that_is_said() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).bfloat16()
    x = torch.randn(3, 4).bfloat16()
    report = check(network, x, loss=lambda y: (y**2).mean(), promote=False)
    assert report.verdict == "inconclusive"
    (finding,) = (f for f in report.findings if f.kind == "resolution")
    assert "no resolution would decide" in finding.message


def test_entries_are_not_climbed_where_directions_told_as_much(undecided: Report) -> None:
    assert undecided.evaluations < 1500
