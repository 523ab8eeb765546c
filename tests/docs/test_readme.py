"""The README's code runs, and says what the README says that it says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.docs.pages import DOCS, ROOT, blocks

import gradproof

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]


def the_block_with(words: str) -> str:
    (found,) = [block for block in blocks(README, "python") if words in block]
    return found


def masked(line: str) -> str:
    """A line without its numbers, whose last digits depend on the machine, and their columns."""
    line = re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?", "#", line)
    return " ".join(re.sub(r"-{3,}", "---", line).split())


def test_the_ten_lines_fail_with_the_cause_that_their_picture_shows() -> None:
    made: list[gradproof.Report] = []
    exec(the_block_with("print(gradproof.check(loss"), {"print": made.append})
    (report,) = made
    assert report.verdict == "fail"
    (alternative,) = re.findall(r"!\[(FAIL: .*?)\]\(docs/pictures/report.svg\)", README)
    said = masked(" ".join(str(report).split()))
    assert all(masked(part) in said for part in re.split(r"[,;] ", alternative))


def test_the_example_for_pytest_fails_and_passes_as_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pytester.makepyfile(test_gradients=the_block_with("def test_gradient(gradproof)"))
    result = pytester.runpytest("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    result.assert_outcomes(passed=1, failed=1)
    printed = {masked(line) for line in result.outlines}
    below = README.partition("def test_every_entry")[2]
    shown = [line for line in blocks(below, "text")[0].splitlines() if line not in ("", "[...]")]
    missing = [line for line in shown if masked(line) not in printed]
    assert [line for line in missing if not line.startswith("=")] == []


def test_the_case_for_the_command_line_passes() -> None:
    space: dict[str, Any] = {}
    exec(the_block_with("# cases.py"), space)
    assert space["case_sine"]().check().verdict == "pass"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.name))
def test_code_that_is_only_shown_is_python(path: Any) -> None:
    for block in blocks(path.read_text(encoding="utf-8"), "python"):
        compile(block, path.name, "exec")


def test_links_to_the_documentation_lead_somewhere() -> None:
    linked = re.findall(r"\]\((docs/[^)#]+)|src=\"(docs/[^\"]+)\"", README)
    assert linked
    for pair in linked:
        assert (ROOT / (pair[0] or pair[1])).is_file()
