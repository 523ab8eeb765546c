"""Masks: from the wrong array, not applied, applied twice; and clipped gradients."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import (
    BARS,
    COUNTS,
    PARAMETER,
    activation,
    first,
    linear,
    normal,
)

from gradproof.diagnosis.patterns.field import INCOMING

bars = pytest.mark.parametrize("bar", BARS)
counts = pytest.mark.parametrize("count", COUNTS)

DY = activation()
X = normal(*DY.shape)
ARRAYS = {PARAMETER: X, INCOMING: DY}


@bars
@counts
def test_a_relu_masked_by_its_gradient_is_told(bar: float, count: int | None) -> None:
    right = DY * (X > 0.0)
    found = first(right, DY * (DY > 0.0), bar=bar, count=count, arrays=ARRAYS)
    assert found.kind == "mask"
    assert "where the parameter itself is positive and 0 elsewhere" in found.message
    assert "the claim is the incoming gradient where the incoming gradient is positive" in (
        found.message
    )
    assert found.corrected == pytest.approx(right.ravel())


@bars
@counts
def test_a_relu_without_a_mask_is_told(bar: float, count: int | None) -> None:
    right = DY * (X > 0.0)
    found = first(right, DY, bar=bar, count=count, arrays=ARRAYS)
    assert found.kind == "mask"
    assert "wrong exactly where the parameter itself is negative" in found.message
    assert found.corrected == pytest.approx(right.ravel())


@bars
@counts
def test_a_slope_below_zero_that_is_forgotten_is_told(bar: float, count: int | None) -> None:
    right = DY * np.where(X > 0.0, 1.0, 0.1)
    found = first(right, DY * (X > 0.0), bar=bar, count=count, arrays=ARRAYS)
    assert found.kind == "mask"
    assert "the right gradient is 0.1" in found.message
    assert "times the incoming gradient" in found.message
    assert found.corrected == pytest.approx(right.ravel(), rel=bar)


@bars
@counts
def test_a_factor_where_an_array_is_negative_is_told(bar: float, count: int | None) -> None:
    right = DY * np.where(X > 0.0, 1.0, 0.1)
    claim = DY * np.where(X > 0.0, 1.0, -0.1)
    found = first(right, claim, bar=bar, count=count, arrays={PARAMETER: X})
    assert found.kind == "mask"
    assert "times the right gradient" in found.message
    assert found.corrected == pytest.approx(right.ravel())


@bars
def test_the_name_is_that_of_the_number_which_is_told(bar: float) -> None:
    right = DY * np.where(X > 0.0, 1.0, 0.8)
    found = first(right, DY * (X > 0.0), bar=bar, arrays={PARAMETER: X, INCOMING: DY})
    assert "the right gradient is 0.8 times the incoming gradient" in found.message
    assert found.message.endswith(": 0.8 is the keep probability")
    assert found.evidence["ratio"] == pytest.approx(1.25)


def test_a_claim_of_zeros_where_an_array_is_negative_is_told() -> None:
    right = DY * np.where(X > 0.0, 1.0, X)
    found = first(right, DY * (X > 0.0), count=24, arrays={PARAMETER: X})
    assert found.kind == "mask"
    assert "there the claim is 0 and the right gradient is not" in found.message


def test_a_limit_of_an_array_is_found_from_the_data() -> None:
    right = DY * (np.abs(X) < 0.5)
    found = first(right, DY * (X < 0.5), arrays=ARRAYS)
    assert found.kind == "mask"
    assert "the parameter itself is below -0.49" in found.message
    between = first(DY, DY * ~((X > 0.0) & (X < 1.0)), arrays=ARRAYS)
    assert between.kind == "mask"
    assert "the parameter itself is between 0.0" in between.message


@bars
@counts
def test_a_mask_that_is_known_is_applied_with_its_factor(bar: float, count: int | None) -> None:
    kept = normal(*DY.shape, seed=9) > -0.8
    right = DY * kept / 0.8
    found = first(right, DY, bar=bar, count=count, arrays={INCOMING: DY, "the mask": 1.0 * kept})
    assert found.kind == "mask"
    assert "1.25 is 1 over the keep probability" in found.message
    assert found.corrected == pytest.approx(right.ravel())


@bars
@counts
def test_a_dropout_that_is_not_applied_is_told_by_two_ratios(bar: float, count: int | None) -> None:
    kept = normal(*DY.shape, seed=9) > -0.8
    found = first(DY * kept / 0.8, DY, bar=bar, count=count, arrays=ARRAYS)
    assert found.kind == "mask"
    assert "0.8 is the keep probability" in found.message
    assert found.corrected is None


@bars
@counts
def test_a_dropout_that_is_not_scaled_is_a_factor(bar: float, count: int | None) -> None:
    kept = normal(*DY.shape, seed=9) > -0.8
    found = first(DY * kept / 0.8, DY * kept, bar=bar, count=count, arrays=ARRAYS)
    assert found.kind == "factor"
    assert "0.8 is the keep probability" in found.message


@bars
@counts
def test_another_mask_of_the_same_gradient_is_a_mask(bar: float, count: int | None) -> None:
    kept, other = normal(*DY.shape, seed=9) > 0.0, normal(*DY.shape, seed=10) > 0.0
    found = first(DY * kept, DY * other, bar=bar, count=count)
    assert found.kind == "mask"
    assert "a mask is wrong" in found.message


def test_wrong_by_one_factor_at_scattered_entries_is_a_mask() -> None:
    some = normal(*DY.shape, seed=9) > 0.0
    found = first(DY, DY * np.where(some, 3.0, 1.0))
    assert found.kind == "mask"
    assert found.evidence["ratio"] == pytest.approx(3.0)


def test_small_entries_that_are_lost_are_told() -> None:
    right = linear()
    found = first(right, np.where(np.abs(right) < 0.5, 0.0, right))
    assert found.kind == "mask"
    assert "0 where the right gradient is small" in found.message


@bars
@counts
def test_a_clipped_gradient_is_clipped(bar: float, count: int | None) -> None:
    right = linear()
    limit = float(np.quantile(np.abs(right), 0.6))
    found = first(right, right.clip(-limit, limit), bar=bar, count=count)
    assert found.kind == "clipped"
    assert found.evidence["limit"] == limit


def test_the_incoming_gradient_passed_on_is_the_identity() -> None:
    found = first(DY * np.cos(X), DY, arrays=ARRAYS, count=30)
    assert found.kind == "identity"
    assert "passed on as it came in" in found.message


def test_errors_at_random_are_no_mask() -> None:
    some = normal(*DY.shape, seed=9) > 0.0
    claim = np.where(some, normal(*DY.shape, seed=8), DY * np.cos(X))
    assert first(DY * np.cos(X), claim, arrays=ARRAYS).kind == "unexplained"
    assert first(DY, np.where(some, claim, DY), arrays=ARRAYS).kind == "unexplained"
