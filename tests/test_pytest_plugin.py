"""The pytest plugin: what its fixture asserts, what it prints, and where its options come from."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import entry_points

import pytest
from tests.plugin_runs import FAIL, LINES, PASS, PLAIN, SEVERAL, Run, run

import _gradproof_pytest
from _gradproof_options import OPTIONS

__all__ = ["run"]  # a fixture

#: Prints the options that reached the check.
TELL = """
def test_it(gradproof):
    report = gradproof.check(f, POINT, right{options})
    print("used", report.coverage, report.seed, report.resolution)
"""


def used(result: pytest.RunResult) -> str:
    """What the test above has printed."""
    result.assert_outcomes(passed=1)
    line = re.search("used (.*)", result.stdout.str())
    assert line is not None
    return line.group(1)


def test_a_right_gradient_passes_and_its_report_is_returned(run: Run) -> None:
    result = run(
        "def test_it(gradproof):\n"
        "    report = gradproof.check(f, POINT, right)\n"
        "    assert report.verdict == 'pass' and gradproof.reports == [report]\n"
    )
    result.assert_outcomes(passed=1)
    result.stdout.re_match_lines([r"=+ gradproof: gradients checked =+", r"1 pass; \d+ eval"])
    assert "test_it.py::test_it" not in result.stdout.str()


def test_a_wrong_gradient_fails_with_its_verdict_first_and_the_explanation(run: Run) -> None:
    result = run(FAIL)
    result.assert_outcomes(failed=1)
    errors = [line[1:].strip() for line in result.outlines if re.match("E( |$)", line)]
    assert errors[0].startswith("FAIL: w: ")
    assert "sign" in errors[0]
    assert any(line.startswith("bug  sign-flip") for line in errors)
    assert any(re.match(r"w +fail +-0\.\d+ +0\.0$", line) for line in errors)
    assert errors[-1] == "Reproduce: pytest test_it.py::test_it --gradproof-seed=0"
    assert len(errors) < 20
    assert max(map(len, errors)) <= 76
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_it - FAIL: w:*"])


def test_no_frame_of_gradproof_is_shown(run: Run) -> None:
    output = run(FAIL).stdout.str()
    assert "test_it.py:26: GradientMismatch" in output
    assert "check.py" not in output
    assert "_gradproof_pytest" not in output
    assert "testing.py" not in output


def test_an_error_of_f_is_shown_without_gradproof_between(run: Run) -> None:
    result = run(
        "def broken(p):\n"
        "    return p['no such name']\n"
        "def test_it(gradproof):\n"
        "    gradproof.check(broken, POINT, right)\n"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [">*gradproof.check(broken*", ">*p[[]'no such name']", "E*KeyError*"]
    )
    assert "src/gradproof" not in result.stdout.str()


def test_of_an_error_that_gradproof_got_twice_one_is_shown(run: Run) -> None:
    pytest.importorskip("torch")
    result = run(
        "import torch\n"
        "def test_it(gradproof):\n"
        "    gradproof.check(torch.nn.Linear(4, 5), (torch.ones(3, 7),))\n"
    )
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    assert output.count("E   ") == 1
    assert "mat1 and mat2 shapes cannot be multiplied" in output
    assert "During handling" not in output
    assert "gradproof/check.py" not in output


def test_what_the_users_function_caught_is_shown(run: Run) -> None:
    result = run(
        "def broken(p):\n"
        "    try:\n"
        "        p['no such name']\n"
        "    except KeyError:\n"
        "        raise ValueError('no such parameter')\n"
        "def test_it(gradproof):\n"
        "    gradproof.check(broken, POINT, right)\n"
    )
    result.stdout.fnmatch_lines(["E*KeyError*", "During handling*", "E*no such parameter"])


def test_an_error_of_gradproof_itself_keeps_its_frames(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradproof.examine.compare", None)
    monkeypatch.setattr("gradproof.examine.look_at_claim", None)
    result = run(FAIL)
    result.assert_outcomes(failed=1)
    assert "gradproof/examine.py" in result.stdout.str()


def test_the_whole_report_is_shown_when_asked_for(run: Run) -> None:
    result = run(FAIL, "-vv")
    result.stdout.fnmatch_lines(["E*FAIL: w: *", "E*Random directions", "E*Reproduce: pytest *"])


def test_an_inconclusive_check_fails_too_and_says_why(run: Run) -> None:
    result = run("def test_it(gradproof):\n    gradproof.check(jitter, POINT, right)\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*INCONCLUSIVE: two calls of f at the same point differ*"])
    result.stdout.fnmatch_lines(["E*warning  nondeterministic*", "*: Inconclusive"])


def test_the_exceptions_are_gradproofs_own_and_carry_the_report(run: Run) -> None:
    result = run(
        "def test_fail(gradproof):\n"
        "    with pytest.raises(GradientMismatch, match='^FAIL: w') as caught:\n"
        "        gradproof.check(f, POINT, wrong)\n"
        "    assert gradproof.reports == [caught.value.report]\n"
        "def test_inconclusive(gradproof):\n"
        "    with pytest.raises(Inconclusive):\n"
        "        gradproof.check(jitter, POINT, right)\n"
        "def test_input(gradproof):\n"
        "    with pytest.raises(InputError):\n"
        "        gradproof.check(f, POINT, right, seed=-1)\n"
    )
    result.assert_outcomes(passed=3)
    # The tests passed: what their checks found is counted, and not told as a failure.
    result.stdout.re_match_lines([r"1 inconclusive, 1 fail; \d+ evaluations"])
    assert "test_it.py::" not in result.stdout.str()


def test_an_argument_that_cannot_be_used_is_one_line(run: Run) -> None:
    result = run("def test_it(gradproof):\n    gradproof.check(f, POINT, right, samples=0)\n")
    result.assert_outcomes(failed=1)
    errors = [line for line in result.outlines if line.startswith("E ")]
    assert len(errors) == 1
    assert errors[0].endswith("InputError: Expected a positive integer but got samples=0")
    assert "src/gradproof" not in result.stdout.str()


def test_layers_are_checked_the_same_way(run: Run) -> None:
    result = run(
        "class Scale:\n"
        "    def __init__(self, w):\n"
        "        self.w = w\n"
        "    def forward(self, x):\n"
        "        self.x = x\n"
        "        return self.w * x\n"
        "    def backward(self, dy):\n"
        "        self.dw = (self.x * dy).sum(axis=0)\n"
        "        return SIGN * self.w * dy\n"
        "def loss(y):\n"
        "    return 0.5 * np.sum(y**2), y\n"
        "@pytest.mark.parametrize('sign', [1, -1])\n"
        "def test_it(gradproof, sign, monkeypatch):\n"
        "    monkeypatch.setitem(globals(), 'SIGN', sign)\n"
        "    w = np.array([2.0, 3.0])\n"
        "    layers = {'first': Scale(w), 'second': Scale(w + 3)}\n"
        "    gradproof.check_layers(layers, np.ones((4, 2)), loss)\n"
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*FAIL: the error enters in second*"])


def test_options_come_from_the_call_the_marker_the_command_line_and_the_ini_file(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\n"
        'gradproof_coverage = "sample"\ngradproof_seed = "5"\ngradproof_resolution = "0.02"\n'
    )
    marked = "@pytest.mark.gradproof(coverage='full', seed=7)" + TELL
    assert used(run(TELL.format(options=""), "-s")) == "sample 5 0.02"
    line = ("-s", "--gradproof-seed=6", "--gradproof-coverage=probe")
    assert used(run(TELL.format(options=""), *line)) == "probe 6 0.02"
    assert used(run(marked.format(options=""), *line)) == "full 7 0.02"
    assert used(run(marked.format(options=", seed=8"), *line)) == "full 8 0.02"


def test_the_nearest_marker_wins_and_the_others_add_to_it(run: Run) -> None:
    result = run(
        "pytestmark = pytest.mark.gradproof(coverage='full', seed=1, resolution=0.01)\n"
        "@pytest.mark.gradproof(seed=2)\n"
        "class TestIt:\n"
        "    @pytest.mark.gradproof(resolution=0.05)\n"
        "    def test_it(self, gradproof):\n"
        "        report = gradproof.check(f, POINT, right)\n"
        "        print('used', report.coverage, report.seed, report.resolution)\n",
        "-s",
        "--strict-markers",
    )
    assert used(result) == "full 2 0.05"


@pytest.mark.parametrize("marker", ["covrage='full'", "3"])
def test_a_marker_with_what_is_no_option_is_an_error(run: Run, marker: str) -> None:
    result = run(f"@pytest.mark.gradproof({marker})\n{PASS}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"Expected options of*but got pytest.mark.gradproof({marker})"])


def test_budgets_of_the_ini_file_reach_the_check(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ngradproof_max_evaluations = 20\ngradproof_max_seconds = 60\n")
    result = run(PASS)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*INCONCLUSIVE: *"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("coverage", "some"), ("seed", "x"), ("max_seconds", "soon")],
)
def test_an_ini_option_that_cannot_be_used_is_one_line(
    run: Run, pytester: pytest.Pytester, name: str, value: str
) -> None:
    pytester.makeini(f"[pytest]\ngradproof_{name} = {value}\n")
    result = run(PASS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line]
    assert len(errors) == 1
    assert errors[0].startswith("ERROR: ")
    assert f"gradproof_{name}" in errors[0]


@pytest.mark.parametrize("option", ["--gradproof-seed=-1", "--gradproof-coverage=some"])
def test_a_command_line_that_cannot_be_used_is_refused(run: Run, option: str) -> None:
    result = run(PASS, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*error: argument {option.partition('=')[0]}: *"])


@pytest.mark.parametrize(
    "name", ["a b", "it's", "a::b/$HOME", "[x]", "é\\n", "-k", "*"], ids=lambda name: ascii(name)
)
def test_the_line_that_reproduces_it_runs_that_test_alone(
    run: Run, pytester: pytest.Pytester, name: str
) -> None:
    result = run(
        f"@pytest.mark.parametrize('name', [{name!r}, 'another'])\n"
        "def test_it(gradproof, name):\n"
        "    gradproof.check(f, POINT, wrong if name != 'another' else right)\n",
        "--gradproof-seed=4",
        "--gradproof-coverage=full",
    )
    result.assert_outcomes(passed=1, failed=1)
    line = re.search("Reproduce: pytest (.*)", result.stdout.str())
    assert line is not None
    words = shlex.split(line.group(1))
    assert words[1:] == ["--gradproof-seed=4", "--gradproof-coverage=full"]
    again = pytester.runpytest_inprocess(*PLAIN, *words)
    again.assert_outcomes(failed=1)


def test_that_line_has_the_ini_options_of_the_command_line(run: Run) -> None:
    given = ("-o", "gradproof_resolution=1e-5")
    result = run(FAIL, *given, "-o", "gradproof_html=page.html", "-o", "gradproof_seed=4")
    result.stdout.fnmatch_lines([f"E*::test_it --gradproof-seed=4 {shlex.join(given)}"])


def test_that_line_starts_where_pytest_was_started(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pytester.mkdir("below"))
    result = run(FAIL, f"--rootdir={pytester.path}", str(pytester.path))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E*Reproduce: pytest ../test_it.py::test_it --gradproof-seed=0"])


def test_every_check_has_a_line_in_the_summary_when_verbose(run: Run) -> None:
    result = run(SEVERAL, "-v")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.re_match_lines(LINES, consecutive=True)


def test_otherwise_only_what_failed_has_a_line(run: Run) -> None:
    result = run(SEVERAL)
    result.stdout.re_match_lines(LINES[2:], consecutive=True)
    assert "detection limit" not in result.stdout.str()


def test_there_is_no_summary_without_checks_or_when_quiet(run: Run) -> None:
    assert "gradproof: " not in run("def test_none(gradproof):\n    pass\n").stdout.str()
    assert "gradproof: " not in run(PASS, "-q").stdout.str()
    assert "gradproof: " in run(FAIL, "-q").stdout.str()


def test_a_check_in_another_fixture_counts(run: Run) -> None:
    result = run(
        "@pytest.fixture\n"
        "def checked(gradproof):\n"
        "    gradproof.check(f, POINT, right)\n"
        "    yield\n"
        "    gradproof.check(f, POINT, wrong)\n"
        "def test_it(checked):\n"
        "    pass\n"
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.re_match_lines([r"fail  test_it.py::test_it \(2\) ", r"1 pass, 1 fail; "])


def test_the_plugin_is_found_by_its_entry_point() -> None:
    (found,) = {
        (point.name, point.value)
        for point in entry_points(group="pytest11")
        if point.value.startswith("_gradproof")
    }
    assert found == ("gradproof", _gradproof_pytest.__name__)


HEAVY = {"gradproof", "numpy", "rich", "jinja2", "click", "optree", "torch", "jax"}


def loaded_after(pytester: pytest.Pytester, test: str) -> set[str]:
    """The heavy packages that pytest has loaded when it ends, in a process of its own."""
    pytester.makeconftest(
        "import sys\n"
        "def pytest_unconfigure():\n"
        f"    print('loaded:', *({HEAVY!r} & set(sys.modules)))\n"
    )
    pytester.makepyfile(test_it=test)
    result = pytester.runpytest_subprocess(*PLAIN)
    line = re.search("loaded:(.*)", result.stdout.str())
    assert line is not None
    return set(line.group(1).split())


def test_starting_pytest_imports_neither_gradproof_nor_numpy(pytester: pytest.Pytester) -> None:
    assert loaded_after(pytester, "def test_it():\n    pass\n") == set()


def test_the_fixture_imports_gradproof_when_it_checks(pytester: pytest.Pytester) -> None:
    test = "def test_it(gradproof):\n    gradproof.check(lambda x: x * x, 3.0, lambda x: 2 * x)\n"
    assert loaded_after(pytester, test) >= {"gradproof", "numpy"}


def test_pytest_tells_of_the_marker_and_the_options(run: Run) -> None:
    run(PASS, "--markers").stdout.fnmatch_lines(["@pytest.mark.gradproof(coverage=..., *"])
    names = [f"*gradproof_{name} *" for name in OPTIONS]
    run(PASS, "--help").stdout.fnmatch_lines(["*--gradproof-coverage*", *names])
