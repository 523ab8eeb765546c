"""Many evaluations at once give f's own values, or are not made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.nn import functional

import gradproof
from gradproof import Report
from gradproof.subjects.base import Floats, Places
from gradproof.subjects.torch import batches as batches_module
from gradproof.subjects.torch.batches import BATCH_BYTES
from gradproof.subjects.torch.exceptions import is_own
from gradproof.subjects.torch.subject import TorchSubject


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


def subject(f: Any, x: Any, **options: Any) -> TorchSubject:
    given: dict[str, Any] = {"kwargs": {}, "loss": None, "promote": True, "cotangent": None}
    return TorchSubject(f, x, **given | options, rng=np.random.default_rng(0))


def values(of: TorchSubject, tensor: int = 0) -> Floats:
    """Values with each entry moved by a quarter, twice over, so that a batch is worth while."""
    size = len(of.point[tensor])
    index = np.tile(np.arange(size), 1 + 8 // size)
    places = Places(np.full(len(index), tensor), index)
    with of.session():
        return of.at_entries(places, np.full(len(index), 0.25))


def looped(f: Any, x: Any, **options: Any) -> TorchSubject:
    """The same subject, evaluated point by point."""
    of = subject(f, x, **options)
    for tensor in (*range(len(of.names)), None):
        of._batches._ways[tensor] = "loop"
    return of


def is_batched(of: TorchSubject) -> bool:
    return not of._batches.looped


def normed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)
    ).double()


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.3).double()

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class Retyped(nn.Module):
    """Looks at its weight's kind before it uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(4, 3, seed=1).detach())

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.weight, nn.Parameter)
        return functional.linear(x.to(self.weight.dtype), self.weight)


def seen_by_number(x: Tensor) -> Tensor:
    return x.sin() if x.sum().item() > -1e9 else x.cos()


BATCHED: dict[str, tuple[Any, Any]] = {
    "network with batch norm and dropout in training": (normed(), normal(5, 3)),
    "functions of an array": (lambda x: torch.fft.fft(x.sin()).real.cumsum(0), normal(6)),
    "lstm": (nn.LSTM(3, 2).double(), normal(4, 2, 3)),
    "gru": (nn.GRU(3, 2).double(), normal(4, 2, 3)),
    "complex": (lambda z: (z * z.conj()).real.sum(), torch.complex(normal(4), normal(4, seed=1))),
    "noise": (lambda x: x + x.detach() * torch.randn_like(x), normal(4)),
}
LOOPED: dict[str, tuple[Any, Any]] = {
    "a number decides": (seen_by_number, normal(5)),
    "numpy": (lambda x: x * float(x.detach().numpy().sum()), normal(5)),
    "an assertion on the weight": (Retyped(), normal(2, 3)),
}


@pytest.mark.parametrize("name", BATCHED)
def test_batches_give_the_values_of_the_loop(name: str) -> None:
    f, x = BATCHED[name]
    of, one_by_one = subject(f, x), looped(f, x)
    for tensor in range(len(of.names)):
        found, expected = values(of, tensor), values(one_by_one, tensor)
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        assert np.ptp(found) > 0.0
    assert is_batched(of)


@pytest.mark.parametrize("name", LOOPED)
def test_what_vmap_cannot_take_goes_point_by_point_and_is_right(name: str) -> None:
    f, x = LOOPED[name]
    of = subject(f, x)
    np.testing.assert_allclose(values(of), values(looped(f, x)), rtol=1e-12)
    report = check(seen_by_number, normal(5))
    assert report.verdict == "pass", report.reason
    (finding,) = [f for f in report.findings if f.kind == "one-by-one"]
    assert str(finding.evidence["reason"]) in finding.message


def doubled_in_batches(x: Tensor) -> Tensor:
    return x.sin() * (2.0 if torch._C._are_functorch_transforms_active() else 1.0)


def test_a_function_of_which_vmap_gives_other_values_goes_point_by_point() -> None:
    report = check(doubled_in_batches, normal(12))
    assert report.verdict == "pass", report.reason
    (finding,) = [f for f in report.findings if f.kind == "one-by-one"]
    assert "other values" in finding.message


def test_without_the_trial_such_a_function_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "_agree", lambda *_: True)
    assert check(doubled_in_batches, normal(12)).verdict == "fail"


def test_dropout_on_a_transposed_input_is_right() -> None:
    report = check(Attending(), normal(2, 3, 4).detach(), coverage="sample", samples=4)
    assert report.verdict == "pass", report.reason


def test_batch_norm_keeps_its_statistics_and_uses_those_of_the_batch() -> None:
    module = normed()
    norm: Any = module.get_submodule("1")
    before = norm.running_mean.clone(), norm.num_batches_tracked.clone()
    report = check(module, normal(5, 3))
    assert report.verdict == "pass", report.reason
    assert not [f for f in report.findings if f.kind == "one-by-one"]
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.num_batches_tracked, before[1])


# -- points outside of f's domain, and f's own exceptions ------------------------------------------


def positive_only(x: Tensor) -> Tensor:
    """Raises where an entry is negative, as `torch.linalg` does where a matrix is singular."""
    total: Tensor = torch.linalg.cholesky(torch.diag(x)).sum()
    return total


