"""Hostile names and values in every format: valid by its own grammar, and nothing that acts."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from markdown_it import MarkdownIt
from tests.report.hostile import HOSTILE_NAMES, hostile_results

from gradproof.cli.output import FORMATS, rendered
from gradproof.report.brief_text import render_brief, render_verdict
from gradproof.report.compare import render_changes
from gradproof.report.compare_formats import json_changes, markdown_changes
from gradproof.report.store import Result

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parents[1] / "schemas" / "junit.xsd"))
#: What a terminal obeys or shows in another order, or what is not to be encoded.
ACTING = set("\x00\x07\x1b\r\t\x9b\u2028\u2029\u202e\u2066\u200f\ud800\udfff")
CASES = [*HOSTILE_NAMES, "odd", "nothing"]


@cache
def results() -> dict[str, Result]:
    """The results by what is hostile in them."""
    return dict(zip(CASES, hostile_results(), strict=True))


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def in_markdown(text: str) -> list[tuple[str, str]]:
    """The tokens of a Markdown text, with HTML and tables as GitHub knows them."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    flat = [(token, child) for token in tokens for child in [token, *(token.children or [])]]
    return [(child.type, child.content) for _, child in flat]


def refuse_what_acts_in_markdown(text: str) -> None:
    kinds = {kind for kind, _ in in_markdown(text)}
    assert not kinds & {"html_inline", "html_block", "link_open", "image", "s_open", "em_open"}
    plain = re.sub(r"^(`{3,})sh\n.*\n\1$", "", text, flags=re.MULTILINE)
    assert "<" not in plain
    assert not re.search(r"://|www\.|@", plain), "GitHub makes links and mentions of these"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", FORMATS)
def test_a_hostile_result_is_only_text(form: str, case: str) -> None:
    result = results()[case]
    for encoding in ("ascii", "utf-8"):
        text = rendered([result], form, width=80, color=False, encoding=encoding, verbose=True)
        text.encode("utf-8")
        assert not set(text) & ACTING
        assert len(text) < (20_000 if form != "json" else 10**7) + 3 * len(result.name)
        if form == "text":
            body = text.partition("\nReproduce: ")[0]
            assert max(map(len, body.splitlines())) <= 80
    if form == "json":
        document = json.loads(text, parse_constant=refuse)
        assert document["results"][0]["name"] == result.name
        assert text.isascii()
    if form == "junit":
        SCHEMA.validate(text)
        (element,) = ElementTree.fromstring(text).iter("testcase")
        wanted = "error" if case == "nothing" else "failure"
        assert [(child.tag, len(child)) for child in element] == [(wanted, 0)]
    if form == "github":
        (line,) = text.splitlines()
        assert re.fullmatch(r"::(error|warning) ([a-z]+=[^:,]*,?)+::.*", line)
        assert re.fullmatch(r"([^%]|%25|%3A|%2C|%0A)*", line)
        assert line.count("%0A") == (1 if result.reproduce else 0)
    if form == "markdown":
        refuse_what_acts_in_markdown(text)
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1
        assert [kind for kind, _ in in_markdown(text)].count("fence") <= 1


@pytest.mark.parametrize("form", FORMATS)
def test_all_of_them_together_are_valid_too(form: str) -> None:
    text = rendered(list(results().values()), form, width=80, color=False, encoding="ascii")
    if form == "json":
        assert len(json.loads(text, parse_constant=refuse)["results"]) == len(CASES)
    if form == "junit":
        SCHEMA.validate(text)
        assert len(list(ElementTree.fromstring(text).iter("testcase"))) == len(CASES)
    if form == "github":
        assert len(text.splitlines()) == len(CASES)
    if form == "markdown":
        refuse_what_acts_in_markdown(text)
        assert len(text.encode()) < 2**20


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_comparison_is_only_text(case: str) -> None:
    one = results()[case]
    before = [one, Result("other", one.report)]
    for text in (
        render_changes(before, [one]),
        markdown_changes(before, [one]),
        json_changes(before, [one]),
    ):
        assert text.isascii()
        assert not set(text) & ACTING
    refuse_what_acts_in_markdown(markdown_changes(before, [one]))
    document = json.loads(json_changes(before, [one]), parse_constant=refuse)
    assert document["cases"][0]["case"] == one.name


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_failure_of_a_test_is_short(case: str) -> None:
    report = results()[case].report
    for text in (render_brief(report, width=76), render_verdict(report)):
        assert text.isascii()
        assert not set(text) & ACTING
        assert len(text) < 8_000
    assert "\n" not in render_verdict(report)
