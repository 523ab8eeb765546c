"""Directions over all entries at once: what they see, and how far."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.probe import Probes, probe, root_mean_square, scales
from gradproof.subjects.numpy import ArraySubject

Vector = npt.NDArray[np.float64]


def probes(
    f: Callable[[Any], Any], x: Vector, claim: Vector, *, count: int = 2, seed: int = 0
) -> Probes:
    rng = np.random.default_rng(seed)
    subject = ArraySubject(f, x, rng=rng)
    scale = scales(subject.point)
    return probe(subject, scale, [claim], [np.zeros(len(x))], subject.value(), count, rng)


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


X = np.random.default_rng(0).normal(size=500)


@pytest.mark.parametrize("seed", range(10))
def test_right_claim_fits_every_direction(seed: int) -> None:
    found = probes(sines, X, np.cos(X), seed=seed, count=4)
    assert not found.contradict.any()
    assert np.all(np.abs(found.analytic - found.numeric) <= found.error + found.rounding)
    assert np.all(found.error < 1e-9 * np.abs(found.numeric).max())


@pytest.mark.parametrize("seed", range(10))
def test_one_wrong_entry_of_many_contradicts_every_direction(seed: int) -> None:
    claim = np.cos(X)
    claim[seed] *= 1 + 1e-6
    assert probes(sines, X, claim, seed=seed, count=4).contradict.all()


def test_small_errors_everywhere_are_seen_together() -> None:
    errors = 1e-9 * np.random.default_rng(1).normal(size=500)
    assert probes(sines, X, np.cos(X) + errors, count=6).contradict.sum() >= 3


def test_direction_through_kinks_contradicts_nobody() -> None:
    found = probes(lambda x: np.sum(np.abs(x)), np.zeros(3), np.array([0.5, 0.0, -1.0]))
    assert not found.contradict.any()
    assert found.reach == 0.0


def test_reach_ends_at_the_nearest_kink() -> None:
    x = np.linspace(0.5, 1.5, 9)
    near = probes(lambda x: sines(x) + np.abs(x[0] - 0.501), x, np.cos(x))
    smooth = probes(sines, x, np.cos(x))
    assert near.reach < 2e-3 < smooth.reach


@pytest.mark.parametrize("noise", [1e-12, 1e-9, 1e-6])
def test_noise_of_f_is_measured(noise: float) -> None:
    rng = np.random.default_rng(3)
    found = probes(lambda x: sines(x) + noise * rng.normal(), X[:5], np.cos(X[:5]))
    assert noise / 3 < found.noise < 10 * noise


def test_directions_come_from_the_generator_alone() -> None:
    one, again, other = (probes(sines, X, np.cos(X), seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.numeric, again.numeric)
    assert not np.array_equal(one.numeric, other.numeric)


# -- sizes of entries --------------------------------------------------------------------------


def test_an_entry_near_zero_has_the_size_of_its_tensor() -> None:
    (scale,) = scales([np.array([1e-9, *(8 * [3.0]), *(8 * [-5.0])])])
    assert scale == pytest.approx([4.0, *(8 * [4.0]), *(8 * [5.0])])


def test_a_tensor_of_zeros_has_the_size_of_the_others() -> None:
    weight, bias = scales([np.full(3, 2.0), np.zeros(3)])
    assert weight.tolist() == [2.0, 2.0, 2.0]
    assert bias.tolist() == pytest.approx([np.sqrt(2.0)] * 3)


def test_where_all_is_zero_the_size_is_one() -> None:
    assert [s.tolist() for s in scales([np.zeros(2), np.zeros(0)])] == [[1.0, 1.0], []]


def test_entries_over_many_decades_have_sizes_of_their_own() -> None:
    (scale,) = scales([np.array([1e-8, 0.0, -1.0, 1e8])])
    assert scale.tolist() == [1e-8, 1.0, 1.0, 1e8]


@pytest.mark.parametrize("size", [5e-324, 1e-300, 1e-160, 1e160, 1e300])
def test_sizes_neither_overflow_nor_vanish(size: float) -> None:
    (scale,) = scales([np.full(4, size)])
    assert scale == pytest.approx(np.full(4, size))
    assert root_mean_square(np.full(4, size)) == pytest.approx(size)


def test_root_mean_square_of_nothing_is_zero() -> None:
    assert root_mean_square(np.zeros(0)) == 0.0
    assert root_mean_square(np.array([3.0, 4.0])) == pytest.approx(np.sqrt(12.5))
