"""Exit codes, and errors in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


#: Functions of this name are cases.
PREFIX = "case_"


class ExitCode(IntEnum):
    """What the command says to the shell; part of the interface."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3


MEANINGS = {
    ExitCode.PASS: "the gradient is right",
    ExitCode.FAIL: "the gradient is wrong",
    ExitCode.USAGE: "the command was not used as it can be; nothing was checked",
    ExitCode.INCONCLUSIVE: "the gradient could be neither confirmed nor refuted",
}


class Refusal(click.ClickException):
    """A command that cannot be carried out as it was given: one line on standard error."""

    exit_code = ExitCode.USAGE

    def show(self, file: object = None) -> None:
        """Print the message without click's own "Error:" and without its help."""
        line = " ".join(self.message.split())
        # A message may hold a name of the user's: what a terminal would obey is written out.
        safe = (c if c.isprintable() else ascii(c)[1:-1] for c in line)
        click.echo(f"gradproof: {''.join(safe)}", err=True)


def worst(verdicts: Iterable[str]) -> ExitCode:
    """The exit code of several verdicts: one that fails, else one that is inconclusive."""
    found = set(verdicts)
    for code in (ExitCode.FAIL, ExitCode.INCONCLUSIVE):
        if code.name.lower() in found:
            return code
    return ExitCode.PASS


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user can mend into one line, and keep 1 for gradients that are wrong."""
    from gradproof import InputError

    try:
        yield
    except InputError as error:
        raise Refusal(str(error)) from error
    except KeyboardInterrupt:
        raise SystemExit(128 + 2) from None  # as shells report an interrupt; click would say 1


@contextmanager
def file_errors() -> Iterator[None]:
    """The same for files that cannot be read or written."""
    try:
        yield
    except OSError as error:
        about = "" if error.filename is None else f"{error.filename!r}: "
        raise Refusal(f"{about}{error.strerror or error}") from error
