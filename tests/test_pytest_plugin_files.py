"""What the pytest plugin writes: the page of --gradproof-html, the XML file, and for GitHub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from tests.plugin_runs import FAIL, LINES, MODULE, PASS, PLAIN, SEVERAL, Run, run

from gradproof.report.html import render_html
from gradproof.report.store import Result

__all__ = ["run"]  # a fixture

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "schemas" / "junit.xsd"))


@pytest.fixture(autouse=True)
def _no_github(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "GITHUB_ACTIONS",
        "GITHUB_STEP_SUMMARY",
        "GITHUB_WORKSPACE",
        "PYTEST_XDIST_WORKER",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """The results that were made a page of."""
    seen: list[Result] = []

    def render(results: Sequence[Result], title: str = "") -> str:
        seen.extend(results)
        return render_html(results)

    monkeypatch.setattr("gradproof.report.html.render_html", render)
    return seen


def test_the_page_has_all_checks_the_failing_first(
    run: Run, pytester: pytest.Pytester, rendered: list[Result]
) -> None:
    result = run(SEVERAL, "--gradproof-html=page.html")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["gradproof: *page.html shows the report of 3 checks"])
    assert (pytester.path / "page.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    several = "test_it.py::test_several"
    assert [(one.name, one.report.verdict) for one in rendered] == [
        (f"{several} (3)", "fail"),
        (several, "pass"),
        (f"{several} (2)", "pass"),
    ]
    assert [(one.file, one.line) for one in rendered] == [("test_it.py", n) for n in (29, 27, 28)]
    assert rendered[0].reproduce == f"pytest {several} --gradproof-seed=0"
    assert len(rendered[2].report.entries) == 5


def test_a_page_of_one_check_is_called_so(run: Run, pytester: pytest.Pytester) -> None:
    result = run(PASS, "--gradproof-html=page.html")
    result.stdout.fnmatch_lines(["gradproof: *page.html shows the report of one check"])


def test_an_interrupted_session_has_its_page(
    pytester: pytest.Pytester, rendered: list[Result]
) -> None:
    interrupted = (
        "def test_interrupted(gradproof):\n"
        "    gradproof.check(f, POINT, right)\n"
        "    raise KeyboardInterrupt\n"
    )
    pytester.makepyfile(test_it=MODULE + FAIL + interrupted)
    result = pytester.inline_run(*PLAIN, "--gradproof-html=page.html", no_reraise_ctrlc=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert (pytester.path / "page.html").read_text("utf-8").rstrip().endswith("</html>")
    names = [one.name for one in rendered]
    assert names == ["test_it.py::test_it", "test_it.py::test_interrupted"]


def test_without_a_check_no_page_is_written(run: Run, pytester: pytest.Pytester) -> None:
    result = run("def test_none():\n    pass\n", "--gradproof-html=page.html")
    result.stdout.fnmatch_lines(["gradproof: no gradients were checked*"])
    assert not (pytester.path / "page.html").exists()


@pytest.mark.parametrize("path", ["missing/page.html", "."])
def test_a_page_that_cannot_be_written_is_refused_before_the_tests(run: Run, path: str) -> None:
    result = run(PASS, f"--gradproof-html={path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (error,) = [line for line in result.errlines if line]
    assert error.startswith("ERROR: Expected a file in a folder that is there but got gradproof_h")
    assert "1 passed" not in result.stdout.str()


def test_a_folder_that_is_gone_at_the_end_fails_the_session(
    run: Run, pytester: pytest.Pytester
) -> None:
    pytester.mkdir("folder")
    gone = PASS + "    import shutil\n    shutil.rmtree('folder')\n"
    result = run(gone, "--gradproof-html=folder/page.html")
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["gradproof: *page.html cannot be written: No such file*"])


PYPROJECT = """
[tool.gradproof]
coverage = "sample"
samples = 2
seed = 5
resolution = 0.02
html = "page.html"
"""
TELL = """
def test_it(gradproof):
    report = gradproof.check(f, POINT, right)
    print("used", report.coverage, report.seed, report.resolution, len(report.entries))
