"""The command `gradproof show`."""

from __future__ import annotations

import click

from gradproof.cli.exits import file_errors, one_line_errors, worst
from gradproof.cli.output import emit, file_of, format_options, refuse_files, write_html


@click.command(short_help="Show a result that was saved.")
@click.argument("result")
@format_options
def show(result: str, form: str, output: str | None, verbose: bool, html: str | None) -> None:
    """Show a result that `gradproof check --save` or report.save() wrote.

    The exit code is that of the check.
    """
    with one_line_errors():
        from gradproof.report.store import load_results

        refuse_files(file_of(output), html, read=result)
        with file_errors():
            results = load_results(result)
        write_html(results, html)
        emit(results, form, output, verbose=verbose)
    raise SystemExit(worst(one.report.verdict for one in results))
