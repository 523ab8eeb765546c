"""Reports to be shown in a page: of real checks, and made-up ones of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

import gradproof
from gradproof import Report
from gradproof.report.build import tensor_report
from gradproof.report.entries import Entries
from gradproof.report.model import Spread, Verdict

Array = NDArray[np.float64]
Rows = NDArray[np.intp]


@cache
def convolution() -> Report:
    """A small network; the gradient of its convolution's kernel [2, 1] is twice the right one.

    Its loss has two terms and kinks, and its tensors have four axes, two, one and none.
    """
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 3, 6, 6))
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(2, 3))
    point = {
        "conv.weight": rng.normal(size=(4, 3, 3, 3)) / 3,
        "conv.bias": rng.normal(size=4) / 3,
        "fc.weight": rng.normal(size=(5, 4)),
        "scale": np.array(0.7),
    }

    def forward(p: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        y = np.einsum("nchwij,fcij->nfhw", windows, p["conv.weight"])
        y = y + p["conv.bias"][:, None, None]
        pooled = np.maximum(y, 0.0).mean(axis=(2, 3))
        return y, pooled, np.tanh(p["scale"] * pooled @ p["fc.weight"].T)

    def loss(p: Mapping[str, Array]) -> float:
        return float(0.5 * np.sum(forward(p)[2] ** 2))

    def decay(p: Mapping[str, Array]) -> float:
        return float(0.5 * np.sum(p["fc.weight"] ** 2))

    def gradient(p: Mapping[str, Array]) -> dict[str, Array]:
        y, pooled, out = forward(p)
        dout = out * (1.0 - out**2)
        dpooled = p["scale"] * dout @ p["fc.weight"]
        dy = dpooled[:, :, None, None] * (y > 0) / y[0, 0].size
        weight = np.einsum("nchwij,nfhw->fcij", windows, dy)
        weight[2, 1] *= 2.0
        return {
            "conv.weight": weight,
            "conv.bias": dy.sum(axis=(0, 2, 3)),
            "fc.weight": p["scale"] * dout.T @ pooled,
            "scale": np.asarray(np.sum(dout * (pooled @ p["fc.weight"].T))),
        }

    def decay_gradient(p: Mapping[str, Array]) -> dict[str, Array]:
        return {**{name: np.zeros_like(a) for name, a in p.items()}, "fc.weight": p["fc.weight"]}

    return gradproof.check(
        lambda p: loss(p) + decay(p),
        point,
        lambda p: {name: g + decay_gradient(p)[name] for name, g in gradient(p).items()},
        coverage="full",
        terms={"data": (loss, gradient), "decay": (decay, decay_gradient)},
        steps="conv.weight[2, 1, 0, 0]",
    )


@cache
def probed() -> Report:
    """A right gradient of which no entry had to be looked at."""
    return gradproof.check(
        lambda p: float(np.sum(np.sin(p["encoder.weight"])) + np.sum(p["bias"] ** 2)),
        {"encoder.weight": np.linspace(0.1, 1.0, 24).reshape(4, 6), "bias": np.ones(3)},
        lambda p: {"encoder.weight": np.cos(p["encoder.weight"]), "bias": 2.0 * p["bias"]},
    )


def made_up(
    shapes: Mapping[str, tuple[int, ...]], is_wrong: Callable[[Rows, Rows], NDArray[np.bool_]]
) -> Report:
    """A report of every entry; `is_wrong` is told the tensors' numbers and the flat indices."""
    rng = np.random.default_rng(1)
    sizes = [math.prod(shape) for shape in shapes.values()]
    tensor = np.repeat(np.arange(len(sizes)), sizes)
    flat = np.concatenate([np.arange(size) for size in sizes])
    numeric = rng.normal(size=flat.size)
    wrong = is_wrong(tensor, flat)
    entries = Entries.build(
        shapes,
        shapes.values(),
        tensor=tensor,
        flat_index=flat,
        value=rng.normal(size=flat.size),
        analytic=np.where(wrong, 2.0 * numeric, numeric * (1.0 + 1e-12 * rng.random(flat.size))),
        numeric=numeric,
        error=1e-11 * np.abs(numeric),
        verdict=wrong.astype(np.intp),
    )
    tensors = {}
    for name, shape in shapes.items():
        part = entries.filter(tensor=name)
        verdict: Verdict = "fail" if part.counts()["mismatch"] else "pass"
        tensors[name] = tensor_report(name, shape, part, verdict, "", ())
    some = Spread(0.3, 12.0, 15.9)
    return Report(
        verdict="fail" if wrong.any() else "pass",
        reason="made up",
        tensors=tensors,
        entries=entries,
        findings=(),
        norm_ratio=0.1,
        max_relative_error=0.5,
        sign_mismatches=0,
        digits_agree=some,
        digits_attainable=some,
        evaluations=2 * flat.size,
        gradient_evaluations=1,
        seconds=1.5,
        noise=1e-16,
        seed=3,
        coverage="full",
        resolution=1e-3,
        value=1.0,
    )
