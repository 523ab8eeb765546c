"""The command `gradproof check`."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from gradproof.cli.exits import Refusal, file_errors, one_line_errors, worst
from gradproof.cli.output import emit, format_options


@click.command(short_help="Check the gradients that a Python file says to check.")
@click.argument("target")
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
@click.option("--progress/--no-progress", default=True, help="Whether to show a progress bar.")
def check(
    target: str, form: str, output: str | None, save: str | None, progress: bool, **options: Any
) -> None:
    """Check the gradients that a Python file says to check.

    TARGET is file.py:name or module:name, where the name is that of a gradproof.Case or of a
    function without arguments that returns one; or file.py alone, for all of its cases and all
    functions called case_... . The options go before those of the cases.

    \b
        import gradproof
        def case_square():
            return gradproof.Case(lambda x: x**2, 3.0, lambda x: 2 * x)
    """  # noqa: D301 - click wants the character itself
    with one_line_errors():
        from gradproof import InputError
        from gradproof.cli.targets import targets_of, users_errors
        from gradproof.report.store import Result, save_results

        chosen = {name: value for name, value in options.items() if value is not None}
        for file in filter(None, (save, output)):
            if not Path(file).absolute().parent.is_dir():
                raise Refusal(f"{file!r}: its folder is not there")
        results = []
        # What the user's code prints must not stand in the middle of JSON.
        with contextlib.redirect_stdout(sys.stderr):
            for found in targets_of(target):
                case = found.case()
                chosen["progress"] = case.options.get("progress", progress)
                with users_errors(found.name):
                    try:
                        report = case.check(**chosen)
                    except InputError as error:
                        raise InputError(f"{found.name}: {error}") from error
                results.append(Result(found.name, report, found.file, found.line))
        if save is not None:
            with file_errors():
                save_results(results, save)
        emit(results, form, output)
    raise SystemExit(worst(result.report.verdict for result in results))
