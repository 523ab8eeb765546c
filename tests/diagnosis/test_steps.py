"""The step table: what the gap does as the step shrinks, and what that means."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.full import check

from gradproof.diagnosis.steps import STEPS, step_table
from gradproof.report.model import StepTable

Function = Callable[[Any], Any]
EPS = float(np.finfo(float).eps)


def table_of(f: Function, x: Any, grad: Any, **options: Any) -> StepTable:
    (table,) = check(f, x, grad, **options).steps
    return table


def test_table_has_a_row_for_every_decade_of_steps() -> None:
    table = table_of(np.exp, 1.0, np.exp)
    assert (
        [row.step for row in table.rows]
        == list(STEPS)
        == pytest.approx([1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9])
    )
    for row in table.rows:
        expected = (np.exp(1 + row.step) - np.exp(1 - row.step)) / (2 * row.step)
        assert row.numeric == pytest.approx(expected, rel=1e-6)
        assert row.difference == pytest.approx(abs(row.numeric - np.e), abs=1e-15)


def test_orders_of_a_smooth_function_are_two_and_minus_one() -> None:
    x = np.linspace(0.5, 1.5, 30)
    table = table_of(lambda x: np.sum(np.exp(x)), x, np.exp, steps="x")
    assert table.order == pytest.approx(2.0, abs=0.05)
    assert table.rounding_order == pytest.approx(-1.0, abs=0.3)
    table = table_of(np.exp, 1.0, np.exp)
    assert table.order == pytest.approx(2.0, abs=0.05)
    assert table.rounding_order < 0.0
    assert table.cause == "truncation"
    assert "h^2.0" in table.explanation
    assert "the gradient is right" in table.explanation


def test_truncation_is_the_cauchy_remainder() -> None:
    table = table_of(np.exp, 1.0, np.exp)
    for row in table.rows[:3]:
        assert row.truncation == pytest.approx(row.step**2 * np.e / 6, rel=0.01)
        assert row.truncation > row.rounding
    assert np.isnan(table.rows[-1].truncation)
    assert table.rows[-1].rounding > 1e-8


def test_gap_of_a_wrong_gradient_stays_however_short_the_step() -> None:
    table = table_of(np.exp, 1.0, lambda x: 1.01 * np.exp(x))
    assert table.cause == "wrong gradient"
    assert "neither truncation nor rounding" in table.explanation
    gaps = [row.difference for row in table.rows[1:-1]]
    assert gaps == pytest.approx(len(gaps) * [0.01 * np.e], rel=0.01)


def test_gap_drops_suddenly_once_a_kink_is_left_outside() -> None:
    x = 0.5
    edge = x + 3e-5
    table = table_of(lambda x: abs(x - edge) + x, x, lambda x: 1 + np.sign(x - edge))
    assert table.cause == "kink"
    assert "drops suddenly" in table.explanation
    assert "once the step is 1e-5 or shorter" in table.explanation
    gaps = {round(np.log10(row.step)): row.difference for row in table.rows}
    assert gaps[-4] > 0.1
    assert gaps[-5] < 1e-9


def test_gap_at_a_kink_right_at_the_point_is_said_to_be_one() -> None:
    table = table_of(np.abs, 0.0, np.sign)
    assert table.cause == "kink"
    assert "the point lies on a kink" in table.explanation


def test_a_claim_beside_the_slopes_of_a_kink_is_at_a_kink_all_the_same() -> None:
    assert table_of(np.abs, 0.0, 1.5).cause == "kink"


def test_a_linear_function_has_rounding_alone() -> None:
    table = table_of(lambda x: 3 * x, 0.7, 3.0)
    assert table.cause == "rounding"
    assert "rounding at every step" in table.explanation
    assert np.isnan(table.order)


def test_steps_that_leave_the_domain_are_said_to() -> None:
    table = table_of(lambda x: np.log(x) if x > 0 else np.nan, 1e-10, lambda x: 1 / x)
    assert table.cause == "unclear"
    assert "outside f's domain at every step" in table.explanation


def test_a_claim_that_is_no_number_is_wrong_whatever_the_step() -> None:
    table = table_of(np.exp, 1.0, np.nan)
    assert table.cause == "wrong gradient"
    assert "not a finite number" in table.explanation


def test_table_of_a_tensor_has_root_mean_squares() -> None:
    x = np.linspace(0.5, 1.5, 10)
    table = table_of(lambda x: np.sum(np.exp(x)), x, np.exp, steps="x")
    assert np.isnan([table.analytic, table.numeric]).all()
    assert all(np.isnan(row.numeric) for row in table.rows)
    rms = np.sqrt(np.mean(np.exp(2 * x)))
    assert table.rows[0].difference == pytest.approx(1e-4 / 6 * rms, rel=0.01)
    assert table.order == pytest.approx(2.0, abs=0.05)
    assert table.cause == "truncation"


def test_a_large_tensor_is_represented_by_some_of_its_entries() -> None:
    x = np.linspace(0.5, 1.5, 500)
    one = check(lambda x: np.sum(np.exp(x)), x, np.exp, steps="x[3]")
    whole = check(lambda x: np.sum(np.exp(x)), x, np.exp, steps="x")
    assert 0 < whole.evaluations - one.evaluations < 64 * len(STEPS)


# -- made by hand ------------------------------------------------------------------------------


def made(off: Any, *, wrong: float = 0.0, error: float = 1e-10, level: float = 1e-16) -> StepTable:
    """A table for numeric 1 with the given distances of the slopes from it."""
    slopes = 1.0 + np.array(off, dtype=float)[:, None]
    one = np.ones(1)
    return step_table(
        "x", one + wrong, one, one * error, 0 * one, slopes, np.full(slopes.shape, level)
    )


H = np.array(STEPS)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_fitted_order_is_that_of_the_gap(power: float) -> None:
    assert made(H**power + EPS / H).order == pytest.approx(power, abs=0.1)


def test_an_odd_row_does_not_bend_the_fitted_order() -> None:
    off = H**2
    off[1] *= 5
    assert made(off).order == pytest.approx(2.0, abs=0.3)


def test_entries_outside_the_domain_do_not_spoil_the_others() -> None:
    slopes = 1.0 + np.stack([H**2, np.where(H > 1e-5, np.nan, H**2)], axis=1)
    ones = np.ones(2)
    table = step_table("x", ones, ones, 1e-9 * ones, 0 * ones, slopes, np.full((8, 2), 1e-16))
    assert [row.difference for row in table.rows[:3]] == pytest.approx((H**2)[:3], rel=1e-3)


def test_a_gap_within_the_bar_is_not_called_wrong() -> None:
    assert made(H**2, wrong=9e-11).cause != "wrong gradient"
    assert made(H**2, wrong=2e-10).cause == "wrong gradient"
