"""The pytest plugin: the fixture `gradproof`, and what its checks print.

It stands outside the package so that pytest, which loads it at every start, imports neither
gradproof nor NumPy before a test asks for the fixture.
"""

from __future__ import annotations

import argparse
import inspect
import os
import shlex
import shutil
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradproof import Report

COVERAGES = ("probe", "sample", "full")
VERDICTS = ("pass", "inconclusive", "fail")
MARKER = (
    "gradproof(coverage=..., seed=..., ...): options of gradproof.check for the checks that the "
    "test makes with the fixture gradproof"
)


def _count(text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"Expected an integer that is not negative but got {text!r}")
    return int(text)


#: Options in the ini file: how each is read, and what its help says.
INI: dict[str, tuple[Callable[[str], Any], str]] = {
    "coverage": (str, "probe, sample or full"),
    "samples": (_count, "with sample, entries drawn from every tensor"),
    "resolution": (float, "relative error that must not go unseen"),
    "confidence": (float, "with probe, probability with which a larger error is caught"),
    "seed": (_count, "seed of the random directions and samples"),
    "max_evaluations": (_count, "evaluations of f that a check may take"),
    "max_seconds": (float, "seconds that a check may take"),
}
#: Since 8.4 pytest knows numbers in ini files, and TOML of its own insists on them.
_NUMBERS = {_count: "int", float: "float"} if pytest.version_tuple >= (8, 4) else {}

_made = pytest.StashKey[list[dict[str, Any]]]()
_options = pytest.StashKey[dict[str, Any]]()


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
    for name, (read, help_text) in INI.items():
        kind: Any = _NUMBERS.get(read, "string")
        parser.addini(f"gradproof_{name}", f"gradproof: {help_text}", type=kind, default="")


