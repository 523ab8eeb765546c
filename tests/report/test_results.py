"""Results as XML, annotations and Markdown."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import xmlschema
from tests.report.small_reports import right, unsure, wrong

from gradproof.report.escape import markdown_code
from gradproof.report.results import github, github_markdown, in_repository, junit
from gradproof.report.store import Result

#: What a reader of JUnit's XML may refuse.
SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parents[1] / "schemas" / "junit.xsd"))


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


def test_junit_is_valid_to_those_who_read_it() -> None:
    SCHEMA.validate(junit([Result("a", right()), Result("b", wrong()), Result("c", unsure())]))
    SCHEMA.validate(junit([]))
    foreign = junit([Result("a", right())]).replace("<testcase ", "<testcase extra='1' ")
    assert not SCHEMA.is_valid(foreign)


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


def test_all_but_right_gradients_say_how_to_reproduce_them() -> None:
    results = [
        Result("a", right(), reproduce="gradproof check a"),
        Result("b", wrong(), reproduce="gradproof check 'b %'"),
    ]
    assert github(results).endswith("%0AReproduce: gradproof check 'b %25'\n")
    assert github_markdown(results).count("```sh\ngradproof check 'b %'\n```") == 1
    assert "gradproof check a" not in github_markdown(results)
    failure = ElementTree.fromstring(junit(results)).find(".//failure")
    assert failure is not None
    assert (failure.text or "").endswith("\n\nReproduce: gradproof check 'b %'")


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


def test_many_results_are_lines_and_the_worst_have_sections() -> None:
    results = [Result(f"case {i}", right()) for i in range(1000)]
    text = github_markdown([*results, Result("bad", wrong())])
    assert text.startswith("## gradproof: 1000 of 1001 passed\n\n### :x: bad: fail\n")
    assert text.count("\n### ") == 20
    assert text.count("\n| pass | case ") == 500
    assert text.endswith("\n481 more, none of them worse.\n")


def test_a_step_summary_is_never_above_its_limit() -> None:
    tensors = {
        f"{i:02}@": replace(wrong().tensors["x"], name=f"{i:02}{'@' * 99}") for i in range(60)
    }
    finding = replace(wrong().findings[0], kind="@" * 99, message="@" * 999)
    report = replace(wrong(), tensors=tensors, findings=(finding,) * 30)
    one = github_markdown([Result("@" * 99, report, reproduce="@" * 9000)])
    assert 20 * len(one.encode()) > 2**20, "so many would be too much"
    many = github_markdown([Result("@" * 99, report, reproduce="@" * 9000)] * 2000)
    assert 2**19 < len(many.encode()) < 2**20


def test_code_ends_where_it_should() -> None:
    assert markdown_code("````") == "`````sh\n````\n`````"


def test_files_are_named_from_the_root_of_the_repository(tmp_path: Path) -> None:
    files = ("cases.py", str(tmp_path / "a" / "cases.py"), "/elsewhere/cases.py", None)
    results = [Result("a", right(), file) for file in files]
    named = in_repository(results, str(tmp_path), tmp_path / "a")
    assert [one.file for one in named] == ["a/cases.py", "a/cases.py", "/elsewhere/cases.py", None]
    assert in_repository(results, None, tmp_path) == results
