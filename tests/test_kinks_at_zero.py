"""Layers that start at zero: every unit lies on its kink."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gradproof
from gradproof.coverage import kinks

Array = NDArray[np.float64]


class Zero:
    """A ReLU layer whose weight and bias are 0, and its gradient by hand."""

    def __init__(self, rows: int, units: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.x, self.t = rng.normal(size=(rows, 6)), rng.normal(size=rows)
        self.v = rng.normal(size=units)
        self.point = {"w": np.zeros((6, units)), "b": np.zeros(units)}

    def loss(self, p: dict[str, Array]) -> float:
        hidden = np.maximum(self.x @ p["w"] + p["b"], 0.0)
        return float(np.mean((hidden @ self.v - self.t) ** 2))

    def gradient(self, p: dict[str, Array], slope: float = 0.0) -> dict[str, Array]:
        """With the slope that is taken at the kink."""
        z = self.x @ p["w"] + p["b"]
        error = 2.0 * (np.maximum(z, 0.0) @ self.v - self.t) / len(self.t)
        dz = np.outer(error, self.v) * np.where(z > 0.0, 1.0, np.where(z == 0.0, slope, 0.0))
        return {"w": self.x.T @ dz, "b": dz.sum(axis=0)}


@pytest.mark.parametrize("coverage", ["probe", "full"])
@pytest.mark.parametrize(
    ("rows", "units", "seed"), [(10, 8, 0), (10, 8, 1), (10, 8, 2), (32, 16, 0)]
)
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_layer_that_starts_at_zero_may_take_all_its_units_for_either_side(
    rows: int, units: int, seed: int, coverage: str, slope: float
) -> None:
    layer = Zero(rows, units, seed)

    def gradient(p: Any) -> Any:
        return layer.gradient(p, slope)

    report = gradproof.check(layer.loss, layer.point, gradient, coverage=coverage, seed=seed)
    assert report.verdict == "pass", report.reason


@pytest.mark.parametrize("coverage", ["probe", "full"])
@pytest.mark.parametrize("slope", [-1.0, 2.0])
def test_and_not_a_slope_that_lies_beyond_both(slope: float, coverage: str) -> None:
    layer = Zero(10, 8, 0)

    def gradient(p: Any) -> Any:
        return layer.gradient(p, slope)

    assert gradproof.check(layer.loss, layer.point, gradient, coverage=coverage).verdict == "fail"


def test_without_moves_of_whole_tensors_it_would_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinks, "WHOLE", 0)
    layer = Zero(10, 8, 0)
    assert gradproof.check(layer.loss, layer.point, layer.gradient).verdict == "fail"
