"""Every exception that gradproof raises itself."""

from typing import Any


class GradproofError(Exception):
    """Any error that gradproof raises itself.

    Example:
        >>> issubclass(InputError, GradproofError) and issubclass(GradientMismatch, GradproofError)
        True
    """


class InputError(GradproofError, ValueError):
    """An argument cannot be used; the message names it, what was expected and what came.

    It says nothing about the gradient: no verdict was reached.
    """


class _VerdictError(GradproofError, AssertionError):
    """An assertion about a gradient that did not hold; `report` tells why."""

    report: Any

    def __init__(self, message: str, report: object) -> None:
        # Both go to `args`, so that pickling (a worker process) rebuilds the exception whole.
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


class GradientMismatch(_VerdictError):  # noqa: N818 - an assertion that failed, not an error in use
    """The gradient is wrong; `report` says where and why.

    Example:
        >>> raise GradientMismatch("conv1.weight has its sign flipped", report=None)
        Traceback (most recent call last):
        gradproof._errors.GradientMismatch: conv1.weight has its sign flipped
    """


class Inconclusive(_VerdictError):  # noqa: N818 - an assertion that failed, not an error in use
    """The gradient could be neither confirmed nor refuted; `report` says what stood in the way.

    Example:
        >>> raise Inconclusive("f is random: two calls at one point differ", report=None)
        Traceback (most recent call last):
        gradproof._errors.Inconclusive: f is random: two calls at one point differ
    """
