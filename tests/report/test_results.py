"""Results as XML, annotations and Markdown: valid whatever the names, and nothing that acts."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import gradproof
from gradproof import Report
from gradproof.cli.output import FORMATS, rendered
from gradproof.report.compare import changes, is_worse, judge, render_changes
from gradproof.report.entries import Entries
from gradproof.report.model import Finding
from gradproof.report.results import github, github_markdown, junit
from gradproof.report.store import Result

HOSTILE = (
    "<script>alert(1)</script>",
    "a\nb\r::error::c\x00\x1b[31m\u2028\ud800\u202e",
    "x" * 10_000,
    "|`*_[x](javascript:y)![i](http://z)",
    "&lt;%0A::&amp;",
    "]]>",
)


@cache
def right() -> Report:
    return gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones(3), np.cos)


@cache
def wrong() -> Report:
    return gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones(3), lambda x: -np.cos(x))


def unsure() -> Report:
    return replace(right(), verdict="inconclusive", reason="f is random")


def hostile(name: str) -> Result:
    """Everything that a user may name, by that name, and figures of every kind."""
    report = wrong()
    tensor = replace(
        report.tensors["x"], name=name, reason=name, detection_limit=math.inf, norm_ratio=1e308
    )
    empty = replace(tensor, name="empty", shape=(0, 3), size=0, checked=0, worst=None)
    entries = Entries.build(
        [name],
        [(3,)],
        tensor=0,
        flat_index=0,
        value=1e308,
        analytic=1e308,
        numeric=-1e308,
        error=math.nan,
        verdict="mismatch",
        reason=name,
    )
    hostile_report = replace(
        report,
        reason=name,
        tensors={name: tensor, "empty": empty},
        entries=entries,
        findings=(Finding("bad", name, tensor=name, severity="bug", evidence={name: name}),),
        value=math.nan,
        noise=math.inf,
        seconds=math.inf,
        steps=(),
        terms={name: report},
    )
    return Result(name, hostile_report, name, 7)


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("form", FORMATS)
def test_hostile_names_are_only_text(form: str, encoding: str, name: str) -> None:
    text = rendered(
        [hostile(name), Result("ok", right())], form, width=80, color=False, encoding=encoding
    )
    text.encode(encoding, "backslashreplace").decode(encoding)
    assert not set(text) & set("\x00\x1b\r\u2028\u202e\ud800")
    if form == "json":
        document = json.loads(text, parse_constant=refuse)
        assert document["results"][0]["name"] == name
        return
    assert len(text) < 40_000
    assert not re.search(r"^::error::c", text, re.MULTILINE)
    if form == "junit":
        case = ElementTree.fromstring(text).find("testsuite/testcase")
        assert case is not None
        assert [child.tag for child in case] == ["failure"]
        assert len(case[0]) == 0
    if form == "markdown":
        assert "<" not in text.replace("\\<", "")
        assert not re.search(r"(?<!\\)\]\(", text)
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {7}
    if form == "github":
        (line,) = text.splitlines()
        head = re.fullmatch(r"::error file=([^:,]*),line=7,title=[^:,]*::.*", line)
        assert head is not None


def test_junit_counts_and_says_why() -> None:
    results = [
        Result("a", right(), "cases.py", 3),
        Result("b", wrong(), "cases.py", 9),
        Result("c", unsure()),
    ]
    root = ElementTree.fromstring(junit(results))
    assert root.tag == "testsuites"
    (suite,) = root
    for element in (root, suite):
        assert [element.get(k) for k in ("tests", "failures", "errors")] == ["3", "1", "1"]
    a, b, c = suite
    assert (a.get("classname"), a.get("name"), len(a)) == ("cases.py", "a", 0)
    assert float(a.get("time", "")) >= 0.0
    assert (b[0].tag, b[0].get("type"), b[0].get("message")) == ("failure", "fail", wrong().reason)
    assert (b[0].text or "").startswith("cases.py:9\nFAIL: ")
    assert (c[0].tag, c[0].get("type")) == ("error", "inconclusive")


#: What Jenkins' junit-10.xsd and GitLab know of the elements that are used.
KNOWN: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "time"}, {"testcase"}),
    "testcase": ({"classname", "name", "time"}, {"failure", "error"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
}


def test_junit_has_no_elements_or_attributes_of_its_own() -> None:
    root = ElementTree.fromstring(junit([Result("b", wrong()), Result("c", unsure())]))
    for element in root.iter():
        attributes, children = KNOWN[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children


def test_annotations_name_the_place_and_right_gradients_have_none() -> None:
    lines = github(
        [
            Result("a", right(), "cases.py", 3),
            Result("b", wrong(), "dir/cases.py", 9),
            Result("c", replace(unsure(), reason="50 %\nor so")),
        ]
    ).splitlines()
    assert lines == [
        f"::error file=dir/cases.py,line=9,title=gradproof b%3A fail::{wrong().reason}",
        r"::warning title=gradproof c%3A inconclusive::50 %25\nor so",
    ]


def test_markdown_has_a_section_and_a_table_for_every_case() -> None:
    text = github_markdown([Result("a", right()), Result("b", wrong())])
    assert text.startswith("## gradproof: 1 of 2 passed\n")
    assert "### :white_check_mark: a: pass" in text
    assert "### :x: b: fail" in text
    assert re.search(r"^\| x \| 3 \| 3 of 3 \| fail \| 0.0 \|", text, re.MULTILINE)


def test_many_tensors_are_cut_and_the_worst_are_kept() -> None:
    tensor = right().tensors["x"]
    tensors = {f"t{i}": replace(tensor, name=f"t{i}") for i in range(1000)}
    tensors["t999"] = replace(tensors["t999"], verdict="fail")
    text = github_markdown([Result("a", replace(right(), tensors=tensors))])
    assert "| t999 |" in text
    assert "960 more tensors, none of them worse." in text


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
    assert re.search(r"^new +pass -> fail +\d+ -> \d+$", text, re.MULTILINE)
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


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_compared(name: str) -> None:
    text = render_changes([hostile(name)], [replace(hostile(name), name="other")])
    assert text.isascii()
    assert "\x1b" not in text
    worse = render_changes([Result("", right())], [hostile(name)])
    assert worse.startswith("WORSE")
    assert len(worse) < 5000
