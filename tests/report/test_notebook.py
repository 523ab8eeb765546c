"""What a notebook shows of a report: the essentials, and nothing that could be executed."""

from __future__ import annotations

import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

import gradproof
from gradproof import Report
from gradproof.report.entries import Entries
from gradproof.report.model import Finding, Spread
from gradproof.report.ranking import worst_first

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a\nb\r\x00\x1b[31m\u2028\u202e\ud800",
    "x" * 10_000,
    "&lt;b&gt;",
    "</td></tr></table>",
)


class Reader(HTMLParser):
    """The tags, their attributes and the text; every tag that is opened is closed in its turn."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(document)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def read(report: Report) -> Reader:
    reader = Reader(report._repr_html_())
    # What the sanitisers of notebooks let through.
    assert reader.tags <= {"div", "span", "table", "tbody", "tr", "td"}
    assert reader.attributes <= {"style"}
    return reader


@pytest.fixture(scope="module")
def wrong() -> Report:
    x = {"w": np.ones((2, 3)), "b": np.ones(2), "none": np.zeros((0, 4))}
    return gradproof.check(
        lambda x: float(np.sum(np.sin(x["w"])) + np.sum(x["b"] ** 2)),
        x,
        lambda x: {"w": np.cos(x["w"]), "b": -2 * x["b"], "none": x["none"]},
        coverage="full",
    )


def test_verdict_reason_findings_tensors_and_cost_are_there(wrong: Report) -> None:
    text = read(wrong).text
    for said in ("FAIL", wrong.reason, "bug", "sign-flip", "2 x 3", "6 of 6", "seed 0"):
        assert said in text
    assert f"{wrong.evaluations:,} evaluations of f" in text
    assert text.index(" b ") < text.index(" w ") < text.index(" none ")


def test_lists_are_short_and_say_what_they_leave_out(wrong: Report) -> None:
    tensors = {f"t{i:03}": replace(wrong.tensors["w"], name=f"t{i:03}") for i in range(300)}
    tensors["t299"] = replace(tensors["t299"], verdict="fail")
    findings = tuple(Finding(f"kind{i}", f"message {i}") for i in range(20))
    bug = Finding("sign-flip", "the bug", severity="bug")
    terms = {f"term{i}": wrong for i in range(9)}
    report = replace(wrong, tensors=tensors, findings=(*findings, bug), terms=terms)
    text = read(report).text
    assert "292 more tensors, none of them worse" in text
    assert "15 more findings" in text
    assert "3 more terms" in text
    assert text.index("the bug") < text.index("message 0")
    assert text.index("t299") < text.index("t000")
    assert len(report._repr_html_()) < 30_000


def test_names_are_text_and_nothing_else(wrong: Report) -> None:
    tensor = wrong.tensors["w"]
    tensors = {name: replace(tensor, name=name, reason=name) for name in HOSTILE}
    findings = tuple(Finding(name, name, name) for name in HOSTILE)
    term = replace(wrong, reason=HOSTILE[0])
    report = replace(
        wrong,
        reason=HOSTILE[1],
        coverage=HOSTILE[0],
        tensors=tensors,
        findings=findings,
        terms=dict.fromkeys(HOSTILE, term),
    )
    reader = read(report)
    for shown in (*HOSTILE[:2], r"a\nb\r\x00\x1b[31m\u2028\u202e\ud800", *HOSTILE[4:]):
        assert shown in reader.text
    document = report._repr_html_()
    document.encode("utf-8")
    assert len(document) < 40_000
    assert document.replace("\n", "").isprintable()


def test_numbers_that_are_none_and_reports_of_nothing_are_shown(wrong: Report) -> None:
    nan, inf = math.nan, math.inf
    tensor = replace(
        wrong.tensors["w"],
        digits_agree=Spread(nan, nan, nan),
        max_relative_error=nan,
        detection_limit=inf,
        worst=None,
    )
    odd = replace(wrong, tensors={"w": tensor}, seconds=inf, value=nan, noise=nan)
    assert " nan inf " in " ".join(read(odd).text.split())
    nothing = replace(wrong, tensors={}, findings=(), reason="", entries=Entries.empty())
    assert "FAIL" in read(nothing).text
    assert "table" not in read(nothing).tags


def test_columns_of_entries_are_left_out_where_none_was_looked_at(wrong: Report) -> None:
    certified = gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones(9), np.cos)
    assert "digits agree" not in read(certified).text
    assert "detection limit" in read(certified).text
    assert "digits agree" in read(wrong).text


def test_no_colour_of_the_text_but_on_a_ground_of_its_own(wrong: Report) -> None:
    # On a dark page text has to take the page's colour.
    for style in wrong._repr_html_().split('style="')[1:]:
        declared = style.partition('"')[0].split(";")
        if any(d.startswith("color:") and d != "color:inherit" for d in declared):
            assert any(d.startswith("background:#") for d in declared)


def test_the_worst_tensor_is_first(wrong: Report) -> None:
    w, b, none = (wrong.tensors[name] for name in ("w", "b", "none"))
    assert worst_first([w, none, b]) == [b, w, none]
    unsure = replace(w, verdict="inconclusive")
    assert worst_first([w, unsure, none, b]) == [b, unsure, w, none]
    assert worst_first([]) == []
    coarse, fine = (replace(none, detection_limit=limit) for limit in (1e-2, 1e-9))
    assert worst_first([fine, coarse]) == [coarse, fine]
