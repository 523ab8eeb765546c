"""What f computes without a graph: named as the cause, or by design held constant."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.nn.utils import spectral_norm as hooked
from torch.nn.utils.parametrizations import spectral_norm as parametrized

from gradproof import Report, check
from gradproof.subjects.torch.subject import TorchSubject


def bugs(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings if finding.severity == "bug"]


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x).tanh()
        gate = hidden.detach().sigmoid()
        outer: Tensor = self.outer(hidden * gate)
        return outer


class Target(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.net(y).tanh()
        loss: Tensor = ((self.net(x) - target) ** 2).mean()
        return loss


X, Y = normal(3, 4).detach(), normal(3, 4, seed=1).detach()
CASES: list[tuple[Callable[..., Any], Any, str]] = [
    (Gate(), X, "gate = hidden.detach().sigmoid()"),
    (Target(), (X, Y), "target = self.net(y).tanh()"),
    (lambda x: (x * x.detach()).sum(), normal(3), "x.detach()"),
    (lambda x: (x / x.norm().item()).sin(), normal(3), "x.norm().item()"),
    (lambda x: (x * x.data).sin(), normal(3), "x.data"),
]


@pytest.mark.parametrize(("f", "x", "code"), CASES)
def test_what_is_cut_off_is_named_with_its_line(f: Any, x: Any, code: str) -> None:
    report = check(f, x)
    assert report.verdict == "fail"
    assert bugs(report)[0] == "detached"
    assert code in report.findings[0].message
    assert "test_cuts.py" in report.findings[0].message


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2.0 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3.0 * gradient


#: Typed.
scaled: Callable[[Tensor], Tensor] = _Scaled.apply


def test_a_wrong_backward_beside_a_cut_is_not_excused_by_it() -> None:
    report = check(lambda x: (scaled(x) * x.detach()).sum(), normal(5))
    assert report.verdict == "fail"
    assert "detached" not in bugs(report)


def test_what_an_autograd_function_does_without_a_graph_is_no_cut() -> None:
    report = check(lambda x: scaled(x).sin(), normal(5))
    assert "detached" not in bugs(report)


def test_a_cut_that_does_not_change_is_none() -> None:
    mask = torch.tensor([1.0, 0.0, 2.0])
    subject = TorchSubject(
        lambda x: x * mask.detach(),
        normal(3),
        kwargs={},
        loss=None,
        promote=True,
        cotangent=None,
        rng=np.random.default_rng(0),
    )
    with subject.session(), subject.cuts_held() as places:
        assert places == ()


def test_afterwards_nothing_is_held() -> None:
    subject = TorchSubject(
        lambda x: (x * x.detach()).sum(),
        normal(3),
        kwargs={},
        loss=None,
        promote=True,
        cotangent=None,
        rng=np.random.default_rng(0),
    )
    way = [np.ones((1, 3))]
    lanes, steps = np.zeros(1, dtype=np.intp), np.ones(1)
    with subject.session():
        free = subject.along(way, lanes, steps, subject.point)
        with subject.cuts_held() as places:
            held = subject.along(way, lanes, steps, subject.point)
        assert len(places) == 1
        assert subject.along(way, lanes, steps, subject.point) == free != held
    x = subject.point[0]
    assert held == pytest.approx(np.sum((x + 1.0) * x))


each_norm = pytest.mark.parametrize("norm", [parametrized, hooked])


def critic(norm: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(norm(nn.Linear(20, 30)), nn.LeakyReLU(0.2), norm(nn.Linear(30, 1)))


@each_norm
def test_spectral_norm_in_training_mode_is_right_by_design(norm: Any) -> None:
    report = check(critic(norm), normal(6, 20).detach(), loss=lambda y: (y**2).mean())
    assert report.verdict == "pass", report.reason
    (finding,) = (f for f in report.findings if f.kind == "spectral-norm")
    assert finding.severity == "info"
    assert finding.evidence["weights"] == ("0.weight", "2.weight")


@each_norm
def test_spectral_norm_called_twice_is_held_call_by_call(norm: Any) -> None:
    class Game(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.critic = critic(norm)

        def forward(self, real: Tensor, fake: Tensor) -> Tensor:
            loss: Tensor = (self.critic(real).sigmoid() - self.critic(fake).sigmoid()).mean()
            return loss

    game = Game().double()
    before = [value.clone() for value in game.state_dict().values()]
    own = copy.deepcopy(game)(normal(6, 20).detach(), normal(6, 20, seed=1).detach())
    report = check(game, (normal(6, 20).detach(), normal(6, 20, seed=1).detach()))
    assert report.verdict == "pass", report.reason
    assert report.value == pytest.approx(own.item(), rel=1e-5)
    after = game.state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@each_norm
def test_spectral_norm_hides_no_wrong_backward(norm: Any) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return scaled(x)

    network = nn.Sequential(critic(norm), Wrong())
    report = check(network, normal(6, 20).detach(), loss=lambda y: y.sin().mean())
    assert report.verdict == "fail"
    assert "1 > _Scaled" in report.findings[0].message


def test_in_evaluation_mode_nothing_is_said_of_spectral_norm() -> None:
    report = check(critic(parametrized).eval(), normal(6, 20).detach())
    assert report.verdict == "pass"
    assert not any(f.kind == "spectral-norm" for f in report.findings)


class Normalised(nn.Module):
    """Somebody's own spectral norm: its power iteration has not converged, and has no graph."""

    u: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(6, 5).detach())
        self.register_buffer("u", normal(6, seed=2).detach())

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            v = nn.functional.normalize(self.weight.t() @ self.u, dim=0)
            u = nn.functional.normalize(self.weight @ v, dim=0)
        return x @ (self.weight / (u @ self.weight @ v)).t()


def test_another_power_iteration_fails_and_its_lines_are_named() -> None:
    report = check(Normalised(), normal(4, 5).detach())
    assert report.verdict == "fail"
    assert bugs(report)[0] == "detached"
    assert "u = nn.functional.normalize(self.weight @ v" in report.findings[0].message
