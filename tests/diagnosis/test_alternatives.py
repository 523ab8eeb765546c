"""Mistakes that a few entries refute cost few evaluations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradproof import Report, check
from gradproof.diagnosis import alternatives
from gradproof.examples.layers import Array


def convolved(p: dict[str, Array]) -> Any:
    x, w = p["x"], p["w"]
    rows, columns = x.shape[-2] - 2, x.shape[-1] - 2
    return sum(
        np.einsum("ncij,oc->noij", x[..., a : a + rows, b : b + columns], w[..., a, b])
        for a in range(3)
        for b in range(3)
    )


def with_flipped_kernel(p: dict[str, Array], cotangent: Array, scale: Array) -> dict[str, Array]:
    """The gradient of the input with kernels turned by half a turn, times `scale`."""
    x, w = p["x"], p["w"]
    rows, columns = cotangent.shape[-2:]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for a in range(3):
        for b in range(3):
            window = (..., slice(a, a + rows), slice(b, b + columns))
            dx[window] += np.einsum("noij,oc->ncij", cotangent, w[..., 2 - a, 2 - b])
            dw[..., a, b] = np.einsum("noij,ncij->oc", cotangent, x[window])
    return {"x": dx * scale, "w": dw}


def report(scale: Array) -> Report:
    rng = np.random.default_rng(0)
    point = {"x": rng.normal(size=(2, 2, 6, 6)), "w": rng.normal(size=(3, 2, 3, 3))}
    return check(convolved, point, lambda p, c: with_flipped_kernel(p, c, scale))


def test_a_flipped_kernel_is_found_among_them() -> None:
    found = report(np.ones((2, 2, 6, 6)))
    assert found.findings[0].kind == "flipped-kernel"
    assert "24 entries compared" in found.findings[0].message


def test_what_no_mistake_explains_is_refuted_by_a_few_entries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    junk = np.sin(np.arange(144.0) ** 2).reshape(2, 2, 6, 6)
    few = report(junk)
    assert few.findings[0].kind == "unexplained"
    monkeypatch.setattr(alternatives, "FIRST", 24)
    assert few.evaluations + 1000 < report(junk).evaluations
