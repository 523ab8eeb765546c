"""Options that the commands share: the page, the long report, those of pyproject.toml."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import gradproof
from gradproof.cli import ExitCode, main

CASES = """
import numpy as np
from gradproof import Case

def case_right():
    return Case(np.sin, 1.0, np.cos)

def case_wrong():
    return Case(np.sin, 1.0, lambda x: -np.cos(x))
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "_gradproof_target", raising=False)
    Path("cases.py").write_text(CASES)


def run(*arguments: str) -> Result:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_check_and_show_write_the_same_page() -> None:
    checked = run("check", "cases.py", "--save", "r.json", "--html", "checked.html")
    assert checked.exit_code == ExitCode.FAIL
    assert run("show", "r.json", "--html", "shown.html").exit_code == ExitCode.FAIL
    page = Path("checked.html").read_text("utf-8")
    assert page == Path("shown.html").read_text("utf-8")
    assert "case_wrong" in page
    assert "gradproof check cases.py:case_wrong --seed 0" in page


@pytest.mark.parametrize("command", [("check", "cases.py"), ("show", "r.json")])
@pytest.mark.parametrize("option", ["--html", "--output"])
def test_a_folder_that_is_missing_is_one_line(command: tuple[str, ...], option: str) -> None:
    result = run(*command, option, "nowhere/page")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == "gradproof: 'nowhere/page': its folder is not there\n"
    assert result.stdout == ""


def test_verbose_is_longer() -> None:
    brief = run("check", "cases.py:case_wrong", "--save", "r.json").stdout
    verbose = run("check", "cases.py:case_wrong", "--verbose").stdout
    assert len(verbose.splitlines()) > len(brief.splitlines())
    shown = run("show", "r.json", "--verbose").stdout
    assert len(shown.splitlines()) == len(verbose.splitlines())


def test_entries_are_saved_as_parquet_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("cases.py:case_right", "--coverage=full", "--save-entries=parquet")
    alone = run("check", *options)
    assert alone.exit_code == ExitCode.USAGE
    assert "--save" in alone.stderr
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pyarrow", None)
        missing = run("check", *options, "--save=r.json")
    assert missing.exit_code == ExitCode.USAGE
    assert "pip install 'gradproof[store]'" in missing.stderr
    assert missing.stderr.count("\n") == 1
    pytest.importorskip("pyarrow")
    saved = run("check", *options, "--save=r.json")
    assert saved.exit_code == ExitCode.PASS, saved.stderr
    assert len(list(Path().glob("r.entries-*.parquet"))) == 1
    assert len(gradproof.load("r.json").entries) == 1
    assert "--save" not in json.loads(Path("r.json").read_text())["results"][0]["reproduce"]


def test_the_line_that_reproduces_a_check_makes_the_same_check() -> None:
    folder = Path("it's here")
    folder.mkdir()
    (folder / "cases.py").write_text(CASES)
    options = ("--coverage", "full", "--seed", "7", "--max-evaluations", "900", "--no-progress")
    result = run("check", "it's here/cases.py", *options, "--save", "r.json")
    assert result.exit_code == ExitCode.FAIL
    (line,) = re.findall("^Reproduce: (.*)$", result.stdout, re.MULTILINE)
    words = shlex.split(line)
    given = ["--coverage", "full", "--seed", "7", "--max-evaluations", "900"]
    assert words[:3] == ["gradproof", "check", "it's here/cases.py:case_wrong"]
    assert sorted(words[3:]) == sorted(given)
    again = json.loads(run(*words[1:], "--format", "json").stdout)["results"][0]
    assert again["reproduce"] == line
    assert (
        again["report"]["entries"]
        == json.loads(Path("r.json").read_text())["results"][1]["report"]["entries"]
    )


def test_the_seed_that_was_used_is_in_the_line() -> None:
    Path("seeded.py").write_text(CASES.replace("cos(x))", "cos(x), seed=3)"))
    result = run("check", "seeded.py:case_wrong", "--format", "markdown")
    assert "```sh\ngradproof check seeded.py:case_wrong --seed 3\n```" in result.stdout
    assert "```" not in run("check", "seeded.py:case_right", "--format", "markdown").stdout


def test_pyproject_has_options_that_cases_and_the_line_go_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("pyproject.toml").write_text(
        '[tool.gradproof]\ncoverage = "full"\nseed = 5\nconfidence = 0.99\nhtml = "page.html"\n'
    )
    Path("own.py").write_text(CASES.replace("np.cos)", "np.cos, seed=6)"))
    Path("below").mkdir()
    monkeypatch.chdir("below")

    def options_of(*arguments: str) -> tuple[str, int]:
        result = run("check", *arguments, "--format", "json")
        report = json.loads(result.stdout)["results"][0]["report"]
        return report["coverage"], report["seed"]

    assert options_of("../cases.py:case_right") == ("full", 5)
    assert options_of("../own.py:case_right") == ("full", 6)
    assert options_of("../own.py:case_right", "--seed=7", "--coverage=probe") == ("probe", 7)
    assert Path("../page.html").exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("sed = 3", "Expected options in coverage, samples, resolution, confidence, seed, "),
        ("coverage = 1", "Expected probe, sample or full but got coverage=1"),
        ("seed = [", "cannot be read: "),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(table: str, message: str) -> None:
    Path("pyproject.toml").write_text(f"[tool.gradproof]\n{table}\n")
    result = run("check", "cases.py")
    assert result.exit_code == ExitCode.USAGE
    assert message in result.stderr
    assert "pyproject.toml" in result.stderr
    assert result.stderr.count("\n") == 1


def test_annotations_are_named_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path.parent))
    result = run("check", "cases.py", "--format", "github")
    assert result.stdout.startswith(f"::error file={tmp_path.name}/cases.py,line=8,title=")


def test_other_projects_need_no_table() -> None:
    Path("pyproject.toml").write_text("[project]\nname = 'gradproof-user'\n")
    assert run("check", "cases.py:case_right").exit_code == ExitCode.PASS
    Path("pyproject.toml").write_bytes(b"not TOML \xff")
    assert run("check", "cases.py:case_right").exit_code == ExitCode.PASS


def test_a_page_of_hostile_file_names_is_only_text() -> None:
    name = "<script>alert(1)</script>".replace("/", "-") + ".py"
    Path(name).write_text(CASES)
    assert run("check", name, "--html", "page.html").exit_code == ExitCode.FAIL
    assert name not in Path("page.html").read_text("utf-8")
    assert gradproof.__name__ in Path("page.html").read_text("utf-8")
