"""Wrong options, standard output that is closed, full or read no longer, and files at risk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import gradproof
from gradproof.cli import ExitCode, main
from gradproof.cli.output import page_of_stdout

GRADPROOF = (sys.executable, "-c", "from gradproof.cli import main; main()")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="gradproof")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "No such command 'nope' (see gradproof --help)"),
        (["check"], "Missing argument 'TARGET' (see gradproof check --help)"),
        (
            ["check", "a.py", "--seed", "x"],
            "Invalid value for '--seed': 'x' is not a valid integer range "
            "(see gradproof check --help)",
        ),
        (
            ["completion"],
            "Missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish "
            "(see gradproof completion --help)",
        ),
    ],
)
def test_an_option_that_cannot_be_read_is_one_line(arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == f"gradproof: {message}\n"
    assert result.stdout == ""


def test_no_command_at_all_is_answered_with_the_help() -> None:
    result = run()
    assert result.exit_code == ExitCode.USAGE
    assert "Commands:" in result.output


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--list-plants"]])
def test_a_reader_that_has_gone_is_no_wrong_gradient(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        done = subprocess.run(
            [*GRADPROOF, *arguments], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (128 + 13, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_no_wrong_gradient() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*GRADPROOF, "--help"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == ExitCode.USAGE
    assert done.stderr == b"gradproof: No space left on device\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's >&-")
def test_with_standard_output_closed_the_exit_code_is_that_of_the_verdict() -> None:
    gradproof.check(lambda x: x**2, 3.0, lambda x: 2 * x).save("r.json")
    command = [*GRADPROOF, "show", "r.json"]
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (ExitCode.PASS, b"")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_may_ask_for_no_colours(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert page_of_stdout()["color"]
    monkeypatch.setenv(name, value)
    assert not page_of_stdout()["color"]


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["show", "r.json", "--html", "r.json"], "r.json"),
        (["show", "r.json", "--output", "./r.json"], "./r.json"),
        (["check", "cases.py", "--save", "cases.py"], "cases.py"),
        (["check", "cases.py:case_a", "--html", "cases.py"], "cases.py"),
        (["check", "cases.py", "--save", "a.json", "--html", "a.json"], "a.json"),
    ],
)
def test_no_file_is_lost_to_another_that_the_command_writes(
    arguments: list[str], file: str
) -> None:
    for name in ("r.json", "cases.py"):
        Path(name).write_text("kept")
    result = run(*arguments)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == f"gradproof: {file!r}: the command reads it, or writes it twice\n"
    assert {path.name: path.read_text() for path in Path().iterdir()} == {
        "r.json": "kept",
        "cases.py": "kept",
    }


@pytest.mark.parametrize("option", ["--save", "--html"])
@pytest.mark.parametrize("name", ["", "-"])
def test_what_names_no_file_is_refused_before_the_check(option: str, name: str) -> None:
    result = run("check", "cases.py", option, name)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == f"gradproof: Expected a file to write but got {name!r}\n"
