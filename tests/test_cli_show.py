"""`gradproof show` and `gradproof compare`: what was saved, again and side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

import gradproof
from gradproof import Report
from gradproof.cli import ExitCode, main
from gradproof.report.store import Result as Saved
from gradproof.report.store import save_results
from gradproof.report.text import render_text

RIGHT = gradproof.check(np.sin, 1.0, np.cos)
WRONG = gradproof.check(np.sin, 1.0, lambda x: -np.cos(x))
UNSURE = replace(RIGHT, verdict="inconclusive")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)


def run(*arguments: str) -> Result:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    ("report", "code"),
    [(RIGHT, ExitCode.PASS), (WRONG, ExitCode.FAIL), (UNSURE, ExitCode.INCONCLUSIVE)],
    ids=["pass", "fail", "inconclusive"],
)
def test_show_prints_what_the_check_printed(report: Report, code: ExitCode) -> None:
    report.save("r.json")
    result = run("show", "r.json")
    assert result.exit_code == code
    assert result.stdout == f"{render_text(report, encoding='utf-8')}\n"


def test_show_knows_every_format_and_where_the_cases_were() -> None:
    save_results([Saved("case_a", WRONG, "cases.py", 3), Saved("case_b", RIGHT)], "r.json")
    assert json.loads(run("show", "r.json", "--format", "json").stdout)["version"] == 2
    assert (
        ElementTree.fromstring(run("show", "r.json", "--format", "junit").stdout)[0].get("tests")
        == "2"
    )
    github = run("show", "r.json", "--format", "github")
    assert github.stdout.startswith("::error file=cases.py,line=3,title=gradproof case_a")
    assert (
        run("show", "r.json", "--format", "markdown", "--output", "s.md").exit_code == ExitCode.FAIL
    )
    assert Path("s.md").read_text("utf-8").startswith("## gradproof: 1 of 2 passed")


@pytest.mark.parametrize("command", [("show", "r.json"), ("compare", "r.json", "r.json")])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "'r.json': No such file or directory"),
        ("{", "'r.json' cannot be read: it is no JSON, or not all of it is there"),
        ("{}", "'r.json' cannot be read: it is no result of gradproof's"),
        ('{"format": "gradproof-report", "version": 9}', "'r.json' cannot be read: its format is"),
    ],
    ids=["none", "truncated", "other", "later"],
)
def test_what_cannot_be_read_is_one_line(
    command: tuple[str, ...], content: str | None, message: str
) -> None:
    if content is not None:
        Path("r.json").write_text(content)
    result = run(*command)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith(f"gradproof: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_compare_exits_with_1_if_something_got_worse() -> None:
    RIGHT.save("right.json")
    WRONG.save("wrong.json")
    worse = run("compare", "right.json", "wrong.json")
    assert worse.exit_code == ExitCode.FAIL
    assert worse.stdout.startswith("WORSE: of 1 tensors 0 better, 0 same, 1 worse\n")
    assert "pass -> fail" in worse.stdout
    better = run("compare", "wrong.json", "right.json")
    assert better.exit_code == ExitCode.PASS
    assert better.stdout.startswith("BETTER: ")
    for form, start in (("markdown", "## :x: gradproof: worse\n"), ("json", '{"format": ')):
        other = run("compare", "right.json", "wrong.json", "--format", form)
        assert other.exit_code == ExitCode.FAIL
        assert other.stdout.startswith(start)
    same = run("compare", "wrong.json", "wrong.json")
    assert same.exit_code == ExitCode.PASS
    assert same.stdout.startswith("SAME: ")
