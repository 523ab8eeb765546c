"""One number between claim and right gradient: signs, factors, nothing at all."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import (
    BARS,
    CONSTANTS,
    COUNTS,
    convolution,
    embedding,
    field,
    first,
    linear,
    normal,
)

from gradproof.diagnosis.patterns.comparison import Line
from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import SECOND_CALL
from gradproof.diagnosis.patterns.names import lengths_of, match, numbers

bars = pytest.mark.parametrize("bar", BARS)
counts = pytest.mark.parametrize("count", COUNTS)


@bars
@counts
def test_the_opposite_sign_is_a_sign_flip(bar: float, count: int | None) -> None:
    found = first(convolution(), -convolution(), bar=bar, count=count)
    assert found.kind == "sign-flip"
    assert found.evidence["ratio"] == pytest.approx(-1.0, rel=bar)
    assert found.corrected == pytest.approx(convolution().ravel())


@bars
@counts
@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        (2.0, "counted twice"),
        (0.5, "half of it is missing"),
        (5.0, "5 is the batch size"),
        (0.2, "0.2 is 1 over the batch size"),
        (180.0, "180 may be the batch size times the spatial size"),
        (1.0 / 180.0, "1 over (the batch size times the spatial size)"),
        (0.8, "0.8 is the keep probability"),
        (1.25, "1.25 is 1 over the keep probability"),
        (2.0**0.5, "the square root of 2"),
        (0.5**0.5, "1 over the square root of 2"),
        (8.0, "8 is the length of axis 1"),
        (8.0**-0.5, "1 over the square root of the length of axis 1"),
        (48.0, "48 is the number of entries"),
    ],
)
def test_a_factor_is_told_by_its_name(
    ratio: float, says: str, bar: float, count: int | None
) -> None:
    found = first(linear(), ratio * linear(), bar=bar, count=count)
    assert found.kind == "factor"
    assert says in found.message
    assert found.evidence["ratio"] == pytest.approx(ratio, rel=bar)
    assert found.corrected == pytest.approx(linear().ravel(), rel=1e-12)


def test_the_message_tells_the_ratio_its_error_and_the_entries() -> None:
    found = first(32.0 * linear(), linear(), constants={"the batch size": 32.0}, count=24)
    assert found.message.startswith("the claim is 0.03125")
    assert "on 24 of 48 entries): 0.03125 is 1 over the batch size" in found.message
    assert "(+- " in found.message
    assert found.evidence["constants"] == ("the batch size",)


@bars
@counts
def test_a_factor_without_a_name_is_a_factor_all_the_same(bar: float, count: int | None) -> None:
    found = first(convolution(), -1.2345 * convolution(), bar=bar, count=count)
    assert found.kind == "factor"
    assert found.evidence["ratio"] == pytest.approx(-1.2345, rel=bar)
    assert "matched" not in found.evidence
    assert "its sign is wrong as well" in found.message


def test_a_factor_near_one_is_seen_beyond_the_bars() -> None:
    found = first(convolution(), 1.0001 * convolution(), bar=1e-6)
    assert found.kind == "factor"
    assert found.evidence["ratio"] == pytest.approx(1.0001, rel=1e-6)


def test_a_ratio_that_is_known_to_few_digits_gets_no_name() -> None:
    constants = {f"size {n}": float(n) for n in range(20, 60)}
    found = first(linear(), 37.0 * linear(), bar=0.1, constants=constants)
    assert found.kind == "factor"
    assert "size" not in found.message


def test_the_simplest_of_two_names_is_told_and_equal_ones_together() -> None:
    constants = {"the batch size": 32.0, "the classes": 32.0, "the channels": 4.0, "width": 8.0}
    named = match(Line(32.0, 32.0, 9.0, 9.0), constants, {})
    assert named is not None
    assert named.name == "the batch size or the classes"
    assert named.meaning == ": 32 may be the batch size or the classes"


def test_one_known_number_is_what_the_factor_is_whatever_its_name() -> None:
    constants = {"the number of pixels (height times width)": 48.0}
    named = match(Line(48.0, 48.0, 9.0, 9.0), constants, {})
    assert named is not None
    assert named.meaning == ": 48 is the number of pixels (height times width)"


def test_the_same_size_of_two_arrays_is_told_once() -> None:
    constants = {"the batch size (of `x`)": 8.0, "the batch size (of `y`)": 8.0, "width": 7.0}
    named = match(Line(8.0, 8.0, 9.0, 9.0), constants, {})
    made = match(Line(56.0, 56.0, 9.0, 9.0), constants, {})
    assert named is not None
    assert made is not None
    assert named.meaning == ": 8 is the batch size (of `x`)"
    assert made.meaning == ": 56 may be the batch size (of `x`) times width"


def test_plain_fractions_of_lengths_are_not_told() -> None:
    values = [named.value for named in numbers({}, lengths_of((3, 2, 6)))]
    assert 1.5 not in values
    assert {3.0, 1.0 / 3.0, 6.0, 18.0} <= set(values)


@bars
def test_an_integer_without_a_name_may_be_a_sum_over_calls(bar: float) -> None:
    found = first(convolution(), 7.0 * convolution(), bar=bar)
    assert found.kind == "accumulated"
    assert "7 calls" in found.message


@bars
@counts
def test_a_claim_of_zeros_is_zero(bar: float, count: int | None) -> None:
    found = first(convolution(), 0.0 * convolution(), bar=bar, count=count)
    assert found.kind == "zero"
    assert found.corrected is None
    assert "108 entries" in found.message


def test_a_claim_where_the_gradient_is_zero_is_an_extra_term() -> None:
    found = first(np.zeros((3, 4)), normal(3, 4))
    assert found.kind == "extra-term"
    assert found.corrected is not None
    assert not found.corrected.any()


def test_an_integer_that_a_second_call_gives_again_is_a_factor() -> None:
    claim = 7.0 * convolution()
    assert first(convolution(), claim, arrays={SECOND_CALL: claim}).kind == "factor"


def test_the_same_numbers_again_say_no_more_than_once() -> None:
    right = np.full((5, 4), 0.7)
    assert first(right, 1.2345 * right).kind == "unexplained"
    assert first(right, 5.0 * right).kind == "factor"


def test_zeros_in_both_say_nothing_against_a_factor() -> None:
    found = first(embedding(), 2.0 * embedding())
    assert found.kind == "factor"
    seen = int(np.count_nonzero(embedding()))
    assert found.evidence["entries"] == seen < 72


def test_one_entry_shows_a_named_factor_only() -> None:
    assert first(np.array([1.7]), np.array([-1.7])).kind == "sign-flip"
    assert first(np.array(1.7), np.array(8.5)).kind == "factor"
    assert first(np.array([1.7]), np.array([1.7 * 1.2345])).kind == "unexplained"
    assert first(np.array([1.7]), np.array([0.0])).kind == "zero"


def test_wide_bars_show_no_factor() -> None:
    found = first(linear(), 1.9 * linear(), bar=0.5, count=8, constants={})
    assert found.kind == "unexplained"


@pytest.mark.parametrize("off", [0, 17])
def test_one_entry_that_does_not_fit_is_enough_against_a_factor(off: int) -> None:
    claim = 5.0 * linear()
    claim.flat[off] *= 1.0 + 1e-8
    assert all("factor" not in e.kind for e in explain(field(linear(), claim)))


def test_entries_without_a_bar_say_nothing() -> None:
    seen = field(linear(), 5.0 * linear(), constants=CONSTANTS)
    seen.numeric[3] = np.nan
    seen.numeric[7], seen.error[7] = 1e9, np.inf
    (found,) = explain(seen)
    assert found.kind == "factor"
    assert found.evidence["looked_at"] == 46