def _seed(text: str) -> int:
    try:
        return _count(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and read the options that hold for all tests."""
    config.addinivalue_line("markers", MARKER)
    config.stash[_options] = {
        name: value for name in INI if (value := _given(config, name)) is not None
    }


def _given(config: pytest.Config, name: str) -> Any:
    """What the command line, or else the ini file, says of an option; None if nothing."""
    value = config.getoption(f"gradproof_{name}", None)
    if value is not None:
        return value
    read, expected = INI[name]
    try:
        value = config.getini(f"gradproof_{name}")
        if value == "":
            return None
        value = read(value) if isinstance(value, str) else value
    except (TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"gradproof_{name} ({expected}): {error}") from error
    if name == "coverage" and value not in COVERAGES:
        raise pytest.UsageError(f"Expected {expected} but got gradproof_coverage={value!r}")
    return value


class Checks:
    """What a test gets as `gradproof`: checks that assert by themselves.

    Options come from the call, the marker `gradproof`, the command line and the ini file; the first
    of these that names one wins.

    Attributes:
        reports: of the checks made so far in this test, those that failed included.
    """

    reports: list[Report]

    def __init__(self, item: pytest.Item) -> None:
        self.reports = []
        self._item = item
        self._defaults = item.config.stash[_options].copy()
        for mark in reversed(list(item.iter_markers("gradproof"))):  # the nearest comes last
            _refuse_what_is_no_option(mark)
            self._defaults.update(mark.kwargs)

    def check(self, f: Callable[..., Any], x: Any, grad: Any = None, **options: Any) -> Report:
        """`gradproof.check` with the same arguments, raising unless the verdict is `pass`.

        Raises:
            GradientMismatch: the gradient is wrong; the exception's `report` says where.
            Inconclusive: the gradient could be neither confirmed nor refuted.
            InputError: an argument cannot be used; the message names it.
        """
        __tracebackhide__ = True
        from gradproof import check

        return self._assert(check, f, x, grad, **options)

    def check_layers(self, layers: Any, x: Any, loss: Any, **options: Any) -> Report:
        """`gradproof.check_layers` with the same arguments, raising as `check` does."""
        __tracebackhide__ = True
        from gradproof import check_layers

        return self._assert(check_layers, layers, x, loss, **options)

    def _assert(self, check: Callable[..., Report], *args: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        from gradproof import GradientMismatch, Inconclusive, InputError

        try:
            report = check(*args, **(self._defaults | options))
        except InputError as error:
            raise error.with_traceback(None) from None  # what is to be mended is in the test
        except Exception as error:
            error.__traceback__ = _without_gradproof(error.__traceback__)
            raise
        self.reports.append(report)
        self._record(report)
        if report.verdict != "pass":
            kind = GradientMismatch if report.verdict == "fail" else Inconclusive
            raise kind(_message(report, self._item), report)
        return report

    def _record(self, report: Report) -> None:
        """Keep what the summary and the XML file show; plain data, for it may cross processes."""
        from gradproof.report.brief_text import render_figure, render_verdict

        number = len(self.reports)
        self._item.stash.setdefault(_made, []).append(
            {
                "verdict": report.verdict,
                "number": number,
                "figure": render_figure(report),
                "evaluations": int(report.evaluations),
                "seconds": float(report.seconds),
            }
        )
        prefix = "gradproof" if number == 1 else f"gradproof.{number}"
        self._item.user_properties += [
            (f"{prefix}.verdict", report.verdict),
            (f"{prefix}.reason", render_verdict(report).partition(": ")[2]),
            (f"{prefix}.evaluations", int(report.evaluations)),
        ]


@pytest.fixture(name="gradproof")
def _gradproof(request: pytest.FixtureRequest) -> Checks:
    """Check gradients: gradproof.check(f, x, grad) asserts by itself, and returns its report."""
    return Checks(request.node)


def _refuse_what_is_no_option(mark: pytest.Mark) -> None:
    from gradproof import check

    parameters = inspect.signature(check).parameters.values()
    names = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    others = [f"{name}={value!r}" for name, value in mark.kwargs.items() if name not in names]
    if mark.args or others:
        pytest.fail(
            f"Expected options of gradproof.check ({', '.join(names)}) but got "
            f"pytest.mark.gradproof({', '.join([*map(repr, mark.args), *others])})",
            pytrace=False,
        )


def _without_gradproof(trace: TracebackType | None) -> TracebackType | None:
    """The frames of a caller's function that raised, without those of gradproof that called it.

    An error that gradproof itself makes keeps them all.
    """
    frames: list[TracebackType] = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    if not frames or _is_gradproof(frames[-1]):
        return frames[0] if frames else None
    kept = None
    for frame in reversed(frames):
        if not _is_gradproof(frame):
            kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def _is_gradproof(trace: TracebackType) -> bool:
    name = str(trace.tb_frame.f_globals.get("__name__"))
    return name == __name__ or name.partition(".")[0] == "gradproof"


def _message(report: Report, item: pytest.Item) -> str:
    from gradproof.report.brief_text import render_brief
    from gradproof.report.text import render_text

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
    return shlex.join(words)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, None]:
    """Hand over the checks made in this phase, and put the verdict first where one failed."""
    outcome = yield
    report = outcome.get_result()
    checks = item.stash.get(_made, [])
    if checks:
        report.gradproof_checks = checks
        item.stash[_made] = []
    if report.failed and call.excinfo is not None:
        _put_verdict_first(report.longrepr, call.excinfo.value)


def _put_verdict_first(longrepr: Any, error: BaseException) -> None:
    """Take the exception's type from before its message.

    It says no more than the verdict, and would push that out of pytest's line for the test.
    """
    if not hasattr(error, "report") or not type(error).__module__.startswith("gradproof"):
        return
    name = f"{type(error).__module__}.{type(error).__qualname__}: "
    crash = getattr(longrepr, "reprcrash", None)
    if crash is not None and hasattr(error.report, "verdict"):
        from gradproof.report.brief_text import render_verdict

        crash.message = render_verdict(error.report)
    for entry in getattr(getattr(longrepr, "reprtraceback", None), "reprentries", []):
        entry.lines = [
            line.replace(name, "", 1) if line.startswith("E ") else line for line in entry.lines
        ]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was checked: a line a check with -v, else one for each that failed its test."""
    made: list[tuple[Any, dict[str, Any]]] = [
        (report, one)
        for reports in terminalreporter.stats.values()
        for report in reports
        for one in getattr(report, "gradproof_checks", ())
    ]
    verbosity = terminalreporter.config.option.verbose
    shown = [
        (report.nodeid, one)
        for report, one in made
        if verbosity > 0 or (report.failed and one["verdict"] != "pass")
    ]
    if not made or (verbosity < 0 and not shown):
        return
    terminalreporter.section("gradproof: gradients checked", sep="=")
    for line in _table(shown):
        terminalreporter.write_line(line)
    verdicts = [one["verdict"] for _, one in made]
    counts = ", ".join(f"{verdicts.count(v):,} {v}" for v in VERDICTS if v in verdicts)
    evaluations = sum(one["evaluations"] for _, one in made)
    seconds = sum(one["seconds"] for _, one in made)
    terminalreporter.write_line(f"{counts}; {evaluations:,} evaluations, {seconds:.2f} s")


def _table(checks: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """A line a check, what is worst last."""
    rows = [
        (
            one["verdict"],
            nodeid if one["number"] == 1 else f"{nodeid} ({one['number']})",
            one["figure"],
            f"{one['evaluations']:,} evaluations",
            f"{one['seconds']:.2f} s",
        )
        for nodeid, one in sorted(checks, key=lambda check: VERDICTS.index(check[1]["verdict"]))
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        # Words to the left, numbers to the right.
        cells = [*map(str.ljust, row[:3], widths[:3]), *map(str.rjust, row[3:], widths[3:])]
        yield "  ".join(cells)
