"""Moves of tensors that none of them swamps another by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.balance import balanced, pair_bar, step_for

Vector = npt.NDArray[np.float64]
LONGEST = 0.25
NOISE = 1e-14


def bars(shares: Vector, factors: Vector, change: float) -> Vector:
    """Of a pair of values, relative to each tensor's share."""
    moves = shares * factors
    relative: Vector = pair_bar(NOISE, step_for(moves, change, LONGEST)) / moves
    return relative


def test_shares_are_made_alike_where_the_step_is_short() -> None:
    shares = np.array([1e3, 1.0, 1e-2, 30.0])
    factors = balanced(shares, 1e-5, NOISE, LONGEST, 1e-6)
    moves = shares * factors
    assert moves.max() <= 4.0 * moves.min()
    as_they_are = bars(shares, np.ones(4), 1e-5)
    assert bars(shares, factors, 1e-5).max() < 1e-4 * as_they_are.max()


def test_factors_are_powers_of_two_and_no_tensor_moves_farther() -> None:
    shares = np.exp(np.random.default_rng(0).normal(size=40) * 5.0)
    factors = balanced(shares, 1e-6, NOISE, LONGEST, 1e-4)
    assert np.all(factors <= 1.0)
    assert np.all(np.frexp(factors)[0] == 0.5)
    assert np.any(factors < 1.0)


def test_a_tensor_without_hope_costs_the_others_nothing() -> None:
    shares = np.array([1.0, 2.0, 1e-16])
    assert balanced(shares, 1e-3, NOISE, LONGEST, 1e-6)[:2].min() >= 0.25


def test_a_tensor_without_effect_moves_as_it_did() -> None:
    assert balanced(np.array([1e3, 0.0, 1.0]), 1e-5, NOISE, LONGEST, 1e-6)[1] == 1.0
    assert balanced(np.zeros(3), 1e-5, NOISE, LONGEST, 1e-6).tolist() == [1.0] * 3


@pytest.mark.parametrize("change", [1e-9, 1.0, 1e9])
def test_the_step_changes_f_by_so_much_but_is_no_longer_than_the_longest(change: float) -> None:
    shares = np.array([3.0, 4.0])
    assert step_for(shares, change, LONGEST) == pytest.approx(min(change / 5.0, LONGEST))


def test_no_step_is_known_where_no_change_is() -> None:
    assert np.isnan(step_for(np.ones(2), np.nan, LONGEST))
    assert step_for(np.zeros(2), 1.0, LONGEST) == LONGEST
