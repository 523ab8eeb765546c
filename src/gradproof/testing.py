"""What a test gets as the fixture `gradproof`, for annotations.

    from gradproof.testing import GradientChecks

    def test_gradient(gradproof: GradientChecks) -> None:
        gradproof.check(loss, x, gradient)

It needs no pytest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from gradproof._errors import GradientMismatch, Inconclusive, InputError
from gradproof.check import check, check_layers
from gradproof.report.model import Report

__all__ = ["GradientChecks"]


class GradientChecks:
    """Checks that assert by themselves.

    In a test, options come from the call, the marker `gradproof`, the command line, the ini file
    and the table `[tool.gradproof]` of pyproject.toml; the first of these that names one wins.

    Attributes:
        reports: of the checks made so far in this test, those that failed included.
    """

    reports: list[Report]

    def __init__(
        self,
        defaults: Mapping[str, Any] | None = None,
        on_report: Callable[[Report], object] | None = None,
        message: Callable[[Report], str] | None = None,
    ) -> None:
        """The fixture makes one for each test.

        Args:
            defaults: options of `gradproof.check` for the calls that do not give them.
            on_report: called with every report, before anything is raised.
            message: what an exception says of a report; by default the verdict and the reason.
        """
        self.reports = []
        self._defaults = dict(defaults or {})
        self._on_report = on_report
        self._message = message or (lambda report: f"{report.verdict.upper()}: {report.reason}")

    def check(self, f: Callable[..., Any], x: Any, grad: Any = None, **options: Any) -> Report:
        """`gradproof.check` with the same arguments, raising unless the verdict is `pass`.

        Raises:
            GradientMismatch: the gradient is wrong; the exception's `report` says where.
            Inconclusive: the gradient could be neither confirmed nor refuted.
            InputError: an argument cannot be used; the message names it.
        """
        __tracebackhide__ = True
        return self._assert(check, f, x, grad, **options)

    def check_layers(self, layers: Any, x: Any, loss: Any, **options: Any) -> Report:
        """`gradproof.check_layers` with the same arguments, raising as `check` does."""
        __tracebackhide__ = True
        return self._assert(check_layers, layers, x, loss, **options)

    def _assert(self, check: Callable[..., Report], *args: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        try:
            report = check(*args, **(self._defaults | options))
        except InputError as error:
            raise error.with_traceback(None) from None  # what is to be mended is in the test
        except Exception as error:
            _show_what_is_the_users(error)
            raise
        self.reports.append(report)
        if self._on_report is not None:
            self._on_report(report)
        if report.verdict != "pass":
            kind = GradientMismatch if report.verdict == "fail" else Inconclusive
            raise kind(self._message(report), report)
        return report


def _show_what_is_the_users(error: BaseException) -> None:
    """Leave out what gradproof did before an error, and what it tried and got an error from."""
    error.__traceback__ = _without_gradproof(error.__traceback__)
    while error.__context__ is not None:
        trace = error.__context__.__traceback__
        if trace is not None and _is_gradproof(trace):  # it was caught here, not by the user
            error.__context__ = None
            return
        error = error.__context__


def _without_gradproof(trace: TracebackType | None) -> TracebackType | None:
    """The frames of a caller's function that raised, without those of gradproof that called it.

    Frames of gradproof in which an error comes up are kept: all, if no other function took part.
    """
    frames: list[TracebackType] = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    if all(map(_is_gradproof, frames)):
        return frames[0] if frames else None
    kept, is_below = None, True
    for frame in reversed(frames):
        is_below = is_below and _is_gradproof(frame)
        if is_below or not _is_gradproof(frame):
            kept = TracebackType(kept, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return kept


def _is_gradproof(trace: TracebackType) -> bool:
    name = str(trace.tb_frame.f_globals.get("__name__"))
    return name.partition(".")[0] == "gradproof"
