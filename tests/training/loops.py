"""Small training loops, and everything about them that a probe might change."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Softsign(torch.autograd.Function):
    """x / (1 + |x|), its backward written by hand; wrong at saturated values where that is asked.

    `generate_vmap_rule` is as one would have it for vmap.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, saturation: float) -> Tensor:
        return x / (1 + x.abs())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        x, ctx.saturation = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        slope = (1 + x.abs()) ** -2.0
        # The planted bug: what is saturated is cut off.
        return dy * torch.where(x.abs() > ctx.saturation, 0.0, slope), None


class Activation(nn.Module):
    """Softsign as a layer."""

    def __init__(self, saturation: float) -> None:
        super().__init__()
        self.saturation = saturation

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Softsign.apply(x, self.saturation)  # type: ignore[no-untyped-call]
        return result


def build(saturation: float = np.inf) -> nn.Sequential:
    """A network with batch norm, dropout and an autograd.Function."""
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.BatchNorm1d(8),
        Activation(saturation),
        nn.Dropout(0.2),
        nn.Linear(8, 3),
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All global random generators start from `seed`; they are put back at the end."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])


Watch = Callable[[nn.Module, torch.optim.Optimizer], Any]


def train(watch: Watch | None = None, *, steps: int = 30) -> dict[str, Any]:
    """What a training with shuffled batches and Adam leaves behind, and its losses.

    Args:
        watch: called with the model and the optimiser before the first step.
        steps: number of batches of 10.
    """
    with seeded(1):
        model = build()
        data = TensorDataset(torch.randn(60, 6), torch.randint(0, 3, (60,)))
        loader = DataLoader(data, batch_size=10, shuffle=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if watch is not None:
            watch(model, optimizer)
        losses: list[Tensor] = []
        while len(losses) < steps:
            for x, y in loader:
                optimizer.zero_grad()
                noise = random.random() + float(np.random.normal())  # noqa: NPY002
                loss = nn.functional.cross_entropy(model(x + 0.01 * noise), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                losses.append(loss.detach())
        return observed(model, optimizer) | {"losses": torch.stack(losses)}


def observed(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> dict[str, Any]:
    """Everything that a probe might change."""
    state = {} if optimizer is None else optimizer.state_dict()["state"]
    return {
        **{f"weights.{name}": value.clone() for name, value in model.state_dict().items()},
        **{
            f"grad.{name}": None if p.grad is None else p.grad.clone()
            for name, p in model.named_parameters()
        },
        **{f"adam.{k}.{name}": v.clone() for k, held in state.items() for name, v in held.items()},
        "requires_grad": [p.requires_grad for p in model.parameters()],
        "training": [part.training for part in model.modules()],
        "torch": torch.get_rng_state(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "modes": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_anomaly_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
        ),
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What is not bitwise the same."""
    assert one.keys() == other.keys()
    return [name for name in one if not _is_same(one[name], other[name])]


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    return bool(one == other)
