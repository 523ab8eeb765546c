"""A failed check in a few lines."""

from typing import Any

import numpy as np
import pytest

from gradproof import check
from gradproof.report.brief_text import MOST_TENSORS, render_brief, render_figure, render_verdict


def squares(p: dict[str, Any]) -> float:
    return float(sum(np.sum(x**2) for x in p.values()))


def with_errors(**factors: float) -> Any:
    """The gradient of the function above, with tensors that are wrong by a factor."""
    return lambda p: {name: 2.0 * factors.get(name, 1.0) * x for name, x in p.items()}


POINT = {name: np.array([0.3, -0.7]) for name in "abcdefgh"}


def test_a_check_that_passed_is_its_verdict() -> None:
    report = check(squares, POINT, with_errors())
    assert render_brief(report, width=1000) == render_verdict(report)


def test_a_finding_that_is_the_verdict_is_not_said_twice() -> None:
    text = render_brief(check(squares, POINT, with_errors(c=-1.0)), width=200)
    assert text.count("opposite sign") == 1
    assert "bug  sign-flip  as said above" in text


def test_only_tensors_that_did_not_pass_are_listed_and_not_all_of_many() -> None:
    factors = {name: 1.5 + i for i, name in enumerate("abcdefg")}
    lines = render_brief(check(squares, POINT, with_errors(**factors))).splitlines()
    listed = [line.partition(" ")[0] for line in lines if " fail " in line]
    assert listed == list("cdefg")
    assert lines[-1] == f"and {len(factors) - MOST_TENSORS} more tensors that did not pass"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_are_safe_and_lines_no_wider_than_asked(encoding: str) -> None:
    name = "[red]\x1b\nπ" + 5000 * "n"
    report = check(squares, {name: np.array(0.3)}, {name: -1.0})
    text = render_brief(report, width=76, encoding=encoding)
    assert max(map(len, text.splitlines())) <= 76
    assert "\x1b" not in text
    assert "[red]" in text
    assert text.isascii() == (encoding == "ascii")


def test_the_figure_is_a_limit_or_the_fewest_digits() -> None:
    right, wrong = with_errors(), with_errors(a=1.001)
    assert render_figure(check(squares, POINT, right)).startswith("detection limit ")
    assert render_figure(check(squares, POINT, right, coverage="full")).endswith(" digits at worst")
    assert render_figure(check(squares, POINT, wrong)) == "3.0 digits at worst"
    assert render_figure(check(lambda p: np.random.rand(), 1.0, 1.0)) == "-"  # noqa: NPY002
