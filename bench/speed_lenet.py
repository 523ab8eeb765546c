"""LeNet-5 under gradproof and under torch.autograd.gradcheck: what they take, what they miss.

Both check the gradient of a scalar cross-entropy loss of four digits with respect to every weight,
in double precision: gradproof with `coverage="full"` and with its default, `coverage="probe"`;
gradcheck in its slow mode, one weight after the other, and in its fast mode, one random direction
for each tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from bench.timing import Counted, timed
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.autograd.gradcheck import gradcheck
from torch.nn import functional

import gradproof

__all__ = ["LeNet", "Measured", "Missed", "Setting", "measure", "missed", "plants", "setting"]

#: gradcheck's own defaults.
ATOL, RTOL = 1e-5, 1e-3


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max-pooling: images (N, 1, 28, 28) to logits (N, 10).

    The widths of its layers are multiplied by `scale`; at 1 it has 61,706 weights.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        few, many, wide, narrow = (max(1, round(scale * width)) for width in (6, 16, 120, 84))
        self.conv1 = nn.Conv2d(1, few, 5, padding=2)
        self.conv2 = nn.Conv2d(few, many, 5)
        self.fc1 = nn.Linear(25 * many, wide)
        self.fc2 = nn.Linear(wide, narrow)
        self.fc3 = nn.Linear(narrow, 10)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2).flatten(1)
        x = functional.relu(self.fc2(functional.relu(self.fc1(x))))
        logits: Tensor = self.fc3(x)
        return logits


@dataclass(frozen=True)
class Measured:
    """What one tool said of every weight, and what that took.

    `bars` counts the weights with a finite error bar of their own; `bar` says in words what is
    given. `evaluations` of gradcheck are the forward passes, counted. `cpu` is the processor's
    time, which tells how busy the machine was.
    """

    tool: str
    verdict: str
    seconds: float
    cpu: float
    evaluations: int
    weights: int
    bars: int
    bar: str

    @property
    def per_weight(self) -> float:
        """Evaluations for each weight."""
        return self.evaluations / self.weights


@dataclass(frozen=True)
class Setting:
    """A network, a batch, and the gradient of the loss as autograd has it."""

    model: nn.Module
    images: Tensor
    labels: Tensor
    gradient: Mapping[str, Tensor]

    @property
    def weights(self) -> int:
        """How many there are."""
        return sum(tensor.numel() for tensor in self.gradient.values())

    def loss(self, logits: Tensor) -> Tensor:
        """The cross-entropy."""
        return functional.cross_entropy(logits, self.labels)


def setting(scale: float = 1.0, seed: int = 0) -> Setting:
    """Draw a LeNet and four handwritten digits, enlarged from 8 by 8 to 28 by 28."""
    torch.manual_seed(seed)
    model = LeNet(scale).double()
    data = load_digits()
    chosen = np.random.default_rng(seed).choice(len(data.images), 4, replace=False)
    small = torch.from_numpy(data.images[chosen, None] / 16.0)
    labels = torch.from_numpy(data.target[chosen])
    images = functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    names, parameters = zip(*model.named_parameters(), strict=True)
    loss = functional.cross_entropy(model(images), labels)
    gradient = torch.autograd.grad(loss, parameters)
    return Setting(model, images, labels, dict(zip(names, gradient, strict=True)))


# -- what it takes -----------------------------------------------------------------------------


def measure(given: Setting, *, repeats: int = 3) -> dict[str, Measured]:
    """Let each tool check every weight; those of a fraction of a second `repeats` times."""
    return {
        "full": _gradproof(given, "full", 1),
        "probe": _gradproof(given, "probe", repeats),
        "slow": _gradcheck(given, False, 1),
        "fast": _gradcheck(given, True, repeats),
    }


def _gradproof(given: Setting, coverage: str, repeats: int) -> Measured:
    # Without the rules of thumb beside the verdict, for which gradcheck has no counterpart.
    run = timed(lambda: _report(given, coverage=coverage, customary=()), repeats)
    report = run.result
    bars = int(np.isfinite(np.asarray(report.entries.error)).sum())
    limit = max(tensor.detection_limit for tensor in report.tensors.values())
    return Measured(
        f'gradproof, coverage="{coverage}"',
        report.verdict,
        run.seconds,
        run.cpu,
        report.evaluations,
        given.weights,
        bars,
        f"{bars:,} weights" if coverage == "full" else f"every tensor: {limit:.0e}",
    )


def _report(given: Setting, **options: Any) -> gradproof.Report:
    return gradproof.check(given.model, given.images, loss=given.loss, **options)


def _gradcheck(given: Setting, fast: bool, repeats: int) -> Measured:
    loss = Counted(_loss_of_weights(given, {}))
    run = timed(lambda: _passes(loss, given, fast), repeats)
    mode = "fast" if fast else "slow"
    verdict = "pass" if run.result else "fail"
    evaluations = loss.calls // repeats
    spent = (run.seconds, run.cpu, evaluations, given.weights)
    return Measured(f"gradcheck, {mode} mode", verdict, *spent, 0, "none")


def _passes(loss: Callable[..., Tensor], given: Setting, fast: bool) -> bool:
    # Copies: gradcheck moves them in place, and would leave them moved where it is cut short.
    copies = tuple(p.detach().clone().requires_grad_() for p in given.model.parameters())
    return gradcheck(loss, copies, fast_mode=fast, raise_exception=False)


# -- what it misses ----------------------------------------------------------------------------

#: What a tensor's gradient is multiplied by.
Factors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Missed:
    """Whether a planted error is seen; `named`: whether gradproof names its tensor, and only it."""

    plant: str
    probe: bool
    named: bool
    fast: bool
    slow: bool
    evaluations: int


class _Bend(torch.autograd.Function):
    """Return the tensor as it is; its gradient comes back multiplied by the factors."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        (factors,) = ctx.saved_tensors
        return cotangents[0] * factors, None


