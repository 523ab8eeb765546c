"""Directions over all entries, and slopes along them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.directions import Line, draw, sizes_of
from gradproof.numerics.sampling import SINGLE
from gradproof.subjects.numpy import ArraySubject

Vector = npt.NDArray[np.float64]
X = np.random.default_rng(0).normal(size=200)


def line(claim: Vector, rounding: Vector | float = 0.0, x: Vector = X) -> Line:
    subject = ArraySubject(lambda v: np.sum(np.sin(v)), x, rng=np.random.default_rng(1))
    return Line(subject, [claim], [np.broadcast_to(rounding, x.shape)], subject.value())


def test_a_tensor_moves_by_one_power_of_two() -> None:
    (sizes,) = sizes_of([np.array([0.3, 0.5, 1.9])])
    assert sizes.tolist() == [0.25, 0.25, 0.25]


def test_entries_that_span_decades_move_by_their_own() -> None:
    (sizes,) = sizes_of([np.array([1e-8, 1.0, 1e8])])
    assert np.all(np.abs(np.log2(sizes / np.array([1e-8, 1.0, 1e8]))) <= 0.5)


def test_an_empty_tensor_has_no_sizes() -> None:
    assert [len(s) for s in sizes_of([np.empty(0), np.ones(2)])] == [0, 2]


def test_a_direction_is_normal_in_units_of_the_sizes() -> None:
    sizes = (np.full(20_000, 4.0), np.full(20_000, 2.0**-30))
    for way, size in zip(draw(sizes, np.random.default_rng(0)), sizes, strict=True):
        numbers = np.sort(way / size)
        normal = np.random.default_rng(1).standard_normal(200_000)
        at = np.array([0.01, 0.1, 0.5, 0.9, 0.99])
        assert np.allclose(np.quantile(numbers, at), np.quantile(normal, at), atol=0.06)


def test_a_direction_may_be_confined_to_a_tensor() -> None:
    first, second = draw((np.ones(3), np.ones(4)), np.random.default_rng(0), only=1)
    assert not first.any()
    assert second.all()


def test_slopes_of_a_right_claim_agree_within_their_bars() -> None:
    found = line(np.cos(X))
    directions = [draw([np.ones(200)], np.random.default_rng(k)) for k in range(20)]
    slopes = found.pairs(directions, 1e-6, 0.0)
    assert np.all(np.abs(slopes.gap) <= slopes.bar + 1e-10)
    assert np.all(slopes.bar < 1e-7)


def test_rounding_of_a_claim_adds_up_as_a_random_walk_does() -> None:
    _, unsure = line(np.cos(X), 1e-6).claimed(draw([np.ones(200)], np.random.default_rng(0)))
    assert 1e-6 * 6.0 * np.sqrt(200) * 0.8 < unsure < 1e-6 * 6.0 * np.sqrt(200) * 1.2


def test_rounding_of_a_lone_entry_is_its_own() -> None:
    way = np.zeros(200)
    way[7] = -2.0
    product, unsure = line(np.cos(X), 1e-6).claimed([way])
    assert product == pytest.approx(-2.0 * np.cos(X[7]))
    assert unsure == pytest.approx(2e-6)


def test_share_is_the_size_of_the_claim_without_cancellation() -> None:
    assert line(np.cos(X)).share([np.ones(200)]) == pytest.approx(np.linalg.norm(np.cos(X)))
    assert np.finfo(np.float32).eps == SINGLE


def test_noise_along_a_direction_is_not_its_slope() -> None:
    """A table whose points are off their places would take part of the slope for noise."""
    steep = ArraySubject(lambda v: 1e3 * np.sum(np.sin(v)), X, rng=np.random.default_rng(1))
    found = Line(steep, [1e3 * np.cos(X)], [np.zeros(200)], steep.value())
    way = draw([np.ones(200)], np.random.default_rng(0))
    for longest in (1.0, 1e-2, 1e-5):
        ladder = found.ladder(way, longest)
        assert ladder.noise[0] < 1e-12 * abs(steep.value()) + 1e-11


def test_coarse_numbers_widen_the_bar_by_their_displacement() -> None:
    x = X.astype(np.float32)
    subject = ArraySubject(
        lambda v: np.sum(np.sin(v.astype(float))), x, promote=False, rng=np.random.default_rng(1)
    )
    claim = np.cos(x.astype(float))
    found = Line(subject, [claim], [np.zeros(200)], subject.value())
    directions = [draw([np.ones(200)], np.random.default_rng(k)) for k in range(20)]
    slopes = found.pairs(directions, 2.0**-10, 0.0)
    truncation = 2.0**-20 / 6.0 * 200
    assert np.all(np.abs(slopes.gap) <= slopes.bar + truncation)
    assert np.all(slopes.bar > 1e-4)
