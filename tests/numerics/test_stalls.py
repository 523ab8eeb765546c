"""A table of noise that happened to see too little sets off no search for a staircase."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gradproof import Report, check, derivative
from gradproof.examples.layers import Array
from gradproof.numerics import stalls
from gradproof.numerics.sampling import Floats

#: Of 5,000 seeds those for which the first table's noise is ten times too low, and more.
UNLUCKY = [128, 1980, 4507]


def of_exponentials(seed: int) -> Report:
    x: Array = np.random.default_rng(seed).normal(size=1000)
    product: Callable[[Array, Array], Array] = lambda x, cotangent: cotangent * np.exp(x)  # noqa: E731
    return check(np.exp, x, product, seed=seed)


@pytest.mark.parametrize("seed", UNLUCKY)
def test_noise_that_was_measured_too_low_is_measured_again(seed: int) -> None:
    report = of_exponentials(seed)
    assert report.verdict == "pass"
    assert report.evaluations <= 70


@pytest.mark.parametrize("seed", UNLUCKY)
def test_without_a_second_table_a_staircase_is_looked_for(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: object) -> Floats:
        return np.zeros(1)

    monkeypatch.setattr(stalls, "_measured_again", nothing)
    assert of_exponentials(seed).evaluations > 102


def test_a_staircase_is_found_all_the_same() -> None:
    def stairs(x: float) -> float:
        return float(np.float32(np.sin(3.0 * x)))

    found = derivative(stairs, 0.4)
    assert abs(found.value - 3.0 * np.cos(1.2)) <= found.error
    assert found.noise > 1e-9
