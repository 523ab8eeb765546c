"""`gradproof completion`: the scripts, and what they complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradproof.cli import ExitCode, main

CASES = """
raise RuntimeError("completing runs nothing")
import gradproof
from gradproof import Case

def case_one(): ...
def case_two(): ...
def other(): ...
first = Case(f, 1.0)
second = gradproof.Case(f, 1.0)
number = 7
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cases.py").write_text(CASES)


def completed(line: str) -> list[str]:
    """What is offered at the end of a line, without a shell."""
    environment = {"_GRADPROOF_COMPLETE": "bash_complete", "COMP_LINE": line}
    result = CliRunner(env=environment).invoke(main, prog_name="gradproof")
    return result.output.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_command(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == ExitCode.PASS
    assert f"_GRADPROOF_COMPLETE={shell}_complete" in result.stdout


def test_the_help_says_where_the_script_goes() -> None:
    text = CliRunner().invoke(main, ["completion", "--help"]).stdout
    for line in ('eval "$(gradproof completion bash)"', "completion fish > ~/.config/fish/"):
        assert line in text


def test_an_unknown_shell_is_refused() -> None:
    assert CliRunner().invoke(main, ["completion", "tcsh"]).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gradproof c", ["plain,check", "plain,compare", "plain,completion"]),
        ("gradproof check ca", ["file,ca"]),
        ("gradproof check cases.py:case_t", ["plain,cases.py:case_two"]),
        (
            "gradproof check cases.py:",
            [f"plain,cases.py:{name}" for name in ("case_one", "case_two", "first", "second")],
        ),
        ("gradproof check cases.py:se", ["plain,cases.py:second"]),
        ("gradproof check missing.py:", []),
        ("gradproof check cases.py --cov", ["plain,--coverage"]),
        ("gradproof check cases.py --coverage s", ["plain,sample"]),
    ],
)
def test_commands_options_files_and_cases_are_offered(line: str, offered: list[str]) -> None:
    assert completed(line) == offered


def test_a_broken_file_offers_nothing() -> None:
    Path("cases.py").write_text("def case_")
    assert completed("gradproof check cases.py:") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("breaks", [":", ""])
def test_bash_replaces_what_follows_the_colon(breaks: str) -> None:
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    program = (
        f"{script}\nCOMP_WORDBREAKS=$' {breaks}'\n"
        "COMP_LINE='gradproof check cases.py:case_'; COMP_POINT=${#COMP_LINE}\n"
        '_gradproof_completion gradproof; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    Path("gradproof").write_text(
        f"#!{sys.executable}\nfrom gradproof.cli import main\nmain(prog_name='gradproof')\n"
    )
    Path("gradproof").chmod(0o755)
    path = f"{Path.cwd()}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PATH": path},
    )
    place = "" if breaks else "cases.py:"
    assert done.stdout.split() == [f"{place}case_one", f"{place}case_two"], done.stderr
