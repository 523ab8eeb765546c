"""The page of findings has every kind there is, each with an example that yields it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.kinds import kinds_in
from tests.docs.pages import DOCS, ROOT, cells

PAGE = (DOCS / "bugs.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_the_page_has_every_kind_that_the_code_can_make_and_no_other() -> None:
    assert set(SECTIONS) == kinds_in(ROOT / "src" / "gradproof")


def test_no_kind_stands_there_twice_and_all_are_in_the_table_on_top() -> None:
    assert len(re.findall(r"^### `", PAGE, re.MULTILINE)) == len(SECTIONS)
    assert re.findall(r"\[([\w-]+)\]\(#\1\)", PAGE.partition("```")[0]) == list(SECTIONS)


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_kind_has_an_example_and_says_what_to_do(kind: str) -> None:
    assert f'show("{kind}", ' in "".join(cells(SECTIONS[kind]))
    assert "**What to do.** " in SECTIONS[kind]


@pytest.mark.filterwarnings("default")  # as in a notebook
def test_every_example_yields_its_finding(capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, object] = {}
    for cell in cells(PAGE):
        exec(compile(cell, "bugs.md", "exec"), space)
    shown = re.findall(r"^[A-Z]+; (?:bug|warning|info) ([\w-]+): ", capsys.readouterr().out, re.M)
    assert set(shown) == set(SECTIONS)


@pytest.mark.parametrize(
    ("code", "kinds"),
    [
        ("def f():\n    return Finding('a-b', message)", {"a-b"}),
        ("def f():\n    kind, n = ('a', 1)\n    return Finding(kind, message)", {"a"}),
        ("def f():\n    kind: str = 'a' if x else 'b'\n    yield Map(kind)", {"a", "b"}),
        (
            "def f() -> Iterator[tuple[str, str, Floats]]:\n    yield 'a', 'message', array",
            {"a"},
        ),
        ("def f(found):\n    return Finding(found.kind, message)", set()),
    ],
)
def test_kinds_are_read_however_they_are_written(
    code: str, kinds: set[str], tmp_path: Path
) -> None:
    (tmp_path / "some.py").write_text(code, encoding="utf-8")
    assert kinds_in(tmp_path) == kinds


def test_a_kind_that_cannot_be_read_is_no_kind_passed_over(tmp_path: Path) -> None:
    (tmp_path / "some.py").write_text("def f():\n    Finding('a' + b)", encoding="utf-8")
    with pytest.raises(ValueError, match=r"some\.py:2: Expected a kind .* 'a' \+ b"):
        kinds_in(tmp_path)
