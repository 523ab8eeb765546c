"""Two results side by side: what is better, what worse, and how that is told."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from tests.report.small_reports import right, unsure, wrong

from gradproof import Report
from gradproof.report.compare import changes, is_worse, judge, render_changes
from gradproof.report.compare_formats import json_changes, markdown_changes
from gradproof.report.store import Result


def changed(report: Report, **changes: Any) -> list[Result]:
    return [Result("", replace(report, tensors={"x": replace(report.tensors["x"], **changes)}))]


def test_a_result_is_the_same_as_itself() -> None:
    same = [Result("", wrong())]
    assert [change.judgement for change in changes(same, same)] == ["same"]
    assert not is_worse(same, same)
    assert render_changes(same, same).startswith("SAME: of 1 tensors 0 better, 1 same, 0 worse")


def test_a_tensor_that_fails_now_is_worse_and_the_other_way_round_better() -> None:
    before, after = [Result("old", right())], [Result("new", wrong())]
    assert [change.judgement for change in changes(before, after)] == ["worse"]
    assert is_worse(before, after)
    assert not is_worse(after, before)
    text = render_changes(before, after)
    assert text.startswith("WORSE: of 1 tensors 0 better, 0 same, 1 worse")
    assert re.search(r"^x +worse +pass -> fail", text, re.MULTILINE)
    assert re.search(r"^old -> new +pass -> fail +\d+ -> \d+$", text, re.MULTILINE)
    assert render_changes(after, before).startswith("BETTER")


@pytest.mark.parametrize(
    ("limits", "judgement"),
    [
        ((1e-9, 2e-9), "same"),
        ((1e-9, 1e-7), "worse"),
        ((1e-7, 1e-9), "better"),
        ((1e-9, math.inf), "worse"),
        ((1e-9, math.nan), "worse"),
        ((math.nan, 1e-9), "better"),
        ((math.nan, math.inf), "same"),
        ((0.0, 0.0), "same"),
    ],
)
def test_detection_limits_are_compared(limits: tuple[float, float], judgement: str) -> None:
    a, b = (changed(right(), detection_limit=limit) for limit in limits)
    assert [change.judgement for change in changes(a, b)] == [judgement]
    assert is_worse(a, b) == (judgement == "worse")
    other = [replace(b[0], report=replace(b[0].report, coverage="full"))]
    assert not is_worse(a, other), "limits of another coverage are no worse for it"


def test_digits_are_compared_where_both_have_some() -> None:
    tensor = right().tensors["x"]
    digits = [replace(tensor.digits_agree, minimum=m) for m in (12.0, 11.5, 9.0, math.nan)]
    twelve, less, few, none = (replace(tensor, digits_agree=d) for d in digits)
    assert judge(twelve, less) == "same"
    assert judge(twelve, few) == "worse"
    assert judge(few, twelve) == "better"
    assert judge(twelve, none) == "same"


def test_tensors_and_cases_that_come_and_go() -> None:
    tensor = right().tensors["x"]
    assert judge(tensor, None) == "worse"
    assert judge(None, tensor) == "same"
    assert judge(None, replace(tensor, verdict="fail")) == "worse"
    one, two = Result("a", right()), Result("b", right())
    assert is_worse([one, two], [one])
    assert not is_worse([one], [one, two])
    assert is_worse([one], [one, Result("b", unsure())])
    text = render_changes([one, two], [one, Result("c", right())])
    assert re.search(r"^b +gone +pass -> -", text, re.MULTILINE)
    assert re.search(r"^c +new +- -> pass", text, re.MULTILINE)


def test_markdown_has_what_got_worse_first() -> None:
    before, after = [Result("a", right()), Result("b", wrong())], [Result("a", wrong())]
    text = markdown_changes([*before, Result("c", wrong())], [*after, Result("c", right())])
    assert text.startswith("## :x: gradproof: worse\n\nOf 3 tensors 2 worse, 1 better, 0 same.\n")
    assert re.search(r"^\| a \| pass -> fail \| \d+ -> \d+ \|$", text, re.MULTILINE)
    rows = re.findall(r"^\| (worse|better) \| (.): x \| (.*?) \|", text, re.MULTILINE)
    assert rows == [
        ("worse", "a", "pass -> fail"),
        ("worse", "b", "fail -> -"),
        ("better", "c", "fail -> pass"),
    ]


def test_markdown_is_cut_to_a_comment() -> None:
    tensors = {f"t{i}": replace(right().tensors["x"], name=f"t{i}") for i in range(1000)}
    many = [Result("", replace(right(), tensors=tensors))]
    text = markdown_changes(many, [Result("", replace(right(), tensors={}))])
    assert text.endswith("\n\n900 more.\n")
    assert len(text) < 2**16


def test_json_has_every_tensor_and_numbers_that_json_lacks() -> None:
    before = changed(right(), detection_limit=math.nan)
    document = json.loads(json_changes(before, [Result("", wrong())]))
    assert (document["format"], document["version"]) == ("gradproof-comparison", 1)
    assert document["judgement"] == "worse"
    (case,) = document["cases"]
    assert (case["before"]["verdict"], case["after"]["verdict"]) == ("pass", "fail")
    (tensor,) = document["tensors"]
    assert tensor["judgement"] == "worse"
    assert tensor["before"]["detection_limit"] == "nan"
    assert json.loads(json_changes(before, []))["tensors"][0]["after"] is None


def test_same_and_better_are_said_in_every_format() -> None:
    one, other = [Result("", wrong())], [Result("", right())]
    assert json.loads(json_changes(one, one))["judgement"] == "same"
    assert json.loads(json_changes(one, other))["judgement"] == "better"
    assert markdown_changes(one, one).startswith("## :heavy_minus_sign: gradproof: same")
    assert markdown_changes(one, other).startswith("## :white_check_mark: gradproof: better")