def _bent(tensor: Tensor, factors: Tensor) -> Tensor:
    bent: Tensor = _Bend.apply(tensor, factors)  # type: ignore[no-untyped-call]
    return bent


def missed(given: Setting, planted: Mapping[str, Factors]) -> list[Missed]:
    """Put errors in the gradient to gradproof's default and to gradcheck.

    gradcheck's slow mode would take as long for each of them as for the right gradient. What it
    says follows from its rule, |claimed - numeric| <= 1e-5 + 1e-3 |numeric| in every entry, with
    the right gradient for the numeric one, from which it differs by 1e-9 or so.
    """
    return [_missed(given, plant, factors) for plant, factors in planted.items()]


def _missed(given: Setting, plant: str, factors: Factors) -> Missed:
    claim = {name: g * factors.get(name, 1.0) for name, g in given.gradient.items()}
    report = _report(given, grad=claim)
    accused = {name for name, tensor in report.tensors.items() if tensor.verdict == "fail"}
    slow = not all(
        bool(((claim[name] - g).abs() <= ATOL + RTOL * g.abs()).all())
        for name, g in given.gradient.items()
    )
    fast = not _passes_fast_mode(_loss_of_weights(given, factors), given)
    found = report.verdict == "fail"
    return Missed(plant, found, accused == set(factors), fast, slow, report.evaluations)


class _FailedError(Exception):
    """The fast mode has found something."""


def _passes_fast_mode(loss: Callable[..., Tensor], given: Setting) -> bool:
    """Where the fast mode fails it runs the slow mode too, for its message: that is cut short."""
    limit, calls = 4 * len(given.gradient), 0

    def limited(*weights: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > limit:
            raise _FailedError
        return loss(*weights)

    try:
        return _passes(limited, given, fast=True)
    except _FailedError:
        return False


def _loss_of_weights(given: Setting, factors: Factors) -> Callable[..., Tensor]:
    names = tuple(given.gradient)

    def loss(*weights: Tensor) -> Tensor:
        moved = {
            name: _bent(weight, factors[name]) if name in factors else weight
            for name, weight in zip(names, weights, strict=True)
        }
        return given.loss(torch.func.functional_call(given.model, moved, given.images))

    return loss


def plants(gradient: Mapping[str, Tensor]) -> dict[str, Factors]:
    """All of a tensor down to one weight of it, the one with the largest gradient."""

    def all_of(name: str, factor: float) -> Factors:
        return {name: torch.full_like(gradient[name], factor)}

    def one_of(name: str, factor: float) -> Factors:
        factors = torch.ones_like(gradient[name])
        factors.view(-1)[gradient[name].abs().argmax()] = factor
        return {name: factors}

    def alternating(name: str) -> Factors:
        signs = 1.0 - 2.0 * (torch.arange(gradient[name].numel()) % 2)
        return {name: (1.0 + 0.5 * signs).to(gradient[name]).view_as(gradient[name])}

    everywhere = {name: torch.full_like(g, 1.001) for name, g in gradient.items()}
    return {
        "fc1.weight: all zero": all_of("fc1.weight", 0.0),
        "conv2.weight: all zero": all_of("conv2.weight", 0.0),
        "fc1.weight: alternately 50 % too large and too small": alternating("fc1.weight"),
        "conv1.weight: all 1 % too large": all_of("conv1.weight", 1.01),
        "every tensor: 0.1 % too large": everywhere,
        "fc1.weight: one weight's sign flipped": one_of("fc1.weight", -1.0),
        "fc2.weight: one weight zero": one_of("fc2.weight", 0.0),
        "conv2.weight: one weight 5 % too large": one_of("conv2.weight", 1.05),
        "conv1.weight: one weight 1 % too large": one_of("conv1.weight", 1.01),
    }
