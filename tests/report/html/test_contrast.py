"""The colours of letters in both themes: enough contrast, and numbers that do not confuse."""

from __future__ import annotations

import re
from importlib.resources import files
from itertools import product

import pytest

from gradproof.report.html.words import digits

STYLE = (files("gradproof.report.html") / "style" / "base.css").read_text("utf-8")
COLOURS = {
    name: {"light": light, "dark": dark}
    for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", STYLE)
}
LETTERS = ("ink", "faint", "link", "pass", "fail", "doubt", "kink", "agree", "attainable")
GROUNDS = ("page", "card", "soft", "pass-soft", "fail-soft", "doubt-soft")


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 has it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_letters_have_a_contrast_of_4_5_on_every_ground(theme: str) -> None:
    for letters, ground in product(LETTERS, GROUNDS):
        pair = (luminance(COLOURS[name][theme]) + 0.05 for name in (letters, ground))
        low, high = sorted(pair)
        assert high / low >= 4.5, (letters, ground)


def test_digits_are_never_minus_nought() -> None:
    assert digits(-0.01) == "0.0"
    assert digits(-1.0) == "-1.0"
