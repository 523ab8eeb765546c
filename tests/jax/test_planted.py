from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.jax.planted import PLANTS
from tests.jax.planted_case import Plant, normal

import gradproof

#: Every entry, whatever the default is.
check = partial(gradproof.check, coverage="full")

each_plant = pytest.mark.parametrize("plant", PLANTS, ids=[p.name for p in PLANTS])
#: A gradient that is given as arrays is compared like JAX's own, which every plant goes through.
FOURTH = PLANTS[::4]
each_fourth_plant = pytest.mark.parametrize("plant", FOURTH, ids=[p.name for p in FOURTH])


def is_floating(leaf: Any) -> bool:
    return jnp.issubdtype(getattr(leaf, "dtype", np.int64), jnp.floating)


def vjp(f: Callable[..., Any], x: tuple[Any, ...]) -> tuple[list[Any], Any]:
    """f's outputs and its gradient in x's structure, None for constants, in float64.

    Every output is given a fixed weight of either sign.
    """
    with jax.enable_x64(True):
        leaves, structure = jax.tree.flatten(x)
        moving = [jnp.asarray(leaf, np.float64) for leaf in leaves if is_floating(leaf)]

        def of_moving(moving: list[Any]) -> Any:
            rest = iter(moving)
            filled = [next(rest) if is_floating(leaf) else leaf for leaf in leaves]
            return f(*jax.tree.unflatten(structure, filled))

        outputs, pull_back = jax.vjp(of_moving, moving)
        cotangent = jax.tree.map(jnp.asarray, weights(outputs))
        rest = iter(pull_back(cotangent)[0])
        gradient = [np.asarray(next(rest)) if is_floating(leaf) else None for leaf in leaves]
        return [np.asarray(y) for y in jax.tree.leaves(outputs)], jax.tree.unflatten(
            structure, gradient
        )


def weights(outputs: Any) -> Any:
    leaves, structure = jax.tree.flatten(outputs)
    drawn = [normal(*y.shape, seed=50 + k) for k, y in enumerate(leaves)]
    return jax.tree.unflatten(structure, drawn)


def leaves_of(gradient: Any) -> list[Any]:
    return [g for g in jax.tree.leaves(gradient) if g is not None]


def test_there_are_at_least_twenty_five_plants_of_different_names() -> None:
    assert len({p.name for p in PLANTS}) == len(PLANTS) >= 25


@each_plant
def test_a_plant_differs_from_its_twin_in_the_named_gradients_alone(plant: Plant) -> None:
    values, right = vjp(plant.right, plant.x())
    same, wrong = vjp(plant.wrong, plant.x())
    for one, other in zip(values, same, strict=True):
        np.testing.assert_array_equal(one, other)
    pairs = list(zip(leaves_of(right), leaves_of(wrong), strict=True))
    assert all(np.isfinite(g).all() for g, _ in pairs)
    differs = [not np.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in pairs]
    assert sum(differs) == len(plant.tensors)


@each_plant
def test_a_correct_rule_passes(plant: Plant) -> None:
    report = check(plant.right, plant.x())
    assert report.verdict == "pass", report.reason


@each_plant
def test_a_planted_rule_fails_in_the_tensors_that_it_makes_wrong(plant: Plant) -> None:
    report = check(plant.wrong, plant.x())
    assert report.verdict == "fail", report.reason
    assert {n for n, t in report.tensors.items() if t.verdict == "fail"} == set(plant.tensors)


@each_fourth_plant
def test_the_right_gradient_given_as_arrays_passes(plant: Plant) -> None:
    _, claim = vjp(plant.right, plant.x())
    report = check(contracted(plant), plant.x(), claim)
    assert report.verdict == "pass", report.reason


@each_fourth_plant
def test_the_wrong_gradient_given_as_arrays_fails(plant: Plant) -> None:
    _, claim = vjp(plant.wrong, plant.x())
    report = check(contracted(plant), plant.x(), claim)
    assert report.verdict == "fail", report.reason
    assert sum(t.verdict == "fail" for t in report.tensors.values()) == len(plant.tensors)


def contracted(plant: Plant) -> Callable[..., Any]:
    def f(*args: Any) -> Any:
        outputs = plant.right(*args)
        pairs = zip(jax.tree.leaves(outputs), jax.tree.leaves(weights(outputs)), strict=True)
        return sum(jnp.sum(y * w) for y, w in pairs)

    return f
