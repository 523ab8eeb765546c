"""The command `gradproof check`."""

from __future__ import annotations

import contextlib
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradproof.cli.completion import complete_target
from gradproof.cli.exits import Refusal, file_errors, one_line_errors, worst
from gradproof.cli.output import (
    command_line,
    emit,
    file_of,
    format_options,
    refuse_files,
    write_html,
)

if TYPE_CHECKING:
    from gradproof.report.store import EntriesFormat

#: Options that say what becomes of the report.
_NOT_OF_THE_CHECK = ("form", "output", "verbose", "html", "save", "save_entries", "progress")


@click.command(short_help="Check the gradients that a Python file says to check.")
@click.argument("target", shell_complete=complete_target)
@click.option(
    "--coverage",
    type=click.Choice(["full", "sample", "probe"]),
    help="Check every entry, some drawn at random from every tensor, or all together along a few "
    "random directions.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="With --coverage sample, how many of a tensor."
)
@click.option("--seed", type=click.IntRange(min=0), help="Of directions, cotangents and samples.")
@click.option(
    "--resolution", type=click.FloatRange(min=0.0, min_open=True), help="Coarsest useful error bar."
)
@click.option("--max-evaluations", type=click.IntRange(min=1), help="Of f, in each case.")
@click.option("--max-seconds", type=click.FloatRange(min=0.0, min_open=True), help="For each case.")
@format_options
@click.option("--save", metavar="FILE", help="Save the result, for show and compare.")
@click.option(
    "--save-entries",
    type=click.Choice(["npz", "parquet"]),
    help="With --save, the format of the entries beside it.  [default: npz, and only if many]",
)
@click.option("--progress/--no-progress", default=True, help="Whether to show a progress bar.")
@click.pass_context
def check(
    context: click.Context,
    /,
    target: str,
    form: str,
    output: str | None,
    verbose: bool,
    html: str | None,
    save: str | None,
    save_entries: str | None,
    progress: bool,
    **options: Any,
) -> None:
    """Check the gradients that a Python file says to check.

    TARGET is file.py:name or module:name, where the name is that of a gradproof.Case or of a
    function without arguments that returns one, or a pair (module, input); or file.py alone, for
    all of its cases and all functions called case_... .

    \b
        import gradproof
        def case_square():
            return gradproof.Case(lambda x: x**2, 3.0, lambda x: 2 * x)

    The options go before those of the cases, and these before [tool.gradproof] in pyproject.toml.
    """  # noqa: D301 - click wants the character itself
    with one_line_errors():
        from gradproof import InputError
        from gradproof.cli.targets import split_target, targets_of, users_errors
        from gradproof.report.store import Result, save_results

        defaults = _project_options()
        project_html = defaults.pop("html", None)
        html = project_html if html is None else html
        chosen = {name: value for name, value in options.items() if value is not None}
        entries = _entries_format(save, save_entries)
        place, _ = split_target(target)
        refuse_files(save, file_of(output), html, read=place)
        results = []
        # What the user's code prints must not stand in the middle of JSON.
        with contextlib.redirect_stdout(sys.stderr):
            for found in targets_of(target):
                case = found.case()
                chosen["progress"] = case.options.get("progress", progress)
                with users_errors(found.name):
                    try:
                        report = case.check(**{**defaults, **case.options, **chosen})
                    except InputError as error:
                        raise InputError(f"{found.name}: {error}") from error
                start = f"gradproof check {shlex.quote(f'{place}:{found.name}')}"
                line = command_line(context, start, without=_NOT_OF_THE_CHECK, seed=report.seed)
                results.append(Result(found.name, report, found.file, found.line, line))
        if save is not None:
            with file_errors():
                save_results(results, save, entries)
        write_html(results, html)
        emit(results, form, output, verbose=verbose)
    raise SystemExit(worst(result.report.verdict for result in results))


def _entries_format(save: str | None, wanted: str | None) -> EntriesFormat:
    """The format asked for, refused before the checks if it cannot be written after them."""
    if wanted is not None and save is None:
        raise Refusal("--save-entries says how --save is to write, which is not given")
    if wanted != "parquet":
        return "npz"
    if find_spec("pyarrow") is None:
        raise Refusal("--save-entries parquet needs pyarrow: pip install 'gradproof[store]'")
    return "parquet"


def _project_options() -> dict[str, Any]:
    """Those of the nearest pyproject.toml, in this folder or above it."""
    from _gradproof_options import options_of

    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pyproject.toml").is_file():
            try:
                return options_of(folder)
            except ValueError as error:
                raise Refusal(str(error)) from error
    return {}
