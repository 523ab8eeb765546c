"""What one test checks: the options that hold for it, what it records, what its failure says."""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from _gradproof_pytest import DEFAULTS, MADE, SESSION
from gradproof import Report, check
from gradproof.report.brief_text import render_brief, render_figure, render_verdict
from gradproof.report.store import Result
from gradproof.report.text import render_text
from gradproof.testing import GradientChecks

if TYPE_CHECKING:
    from _gradproof_pytest.session import Session


#: Options of the ini file that say what becomes of the report, or that the line has already.
_NOT_OF_THE_CHECK = ("gradproof_html=", "gradproof_seed=")


def checks_of(item: pytest.Item) -> GradientChecks:
    """The fixture `gradproof` of a test."""
    defaults = item.config.stash[DEFAULTS].copy()
    for mark in reversed(list(item.iter_markers("gradproof"))):  # the nearest comes last
        _refuse_what_is_no_option(mark)
        defaults.update(mark.kwargs)

    def message(report: Report) -> str:
        return _message(report, item)

    def record(report: Report) -> None:
        _record(report, item, len(checks.reports))

    checks = GradientChecks(defaults, record, message)
    return checks


def _refuse_what_is_no_option(mark: pytest.Mark) -> None:
    parameters = inspect.signature(check).parameters.values()
    names = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    others = [f"{name}={value!r}" for name, value in mark.kwargs.items() if name not in names]
    if mark.args or others:
        pytest.fail(
            f"Expected options of gradproof.check ({', '.join(names)}) but got "
            f"pytest.mark.gradproof({', '.join([*map(repr, mark.args), *others])})",
            pytrace=False,
        )


def _record(report: Report, item: pytest.Item, number: int) -> None:
    """Keep what is told of the check; plain data, for it may cross processes."""
    name = item.nodeid if number == 1 else f"{item.nodeid} ({number})"
    reason = render_verdict(report).partition(": ")[2]
    one = {
        "name": name,
        "verdict": report.verdict,
        "reason": reason,
        "figure": render_figure(report),
        "evaluations": int(report.evaluations),
        "seconds": float(report.seconds),
    }
    item.stash.setdefault(MADE, []).append(one)
    session: Session | None = item.config.pluginmanager.get_plugin(SESSION)
    if session is not None:
        file, line = _place(item)
        session.take(Result(name, report, file, line, _command(report, item)), one)
    if _has_properties(item.config):
        prefix = "gradproof" if number == 1 else f"gradproof.{number}"
        item.user_properties += [
            (f"{prefix}.verdict", report.verdict),
            (f"{prefix}.reason", reason),
            (f"{prefix}.evaluations", int(report.evaluations)),
        ]


def _has_properties(config: pytest.Config) -> bool:
    """Whether a test case may have properties: in pytest's own XML file its format may forbid it.

    Jenkins refuses a whole file of xunit2, the default, over one.
    """
    has_file = config.getoption("xmlpath", None)
    return not has_file or config.getini("junit_family") in ("legacy", "xunit1")


def _place(item: pytest.Item) -> tuple[str, int | None]:
    """File and line of the call in the test's file; the test's own if it was made elsewhere."""
    file, line, _ = item.location
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == str(item.path):
            return file, frame.f_lineno
        frame = frame.f_back
    return file, None if line is None else line + 1


def _message(report: Report, item: pytest.Item) -> str:
    # pytest puts "E   " before every line.
    width = min(max(shutil.get_terminal_size().columns, 80), 104) - 4
    is_verbose = item.config.option.verbose >= 2
    text = (render_text if is_verbose else render_brief)(report, width=width)
    cost = f"{report.evaluations:,} evaluations of f; coverage {report.coverage}"
    more = "" if is_verbose else "; -vv shows the whole report"
    return f"{text}\n\n{cost}{more}\nReproduce: {_command(report, item)}"


def _command(report: Report, item: pytest.Item) -> str:
    """The line that runs this test again, from where pytest was started."""
    path, separator, name = str(item.nodeid).partition("::")
    config = item.config
    if config.invocation_params.dir != config.rootpath:
        path = os.path.relpath(config.rootpath / path, config.invocation_params.dir)
    words = ["pytest", path + separator + name, f"--gradproof-seed={report.seed}"]
    if config.getoption("gradproof_coverage") is not None:
        words.append(f"--gradproof-coverage={config.getoption('gradproof_coverage')}")
    for override in config.getoption("override_ini") or ():
        if override.startswith("gradproof_") and not override.startswith(_NOT_OF_THE_CHECK):
            words += ["-o", override]
    return shlex.join(words)


def put_verdict_first(longrepr: Any, error: BaseException) -> None:
    """Take the exception's type from before its message.

    It says no more than the verdict, and would push that out of pytest's line for the test.
    """
    if not type(error).__module__.startswith("gradproof"):
        return
    name = f"{type(error).__module__}.{type(error).__qualname__}: "
    crash = getattr(longrepr, "reprcrash", None)
    report = getattr(error, "report", None)
    if crash is not None and isinstance(report, Report):
        crash.message = render_verdict(report)
    for entry in getattr(getattr(longrepr, "reprtraceback", None), "reprentries", []):
        entry.lines = [
            line.replace(name, "", 1) if line.startswith("E ") else line for line in entry.lines
        ]
