"""Fixed steps, as people use them by hand, and the kinks they step over."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.customary import FixedSteps, at_fixed_steps
from gradproof.coverage.entries import full
from gradproof.subjects.numpy import ArraySubject


def at(
    f: Callable[[Any], Any], x: npt.NDArray[np.float64], steps: tuple[float, ...]
) -> tuple[FixedSteps, int]:
    """The differences, and the evaluations that they took."""
    subject = ArraySubject(f, x, rng=np.random.default_rng(0))
    value = subject.value()
    before = subject.evaluations
    found = at_fixed_steps(subject, full([x.size]), steps, value, 1e-16)
    return found, subject.evaluations - before


X = np.linspace(-1.5, 1.5, 8)


def test_slopes_are_the_plain_central_differences() -> None:
    steps = (1e-4, 1e-2, 1e-5)
    found, _ = at(lambda x: np.sum(np.exp(x)), X, steps)
    assert found.steps == steps
    for h, slopes in zip(steps, found.slopes, strict=True):
        expected = (np.exp(X + h) - np.exp(X - h)) / (2 * h)
        np.testing.assert_allclose(slopes, expected, rtol=1e-8)
        assert not np.array_equal(slopes, np.exp(X))


def test_two_values_are_spent_for_each_step_and_two_more() -> None:
    _, spent = at(lambda x: np.sum(np.exp(x)), X, (1e-4, 1e-5))
    assert spent == 2 * 3 * len(X)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.exp(x)),
        lambda x: np.sum(np.sin(50 * x)),
        lambda x: np.sum(x**2),
        lambda x: np.sum(3 * x),
        lambda x: 1e6 + np.sum(np.cos(x)),
        lambda x: np.sum(x**4),
        lambda x: 2.5,
    ],
    ids=["exp", "sine", "square", "line", "offset", "fourth-power", "constant"],
)
def test_no_kink_is_seen_where_there_is_none(f: Callable[[Any], Any]) -> None:
    found, _ = at(f, X, (1e-3, 1e-4, 1e-5))
    assert not found.crossed.any()


@pytest.mark.parametrize("distance", [5e-6, 5e-5, 5e-4])
def test_kink_is_seen_by_the_steps_that_reach_it(distance: float) -> None:
    steps = (1e-3, 1e-4, 1e-5)
    found, _ = at(lambda x: np.sum(np.abs(x - X - distance)), X.copy(), steps)
    for h, crossed in zip(steps, found.crossed, strict=True):
        assert crossed.all() if h > distance else not crossed.any()


def test_kink_right_at_the_point_is_seen_by_every_step() -> None:
    found, _ = at(lambda x: np.sum(np.abs(x - X)), X.copy(), (1e-3, 1e-4, 1e-5))
    assert found.crossed.all()


def test_only_the_entries_with_a_kink_cross_one() -> None:
    x = np.array([3e-5, 0.5, -7e-5, -0.5])
    found, _ = at(lambda x: np.sum(np.abs(x)) + np.sum(np.exp(x)), x, (1e-4,))
    assert found.crossed.tolist() == [[True, False, True, False]]


def test_points_outside_the_domain_are_no_kinks() -> None:
    found, _ = at(lambda x: np.sum(np.log(x)), np.array([5e-5, 1.0]), (1e-4,))
    assert np.isnan(found.slopes[0, 0])
    assert not found.crossed.any()
