"""The picture of the error against the step: its points, lines and bar stand where they should."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from gradproof.report.html.step_plot import BOTTOM, HEIGHT, TOP, StepPlot, kind_of, step_plot
from gradproof.report.model import StepRow, StepTable

STEPS = tuple(10.0**-k for k in range(2, 10))


def table(off: Callable[[float], float], claim: float = 1.0, noise: float = 1e-16) -> StepTable:
    """Of a derivative that is 1: `off(h)` is how far the difference at h is from it."""
    rows = tuple(
        StepRow(
            step=h,
            numeric=1.0 + off(h) + noise / h,
            difference=abs(1.0 + off(h) + noise / h - claim),
            truncation=off(h) if off(h) > noise / h else math.nan,
            rounding=noise / h,
        )
        for h in STEPS
    )
    return StepTable("w[0]", claim, 1.0, 1e-11, rows, 2.0, -1.0, "truncation", "")


def slope(plot: StepPlot, kind: str) -> float:
    """Of a line, in decades of error for a decade of the step."""
    (line,) = (line for line in plot.lines if line.kind == kind)
    (a, b), (c, d) = line.points
    decade_across = plot.x_ticks[1].at - plot.x_ticks[0].at
    first, second = plot.y_ticks[:2]
    down = (first.at - second.at) / (exponent(second.label) - exponent(first.label))
    return ((b - d) / down) / ((c - a) / decade_across)


def exponent(label: str) -> int:
    return int(label.removeprefix("1e"))


def heights(plot: StepPlot, kind: str) -> Sequence[float]:
    return [point.y for point in plot.points if point.kind == kind]


def test_the_lines_have_the_fitted_slopes() -> None:
    plot = step_plot(table(lambda h: h**2))
    assert slope(plot, "truncation") == pytest.approx(2.0, abs=1e-9)
    assert slope(plot, "rounding") == pytest.approx(-1.0, abs=1e-9)
    assert slope(plot, "expected") == pytest.approx(-1.0, abs=1e-9)


def test_points_are_told_apart_by_what_rules_there() -> None:
    plot = step_plot(table(lambda h: h**2))
    assert [point.kind for point in plot.points] == ["truncation"] * 4 + ["rounding"] * 4


def test_a_kink_is_marked_where_it_lies_within_the_step() -> None:
    kinked = replace(table(lambda h: 1e-3 if h > 2e-5 else 0.0), cause="kink", order=math.nan)
    plot = step_plot(kinked)
    assert [point.kind for point in plot.points].count("kink") == 3
    assert "truncation" not in {line.kind for line in plot.lines}
    assert "a kink lies between x - h and x + h at h = 1e-2, 1e-3, 1e-4" in plot.summary


def test_of_a_wrong_gradient_the_gap_stays_above_the_numeric_error() -> None:
    plot = step_plot(replace(table(lambda h: h**2, claim=3.0), cause="wrong gradient"))
    gap, off = heights(plot, "gap"), heights(plot, "off")
    assert len(gap) == len(off) == len(STEPS)
    assert max(gap) < min(off)
    assert max(gap) - min(gap) < 1e-2


def test_the_band_ends_at_the_error_bar() -> None:
    plot = step_plot(table(lambda h: h**2))
    at = {tick.label: tick.at for tick in plot.y_ticks}
    between = [
        at[label] for label in sorted(at, key=exponent) if exponent(label) in (-12, -11, -10)
    ]
    assert plot.bar is not None
    assert min(between) <= plot.bar <= max(between)


def test_everything_stays_inside_the_picture_whatever_the_numbers() -> None:
    odd = (math.nan, math.inf, 0.0, 5e-324, 1e-308, 1e308, 1.0)
    rows = tuple(StepRow(h, d, d, d, d) for h in odd for d in odd)
    for error in odd:
        extreme = StepTable("w", 1e308, -1e308, error, rows, 2.0, -1.0, "unclear", "")
        plot = step_plot(extreme)
        assert plot.points
        ends = [y for line in plot.lines for _, y in line.points]
        for y in [*(point.y for point in plot.points), *ends, plot.bar or TOP]:
            assert TOP - 1e-6 <= y <= HEIGHT - BOTTOM + 1e-6


def test_where_nothing_was_measured_there_is_no_picture() -> None:
    assert step_plot(replace(table(lambda h: h), rows=())).is_empty
    nothing = tuple(StepRow(h, math.nan, math.nan, math.nan, math.nan) for h in STEPS)
    assert step_plot(replace(table(lambda h: h), rows=nothing)).is_empty


def test_where_the_differences_are_all_zero_they_stand_at_the_lower_edge() -> None:
    zeros = tuple(StepRow(h, 0.0, 0.0, math.nan, 0.0) for h in STEPS)
    plot = step_plot(replace(table(lambda h: h), rows=zeros, error=0.0))
    assert {point.y for point in plot.points} == {HEIGHT - BOTTOM}
    assert plot.bar is None


def test_what_rules_is_named_as_in_the_text() -> None:
    whole = table(lambda h: h**2)
    assert kind_of(whole.rows[0], whole) == "truncation"
    assert kind_of(whole.rows[-1], whole) == "rounding"
    assert kind_of(whole.rows[0], replace(whole, cause="kink")) == "kink"
