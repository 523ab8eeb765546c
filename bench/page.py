"""Tables that a bench prints and keeps in a Markdown page.

What a bench writes stands between two comments, `<!-- NAME -->` and `<!-- /NAME -->`; the text
around them is written by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["markdown", "print_table", "section", "write_section"]


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table whose first `left` columns are set flush left, the others flush right."""
    rule = ["---" if index < left else "---:" for index in range(len(columns))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """The same on the terminal."""
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right")
    for cells in rows:
        table.add_row(*cells)
    Console(width=120).print(table)


def section(page: str, name: str) -> str:
    """What stands between the two comments.

    Raises:
        ValueError: the page does not have the two, once each.
    """
    return _find(page, name)[1].strip()


def write_section(path: Path, name: str, text: str) -> None:
    """Put `text` in the place of what stands between the two comments."""
    before, _, after = _find(path.read_text(encoding="utf-8"), name)
    path.write_text(f"{before}\n{text.strip()}\n{after}", encoding="utf-8")


def _find(page: str, name: str) -> tuple[str, str, str]:
    """The page up to the section, the section, and the rest."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(opening) != 1 or page.count(closing) != 1:
        raise ValueError(f"Expected {opening} and {closing} once each but got {page=}")
    before, _, rest = page.partition(opening)
    text, _, after = rest.partition(closing)
    return before + opening, text, closing + after
