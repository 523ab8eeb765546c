"""Terms that are missing or too much, and factors that are arrays."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import BARS, COUNTS, PARAMETER, field, first, linear, normal

from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import INCOMING, RETURNED

bars = pytest.mark.parametrize("bar", BARS)
counts = pytest.mark.parametrize("count", COUNTS)

WEIGHT = normal(6, 8)
PENALTY = "the gradient of the penalty"


@bars
@counts
def test_weight_decay_that_is_missing_is_a_missing_term(bar: float, count: int | None) -> None:
    found = first(
        linear() + 0.05 * WEIGHT, linear(), bar=bar, count=count, arrays={PARAMETER: WEIGHT}
    )
    assert found.kind == "missing-term"
    assert found.evidence["coefficient"] == pytest.approx(-0.05, rel=1e3 * bar)
    assert "the claim lacks 0.05" in found.message
    assert "weight decay" in found.message
    assert found.corrected == pytest.approx((linear() + 0.05 * WEIGHT).ravel(), rel=1e3 * bar)


@bars
@counts
def test_weight_decay_too_much_is_told_by_its_constant(bar: float, count: int | None) -> None:
    found = first(
        linear() + 0.02 * WEIGHT,
        linear() + 0.04 * WEIGHT,
        bar=bar,
        count=count,
        arrays={PARAMETER: WEIGHT},
        constants={"the weight decay": 0.02},
    )
    assert found.kind == "extra-term"
    assert "0.02 is the weight decay" in found.message


def test_a_difference_of_a_millionth_is_enough() -> None:
    found = first(linear() + 1e-6 * WEIGHT, linear(), bar=1e-10, arrays={PARAMETER: WEIGHT})
    assert found.kind == "missing-term"
    assert found.evidence["coefficient"] == pytest.approx(-1e-6, rel=1e-2)


@bars
@counts
def test_another_terms_gradient_is_forgotten_or_counted_twice(
    bar: float, count: int | None
) -> None:
    arrays = {PENALTY: WEIGHT}
    missing = first(linear() + WEIGHT, linear(), bar=bar, count=count, arrays=arrays)
    assert missing.kind == "missing-term"
    assert f"the claim lacks {PENALTY} (+-" in missing.message
    twice = first(linear() + WEIGHT, linear() + 2.0 * WEIGHT, bar=bar, count=count, arrays=arrays)
    assert twice.kind == "extra-term"
    assert f"holds {PENALTY} once too often" in twice.message
    assert twice.corrected == pytest.approx((linear() + WEIGHT).ravel())


@bars
def test_a_factor_of_all_but_one_term_is_a_factor(bar: float) -> None:
    found = first(
        linear() + 0.1 * WEIGHT,
        32.0 * linear() + 0.1 * WEIGHT,
        bar=bar,
        arrays={PARAMETER: WEIGHT},
        constants={"the batch size": 32.0},
    )
    assert found.kind == "factor"
    assert "but for a term proportional to the parameter itself" in found.message
    assert "32 is the batch size" in found.message


@bars
@counts
def test_a_factor_that_is_an_array_is_told(bar: float, count: int | None) -> None:
    arrays = {PARAMETER: WEIGHT}
    times = first(linear(), linear() * WEIGHT, bar=bar, count=count, arrays=arrays)
    assert times.kind == "factor"
    assert "the right gradient times the parameter itself" in times.message
    over = first(linear() * WEIGHT, 1.5 * linear(), bar=bar, count=count, arrays=arrays)
    assert over.kind == "factor"
    assert "times the right gradient over the parameter itself" in over.message
    assert over.corrected == pytest.approx((linear() * WEIGHT).ravel(), rel=bar)


@bars
def test_a_mean_that_is_not_subtracted_is_a_missing_term_along_an_axis(bar: float) -> None:
    g = linear()
    found = first(g - g.mean(axis=1, keepdims=True), g, bar=bar)
    assert found.kind == "missing-term"
    assert found.evidence["axes"] == (1,)
    assert found.corrected == pytest.approx((g - g.mean(axis=1, keepdims=True)).ravel(), abs=bar)


@bars
def test_a_term_proportional_to_an_array_in_each_slice_is_told(bar: float) -> None:
    g, y = linear(), WEIGHT
    right = g - y * (g * y).mean(axis=1, keepdims=True)
    found = first(right, g, bar=bar, arrays={"the output": y})
    assert found.kind == "missing-term"
    assert "proportional to the output" in found.message


def test_the_statistics_of_a_normalisation_taken_for_constants_are_a_missing_term() -> None:
    x, g = WEIGHT, linear()
    centred = x - x.mean(axis=0)
    scale = 1.0 / np.sqrt((centred**2).mean(axis=0))
    y = centred * scale
    right = scale * (g - g.mean(axis=0) - y * (g * y).mean(axis=0))
    found = first(right, scale * g, arrays={PARAMETER: x})
    assert found.kind == "missing-term"
    assert "a constant plus a multiple of the parameter itself all along axis 0" in found.message


def test_a_softmax_without_its_sum_is_a_missing_term() -> None:
    dy = linear()
    y = np.exp(WEIGHT) / np.exp(WEIGHT).sum(axis=1, keepdims=True)
    right = y * (dy - (dy * y).sum(axis=1, keepdims=True))
    found = first(right, dy * y * (1.0 - y), arrays={RETURNED: y, INCOMING: dy})
    assert found.kind == "missing-term"
    assert found.evidence["axes"] == (1,)
    assert "the output times the incoming gradient" in found.message
    assert found.corrected == pytest.approx(right.ravel())


def test_one_factor_for_each_slice_is_a_factor_along_an_axis() -> None:
    ratios = np.linspace(0.5, 2.2, 6)[:, None]
    found = first(linear(), linear() * ratios)
    assert found.kind == "factor"
    assert found.evidence["axes"] == (0,)
    assert found.evidence["ratios"] == pytest.approx(ratios.ravel())
    assert found.corrected == pytest.approx(linear().ravel())


def test_slices_that_were_not_looked_at_are_not_corrected() -> None:
    ratios = np.linspace(0.5, 2.2, 6)[:, None]
    found = first(linear(), linear() * ratios, at=list(range(40)))
    assert found.kind == "factor"
    assert found.corrected is None


def test_errors_of_one_entry_a_slice_show_no_factor_of_slices() -> None:
    right = linear()
    found = first(right, right * np.linspace(0.5, 2.2, 6)[:, None], at=list(range(0, 48, 9)))
    assert found.kind == "unexplained"


def test_an_array_that_the_error_has_nothing_of_is_not_named() -> None:
    seen = field(linear(), linear() + normal(6, 8, seed=5), arrays={PARAMETER: WEIGHT})
    assert [e.kind for e in explain(seen)] == ["unexplained"]


def test_two_entries_within_wide_bars_show_no_term() -> None:
    right = linear() + WEIGHT
    seen = field(right, linear(), bar=0.2, at=[3, 7], arrays={PARAMETER: WEIGHT}, constants={})
    assert [e.kind for e in explain(seen)] == ["unexplained"]
