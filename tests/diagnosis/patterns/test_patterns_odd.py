"""Fields that are hardly any: whatever there is to be explained, something is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import Alternative, Field

SHAPES: list[tuple[int, ...]] = [(), (1,), (2,), (1, 1), (3, 1), (4, 2), (2, 3, 3), (2, 2, 2, 2)]


def odd_values(size: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Zeros, huge and tiny numbers, whole numbers, equal ones, and now and then no number."""
    kind = rng.integers(7)
    if kind == 0:
        return np.zeros(size)
    if kind == 1:
        return np.full(size, rng.choice([1.0, -2.0, 1e300, 1e-300]))
    values = rng.normal(size=size)
    if kind == 2:
        values = np.round(3.0 * values)
    if kind == 3:
        values *= 10.0 ** rng.uniform(-200, 200, size)
    if kind == 4:
        values[rng.random(size) < 0.5] = 0.0
    if kind == 5:
        values[rng.random(size) < 0.3] = rng.choice([np.nan, np.inf, -np.inf])
    return values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(60))
def test_something_is_said_of_every_field(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng([seed, len(shape), *shape])
    size = int(np.prod(shape, dtype=int))
    index = np.flatnonzero(rng.random(size) < rng.choice([0.0, 0.4, 1.0]))
    numeric = odd_values(size, rng)[index]
    error = np.abs(rng.normal(size=len(index))) * rng.choice([0.0, 1e-12, 1e-3, 10.0])
    error[rng.random(len(index)) < 0.2] = np.inf
    right = odd_values(size, rng)
    field = Field(
        name="w",
        shape=shape,
        claim=right if rng.random() < 0.5 else odd_values(size, rng),
        index=index,
        numeric=numeric if rng.random() < 0.5 else right[index],
        error=error,
        is_complete=bool(rng.random() < 0.5),
        arrays={
            "w itself": odd_values(size, rng),
            "the incoming gradient": odd_values(size, rng),
            "another gradient": odd_values(size, rng),
        },
        constants={"the batch size": 8.0, "nothing": 0.0, "a rate": -0.1},
        alternatives=[Alternative("stale", "x is old", odd_values(size, rng)[index], error)],
    )
    found = explain(field)
    assert found
    assert all(each.kind and each.message.isascii() for each in found)
    for each in found:
        assert each.corrected is None or each.corrected.shape == (size,)