def test_a_point_outside_of_the_domain_spoils_no_other_lane() -> None:
    of = subject(positive_only, torch.tensor([1.0, 2.0, 3.0, 0.1], dtype=torch.float64))
    places = Places(np.zeros(8, dtype=np.intp), np.array([0, 1, 2, 3, 0, 1, 2, 3]))
    moves = np.array([0.1, 0.1, 0.1, 0.1, -0.1, -0.1, -0.1, -0.2])
    with of.session():
        found = of.at_entries(places, moves)
    assert np.isnan(found).tolist() == [False] * 7 + [True]
    np.testing.assert_allclose(found[4], 0.9**0.5 + 2**0.5 + 3**0.5 + 0.1**0.5, rtol=1e-12)


def test_nan_in_one_lane_stays_in_that_lane() -> None:
    of = subject(lambda x: x.log().sum(), torch.tensor([1.0, 2.0, 0.1], dtype=torch.float64))
    places = Places(np.zeros(9, dtype=np.intp), np.arange(9) % 3)
    with of.session():
        found = of.at_entries(places, np.full(9, -0.5))
    assert np.isnan(found).tolist() == [False, False, True] * 3


class BrokenError(Exception):
    """f's own."""


@pytest.mark.parametrize("call", [1, 2, 6, 12, 20])
def test_an_exception_of_fs_own_comes_out_unchanged(call: int) -> None:
    calls, error = 0, BrokenError("mine")

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise error
        return x.sin()

    with pytest.raises(BrokenError) as caught:
        check(f, normal(4))
    assert caught.value is error


def raised(run: Callable[[], object]) -> Exception:
    try:
        run()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def _raise(error: Exception) -> None:
    raise error


def test_which_exceptions_are_fs_own() -> None:
    assert is_own(raised(lambda: _raise(RuntimeError("f's"))))
    assert is_own(raised(lambda: _raise(KeyError("f's"))))
    assert not is_own(raised(lambda: _raise(ValueError("outside of the domain"))))
    assert not is_own(raised(lambda: _raise(AssertionError("not of the kind that f wants"))))
    assert not is_own(raised(lambda: torch.ones(2) @ torch.ones(3)))
    assert not is_own(raised(lambda: torch.vmap(lambda x: x.item())(torch.ones(2))))
    assert not is_own(raised(lambda: nn.Linear(2, 1)(torch.ones(3))))


# -- what it costs ---------------------------------------------------------------------------------


@contextmanager
def counted_lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    lanes: list[int] = []
    run = batches_module.Batches._run

    def counting(self: Any, lane: Any, batch: list[Tensor]) -> Floats:
        lanes.append(len(batch[0]))
        return run(self, lane, batch)

    monkeypatch.setattr(batches_module.Batches, "_run", counting)
    yield lanes


def test_lanes_follow_what_one_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: Tensor) -> Tensor:
        return (x[:, None] * torch.ones(1000, dtype=x.dtype)).sin().sum(0).cos()

    with counted_lanes(monkeypatch) as lanes:
        of = subject(f, normal(40).detach())
        values(of), values(of)
    held = 2 * 40 * 1000 * 8  # two arrays of (40, 1000)
    assert 1 < max(lanes[1:]) < 40
    assert max(lanes) * held <= BATCH_BYTES


def test_a_weight_that_is_only_asked_for_its_kind_is_not_written_out() -> None:
    class Asking(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            rows, _ = self.weight.shape
            assert rows == len(self.weight) == self.weight.size(0)
            return super().forward(input.to(self.weight.device, self.weight.dtype))

    of = subject(Asking(30, 20), torch.ones(2, 30))
    values(of)
    assert is_batched(of)
    assert of._batches._bytes[0] < of.point[0].nbytes


def test_evaluations_are_counted_exactly_point_by_point() -> None:
    calls = 0

    def f(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x * x.sum().item()

    of = subject(f, normal(5).detach())
    values(of)
    # Two ways were tried at three points each, and raised at the first.
    assert of.evaluations == calls - 2 + 3


def test_a_direction_within_one_tensor_leaves_the_others_where_they_are() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    one = subject(net, torch.ones(5, 3, dtype=torch.float64))
    rng = np.random.default_rng(0)
    lanes, offsets = np.arange(6), rng.normal(size=6)
    with one.session():
        for k in range(len(one.point)):
            ways = [
                rng.normal(size=(6, len(x))) if j == k else np.zeros((6, len(x)))
                for j, x in enumerate(one.point)
            ]
            batched = one.along(ways, lanes, offsets, one.point)
            moved = [x + offsets[:, None] * way for x, way in zip(one.point, ways, strict=True)]
            assert batched == pytest.approx(one._one_by_one(moved), rel=1e-12, abs=1e-14)
        nothing = [np.zeros((6, len(x))) for x in one.point]
        assert one.along(nothing, lanes, offsets, one.point) == pytest.approx(one.value())


@pytest.mark.parametrize("budget", [60, 80, 90, 100, 110, 119, 130])
def test_trying_a_large_batch_does_not_exceed_the_budget(budget: int) -> None:
    x = torch.linspace(0.1, 1.0, 300, dtype=torch.float64)
    report = gradproof.check(lambda x: x.sin().sum(), x, coverage="full", max_evaluations=budget)
    assert report.evaluations <= budget
    assert report.verdict == "inconclusive"
