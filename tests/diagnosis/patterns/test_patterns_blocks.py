"""Wrong in a part of the tensor alone."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import (
    BARS,
    activation,
    convolution,
    embedding,
    field,
    first,
    linear,
    normal,
)

from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.regions import regions
from gradproof.examples.layers import Array

bars = pytest.mark.parametrize("bar", BARS)
counts = pytest.mark.parametrize("count", [None, 60])


def border(shape: tuple[int, ...], axes: tuple[int, ...], width: int) -> Array:
    inside = np.zeros(shape)
    for axis in axes:
        n = shape[axis]
        near = (np.arange(n) < width) | (np.arange(n) >= n - width)
        inside += near.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return (inside > 0).astype(float)


@bars
@counts
@pytest.mark.parametrize(
    ("place", "text"),
    [
        (np.s_[2], "[2, :, :, :]"),
        (np.s_[:, -1], "[:, 5, :, :]"),
        (np.s_[:, :, :3], "[:, :, :3, :]"),
        (np.s_[:, :, 4:], "[:, :, 4:, :]"),
        (np.s_[:, 1::2], "[:, 1::2, :, :]"),
        (np.s_[:, :, 0::2], "[:, :, 0::2, :]"),
        (np.s_[:, :, [0, 3]], "[:, :, [0, 3], :]"),
        (np.s_[:, :, 2:4], "[:, :, 2:4, :]"),
    ],
)
def test_a_factor_in_a_slice_is_a_block(
    place: tuple[slice, ...], text: str, bar: float, count: int | None
) -> None:
    right = activation()
    claim = right.copy()
    claim[place] *= 5.0
    found = first(right, claim, bar=bar, count=count, seed=3)
    assert found.kind == "block"
    assert found.evidence["inside"] == "factor"
    assert found.evidence["region"] == f"in {text}"
    assert f"wrong only in {text} (" in found.message
    assert "there the claim is 5 times the right gradient" in found.message
    assert "5 is the batch size" in found.message
    assert found.corrected == pytest.approx(right.ravel())


@bars
@pytest.mark.parametrize("count", [None, 400])
def test_a_block_of_two_axes_is_told_by_both(bar: float, count: int | None) -> None:
    right = activation()
    claim = right.copy()
    claim[1, :, 4:] *= -1.0
    found = first(right, claim, bar=bar, count=count)
    assert found.kind == "block"
    assert found.evidence["inside"] == "sign-flip"
    assert "wrong only in [1, :, 4:, :]" in found.message


@bars
@counts
@pytest.mark.parametrize(("axes", "text"), [((1, 2), "axes 1 and 2"), ((2,), "axis 2")])
def test_a_border_is_told(axes: tuple[int, ...], text: str, bar: float, count: int | None) -> None:
    right = activation()
    claim = right * (1.0 + 0.5 * border(right.shape, axes, 1))
    found = first(right, claim, bar=bar, count=count)
    assert found.kind == "block"
    assert f"wrong only on the border of width 1 along {text}" in found.message
    assert found.evidence["ratio"] == pytest.approx(1.5, rel=bar)


def test_all_but_the_border_is_told() -> None:
    right = activation()
    claim = right * (2.0 - border(right.shape, (1, 2), 1))
    found = first(right, claim, count=80)
    assert found.kind == "block"
    assert "inside of the border of width 1 along axes 1 and 2" in found.message


def test_a_triangle_and_a_checkerboard_are_told() -> None:
    right = linear(8, 8)
    upper = first(right, right * (1.0 + np.triu(np.ones((8, 8)), 1)))
    assert upper.kind == "block"
    assert "wrong only above the diagonal of axes 0 and 1" in upper.message
    odd = np.add.outer(np.arange(8), np.arange(8)) % 2
    board = first(right, right * (1.0 + odd))
    assert "where the indices of axes 0 and 1 add up to an odd number" in board.message


def test_the_last_entries_in_memory_are_told() -> None:
    right = normal(1000)
    claim = right.copy()
    claim[900:] = 0.0
    found = first(right, claim, count=200)
    assert found.kind == "zero"
    assert "in [" in found.message


@bars
@pytest.mark.parametrize("count", [None, 24])
@pytest.mark.parametrize(
    ("place", "text"),
    [
        (np.s_[-1], "[3, :, :, :]"),
        (np.s_[:, 0], "[:, 0, :, :]"),
        (np.s_[..., -1], "[:, :, :, 2]"),
        (np.s_[[0, 2]], "[[0, 2], :, :, :]"),
    ],
)
def test_a_slice_of_zeros_is_zero(
    place: tuple[slice, ...], text: str, bar: float, count: int | None
) -> None:
    right = convolution()
    claim = right.copy()
    claim[place] = 0.0
    found = first(right, claim, bar=bar, count=count)
    assert found.kind == "zero"
    assert found.evidence["region"] == f"in {text}"


def test_a_slice_of_zeros_is_seen_by_one_entry() -> None:
    right = normal(64, 100)
    claim = right.copy()
    claim[17] = 0.0
    found = first(right, claim, at=[3, 500, 1720, 4000])
    assert found.kind == "zero"
    assert "[17, :] (100 of 6400 entries)" in found.message


def test_rows_that_are_zero_by_right_are_no_block() -> None:
    right = embedding()
    claim = 5.0 * right
    assert first(right, claim).kind == "factor"


@bars
def test_a_block_of_its_own_error_is_a_block_all_the_same(bar: float) -> None:
    right = activation()
    claim = right.copy()
    claim[1] = normal(6, 6, 5)
    found = first(right, claim, bar=bar)
    assert found.kind == "block"
    assert found.evidence["inside"] == "unexplained"
    assert "wrong only in [1, :, :, :] (180 of 540 entries looked at)" in found.message


def test_a_block_may_have_a_term_of_its_own() -> None:
    right, weight = linear(), normal(6, 8)
    claim = right.copy()
    claim[1::2] += 0.1 * weight[1::2]
    found = first(right, claim, arrays={"the parameter itself": weight})
    assert found.kind == "block"
    assert found.evidence["inside"] == "extra-term"


@bars
def test_one_wrong_entry_is_a_block_of_one(bar: float) -> None:
    right = linear()
    claim = right.copy()
    claim[2, 3] *= 1.01
    found = first(right, claim, bar=bar)
    assert found.kind == "block"
    assert "wrong only at [2, 3] (1 of 48 entries looked at)" in found.message
    assert "a ratio of 1.01" in found.message
    assert found.corrected == pytest.approx(right.ravel(), rel=bar)


def test_one_wrong_entry_of_some_is_not_said_to_be_the_only_one() -> None:
    right = linear()
    claim = right.copy()
    claim[2, 3] *= 1.01
    found = first(right, claim, at=[1, 5, 19, 30, 44])
    assert found.kind == "block"
    assert "wrong at [2, 3] (1 of 5 entries looked at)" in found.message
    assert "only" not in found.message
    assert found.corrected is None


def test_entries_known_to_be_right_take_part_though_they_were_not_looked_at() -> None:
    right = normal(50, 40)
    claim = right.copy()
    claim[7, 3] *= 2.0
    claim[7, 9] *= 2.0
    found = first(right, claim, at=[7 * 40 + 3, 7 * 40 + 9], is_complete=True)
    assert found.kind == "block"
    assert "only in [7, [3, 9]]" in found.message
    assert found.corrected == pytest.approx(right.ravel())


def test_a_whole_row_is_not_blamed_for_some_of_its_entries() -> None:
    right = normal(30, 40)
    claim = right.copy()
    wrong = [7 * 40 + j for j in range(0, 40, 7)]
    claim.ravel()[wrong] *= 2.0
    kinds = explain(field(right, claim, at=wrong, is_complete=True))
    assert all("[7, :]" not in e.message for e in kinds)


def test_wrong_entries_all_over_the_place_are_no_block() -> None:
    right = linear(10, 10)
    claim = np.where(np.random.default_rng(5).random((10, 10)) < 0.4, normal(10, 10), right)
    assert first(right, claim).kind == "unexplained"


def test_regions_hold_all_wrong_entries_and_no_right_one() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        shape = tuple(int(n) for n in rng.integers(1, 6, size=3))
        inside = rng.random(int(np.prod(shape))) < rng.choice([0.1, 0.5, 0.9])
        if not inside.any() or inside.all():
            continue
        wrong = np.unravel_index(np.flatnonzero(inside), shape)
        right = np.unravel_index(np.flatnonzero(~inside), shape)
        for region in regions(shape, wrong, right):
            assert np.array_equal(region.everywhere(shape), inside)
            if region.shape is not None:
                assert np.prod(region.shape) == inside.sum()
