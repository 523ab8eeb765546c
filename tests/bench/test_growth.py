"""The growth bench checks what it says it checks; what that takes is for the bench to say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench import growth
from bench.growth import FAMILIES, SIZES, Grown, measure, plot
from bench.page import markdown, section

DOCS = Path(__file__).parents[2] / "docs"
ROW = Grown("Rosenbrock, NumPy", "probe", 1000, 1, "pass", 60, 0.5, 3_000_000)


@pytest.mark.parametrize("family", FAMILIES)
def test_probing_ten_times_the_entries_takes_hardly_more_evaluations(family: str) -> None:
    few, many = (measure(family, "probe", entries) for entries in (1000, 10_000))
    assert few.verdict == many.verdict == "pass"
    assert many.entries >= 9 * few.entries
    assert few.evaluations <= many.evaluations + 20 <= 100 + 2 * many.tensors + 20
    assert many.evaluations <= 100 + 2 * many.tensors


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_at_every_entry_takes_little_more_than_a_pair_for_each(family: str) -> None:
    grown = measure(family, "full", 500)
    assert grown.verdict == "pass"
    assert 2 * grown.entries <= grown.evaluations <= 3 * grown.entries
    assert grown.memory >= 0


def test_what_falls_short_is_printed_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = tmp_path / "speed.md"
    page.write_text("<!-- growth -->\n<!-- /growth -->\n", encoding="utf-8")
    arguments = ["--largest", "1000", "--write", str(page)]

    def said(evaluations: int = 60, verdict: str = "pass") -> int:
        def alone(family: str, coverage: str, entries: int, _: int) -> Grown:
            return Grown(family, coverage, entries, 1, verdict, evaluations, 0.5, 3_000_000)

        monkeypatch.setattr(growth, "_alone", alone)
        return growth.main(arguments)

    assert said() == 0
    assert "BROKEN" not in capsys.readouterr().out
    assert len(section(page.read_text(encoding="utf-8"), "growth").splitlines()) == 2 + 4
    assert said(evaluations=103) == 1
    assert "BROKEN Rosenbrock, NumPy, 1,000: 103 evaluations" in capsys.readouterr().out
    assert said(verdict="fail") == 1
    assert "BROKEN network, PyTorch, 1,000: fail" in capsys.readouterr().out


def test_the_picture_has_both_axes_labelled_and_a_line_for_each_family_and_coverage(
    tmp_path: Path,
) -> None:
    pytest.importorskip("matplotlib")
    grown = [
        replace(ROW, family=family, coverage=coverage, entries=entries, seconds=entries / 1e4)
        for family in FAMILIES
        for coverage in SIZES
        for entries in (1000, 10_000)
    ]
    for name in ("one.svg", "two.svg"):
        plot(grown, tmp_path / name)
    picture = (tmp_path / "one.svg").read_text(encoding="utf-8")
    lines = [f"{family}: {coverage}" for family in FAMILIES for coverage in SIZES]
    for text in ("entries of the gradient", "evaluations of f", "processor seconds", *lines):
        assert text in picture
    assert picture == (tmp_path / "two.svg").read_text(encoding="utf-8")


def test_the_page_has_the_table_and_the_picture_of_this_bench() -> None:
    page = (DOCS / "speed.md").read_text(encoding="utf-8")
    lines = section(page, "growth").splitlines()
    assert lines[0] == markdown(growth.COLUMNS, [], 2).splitlines()[0]
    assert len(lines) == 2 + len(FAMILIES) * sum(map(len, SIZES.values()))
    assert "(growth.svg)" in page
    assert (DOCS / "growth.svg").read_text(encoding="utf-8").startswith("<?xml")
