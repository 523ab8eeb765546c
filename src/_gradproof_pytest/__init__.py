"""The pytest plugin: the fixture `gradproof`, its options, and where its checks are told of.

It stands outside the package so that pytest, which loads it at every start, imports neither
gradproof nor NumPy before a test asks for the fixture. What needs them is in the other modules
here, which are imported when they are needed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from _gradproof_options import COVERAGES, OPTIONS, check_value, count, options_of, read_text

if TYPE_CHECKING:
    from gradproof.testing import GradientChecks

MARKER = (
    "gradproof(coverage=..., seed=..., ...): options of gradproof.check for the checks that the "
    "test makes with the fixture gradproof"
)
#: The plugin of a session whose checks are told of elsewhere than in the terminal.
SESSION = "gradproof-session"
#: Since 8.4 pytest knows numbers in ini files, and TOML of its own insists on them.
_NUMBERS = {int: "int", float: "float"} if pytest.version_tuple >= (8, 4) else {}

#: Options of `check` that hold for all tests.
DEFAULTS = pytest.StashKey[dict[str, Any]]()
#: What a test has checked and not yet reported: plain data.
MADE = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, on the command line and in the ini file."""
    group = parser.getgroup("gradproof", "checking gradients (gradproof)")
    group.addoption(
        "--gradproof-coverage",
        choices=COVERAGES,
        help="how much the fixture's checks look at, where a test does not say it",
    )
    group.addoption(
        "--gradproof-seed",
        type=_seed,
        metavar="N",
        help="seed of the fixture's checks, where a test does not say it",
    )
    group.addoption(
        "--gradproof-html",
        metavar="FILE",
        help="write the reports of all of the fixture's checks to one page",
    )
    for name, (kind, meaning) in OPTIONS.items():
        ini_kind: Any = _NUMBERS.get(kind, "string")
        parser.addini(f"gradproof_{name}", f"gradproof: {meaning}", type=ini_kind, default="")


def _seed(text: str) -> int:
    try:
        return count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and read the options that hold for all tests."""
    config.addinivalue_line("markers", MARKER)
    try:
        options = options_of(config.rootpath)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    for name in OPTIONS:
        value = _given(config, name)
        if value is not None:
            options[name] = value
    html = options.pop("html", None)
    config.stash[DEFAULTS] = options
    if html is not None and not hasattr(config, "workerinput"):
        _refuse_what_cannot_be_written(Path(html))
    is_github = os.environ.get("GITHUB_ACTIONS") == "true"
    if html is not None or is_github:
        from _gradproof_pytest.session import Session

        session = Session(config, None if html is None else Path(html), is_github=is_github)
        config.pluginmanager.register(session, SESSION)
    if config.getoption("xmlpath", None) and not hasattr(config, "workerinput"):
        from _gradproof_pytest.junit import SuiteProperties

        config.pluginmanager.register(SuiteProperties(config), "gradproof-junit")


def _refuse_what_cannot_be_written(path: Path) -> None:
    if not path.parent.is_dir() or path.is_dir():
        raise pytest.UsageError(
            f"Expected a file in a folder that is there but got gradproof_html={str(path)!r}"
        )


def _given(config: pytest.Config, name: str) -> Any:
    """What the command line, or else the ini file, says of an option; None if nothing."""
    value = config.getoption(f"gradproof_{name}", None)
    if name == "html" and value is not None:
        return config.invocation_params.dir / value
    if value is not None:
        return value
    try:
        value = config.getini(f"gradproof_{name}")
        if value == "":
            return None
        value = read_text(name, value) if isinstance(value, str) else check_value(name, value)
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"gradproof_{name} ({OPTIONS[name].meaning}): {error}") from error
    return config.rootpath / value if name == "html" else value


@pytest.fixture(name="gradproof")
def _gradproof(request: pytest.FixtureRequest) -> GradientChecks:
    """Check gradients: gradproof.check(f, x, grad) asserts by itself, and returns its report."""
    from _gradproof_pytest.checking import checks_of

    return checks_of(request.node)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    """Hand over the checks made in this phase, and put the verdict first where one failed."""
    outcome = yield
    report = outcome.get_result()
    made = item.stash.get(MADE, [])
    if made:
        report.gradproof_checks = made
        item.stash[MADE] = []
    if report.failed and call.excinfo is not None and hasattr(call.excinfo.value, "report"):
        from _gradproof_pytest.checking import put_verdict_first

        put_verdict_first(report.longrepr, call.excinfo.value)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was checked: a line a check with -v, else one for each that failed its test."""
    made = [
        (report, one)
        for reports in terminalreporter.stats.values()
        for report in reports
        for one in getattr(report, "gradproof_checks", ())
    ]
    if made:
        from _gradproof_pytest.summary import tell

        tell(terminalreporter, made)
