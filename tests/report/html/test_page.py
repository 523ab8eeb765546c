"""The page as text: what is in it, that nothing of the user's is markup, and what it may do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.hostile import HOSTILE_NAMES, hostile_results
from tests.report.html.reports import convolution, made_up, probed

from gradproof.report.html import payload, render_html
from gradproof.report.html.page import SCRIPTS, STYLES
from gradproof.report.store import Result

#: What a page's policy has to say, apart from the digests; anything else is looser.
POLICY = {
    "default-src": "'none'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
VOID = {"br", "hr", "img", "input", "link", "meta", "wbr"}


class Parsed(HTMLParser):
    """A page's elements; it must be balanced."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.read: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.read += data.split()

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """All that is read."""
        return " ".join(self.read)


@cache
def hostile_page() -> str:
    return render_html(hostile_results())


@cache
def page_of_convolution() -> str:
    result = Result("case_net", convolution(), "cases.py", 12, "gradproof check cases.py:case_net")
    return render_html([result])


@cache
def parsed(page: Callable[[], str]) -> Parsed:
    return Parsed(page())


def data_of(page: str, key: str = "r0") -> Any:
    found = re.search(f'<script type="application/json" id="{key}-data">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def column(data: Any, name: str) -> Any:
    one = data["columns"][name]
    array = np.frombuffer(base64.b64decode(one["data"]), f"<{one['type']}")
    return array if len(array) == data["rows"] else np.repeat(array, data["rows"])


def test_the_policy_allows_the_script_and_the_style_of_the_page_and_nothing_else() -> None:
    page = page_of_convolution()
    (policy,) = (
        one["content"]
        for one in parsed(page_of_convolution).find("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    found = dict(directive.split(" ", 1) for directive in policy.split("; "))
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert found.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert found == POLICY


def test_the_policy_stands_before_all_that_it_governs() -> None:
    page = page_of_convolution()
    assert page.index("Content-Security-Policy") < min(page.index("<style"), page.index("<script"))


@pytest.mark.parametrize("page", [page_of_convolution, hostile_page])
def test_no_element_has_code_a_style_or_an_address_beyond_the_page(page: Callable[[], str]) -> None:
    for tag, attributes in parsed(page).elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag not in {"iframe", "object", "embed", "base", "form", "img"}
        assert "src" not in attributes
        address = attributes.get("href")
        icon = (attributes.get("rel"), (address or "")[:19]) == ("icon", "data:image/svg+xml,")
        assert address is None or address.startswith("#") or icon


@pytest.mark.parametrize("name", sorted(HOSTILE_NAMES))
def test_what_the_user_named_is_text_of_the_page_and_no_markup(name: str) -> None:
    text = HOSTILE_NAMES[name]
    page = parsed(hostile_page)
    # One script that runs; the others are data.
    assert len([one for one in page.find("script") if "type" not in one]) == 1
    if text.isprintable() and 0 < len(text) < 80:
        assert " ".join(text.split()) in page.text


def test_nothing_in_the_page_controls_or_turns_the_text() -> None:
    page = hostile_page()
    assert all(c.isprintable() or c == "\n" for c in page)
    assert page.encode("utf-8").decode("utf-8") == page


def test_data_in_a_script_element_cannot_end_it() -> None:
    value = ["</script><script>alert(1)</script>", "<!--", "]]>", "&amp;", "\u2028\u2029", "\ud800"]
    text = payload.script_json(value)
    assert not set("<>&\u2028\u2029\ud800") & set(text)
    assert json.loads(text) == value


def test_the_same_results_give_the_same_page() -> None:
    render_html([Result("other", probed())])
    result = Result("case_net", convolution(), "cases.py", 12, "gradproof check cases.py:case_net")
    assert render_html([result]) == page_of_convolution()


def test_a_report_writes_its_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    probed().save_html(path)
    assert path.read_text("utf-8") == render_html([Result("", probed())])


def test_verdict_reason_and_findings_come_first_and_bugs_before_the_rest() -> None:
    report, text = convolution(), parsed(page_of_convolution).text
    places = [text.index(what) for what in ("fail", report.reason, "Findings", "Tensors")]
    assert places == sorted(places)
    severities = re.findall(r'<li class="(bug|warning|info)">', hostile_page())
    first_of_a_page = severities[:3]
    assert first_of_a_page == ["bug", "warning", "info"]


def test_the_page_says_with_what_and_how_to_check_again() -> None:
    report, text = convolution(), parsed(page_of_convolution).text
    assert "gradproof check cases.py:case_net" in text
    assert "cases.py:12" in text
    for name, version in report.versions.items():
        assert f"{name} {version}" in text
    assert f"seed {report.seed}" in text
    assert str(report.plan) in text
    assert (
        "gradproof.check(..., coverage='probe', seed=0"
        in Parsed(render_html([Result("", probed())])).text
    )


def test_tensors_can_be_read_without_the_script() -> None:
    report, page = convolution(), parsed(page_of_convolution)
    for name, tensor in report.tensors.items():
        assert name in page.text
        assert f"{tensor.digits_agree.minimum:.1f}" in page.text
    rows = [one for one in page.find("tr") if "data-tensor" in one]
    assert len(rows) == sum(len(r.tensors) for r in (report, *report.terms.values()))


def test_entries_survive_to_the_last_bit() -> None:
    entries, data = convolution().entries, data_of(page_of_convolution())
    grouped = entries.sort("tensor")
    for name in ("value", "analytic", "numeric", "error", "rounding"):
        assert np.array_equal(column(data, name), grouped[name])
    assert np.array_equal(column(data, "flat"), grouped.flat_index)
    assert np.array_equal(column(data, "verdict"), grouped.verdict_code)
    for tensor in data["tensors"]:
        part = entries.filter(tensor=tensor["name"])
        assert tensor["stop"] - tensor["start"] == tensor["looked_at"] == len(part)
        assert sum(tensor["agree"]) == sum(tensor["attainable"]) == len(part)


def test_values_that_are_not_finite_survive() -> None:
    results = hostile_results()
    number = next(i for i, result in enumerate(results) if result.name == "odd")
    data = data_of(hostile_page(), f"r{number}")
    entries = results[number].report.entries.sort("tensor")
    for name in ("analytic", "numeric", "error"):
        assert np.array_equal(column(data, name), entries[name], equal_nan=True)


def test_of_too_many_entries_the_worst_of_each_tensor_are_kept_and_the_page_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradproof.report.html.view.MOST_ENTRIES", 500)
    report = made_up({"large": (40, 50), "small": (3,)}, lambda tensor, flat: flat == 1234)
    page = render_html([Result("", report)])
    assert "500 of the 2,003 entries" in Parsed(page).text
    data = data_of(page)
    large, small = data["tensors"]
    assert (large["looked_at"], large["stop"] - large["start"]) == (2000, 497)
    assert small["stop"] - small["start"] == 3
    assert column(data, "flat")[0] == 1234
    assert sum(large["agree"]) == 2000


def test_a_hundred_thousand_entries_are_data_and_no_elements() -> None:
    report = made_up({"w": (64, 16, 10, 10)}, lambda tensor, flat: flat // 100 == 37)
    page = render_html([Result("", report)])
    assert "all 102,400 entries" in Parsed(page).text
    assert len(page) < 8e6
    assert len(Parsed(page).elements) < 500


def test_of_very_many_tensors_the_worst_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.report.html.view.MOST_TENSORS", 20)
    report = made_up({f"t{i}": () for i in range(25)}, lambda tensor, flat: tensor == 24)
    page = Parsed(render_html([Result("", report)]))
    assert len([one for one in page.find("tr") if "data-tensor" in one]) == 20
    assert "5 more tensors, none of them worse, are left out" in page.text
    assert "t24" in page.text


def test_a_step_plot_stands_in_the_page_with_its_words_and_numbers() -> None:
    page = page_of_convolution()
    (table, *_) = convolution().steps
    assert table.explanation in parsed(page_of_convolution).text
    picture = page[page.index("<svg") : page.index("</svg>")]
    assert picture.count('class="point gap"') == len(table.rows) + 1  # and in the key
    assert 'class="band"' in picture
    assert 'class="fit expected"' in picture


def test_several_results_have_an_index_and_the_first_of_the_worst_is_open() -> None:
    results = [Result("good", probed()), Result("bad", convolution())]
    page = Parsed(render_html(results, "Two checks"))
    assert "2 checks" in page.text
    assert {"#r0", "#r1"} <= {one["href"] for one in page.find("a")}
    reports = [one for one in page.find("details") if one.get("class") == "report"]
    assert ["open" in one for one in reports] == [False, True]


def test_no_result_and_no_tensor_make_a_page_too() -> None:
    assert "0 checks" in Parsed(render_html([])).text
    assert "There are no tensors." in parsed(hostile_page).text


def test_every_piece_of_the_page_is_in_the_package() -> None:
    root = files("gradproof.report.html")
    for folder, names, ending in (("script", SCRIPTS, ".js"), ("style", STYLES, ".css")):
        there = {one.name for one in root.joinpath(folder).iterdir()}
        assert there == {f"{name}{ending}" for name in names}
