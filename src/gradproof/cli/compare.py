"""The command `gradproof compare`."""

from __future__ import annotations

import click

from gradproof.cli.exits import ExitCode, file_errors, one_line_errors
from gradproof.cli.output import echo, page_of_stdout


@click.command(
    short_help="Compare two results that were saved.",
    epilog="Exit codes: 0 nothing got worse, 1 something did, 2 wrong usage.",
)
@click.argument("before")
@click.argument("after")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
    help="For people; Markdown, such as for a comment; JSON with every tensor.",
)
def compare(before: str, after: str, form: str) -> None:
    """Say which tensors got better and which got worse from one saved result to another.

    Worse is a worse verdict; or, with the same verdict and coverage, a detection limit more than
    ten times as large or a worst entry that agrees to more than one digit less.
    """
    with one_line_errors():
        from gradproof.report.compare import is_worse, render_changes
        from gradproof.report.compare_formats import json_changes, markdown_changes
        from gradproof.report.store import load_results

        with file_errors():
            old, new = load_results(before), load_results(after)
        page = page_of_stdout()
        if form == "text":
            text = f"{render_changes(old, new, **page)}\n"
        else:
            text = {"markdown": markdown_changes, "json": json_changes}[form](old, new)
        echo(text, page["encoding"])
    raise SystemExit(ExitCode.FAIL if is_worse(old, new) else ExitCode.PASS)
