"""Where no branch changes the function is smooth; where one does, it need not be."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradproof.subjects.torch import branch_masks, branch_rules
from gradproof.subjects.torch.branches import crossed, trace


def _cnn() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)), nn.Tanh()
    )


def _mlp() -> nn.Module:
    return nn.Sequential(
        *(nn.Linear(64, 32), nn.LeakyReLU(), nn.Linear(32, 16), nn.Hardtanh()),
        *(nn.Linear(16, 4), nn.Tanh()),
    )


def _transformer() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)


_MODELS = {
    "cnn": (_cnn, (1, 1, 8, 8)),
    "mlp": (_mlp, (1, 64)),
    "transformer": (_transformer, (1, 8, 8)),
}


def _smooth_and_kinked(name: str) -> tuple[list[bool], int]:
    """Whether the second difference falls 4-fold wherever no branch changes; how often one does."""
    build, shape = _MODELS[name]
    torch.manual_seed(0)
    net = build().double()
    rng = np.random.default_rng(0)
    weights = torch.tensor(rng.standard_normal(64))
    t, falls, kinked = 4e-3, [], 0
    for _ in range(60):
        x, direction = (torch.tensor(rng.standard_normal(shape)) for _ in range(2))

        def at(t: float, x: Tensor = x, direction: Tensor = direction) -> Tensor:
            out: Tensor = net(x + t * direction).flatten()
            return out @ weights[: len(out)]

        left, centre, right = (trace(partial(at, h), net) for h in (-t, 0.0, t))
        if crossed(left, centre) or crossed(centre, right):
            kinked += 1
            continue
        with torch.no_grad():
            wide, narrow = (abs(float(at(h) - 2 * at(0.0) + at(-h))) for h in (t, t / 2))
            rounding = 100 * torch.finfo(torch.float64).eps * (1 + abs(float(at(0.0))))
        falls.append(abs(wide - 4 * narrow) <= 0.01 * wide + rounding)
    return falls, kinked


@pytest.mark.parametrize("name", _MODELS)
def test_where_no_branch_changes_the_second_difference_falls_fourfold(name: str) -> None:
    falls, kinked = _smooth_and_kinked(name)
    assert kinked >= 5
    assert len(falls) >= 20
    assert all(falls)


@pytest.mark.parametrize("name", ["mlp", "transformer"])
def test_without_the_rules_a_kink_goes_unseen(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for rule in ("relu", "leaky_relu", "hardtanh"):
        monkeypatch.delitem(branch_rules.BEFORE, rule)
    falls, _ = _smooth_and_kinked(name)
    assert not all(falls)


def test_without_the_indices_a_kink_goes_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch_masks, "_DISCRETE", frozenset())
    falls, _ = _smooth_and_kinked("cnn")
    assert not all(falls)
