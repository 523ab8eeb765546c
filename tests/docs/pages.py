"""Pages of the documentation, and the code in them."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["DOCS", "ROOT", "blocks", "cells"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def cells(text: str) -> list[str]:
    """The code that runs when the page is built."""
    found = re.findall(r"^```\{code-cell\} ipython3\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(r"\A(:.*\n)+\n*", "", cell) for cell in found]


def blocks(text: str, language: str) -> list[str]:
    """The blocks that are shown as code of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
