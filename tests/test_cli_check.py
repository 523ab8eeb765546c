"""`gradproof check`: which cases are found, what is printed and written, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

import gradproof
import gradproof.case
from gradproof import Case, InputError
from gradproof.cli import ExitCode, main
from gradproof.cli.exits import worst

CASES = """
import numpy as np
from gradproof import Case
from neighbour import sine

def case_right():
    print("printed by the user")
    return Case(sine, np.ones(3), np.cos)

def case_wrong():
    return Case(sine, np.ones(3), lambda x: -np.cos(x))

def not_a_case():
    return 7

unsure = Case(lambda x: sine(x) + np.random.default_rng().normal(), np.ones(3), np.cos)
number = 7
"""
NEIGHBOUR = """
import numpy as np

def sine(x):
    return np.sum(np.sin(x))
"""
RIGHT = (
    "import numpy as np, gradproof\ndef case_a():\n    return gradproof.Case(np.sin, 1.0, np.cos)\n"
)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("neighbour", "cases", "_gradproof_target"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("cases.py").write_text(CASES)
    Path("neighbour.py").write_text(NEIGHBOUR)
    Path("right.py").write_text(RIGHT)


def run(*arguments: str) -> Result:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["check", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def names_of(result: Result) -> list[str]:
    return [one["name"] for one in json.loads(result.stdout)["results"]]


@pytest.mark.parametrize(
    "target", ["cases.py:case_right", "cases:case_right", "./cases.py:case_right"]
)
def test_one_case_of_a_file_or_module(target: str) -> None:
    result = run(target)
    assert result.exit_code == ExitCode.PASS
    assert result.stdout.startswith("PASS: ")
    assert "printed by the user" in result.stderr
    assert "printed by the user" not in result.stdout


@pytest.mark.parametrize("target", ["cases.py", "cases"])
def test_a_file_alone_is_all_of_its_cases_and_the_worst_of_them(target: str) -> None:
    result = run(target)
    assert result.exit_code == ExitCode.FAIL
    assert result.stdout.endswith("3 cases: 1 pass, 1 inconclusive, 1 fail\n")
    titles = re.findall(r"^(\w+) \((.*:.*)\)$", result.stdout, re.MULTILINE)
    assert titles == [
        ("case_right", "cases.py:6"),
        ("case_wrong", "cases.py:10"),
        ("unsure", "cases.py:16"),
    ]
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_exit_codes() -> None:
    assert run("cases.py:case_wrong").exit_code == ExitCode.FAIL
    assert run("cases.py:unsure").exit_code == ExitCode.INCONCLUSIVE
    assert worst(["pass", "inconclusive", "fail", "pass"]) == ExitCode.FAIL
    assert worst(["pass", "inconclusive"]) == ExitCode.INCONCLUSIVE
    assert worst(["pass"]) == ExitCode.PASS


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing.py", "there is no file 'nothing.py'"),
        ("nothing", "there is no module 'nothing'"),
        ("no.such.module:name", "there is no module 'no.such.module'"),
        (
            "cases.py:nothing",
            "cases.py has no 'nothing'; its cases: case_right, case_wrong, unsure",
        ),
        ("cases.py:number", "Expected number to be a function that returns a gradproof.Case"),
        (
            "cases.py:not_a_case",
            "Expected a gradproof.Case, or a pair (f, x) such as (module, input), from not_a_case",
        ),
        ("neighbour.py", "neighbour.py has no gradproof.Case and no function named case_..."),
        ("neighbour.py:sine", "sine: TypeError: sine() missing 1 required positional argument"),
        (".", "there is no module '.'"),
        ("", "there is no module ''"),
        ("\x1b[31m.py", r"there is no file '\x1b[31m.py'"),
    ],
)
def test_what_cannot_be_used_is_one_line(target: str, message: str) -> None:
    result = run(target)
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr.startswith(f"gradproof: {message}")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 +", "cannot be imported: SyntaxError: invalid syntax (bad.py, line 1) (bad.py:1)"),
        ("\nimport no_such_thing", "cannot be imported: ModuleNotFoundError: No module named"),
        ("import sys\nsys.exit(0)", "cannot be imported: SystemExit: 0 (bad.py:2)"),
        (
            "def case_a():\n    return 1 / 0",
            "case_a: ZeroDivisionError: division by zero (bad.py:2)",
        ),
        (
            "from gradproof import Case\ndef f(x):\n    raise ValueError('so\\nthere')\n"
            "def case_a():\n    return Case(f, 1.0)",
            "case_a: ",
        ),
        (
            "from gradproof import Case\ncase_a = Case(lambda x: x, 1.0, lambda x: 1, sample=3)",
            "case_a: Expected options in [coverage, samples, ",
        ),
        (
            "from gradproof import Case\ncase_a = Case(lambda x: x, 1.0, lambda x: 1, samples=-3)",
            "case_a: Expected ",
        ),
    ],
    ids=["syntax", "import", "exit", "case", "f", "option", "value"],
)
def test_an_error_in_the_file_is_one_line_with_its_place(code: str, message: str) -> None:
    Path("bad.py").write_text(code)
    result = run("bad.py")
    assert result.exit_code == ExitCode.USAGE
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_errors_of_gradproof_itself_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if it stood in gradproof's own files.
    code = "def check(f, x, grad, *, progress): raise RuntimeError('a fault of ours')"
    names: dict[str, object] = {}
    exec(compile(code, gradproof.case.__file__, "exec"), names)
    monkeypatch.setattr("gradproof.case.check", names["check"])
    with pytest.raises(RuntimeError, match="a fault of ours"):
        run("right.py")


def test_options_go_before_those_of_the_case() -> None:
    Path("own.py").write_text(RIGHT.replace("np.cos)", "np.cos, coverage='full', seed=5)"))
    plain = json.loads(run("own.py", "--format", "json").stdout)["results"][0]["report"]
    assert (plain["coverage"], plain["seed"]) == ("full", 5)
    options = ("--coverage", "sample", "--samples", "1", "--seed", "3", "--resolution", "0.01")
    limits = ("--max-evaluations", "5000", "--max-seconds", "60")
    given = json.loads(run("own.py", *options, *limits, "--format", "json").stdout)
    report = given["results"][0]["report"]
    assert (report["coverage"], report["seed"], report["resolution"]) == ("sample", 3, 0.01)


def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, object] = {}
    report = gradproof.check(lambda x: x * x, 3.0, lambda x: 2 * x)

    def check(self: Case, **options: object) -> gradproof.Report:
        seen.update(options)
        return report

    monkeypatch.setattr(Case, "check", check)
    options = ("--samples=1", "--max-evaluations=5", "--max-seconds=0.5", "--no-progress")
    assert run("right.py", *options).exit_code == ExitCode.PASS
    assert seen == {"samples": 1, "max_evaluations": 5, "max_seconds": 0.5, "progress": False}


FORMS: dict[str, Callable[[str], object]] = {
    "text": lambda text: re.search(r"^3 cases: ", text, re.MULTILINE),
    "json": lambda text: json.loads(text)["format"] == "gradproof-report",
    "junit": lambda text: ElementTree.fromstring(text).get("failures") == "1",
    "github": lambda text: re.match(
        "::error file=cases.py,line=10,title=gradproof case_wrong", text
    ),
    "markdown": lambda text: text.startswith("## gradproof: 1 of 3 passed\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_goes_to_the_output_or_a_file(form: str) -> None:
    printed = run("cases.py", "--format", form)
    assert FORMS[form](printed.stdout), printed.stdout
    to_file = run("cases.py", "--format", form, "--output", "out")
    assert to_file.exit_code == printed.exit_code == ExitCode.FAIL
    assert FORMS[form](Path("out").read_text("utf-8"))
    lines = to_file.stdout.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["case_right (cases.py:6)", "PASS"],
        ["case_wrong (cases.py:10)", "FAIL"],
        ["unsure (cases.py:16)", "INCONCLUSIVE"],
    ]


def test_save_and_json_are_result_files() -> None:
    assert run("cases.py:case_wrong", "--save", "r.json").exit_code == ExitCode.FAIL
    assert gradproof.load("r.json").verdict == "fail"
    Path("printed.json").write_text(run("right.py", "--format", "json").stdout)
    assert gradproof.load("printed.json", "case_a").verdict == "pass"


@pytest.mark.parametrize("option", ["--save", "--output", "--html"])
def test_a_file_that_cannot_be_written_is_one_line_before_the_check(option: str) -> None:
    result = run("cases.py", option, "nowhere/file")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == "gradproof: 'nowhere/file': its folder is not there\n"
    Path("folder").mkdir()
    result = run("right.py", option, "folder")
    assert result.exit_code == ExitCode.USAGE
    assert result.stderr == "gradproof: 'folder': Is a directory\n"


def test_a_module_of_torch_is_a_case() -> None:
    pytest.importorskip("torch")
    Path("model.py").write_text(
        "import torch, gradproof\n"
        "def case_linear():\n"
        "    return gradproof.Case(torch.nn.Linear(3, 2), (torch.ones(4, 3),))\n"
        "def bare():\n"
        "    return torch.nn.Linear(3, 2)\n"
        "def with_input():\n"
        "    return torch.nn.Linear(3, 2), torch.ones(4, 3)\n"
    )
    for target in ("model.py", "model.py:with_input"):
        result = run(target)
        assert result.exit_code == ExitCode.PASS
        assert "weight" in result.stdout
    bare = run("model.py:bare").stderr
    assert "a pair (f, x) such as (module, input), from bare but got Linear" in bare
    assert bare.count("\n") == 1


def test_a_case_is_frozen_and_checks_its_options() -> None:
    case = Case(lambda x: x * x, 3.0, lambda x: 2 * x, seed=4)
    assert case.check().seed == 4
    assert case.check(seed=5).seed == 5
    with pytest.raises(AttributeError):
        case.seed = 3  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="but got 'sed'"):
        case.check(sed=1)


def test_help_of_every_command_is_narrow_and_imports_no_numpy() -> None:
    program = (
        "import sys\nfrom gradproof.cli import main\n"
        "for name in ('check', 'show', 'compare', 'completion'):\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit as stop: assert not stop.code\n"
        "print('loaded:', *{'numpy', 'rich', 'gradproof.check'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    text, _, loaded = done.stdout.rpartition("loaded:")
    assert loaded.split() == []
    assert max(map(len, text.splitlines())) <= 80
    assert "return gradproof.Case(lambda x: x**2, 3.0, lambda x: 2 * x)\n" in text


def test_dev_stdout_is_standard_output() -> None:
    form = ("--format", "markdown")
    printed = run("right.py", *form, "--output", "/dev/stdout")
    assert printed.stdout.startswith("## gradproof: 1 of 1 passed")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_reader_that_leaves_is_no_wrong_gradient() -> None:
    command = [sys.executable, "-c", "from gradproof.cli import main\nmain()", "check", "right.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (128 + 13, b"")
