"""A gradient certified by random directions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.certify import Certificate, certify
from gradproof.coverage.directions import Line
from gradproof.coverage.probe import scales
from gradproof.coverage.prober import Probe
from gradproof.subjects.numpy import ArraySubject

Vector = npt.NDArray[np.float64]
X = np.random.default_rng(0).normal(size=300)


def certificate(
    f: Callable[[Any], Any],
    x: Any,
    claim: Sequence[Vector],
    *,
    seed: int = 0,
    alpha: float = 1e-6,
    apart: frozenset[int] = frozenset(),
) -> tuple[Certificate, ArraySubject]:
    rng = np.random.default_rng(seed)
    subject = ArraySubject(f, x, rng=rng)
    line = Line(subject, claim, [4e-16 * np.abs(c) for c in claim], subject.value())
    scale = scales(subject.point)
    found = certify(line, scale, alpha=alpha, resolution=1e-3, apart=apart, rng=rng)
    return found, subject


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


@pytest.mark.parametrize("seed", range(5))
def test_a_right_claim_is_certified_for_at_most_a_hundred_evaluations(seed: int) -> None:
    found, subject = certificate(sines, X, [np.cos(X)], seed=seed)
    assert found.contradiction is None
    assert found.limit[0] < 1e-7
    assert subject.evaluations <= 100


@pytest.mark.parametrize("seed", range(5))
def test_an_error_ten_times_the_limit_is_contradicted(seed: int) -> None:
    limit = certificate(sines, X, [np.cos(X)], seed=seed)[0].limit[0]
    error = np.random.default_rng(seed).normal(size=300)
    error *= 10.0 * limit * np.linalg.norm(np.cos(X)) / np.linalg.norm(error)
    assert certificate(sines, X, [np.cos(X) + error], seed=seed)[0].contradiction is not None


def test_a_probe_that_says_nothing_contradicts_nobody() -> None:
    assert Probe(1.0, math.nan, math.inf, math.nan, None).agrees
    assert not Probe(math.nan, 1.0, 0.0, 0.1, None).agrees
    assert not Probe(1.0, math.nan, 1e-3, 0.1, None).agrees


def test_directions_through_kinks_give_no_limit_and_no_contradiction() -> None:
    found, _ = certificate(lambda x: np.sum(np.abs(x)), np.zeros(5), [np.ones(5)])
    assert found.contradiction is None
    assert found.limit[0] == math.inf
    # Half of the probes suffice to see that.
    assert len([p for p in found.probes if p.tensors is None]) == 4


def test_a_tensor_that_others_hide_gets_probes_of_its_own() -> None:
    x = {"large": X, "small": X[:20]}

    def f(t: Any) -> Any:
        return 1e6 * sines(t["large"]) + 1e-4 * sines(t["small"])

    right = [1e6 * np.cos(X), 1e-4 * np.cos(X[:20])]
    found, _ = certificate(f, x, right)
    assert found.contradiction is None
    assert any(p.tensors == (1,) for p in found.probes)
    assert found.limit[1] < 1e-2
    wrong = [right[0], 1.3 * right[1]]
    assert certificate(f, x, wrong)[0].contradiction is not None


def test_a_tensor_without_effect_costs_one_pair() -> None:
    names = [f"dead{k}" for k in range(5)]
    x = {"live": X, **dict.fromkeys(names, X[:7])}
    dead = [np.zeros(7)] * 5
    found, subject = certificate(lambda t: sines(t["live"]), x, [np.cos(X), *dead])
    alone = certificate(sines, X, [np.cos(X)])[1].evaluations
    assert found.negligible.tolist() == [False] + [True] * 5
    assert found.contradiction is None
    assert subject.evaluations <= alone + 2 * 5 + 4


def test_a_gradient_of_zeros_of_a_constant_is_negligible() -> None:
    found, _ = certificate(lambda x: 3.0 + 0.0 * x[0], X, [np.zeros(300)])
    assert found.contradiction is None
    assert found.negligible[0]


def test_zeros_claimed_where_f_moves_are_contradicted() -> None:
    assert certificate(sines, X, [np.zeros(300)])[0].contradiction is not None


def test_tensors_set_apart_are_not_moved() -> None:
    x = {"a": X, "b": X}
    claim = [np.cos(X), np.zeros(300)]
    found, _ = certificate(lambda t: sines(t["a"]) + sines(t["b"]), x, claim, apart=frozenset([1]))
    assert found.contradiction is None
    assert found.limit[0] < 1e-7
    assert found.limit[1] == math.inf


def test_a_step_short_of_a_near_kink_is_found() -> None:
    x = np.linspace(0.5, 1.5, 50)

    def f(v: Any) -> Any:
        return sines(v) + np.sum(np.abs(v - x - 1e-4))

    found, _ = certificate(f, x, [np.cos(x) - 1.0])
    assert found.contradiction is None
    assert found.limit[0] < 1e-4
    assert found.step < 1e-3


@pytest.mark.parametrize("noise", [1e-9, 1e-5])
def test_noise_makes_the_limit_coarser_and_no_contradiction(noise: float) -> None:
    jitter = np.random.default_rng(5)

    def f(v: Any) -> Any:
        return sines(v) + noise * jitter.standard_normal()

    found, _ = certificate(f, X, [np.cos(X)])
    assert found.contradiction is None
    assert noise * 1e-2 < found.limit[0] < noise * 3e4


def test_more_confidence_takes_more_probes() -> None:
    counts = [
        len(certificate(sines, X, [np.cos(X)], alpha=alpha)[0].probes) for alpha in (1e-2, 1e-6)
    ]
    assert counts == [3, 8]


# -- tensors that bend or kink f, beside ones that do little ------------------------------------


def deep(t: Any) -> Any:
    """`near` moves across kinks, and f changes a million times as much with it as with others.

    Kinks lie 1e-5 to 1e-3 from the point, on both sides.
    """
    kinks = np.linspace(1e-5, 1e-3, len(NEAR)) * np.where(np.arange(len(NEAR)) % 2, 1.0, -1.0)
    bent = np.sum(np.abs(t["near"] - NEAR - kinks))
    return 100.0 * bent + 1e-4 * sum(np.sum(np.sin(t[name])) for name in ("a.x", "a.y", "b.x"))


NEAR = np.linspace(0.5, 1.5, 50)
DEEP = {"near": NEAR, "a.x": X[:100], "a.y": X[100:200], "b.x": X[200:]}
DEEP_GRADIENT = [
    100.0 * np.where(np.arange(50) % 2, -1.0, 1.0),
    *(1e-4 * np.cos(DEEP[name]) for name in ("a.x", "a.y", "b.x")),
]


def test_tensors_beside_one_that_keeps_the_step_short_are_seen_as_well() -> None:
    found, subject = certificate(deep, DEEP, DEEP_GRADIENT)
    assert found.contradiction is None
    assert found.limit.max() < 1e-5
    assert subject.evaluations <= 125


@pytest.mark.parametrize("k", range(4))
def test_an_error_is_seen_in_each_of_them(k: int) -> None:
    limit = certificate(deep, DEEP, DEEP_GRADIENT)[0].limit[k]
    claim = [g.copy() for g in DEEP_GRADIENT]
    claim[k] *= 1.0 + 10.0 * limit
    assert certificate(deep, DEEP, claim)[0].contradiction is not None


def test_a_gradient_of_zeros_is_seen_beside_others_that_move_less() -> None:
    claim = [*DEEP_GRADIENT[:3], np.zeros(100)]
    assert certificate(deep, DEEP, claim)[0].contradiction is not None


def test_what_is_set_apart_leaves_nothing_to_probe() -> None:
    found, subject = certificate(sines, X, [np.cos(X)], apart=frozenset([0]))
    assert found.contradiction is None
    assert found.probes == ()
    assert subject.evaluations <= 2
