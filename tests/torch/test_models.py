"""Whole models: the right pass in every weight, one wrong backward fails what lies below it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tests.torch.models import MODELS, PLANTS
from torch import Tensor, nn
from torch.nn import functional

import gradproof
from gradproof.report.model import Report

SEEDS = (0, 1, 2)


def cross_entropy(logits: Tensor) -> Tensor:
    """The mean over all predictions; the labels are made up."""
    flat = logits.reshape(-1, logits.shape[-1])
    return functional.cross_entropy(flat, torch.arange(len(flat)) % flat.shape[-1])


#: The transformer as people train it; the others contracted with a random cotangent.
LOSSES: Mapping[str, Any] = {"resnet": None, "transformer": cross_entropy, "lstm": None}


def check(name: str, seed: int, plant: str | None = None) -> Report:
    model, x = MODELS[name](seed, plant)
    return gradproof.check(model, x, loss=LOSSES[name], coverage="full", seed=seed)


def gradients(name: str, seed: int, plant: str | None) -> dict[str, Tensor]:
    model, x = MODELS[name](seed, plant)
    torch.manual_seed(seed)
    output = model(x)
    weighted = (output * torch.randn_like(output)).sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(weighted, parameters), strict=True))


def sizes(name: str) -> dict[str, int]:
    model, _ = MODELS[name](0, None)
    return {key: parameter.numel() for key, parameter in model.named_parameters()}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", MODELS)
def test_a_right_model_passes_in_every_weight(name: str, seed: int) -> None:
    report = check(name, seed)
    assert report.verdict == "pass", report.reason
    assert {key: tensor.checked for key, tensor in report.tensors.items()} == sizes(name)
    assert not any(finding.severity == "bug" for finding in report.findings)
    for key, tensor in report.tensors.items():
        assert tensor.counts["mismatch"] == tensor.counts["unresolved"] == 0, key


def test_dropout_draws_the_same_whatever_the_order_in_memory() -> None:
    """Masks are drawn in the order of the entries in memory, which vmap changes."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.3, batch_first=True).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    report = gradproof.check(layer, x, coverage="full")
    assert report.verdict == "pass", report.reason


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_fails_what_lies_below_it_and_nothing_else(plant: str) -> None:
    report = check(PLANTS[plant].model, 0, plant)
    assert report.verdict == "fail"
    assert {key for key, tensor in report.tensors.items() if tensor.verdict == "pass"} == {
        key for key in report.tensors if key.startswith(PLANTS[plant].spared)
    }
    assert {tensor.verdict for tensor in report.tensors.values()} == {"pass", "fail"}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_plant_spoils_the_gradients_that_it_says_and_no_value(plant: str) -> None:
    name, spared = PLANTS[plant].model, PLANTS[plant].spared
    right, wrong = gradients(name, 0, None), gradients(name, 0, plant)
    for key, gradient in right.items():
        gap = float((gradient - wrong[key]).norm() / gradient.norm())
        assert (gap < 1e-12) if key.startswith(spared) else (gap > 1e-3), key
    values = []
    for which in (None, plant):
        model, x = MODELS[name](0, which)
        torch.manual_seed(0)
        values.append(model(x))
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=1e-14)
