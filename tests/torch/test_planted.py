from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.planted import PLANTS
from tests.torch.planted_case import Plant, call, normal
from torch import Tensor

import gradproof

#: Every entry, whatever the default is.
check = partial(gradproof.check, coverage="full")

each_plant = pytest.mark.parametrize("plant", PLANTS, ids=[p.name for p in PLANTS])
#: What a test drew before the check, the check does not draw again. Every fourth: a gradient that
#: is given as tensors is compared like autograd's, which every plant goes through.
FIXED = [p for p in PLANTS if "dropout" not in p.name][::4]
each_fixed_plant = pytest.mark.parametrize("plant", FIXED, ids=[p.name for p in FIXED])
#: Where no tensor has more entries than are drawn of it, a sample is the whole.
LARGE = [p for p in PLANTS if max(x.numel() for x in p.x() if isinstance(x, Tensor)) > 20]
each_large_plant = pytest.mark.parametrize("plant", LARGE, ids=[p.name for p in LARGE])


def outputs(plant: Plant, f: Any, x: tuple[Any, ...]) -> tuple[Tensor, ...]:
    result = call(f, x)
    if plant.loss is not None:
        result = plant.loss(result)
    return result if isinstance(result, tuple) else (result,)


def differentiable(x: tuple[Any, ...]) -> list[Tensor]:
    return [t for t in x if isinstance(t, Tensor) and t.requires_grad]


def gradients(plant: Plant, f: Any, x: tuple[Any, ...], seed: int = 3) -> tuple[Tensor, ...]:
    """Autograd's gradient of `contracted`, zero where there is none."""
    torch.manual_seed(seed)
    value = contracted(plant, f, x)
    with np.errstate(all="ignore"):
        return torch.autograd.grad(value, differentiable(x), materialize_grads=True)


def contracted(plant: Plant, f: Any, x: tuple[Any, ...]) -> Tensor:
    """The outputs times fixed weights of both signs."""
    total = torch.zeros((), dtype=torch.float64)
    for k, y in enumerate(outputs(plant, f, x)):
        # A loss stays as it is, for it may hand on a cotangent of its own.
        total = total + (y if plant.loss else (y * weights(y.shape, 50 + k)).sum())
    return total


@cache
def weights(shape: tuple[int, ...], seed: int) -> Tensor:
    return normal(*shape, seed=seed).detach()


def test_there_are_at_least_forty_plants_of_different_names() -> None:
    assert len({p.name for p in PLANTS}) == len(PLANTS) >= 40


@each_plant
def test_a_plant_differs_from_its_twin_in_the_named_gradients_alone(plant: Plant) -> None:
    values, found = [], []
    for f in (plant.right, plant.wrong):
        x = plant.x()
        torch.manual_seed(3)
        values.append(outputs(plant, f, x))
        found.append(gradients(plant, f, x))
    for one, other in zip(*values, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=0.0)
    assert all(bool(torch.isfinite(g).all()) for g in found[0])
    differs = [not torch.allclose(a, b, rtol=1e-7) for a, b in zip(*found, strict=True)]
    assert sum(differs) == len(plant.tensors)


@each_plant
def test_a_correct_backward_passes(plant: Plant) -> None:
    report = check(plant.right, plant.x(), loss=plant.loss)
    assert report.verdict == "pass", report.reason


@each_plant
def test_a_planted_backward_fails_in_the_tensors_that_it_makes_wrong(plant: Plant) -> None:
    report = check(plant.wrong, plant.x(), loss=plant.loss)
    assert report.verdict == "fail", report.reason
    assert {n for n, t in report.tensors.items() if t.verdict == "fail"} == set(plant.tensors)


@each_fixed_plant
def test_the_right_gradient_given_as_tensors_passes(plant: Plant) -> None:
    claim = with_constants(plant.x(), gradients(plant, plant.right, plant.x()))

    def f(*args: Any) -> Tensor:
        return contracted(plant, plant.right, args)

    report = check(f, plant.x(), claim)
    assert report.verdict == "pass", report.reason


@each_fixed_plant
def test_the_wrong_gradient_given_as_tensors_fails(plant: Plant) -> None:
    # Some backwards write to the x that they get.
    claim = with_constants(plant.x(), gradients(plant, plant.wrong, plant.x()))

    def f(*args: Any) -> Tensor:
        return contracted(plant, plant.right, args)

    report = check(f, plant.x(), claim)
    assert report.verdict == "fail", report.reason
    assert sum(t.verdict == "fail" for t in report.tensors.values()) == len(plant.tensors)


def with_constants(x: tuple[Any, ...], found: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """The gradients in x's structure; None for what has none."""
    rest = iter(found)
    return tuple(next(rest) if isinstance(t, Tensor) and t.requires_grad else None for t in x)


@each_large_plant
def test_a_planted_backward_fails_when_entries_are_drawn(plant: Plant) -> None:
    report = check(plant.wrong, plant.x(), loss=plant.loss, coverage="sample")
    assert report.verdict == "fail", report.reason
