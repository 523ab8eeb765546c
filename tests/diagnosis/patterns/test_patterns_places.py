"""The right values in the wrong places."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import (
    BARS,
    COUNTS,
    activation,
    convolution,
    embedding,
    field,
    first,
    linear,
    normal,
)

from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.maps import maps
from gradproof.examples.layers import Array

bars = pytest.mark.parametrize("bar", BARS)
counts = pytest.mark.parametrize("count", COUNTS)

Mistake = Callable[[Array], Array]


def window_transposed(x: Array) -> Array:
    wrong = x.copy()
    wrong[:, 0::2, 1::2], wrong[:, 1::2, 0::2] = x[:, 1::2, 0::2], x[:, 0::2, 1::2]
    return wrong


def interleaved(x: Array) -> Array:
    return x.reshape(2, 3, 8).swapaxes(0, 1).reshape(x.shape)


def heads_left_in_front(x: Array) -> Array:
    """Axis 1 holds 2 heads of 3 features; heads and places are exchanged and not put back."""
    return x.reshape(3, 2, 3, 6, 5).swapaxes(2, 3).reshape(x.shape)


MISTAKES: list[tuple[str, str, Callable[[], Array], Mistake]] = [
    ("flipped-kernel", "flipped along axes 2 and 3", convolution, lambda g: g[:, :, ::-1, ::-1]),
    ("flipped-kernel", "reversed along axis 3", convolution, lambda g: g[..., ::-1]),
    (
        "flipped-kernel",
        "flipped along axes 1, 2 and 3",
        convolution,
        lambda g: np.flip(g, (1, 2, 3)),
    ),
    ("flipped-kernel", "reversed along axis 0", linear, lambda g: g[::-1]),
    ("transposed", "axes 2 and 3 exchanged", convolution, lambda g: g.swapaxes(2, 3)),
    ("transposed", "axes 0 and 1 exchanged", lambda: linear(6, 6), lambda g: g.T),
    (
        "permuted-axes",
        "the order (0, 2, 3, 1)",
        convolution,
        lambda g: g.transpose(0, 2, 3, 1),
    ),
    ("transposed", "of shape 8 x 6, reshaped", linear, lambda g: g.T.reshape(g.shape)),
    ("transposed", "was reshaped to 8 x 6", linear, lambda g: g.reshape(8, 6).T),
    (
        "permuted-axes",
        "of shape 6 x 6 x 3 x 5, reshaped",
        activation,
        lambda g: g.transpose(1, 2, 0, 3).reshape(g.shape),
    ),
    ("permuted-axes", "turned by a quarter", lambda: linear(6, 6), lambda g: np.rot90(g)),
    ("transposed", "axis 0 split into", linear, interleaved),
    ("transposed", "axis 1 split into 2 x 3", activation, heads_left_in_front),
    ("transposed", "inside each window of 2 x 2", activation, window_transposed),
    ("shifted", "+1 along axis 1, around", linear, lambda g: np.roll(g, 1, 1)),
    ("shifted", "-1 along axis 3, around", activation, lambda g: np.roll(g, -1, 3)),
    ("shifted", "in row-major order", linear, lambda g: np.roll(g, 1)),
    ("shifted", "+1 along axis 1 and -1", activation, lambda g: np.roll(g, (1, -1), (1, 2))),
]


@bars
@counts
@pytest.mark.parametrize(("kind", "says", "layer", "mistake"), MISTAKES)
def test_a_mix_up_of_places_is_told_and_undone(
    kind: str,
    says: str,
    layer: Callable[[], Array],
    mistake: Mistake,
    bar: float,
    count: int | None,
) -> None:
    right = layer()
    found = first(right, mistake(right), bar=bar, count=count)
    assert found.kind == kind
    assert says in found.message
    assert found.corrected == pytest.approx(right.ravel())


@bars
@counts
def test_a_mix_up_and_a_factor_are_told_together(bar: float, count: int | None) -> None:
    right = linear(6, 6)
    found = first(right, -5.0 * right.T, bar=bar, count=count)
    assert found.kind == "transposed"
    assert "5 is the batch size" in found.message
    assert found.evidence["ratio"] == pytest.approx(-5.0, rel=bar)
    assert found.corrected == pytest.approx(right.ravel())


@bars
@counts
def test_a_shift_that_pushes_values_over_the_edge_is_off_by_one(
    bar: float, count: int | None
) -> None:
    right = linear()
    claim = np.zeros_like(right)
    claim[:, 1:] = right[:, :-1]
    found = first(right, claim, bar=bar, count=count)
    assert found.kind == "shifted"
    assert "+1 along axis 1: off by one" in found.message
    assert found.corrected is None
    assert isinstance(found.evidence["lost"], int)


def test_a_padding_off_by_one_on_both_axes_is_a_shift() -> None:
    right = convolution()
    claim = normal(4, 3, 3, 3)
    claim[:, :, 1:, 1:] = right[:, :, :-1, :-1]
    found = first(right, claim, count=24)
    assert found.kind == "shifted"
    assert "+1 along axis 2 and +1 along axis 3" in found.message


def test_a_symmetric_kernel_is_not_called_flipped() -> None:
    right = convolution()
    right = right + right[:, :, ::-1, ::-1]
    found = first(right, right[:, :, ::-1, ::-1] * 5.0)
    assert found.kind == "factor"


def test_a_kernel_symmetric_at_its_diagonal_leaves_open_which_mix_up_it_was() -> None:
    right = linear(6, 6)
    right = right + right.T
    found = explain(field(right, right[::-1]))
    assert found[0].kind == "flipped-kernel"
    # Turned by a quarter it would be the same: nothing can tell the two apart.
    assert all(
        e.corrected == pytest.approx(right.ravel()) for e in found if e.corrected is not None
    )
    assert "transposed" not in {e.kind for e in explain(field(right, right.T + normal(6, 6)))}


def test_a_constant_gradient_is_never_transposed() -> None:
    found = first(np.full((4, 4), 0.7), np.full((4, 4), 1.4))
    assert found.kind == "factor"
    claim = np.full((4, 4), 0.7)
    claim[1, 2] = 0.9
    assert first(np.full((4, 4), 0.7), claim).kind == "block"


def test_two_entries_do_not_prove_a_transposition() -> None:
    right = linear(6, 6)
    seen = field(right, right.T, at=[1, 20])
    assert [e.kind for e in explain(seen)] == ["unexplained"]
    assert explain(field(right, right.T, at=[1, 20, 31]))[0].kind == "transposed"


def test_wide_bars_prove_no_transposition() -> None:
    right = linear(6, 6)
    found = explain(field(right, right.T, at=[1, 20, 31], bar=0.3))
    assert "transposed" not in {e.kind for e in found}


def test_zeros_in_other_places_prove_nothing() -> None:
    right = embedding()
    empty = np.flatnonzero(~right.any(axis=1))
    rows = np.flatnonzero(right.any(axis=1))
    claim = right.copy()
    claim[rows[0]] = 0.0
    found = first(right, claim)
    assert found.kind == "zero"
    assert len(empty) > 1


@bars
def test_slices_in_another_order_are_misplaced(bar: float) -> None:
    right = linear(8, 6)
    order = [2, 3, 0, 1, 4, 5, 7, 6]
    found = first(right, right[order], bar=bar)
    assert found.kind == "misplaced"
    assert found.evidence["axis"] == 0
    assert found.evidence["sources"] == {0: 2, 1: 3, 2: 0, 3: 1, 6: 7, 7: 6}
    assert found.corrected == pytest.approx(right.ravel())


def test_slices_in_another_order_are_seen_at_some_entries() -> None:
    right = normal(8, 400)
    found = first(right, right[[1, 2, 3, 4, 5, 7, 6, 0]], count=40)
    assert found.kind == "misplaced"


def test_entries_in_another_order_are_misplaced() -> None:
    right = linear(5, 7)
    order = np.random.default_rng(4).permutation(35)
    found = first(right, right.ravel()[order].reshape(5, 7))
    assert found.kind == "misplaced"
    assert found.corrected == pytest.approx(right.ravel())


def test_entries_in_another_order_are_not_seen_within_wide_bars() -> None:
    right = linear(5, 7)
    order = np.random.default_rng(4).permutation(35)
    claim = right.ravel()[order].reshape(5, 7)
    assert first(right, claim, bar=1e-2).kind == "unexplained"


@pytest.mark.parametrize("power", [1, 2])
def test_an_operand_read_in_the_wrong_order_is_told(power: int) -> None:
    x, g = normal(5, 5, seed=2), normal(5, 5, seed=3)
    found = first(g * x**power, g * x.T**power, arrays={"the parameter itself": x}, count=20)
    assert found.kind == "transposed"
    assert found.evidence["array"] == "the parameter itself"
    assert found.evidence["power"] == power


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 2), (3, 1, 3), (2, 4, 4), (2, 3, 2, 3)])
def test_every_map_moves_entries_one_to_one(shape: tuple[int, ...]) -> None:
    everywhere = np.arange(int(np.prod(shape)))
    for mix_up in maps(shape):
        source = mix_up.source(everywhere)
        kept = source[source >= 0]
        assert len(np.unique(kept)) == len(kept)
        assert len(kept) == len(everywhere) or mix_up.kind == "shifted"
        assert not np.array_equal(source, everywhere)