"""


def test_pyproject_has_options_that_all_others_go_before(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makepyprojecttoml(PYPROJECT)
    monkeypatch.chdir(pytester.mkdir("below"))
    place = (f"--rootdir={pytester.path}", str(pytester.path), "-s")
    run(TELL, *place).stdout.fnmatch_lines(["*used sample 5 0.02 4"])
    assert (pytester.path / "page.html").exists()
    ini = '[tool.pytest.ini_options]\ngradproof_seed = "6"\ngradproof_resolution = "0.03"\n'
    pytester.makepyprojecttoml(ini + PYPROJECT)
    result = run(TELL, *place, "--gradproof-seed=7")
    result.stdout.fnmatch_lines(["*used sample 7 0.03 4"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("sed = 3\ncovrage = 'full'", "Expected options in coverage, *, html but got sed, covrage"),
        ("seed = 'x'", "Expected an integer, seed of * but got seed='x'"),
        ("seed = true", "Expected an integer, seed of * but got seed=True"),
        ("max_seconds = 'x'", "Expected a number, seconds * but got max_seconds='x'"),
        ("samples = -1", "Expected an integer that is not negative but got samples=-1"),
        ("coverage = 'some'", "Expected probe, sample or full but got coverage='some'"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    run: Run, pytester: pytest.Pytester, table: str, message: str
) -> None:
    pytester.makepyprojecttoml(f"[tool.gradproof]\n{table}\n")
    result = run(PASS, f"--rootdir={pytester.path}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *tool.gradproof* in *pyproject.toml: {message}"])
    assert len([line for line in result.errlines if line]) == 1


def test_github_annotates_the_line_of_the_failing_check(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path.parent))
    expected = (
        "def test_expected(gradproof):\n"
        "    with pytest.raises(GradientMismatch):\n"
        "        gradproof.check(f, POINT, wrong)\n"
    )
    unsure = "def test_unsure(gradproof):\n    gradproof.check(jitter, POINT, right)\n"
    result = run(SEVERAL + expected + unsure)
    folder = pytester.path.name
    commands = [line for line in result.outlines if line.startswith("::")]
    title = "gradproof test_it.py%3A%3Atest_several (3)%3A fail"
    assert len(commands) == 2
    assert commands[0].startswith(f"::error file={folder}/test_it.py,line=29,title={title}::w: ")
    assert commands[1].startswith(f"::warning file={folder}/test_it.py,line=38,title=gradproof ")


def test_elsewhere_nothing_is_annotated(run: Run) -> None:
    assert "::error" not in run(FAIL).stdout.str()


def test_the_step_summary_is_added_to(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = pytester.path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(SEVERAL)
    text = summary.read_text("utf-8")
    assert text.startswith("before\n## gradproof: 2 of 3 passed\n")
    assert re.search(r"^\| w \| 3 \| 3 of 3 \| fail \| 0.0 \|", text, re.MULTILINE)
    assert (
        "pytest test\\_it.py::test\\_several" in text or "pytest test_it.py::test_several" in text
    )


def test_workers_send_what_they_checked(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, summary = pytester.path / "found.xml", pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    pytester.makepyfile(test_it=MODULE + SEVERAL)
    files = (f"--junitxml={path}", "--gradproof-html=page.html")
    result = pytester.runpytest_subprocess(*PLAIN, "-n", "2", "-v", *files)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["E*FAIL: w: *", "E*Reproduce: pytest test_it.py::test_several*"])
    result.stdout.re_match_lines([r"::error file=test_it.py,line=29,title=gradproof "])
    result.stdout.re_match_lines(LINES, consecutive=True)
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_several - FAIL: w: *"])
    assert summary.read_text("utf-8").startswith("## gradproof: 2 of 3 passed\n")
    page = (pytester.path / "page.html").read_text("utf-8")
    assert "pytest test_it.py::test_several --gradproof-seed=0" in page
    SCHEMA.validate(path)
    assert len(properties(path)) == 3


def properties(path: Path) -> dict[str, str]:
    """The properties of the suite in the XML file."""
    found = ElementTree.parse(path).findall("testsuite/properties/property")
    return {one.attrib["name"]: one.attrib["value"] for one in found}


def test_the_xml_file_is_valid_and_has_what_was_checked(
    run: Run, pytester: pytest.Pytester
) -> None:
    path = pytester.path / "found.xml"
    run(SEVERAL, f"--junitxml={path}")
    SCHEMA.validate(path)
    found = properties(path)
    name = "gradproof test_it.py::test_several"
    assert list(found) == [name, f"{name} (2)", f"{name} (3)"]
    assert re.fullmatch(r"pass: .* \(\d+ evaluations\)", found[name])
    assert found[f"{name} (3)"].startswith("fail: w: ")
    failure = ElementTree.parse(path).find(".//testcase[@name='test_several']/failure")
    assert failure is not None
    assert f"fail: {failure.get('message', '').removeprefix('FAIL: ')} (" in found[f"{name} (3)"]
    assert "Reproduce: pytest" in (failure.text or "")


def test_in_the_older_format_they_are_properties_of_the_test(
    run: Run, pytester: pytest.Pytester
) -> None:
    path = pytester.path / "found.xml"
    run(SEVERAL, f"--junitxml={path}", "-o", "junit_family=xunit1")
    (case,) = ElementTree.parse(path).findall(".//testcase[@name='test_several']")
    names = [one.attrib["name"] for one in case.findall("properties/property")]
    wanted = ("verdict", "reason", "evaluations")
    prefixes = ("gradproof", "gradproof.2", "gradproof.3")
    assert names == [f"{prefix}.{name}" for prefix in prefixes for name in wanted]
    assert properties(path) == {}
    assert not SCHEMA.is_valid(path), "as Jenkins sees it"


@pytest.mark.parametrize(
    "name",
    ["<b>&\\x00\\x1b[31m\\ud800\\u202e\\n::error::]]>", "n" * 10_000],
    ids=["odd", "long"],
)
def test_hostile_names_leave_all_that_is_written_whole(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path, summary = pytester.path / "found.xml", pytester.path / "summary.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = run(
        f"name = '{name}'\n"
        "@pytest.mark.parametrize('argument', [name])\n"
        "def test_it(gradproof, argument):\n"
        "    gradproof.check(lambda p: np.sum(p[name] ** 2), {name: np.ones(2)},"
        " lambda p: {name: -p[name]})\n",
        f"--junitxml={path}",
        "--gradproof-html=page.html",
    )
    result.assert_outcomes(failed=1)
    assert not set(result.stdout.str()) & {"\x1b", "\x00", "\u202e"}
    assert len([line for line in result.outlines if line.startswith("::error")]) == 1
    SCHEMA.validate(path)
    (value,) = properties(path).values()
    assert value.startswith("fail: ")
    assert len(value) < 700
    text = summary.read_text("utf-8")
    assert "<b>" not in re.sub("^```sh\n.*\n```$", "", text, flags=re.MULTILINE)
    assert len(text) < 16_000
    assert "<b>" not in (pytester.path / "page.html").read_text("utf-8")


def test_what_tests_report_is_plain_data(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import json, pytest\n"
        "def pytest_runtest_logreport(report):\n"
        "    checks = getattr(report, 'gradproof_checks', [])\n"
        "    with open('reported', 'a') as file:\n"
        "        file.writelines(json.dumps(one) + '\\n' for one in checks)\n"
    )
    run(SEVERAL, "--gradproof-html=page.html")
    lines = (pytester.path / "reported").read_text().splitlines()
    assert [json.loads(line)["verdict"] for line in lines] == ["pass", "pass", "fail"]
