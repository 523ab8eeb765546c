"""From columns of numbers to the figures of a report."""

from typing import Any

import numpy as np
import pytest

from gradproof.report.build import (
    customary,
    detection_limit,
    digits,
    smooth_part,
    spread,
    tensor_report,
)
from gradproof.report.entries import Entries


def table(analytic: Any, numeric: Any, error: Any = 1e-9, verdict: Any = "match") -> Entries:
    rows = len(analytic)
    return Entries.build(
        ["w"],
        [(rows,)],
        tensor=np.zeros(rows, np.intp),
        flat_index=np.arange(rows),
        value=np.zeros(rows),
        analytic=np.array(analytic, dtype=float),
        numeric=np.array(numeric, dtype=float),
        error=error,
        verdict=rows * [verdict] if isinstance(verdict, str) else verdict,
    )


def test_spread_is_three_numbers_or_none() -> None:
    found = spread(np.array([5.0, 1.0, 2.0, 9.0]))
    assert (found.minimum, found.median, found.maximum) == (1.0, 3.5, 9.0)
    nothing = spread(np.empty(0))
    assert np.isnan([nothing.minimum, nothing.median, nothing.maximum]).all()


def test_entries_at_a_kink_are_left_out_of_the_figures() -> None:
    entries = table([1.0, 0.3, 2.0], [1.0, 0.0, 2.5], verdict=["match", "kink", "mismatch"])
    assert smooth_part(entries)["index"].tolist() == [(0,), (2,)]
    report = tensor_report("w", (3,), entries, "fail", "why", ())
    assert report.counts == {"match": 1, "mismatch": 1, "kink": 1, "unresolved": 0}
    assert report.max_relative_error == pytest.approx(0.2)
    assert report.worst is not None
    assert report.worst.index == (2,)
    assert report.checked == 3


def test_entries_that_are_zero_on_both_sides_have_no_digits() -> None:
    agree, attainable = digits(table([0.0, 1.0, 0.0], [0.0, 1.0 + 1e-9, 1e-12], error=1e-10))
    assert agree.maximum == pytest.approx(9.0, abs=0.01)
    assert agree.minimum == 0.0
    assert attainable.maximum == pytest.approx(10.0, abs=0.01)
    nothing, _ = digits(table([0.0], [0.0]))
    assert np.isnan(nothing.median)


def test_detection_limit_is_twice_the_bars_in_norm() -> None:
    assert detection_limit(table([3.0, 4.0], [3.0, 4.0], error=0.1)) == pytest.approx(
        0.2 * np.sqrt(2) / 5
    )
    assert np.isnan(detection_limit(table([], [])))
    assert detection_limit(table([0.0], [0.0])) == np.inf
    huge = table([1e300, 1e300], [1e300, 1e300], error=1e290)
    assert detection_limit(huge) == pytest.approx(2e-10)


def test_an_error_beyond_the_detection_limit_cannot_hide() -> None:
    rng = np.random.default_rng(0)
    numeric, error = rng.normal(size=50), rng.uniform(1e-9, 1e-6, 50)
    limit = detection_limit(table(numeric, numeric, error=error))
    for _ in range(100):
        wrong = rng.normal(size=50)
        wrong *= 1.001 * limit * np.linalg.norm(numeric) / np.linalg.norm(wrong)
        # The numeric value may be off by one bar to one side.
        off = rng.uniform(-1, 1, 50) * error
        assert np.any(np.abs(wrong - off) > error)


def test_a_tensor_of_nothing_has_no_figures() -> None:
    report = tensor_report("w", (0, 3), table([], []), "pass", "empty", ())
    assert report.size == report.checked == 0
    assert report.worst is None
    assert np.isnan([report.norm_ratio, report.max_relative_error, report.detection_limit]).all()


def test_a_tensor_at_kinks_throughout_has_no_worst_entry() -> None:
    report = tensor_report("w", (2,), table([0, 1], [0.5, 0.5], verdict="kink"), "pass", "", ())
    assert report.worst is None
    assert report.counts["kink"] == 2


def test_size_of_a_scalar_is_one() -> None:
    assert tensor_report("w", (), table([1.0], [1.0]), "pass", "", ()).size == 1


def test_rules_of_thumb_with_and_without_kinks() -> None:
    analytic = np.array([1.0, -1.0, 2.0])
    slopes = np.array([1.0, 0.5, 2.0 + 1e-8])
    found = customary(1e-4, analytic, slopes, np.array([False, True, False]))
    assert found.step == 1e-4
    assert (found.checked, found.kinks, found.sign_mismatches) == (3, 1, 1)
    assert found.max_relative_error == pytest.approx(1.5)
    assert found.max_relative_error_without_kinks == pytest.approx(5e-9, rel=1e-3)
    assert found.norm_ratio == pytest.approx(1.5 / np.linalg.norm(analytic + slopes))
    assert found.digits_agree.minimum == 0.0


def test_rules_of_thumb_where_every_entry_has_a_kink() -> None:
    found = customary(1e-4, np.ones(2), np.ones(2), np.array([True, True]))
    assert np.isnan(found.max_relative_error_without_kinks)
