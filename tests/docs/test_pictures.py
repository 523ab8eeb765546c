"""The README's pictures show what gradproof prints today."""

from __future__ import annotations

import re

import pytest
from bench.pictures import PICTURES, draw, words
from tests.docs.pages import DOCS

FOLDER = DOCS / "pictures"


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return {name: draw(name) for name in PICTURES}


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_current(name: str, drawn: dict[str, str]) -> None:
    """Numbers are masked (see `words`); layout, wording and colours are not."""
    kept = words((FOLDER / name).read_text(encoding="utf-8"))
    assert kept == words(drawn[name]), "run `make pictures` and look at them"
    assert len(kept) > 10


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_says_what_the_readme_says_of_it(name: str) -> None:
    lines = words((FOLDER / name).read_text(encoding="utf-8"))
    said = " ".join(word for line in lines for word in line if not word.startswith("<r"))
    expected = {
        "report.svg": "the claim is # times the right gradient",
        "steps.svg": "kinks within h = #, stepped around: # in weight, # in bias",
    }
    assert expected[name] in said


@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_asks_no_server_for_anything(name: str, drawn: dict[str, str]) -> None:
    for svg in (drawn[name], (FOLDER / name).read_text(encoding="utf-8")):
        outside = re.findall(r"@import|@font-face|url\((?!#)|href|<script|<image", svg)
        assert outside == []


@pytest.mark.parametrize(
    ("before", "after"),
    [("times", "fold"), ("verdict", ""), ('class="report-r2"', 'class="report-r1"')],
    ids=["wording", "layout", "colour"],
)
def test_a_change_of_wording_layout_or_colour_is_seen(
    before: str, after: str, drawn: dict[str, str]
) -> None:
    svg = drawn["report.svg"]
    assert before in svg
    assert words(svg.replace(before, after)) != words(svg)


def test_other_numbers_are_the_same_picture(drawn: dict[str, str]) -> None:
    svg = drawn["report.svg"]
    other = re.sub(r"\d\.\d+&#160;s", "12.5&#160;s", svg)
    assert other != svg
    assert words(other) == words(svg)
