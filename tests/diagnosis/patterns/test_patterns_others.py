"""Stale and accumulated gradients, sums, conjugates, precision, and what is no number."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import (
    BARS,
    COUNTS,
    convolution,
    field,
    first,
    linear,
    normal,
)

from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import SECOND_CALL, Alternative
from gradproof.examples.layers import Array

bars = pytest.mark.parametrize("bar", BARS)
counts = pytest.mark.parametrize("count", COUNTS)

PREVIOUS = "the gradient of the previous batch"


def alternative(values: Array, *, bar: float, kind: str = "stale") -> Alternative:
    values = values.ravel()
    return Alternative(kind, "x is that of the batch before", values, bar * np.abs(values))


@bars
@counts
def test_a_claim_that_is_a_known_gradient_is_stale(bar: float, count: int | None) -> None:
    old = linear(seed=5)
    found = first(linear(), old, bar=bar, count=count, arrays={PREVIOUS: old})
    assert found.kind == "stale"
    assert found.evidence["array"] == PREVIOUS


def test_a_claim_that_differs_from_the_known_gradient_at_one_entry_is_not_stale() -> None:
    old = linear(seed=5)
    claim = old.copy()
    claim[3, 3] *= 1.0 + 1e-6
    assert first(linear(), claim, arrays={PREVIOUS: old}).kind == "unexplained"


@bars
@pytest.mark.parametrize("kind", ["stale", "not-summed", "flipped-kernel"])
def test_a_claim_that_agrees_with_an_alternative_is_of_its_kind(kind: str, bar: float) -> None:
    claim = linear(seed=5)
    found = first(linear(), claim, bar=bar, alternatives=[alternative(claim, bar=bar, kind=kind)])
    assert found.kind == kind
    assert "the claim is what comes out where x is that of the batch before" in found.message


def test_an_alternative_has_to_agree_at_all_entries_that_it_knows() -> None:
    claim = linear(seed=5)
    values = claim.copy()
    values[0, 0] *= 1.001
    off = alternative(values, bar=1e-8)
    assert first(linear(), claim, alternatives=[off]).kind == "unexplained"
    off.error[0] = np.inf
    assert first(linear(), claim, alternatives=[off]).kind == "stale"


def test_an_alternative_with_wide_bars_proves_nothing() -> None:
    claim = linear(seed=5)
    wide = alternative(claim, bar=10.0)
    assert first(linear(), claim, alternatives=[wide], count=8).kind == "unexplained"


@bars
@counts
@pytest.mark.parametrize("calls", [2, 3])
def test_a_second_call_that_adds_the_right_gradient_is_accumulation(
    calls: int, bar: float, count: int | None
) -> None:
    right = linear()
    arrays = {SECOND_CALL: (calls + 1) * right}
    found = first(right, calls * right, bar=bar, count=count, arrays=arrays)
    assert found.kind == "accumulated"
    assert found.corrected == pytest.approx(right.ravel())


def test_what_was_there_before_the_first_call_is_seen_by_the_second() -> None:
    right, before = linear(), normal(6, 8)
    arrays = {SECOND_CALL: before + 2.0 * right}
    assert first(right, before + right, arrays=arrays).kind == "accumulated"


def test_a_second_call_that_gives_the_same_is_a_factor() -> None:
    right = linear()
    found = first(right, 2.0 * right, arrays={SECOND_CALL: 2.0 * right})
    assert found.kind == "factor"


@bars
@counts
def test_the_conjugate_is_told(bar: float, count: int | None) -> None:
    right = normal(6, 5, 2)
    found = first(right, right * [1.0, -1.0], bar=bar, count=count)
    assert found.kind == "conjugate"
    assert found.evidence["part"] == "imaginary"
    assert found.corrected == pytest.approx(right.ravel())
    other = first(right, right * [-1.0, 1.0], bar=bar, count=count)
    assert other.evidence["part"] == "real"


def test_only_pairs_have_a_conjugate() -> None:
    right = normal(5, 3)
    assert first(right, right * [1.0, -1.0, 1.0]).kind == "block"
    both = normal(6, 5, 2)
    assert first(both, -both).kind == "sign-flip"


@bars
@counts
def test_a_broadcast_that_was_not_summed_is_told(bar: float, count: int | None) -> None:
    claim = linear()
    right = np.broadcast_to(claim.sum(axis=1, keepdims=True), claim.shape)
    found = first(right, claim, bar=bar, count=count)
    assert found.kind == "not-summed"
    assert found.evidence["axes"] == (1,)
    assert found.evidence["of"] == "sum"
    assert found.corrected == pytest.approx(right.ravel())


@bars
@pytest.mark.parametrize(("of", "says"), [(np.mean, "the mean"), (np.sum, "the sum")])
def test_a_claim_that_is_a_mean_or_a_sum_along_an_axis_is_told(
    of: object, says: str, bar: float
) -> None:
    right = linear()
    assert callable(of)
    claim = np.broadcast_to(of(right, axis=0, keepdims=True), right.shape)
    found = first(right, claim, bar=bar)
    assert found.kind == "not-summed"
    assert found.evidence["of"] == says
    assert found.corrected is None


def test_a_claim_that_is_the_same_along_an_axis_is_told_at_some_entries() -> None:
    right = linear()
    claim = np.broadcast_to(right[:, :1], right.shape)
    found = first(right, claim, count=24)
    assert found.kind == "not-summed"
    assert "the same all along axis 1" in found.message


@counts
@pytest.mark.parametrize(("dtype", "name"), [(np.float32, "float32"), (np.float16, "float16")])
def test_a_claim_of_few_digits_is_precision(dtype: type, name: str, count: int | None) -> None:
    right = linear()
    found = first(right, right.astype(dtype), count=count)
    assert found.kind == "precision"
    assert found.evidence["format"] == name


@counts
def test_a_factor_rounded_on_the_way_is_precision(count: int | None) -> None:
    right = linear()
    found = first(right, (right / 3.0).astype(np.float32).astype(float) * 3.0, count=count)
    assert found.kind == "precision"
    assert found.evidence["format"] == "float32"


def test_sums_in_single_precision_are_precision() -> None:
    dy, x = normal(6, 2000), normal(2000, 8, seed=2)
    single = dy.astype(np.float32) @ x.astype(np.float32)
    found = first(dy @ x / 3.0, single.astype(float) / 3.0)
    assert found.kind == "precision"
    assert "of its largest entry" in found.message


def test_a_product_in_half_precision_is_precision() -> None:
    dy, x = normal(6, 20), normal(20, 8, seed=2)
    half = (dy.astype(np.float16) @ x.astype(np.float16)).astype(np.float16)
    found = first(dy @ x, half)
    assert found.kind == "precision"
    assert found.evidence["format"] == "float16"
    assert "computed in float16" in found.message


def test_round_numbers_are_not_called_half_precision() -> None:
    right = linear()
    right = right / np.abs(right).max()
    assert first(right, np.round(right * 16.0) / 16.0).kind == "unexplained"


def test_single_precision_is_not_seen_within_wider_bars() -> None:
    right = linear()
    assert first(right, right.astype(np.float32), bar=1e-5).kind == "unexplained"


@pytest.mark.parametrize("ratio", [1.0 + 1e-7, 1.001])
def test_a_small_constant_ratio_is_no_lack_of_precision(ratio: float) -> None:
    assert first(linear(), ratio * linear()).kind == "factor"


def test_a_small_error_of_one_sign_is_no_lack_of_precision() -> None:
    off = 1.0 + 3e-8 * np.random.default_rng(0).random((6, 8))
    assert first(linear(), off * linear()).kind == "unexplained"


def test_errors_of_a_thousandth_of_every_size_are_no_lack_of_precision() -> None:
    off = 1.0 + 1e-3 * np.random.default_rng(0).standard_normal((6, 8)) ** 3
    assert first(linear(), off * linear()).kind == "unexplained"


def test_what_is_no_number_comes_first_with_its_place() -> None:
    claim = 5.0 * convolution()
    claim[2] = np.nan
    found = explain(field(convolution(), claim))
    assert [e.kind for e in found] == ["nan", "factor"]
    assert found[0].message == "the claim is NaN at 27 of 108 entries, in [2, :, :, :]"
    claim = convolution()
    claim[0, 0, 0, 0] = np.inf
    found = explain(field(convolution(), claim, count=8))
    assert [e.kind for e in found] == ["nan"]
    assert "infinite at 1 of 108 entries, at [0, 0, 0, 0]" in found[0].message


@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 4)])
def test_no_number_anywhere_is_nan_everywhere(shape: tuple[int, ...]) -> None:
    (found,) = explain(field(normal(*shape), np.full(shape, np.nan)))
    assert found.kind == "nan"
    assert "everywhere" in found.message
