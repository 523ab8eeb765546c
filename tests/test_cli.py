"""The command line: what it says, where it says so, and its exit codes."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gradproof.cli import ExitCode, main
from gradproof.examples import digits_cnn
from gradproof.examples.plants import PLANTS

QUICK = ("--images", "4", "--burn-in", "10", "--coverage", "sample")
#: Plants that a few entries drawn at random may miss, and some others: every entry is checked.
FULLY_CHECKED = (
    "bias-not-summed",
    "last-channel-forgotten",
    "maxpool-to-every-tie",
    "one-entry",
    "sign-flipped-bias",
)
FULL = ("--images", "4", "--burn-in", "10", "--coverage", "full")
LIGHT = ("numpy", "gradproof.check", "gradproof.numerics", "rich", "jinja2")


def run(*arguments: str, width: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(width)}).invoke(main, arguments)


def run_alone(*arguments: str, code: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with no terminal; `code` runs before and after it."""
    program = f"{code}\nfrom gradproof.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "80"} | env,
    )


def modules_after(*arguments: str) -> set[str]:
    """Which heavy modules the command has imported when it ends."""
    at_exit = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('loaded:', *({set(LIGHT)!r} & set(sys.modules))))"
    )
    done = run_alone(*arguments, code=at_exit)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("loaded:")[2].split())


def test_exit_codes_are_those_of_the_interface() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "PASS": 0,
        "FAIL": 1,
        "USAGE": 2,
        "INCONCLUSIVE": 3,
    }


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == ExitCode.PASS
    assert result.output.split()[-1] == version("gradproof")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["demo", "--help"]])
def test_help_fits_and_explains(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == ExitCode.PASS
    assert max(map(len, result.output.splitlines())) <= 80
    assert "--help" in result.output
    if "demo" not in arguments:
        assert "Exit codes: 0 pass, 1 fail, 2 wrong usage, 3 inconclusive." in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"]])
def test_help_imports_no_numerics(arguments: list[str]) -> None:
    assert modules_after(*arguments) == set()


def test_an_import_of_numerics_would_be_seen() -> None:
    options = ("--no-progress", *QUICK, "--samples", "2", "--html", os.devnull)
    assert modules_after("demo", *options) == set(LIGHT)


def test_list_plants_names_all_with_their_tensors() -> None:
    result = run("demo", "--list-plants")
    assert result.exit_code == ExitCode.PASS
    for name, plant in PLANTS.items():
        entry = f"{name}\n    {plant.description}\n    wrong: {', '.join(plant.tensors)}\n"
        assert entry in result.output


def test_a_right_gradient_exits_with_0_and_has_a_page(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    result = run("demo", *QUICK, "--html", str(page))
    assert result.exit_code == ExitCode.PASS
    assert "PASS: the gradient is right." in result.output
    assert "Exit code" not in result.output
    line = "gradproof demo --burn-in 10 --images 4 --coverage sample"
    assert line in page.read_text("utf-8")


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_exits_with_1_and_its_tensors_are_found(plant: str) -> None:
    result = run("demo", "--plant", plant, *(FULL if plant in FULLY_CHECKED else QUICK), width=200)
    assert result.exit_code == ExitCode.FAIL, result.output
    found = re.search(r"^FAIL: the gradient of (.*) is wrong\.", result.output, re.MULTILINE)
    assert found is not None
    assert set(PLANTS[plant].tensors) <= set(found[1].split(", "))
    assert result.output.endswith("Exit code 1: the gradient is wrong.\n")


def test_dropout_left_on_exits_with_3_and_names_dropout() -> None:
    result = run("demo", "--dropout-on", *QUICK)
    assert result.exit_code == ExitCode.INCONCLUSIVE, result.output
    assert "comes from dropout" in " ".join(result.output.split())
    assert "nondeterministic" in result.output
    assert "Exit code 3: the gradient could be neither confirmed nor refuted." in result.output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--plant", "nothing"], "plant='nothing'"),
        (["--steps", "conv9.weight", *QUICK], "steps='conv9.weight'"),
        (["--steps", "fc2.bias[99]", *QUICK], "steps='fc2.bias[99]'"),
        (["--html", "nowhere/demo.html"], "'nowhere/demo.html': its folder is not there"),
    ],
    ids=["plant", "tensor", "entry", "folder"],
)
def test_what_cannot_be_used_is_one_line_on_stderr(arguments: list[str], named: str) -> None:
    result = run("demo", *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith("gradproof: ")
    assert named in result.stderr
    assert result.stderr.count("\n") == 1
    assert "PASS" not in result.stdout


def test_an_unknown_plant_is_answered_with_the_list() -> None:
    stderr = run("demo", "--plant", "nothing").stderr
    assert all(name in stderr for name in PLANTS)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--images", "0"],
        ["--images", "1798"],
        ["--burn-in", "-1"],
        ["--seed", "-1"],
        ["--samples", "0"],
        ["--coverage", "half"],
        ["--no-such-option"],
        ["argument"],
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    result = run("demo", *arguments)
    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""


def test_without_scikit_learn_the_install_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    digits_cnn._load_digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    result = run("demo", *QUICK)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.count("\n") == 1
    assert "pip install 'gradproof[demo]'" in result.stderr


def test_another_missing_module_is_not_taken_for_scikit_learn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "gradproof.examples.demo", None)
    result = run("demo", *QUICK)
    assert isinstance(result.exception, ModuleNotFoundError)


def test_an_interrupt_is_no_failed_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradproof.examples.demo.run_demo", interrupt)
    assert run("demo").exit_code == 130


#: The bar waits a second otherwise.
IMPATIENT = "from gradproof.report import progress\nprogress.PATIENCE = 0.0"


def test_in_a_pipe_there_is_no_bar_and_plain_ascii_within_80_columns() -> None:
    done = run_alone("demo", *QUICK, code=IMPATIENT, PYTHONIOENCODING="ascii")
    assert done.returncode == ExitCode.PASS, done.stderr
    assert done.stderr == ""
    assert done.stdout.isascii()
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_on_a_terminal_there_is_a_bar_unless_it_is_switched_off(tmp_path: Path) -> None:
    case = tmp_path / "cases.py"
    case.write_text(
        "import gradproof\ncase = gradproof.Case(lambda x: x * x, 3.0, lambda x: 2 * x)"
    )
    shown = run_alone("check", str(case), code=IMPATIENT, TTY_COMPATIBLE="1")
    assert "checking" in shown.stderr
    hidden = run_alone("check", str(case), "--no-progress", code=IMPATIENT, TTY_COMPATIBLE="1")
    assert hidden.stderr == ""
