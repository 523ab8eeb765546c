"""The benches write their tables into the page, in the form in which they stand there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from bench import calibration, diagnosis, scorecard
from bench.cases import correct_cases
from bench.page import section
from bench.wrong_cases import wrong_cases
from tests.docs.pages import DOCS, ROOT

PAGE = DOCS / "compare.md"
SECTIONS = ("scorecard", "diagnosis", "calibration")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return Path(shutil.copy(PAGE, tmp_path))


def first_row(table: str) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[0].split("|")]


def test_the_scorecard_is_written(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [correct_cases()[0], wrong_cases()[0]]
    tools = scorecard.gradproof_tools() | {"scipy": scorecard.customary_rules()["scipy"]}
    outcomes = scorecard.score(tools, cases)
    monkeypatch.setattr(scorecard, "score", lambda: outcomes)
    assert scorecard.main(["--write", str(page)]) == 0
    written = section(page.read_text(encoding="utf-8"), "scorecard")
    assert first_row(written)[1:3] == ["", "false alarms of 1"]
    assert '| gradproof, `coverage="full"` | 0 | 0 | 0 |' in written
    assert "| scipy.optimize.check_grad | 1 | 0 | - |" in written


def test_the_calibration_is_written(page: Path) -> None:
    assert calibration.main(["--count", "2", "--family", "smooth", "--write", str(page)]) == 0
    written = section(page.read_text(encoding="utf-8"), "calibration")
    kept = section(PAGE.read_text(encoding="utf-8"), "calibration")
    assert first_row(written) == first_row(kept)
    assert written.splitlines()[2].startswith("| smooth | 100 (")


def test_the_diagnosis_is_written(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = [bug for bug in diagnosis.all_bugs() if bug.family == "numpy"][:2]
    monkeypatch.setattr(diagnosis, "all_bugs", lambda: some)
    monkeypatch.setattr(diagnosis, "correct_cases", lambda: [])
    assert diagnosis.main(["--write", str(page)]) == 0
    written = section(page.read_text(encoding="utf-8"), "diagnosis")
    kept = section(PAGE.read_text(encoding="utf-8"), "diagnosis")
    assert first_row(written) == first_row(kept)
    assert written.splitlines()[2:] == [
        "| NumPy functions | 2 | 2 | 2 | 0 |",
        "| all | 2 | 2 | 2 | 0 |",
    ]


def test_what_is_around_a_table_stays(page: Path) -> None:
    before = page.read_text(encoding="utf-8")
    calibration.main(["--count", "1", "--family", "smooth", "--no-peers", "--write", str(page)])
    after = page.read_text(encoding="utf-8")
    for name in SECTIONS:
        same = section(before, name) == section(after, name)
        assert same == (name != "calibration")
    assert after.partition("<!-- calibration -->")[0] == before.partition("<!-- calibration -->")[0]


def test_make_bench_writes_every_table_of_the_page() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name in SECTIONS:
        assert f"bench.{name} --write docs/compare.md" in recipe
