from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from gradproof.coverage.branches import FACTOR, STEPS, clear_steps
from gradproof.numerics.sampling import Floats, Lanes


class Kinked:
    """Lanes with a kink at a distance each, and a count of what was asked."""

    def __init__(self, left: Sequence[float], right: Sequence[float]) -> None:
        self.left, self.right, self.asked = np.array(left), np.array(right), 0

    def __call__(self, lanes: Lanes, offsets: Floats) -> Sequence[Mapping[str, int]]:
        self.asked += len(lanes)
        beyond = (offsets > self.right[lanes]) | (offsets < -self.left[lanes])
        return [{"relu": 1} if b else {} for b in beyond]


def test_the_longest_step_is_taken_where_nothing_is_crossed() -> None:
    kinked = Kinked([9.0, 9.0], [9.0, 9.0])
    assert clear_steps(kinked, np.array([1.0, 2.0])).tolist() == [1.0, 2.0]
    assert kinked.asked == 4


@pytest.mark.parametrize("distance", 10.0 ** np.arange(-7.0, 0.0))
@pytest.mark.parametrize("side", [0, 1])
def test_a_step_is_clear_on_both_sides_and_no_shorter_than_it_need_be(
    distance: float, side: int
) -> None:
    far = [9.0, 9.0]
    near = [9.0, distance]
    kinked = Kinked(*((near, far) if side else (far, near)))
    steps = clear_steps(kinked, np.array([0.5, 0.5]))
    assert steps[0] == 0.5
    assert distance / FACTOR < steps[1] <= distance
    # Bisection over the exponents, on both sides, beside the first look.
    assert kinked.asked <= 4 + 2 * np.log2(STEPS)


def test_a_point_on_a_kink_keeps_the_longest_step() -> None:
    assert clear_steps(Kinked([0.0], [0.0]), np.array([0.3])).tolist() == [0.3]


def test_what_cannot_be_traced_keeps_the_longest_step() -> None:
    assert clear_steps(lambda lanes, offsets: None, np.array([0.3])).tolist() == [0.3]
