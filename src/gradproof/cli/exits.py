"""Exit codes, and errors in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Abort, NoArgsIsHelpError

if TYPE_CHECKING:
    from collections.abc import Iterable


#: Functions of this name are cases.
PREFIX = "case_"

#: As shells report a command that was interrupted, and one whose reader has gone.
INTERRUPTED = 128 + 2
PIPE_BROKEN = 128 + 13


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


class Commands(click.Group):
    """A group of commands that keeps 1 for gradients that are wrong, and errors to one line.

    Click's own errors take four lines, and it and rich say 1 if what reads standard output is gone.
    """

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line, and print help if that is asked for."""
        with _broken_pipes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with _broken_pipes():
            return super().invoke(ctx)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command and exit."""
        if sys.stdout is None:  # it was closed: nobody reads, but the exit code is wanted
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except NoArgsIsHelpError as error:
            error.show()
            code = ExitCode.USAGE
        except click.UsageError as error:
            command = "gradproof" if error.ctx is None else error.ctx.command_path
            Refusal(f"{error.format_message().rstrip('.')} (see {command} --help)").show()
            code = ExitCode.USAGE
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except Abort:
            code = INTERRUPTED
        except OSError as error:
            if error.filename is not None:
                raise
            Refusal(error.strerror or str(error)).show()
            code = ExitCode.USAGE
        sys.exit(code)


@contextmanager
def _broken_pipes() -> Iterator[None]:
    """Exit quietly where the reader has seen enough, such as `| head`."""
    try:
        yield
    except (BrokenPipeError, SystemExit) as error:
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no more is to be flushed
        raise SystemExit(PIPE_BROKEN) from None


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
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def file_errors() -> Iterator[None]:
    """The same for files that cannot be read or written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        about = "" if error.filename is None else f"{error.filename!r}: "
        raise Refusal(f"{about}{error.strerror or error}") from error
