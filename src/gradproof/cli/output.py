"""What the commands print or write: results in one of the formats."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gradproof.cli.exits import Refusal, file_errors

if TYPE_CHECKING:
    from gradproof.report.store import Result

FORMATS = ("text", "json", "junit", "github", "markdown")
WIDTHS = (80, 160)


def format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --format and --output, for a command that ends with results."""
    form = click.option(
        "--format",
        "form",
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        help="For people; as a result file; JUnit's XML; annotations of GitHub Actions; Markdown, "
        "such as for GitHub's step summary.",
    )
    output = click.option(
        "--output", metavar="FILE", help="Write that to a file and print a line for every case."
    )
    verbose = click.option(
        "--verbose", is_flag=True, help="In text, show all evidence and longer lists."
    )
    return form(verbose(output(html_option(command))))


def html_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option --html."""
    return click.option("--html", metavar="FILE", help="Write a report to be read in a browser.")(
        command
    )


def refuse_files(*files: str | None, read: str | None = None) -> None:
    """Before anything is checked, refuse files that could not be written, or that would be lost.

    Args:
        files: to be written; None if an option was not given.
        read: the file that the command reads.
    """
    taken = set() if read is None else {os.path.realpath(read)}
    for file in files:
        if file is None:
            continue
        if file in ("", "-"):
            raise Refusal(f"Expected a file to write but got {file!r}")
        path = Path(file)
        if not path.absolute().parent.is_dir():
            raise Refusal(f"{file!r}: its folder is not there")
        if path.is_dir():
            raise Refusal(f"{file!r}: Is a directory")
        final = os.path.realpath(file)
        if final in taken and (path.is_file() or not path.exists()):
            raise Refusal(f"{file!r}: the command reads it, or writes it twice")
        taken.add(final)


def command_line(
    context: click.Context, start: str, *, without: Sequence[str] = (), **more: object
) -> str:
    """The line for a shell that makes the same check again: what was given, and `more` options."""
    given: dict[str, object] = {}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if isinstance(parameter, click.Option) and source is ParameterSource.COMMANDLINE:
            given[name] = context.params.get(name)
    words = [start]
    for name, value in {**more, **given}.items():
        if name in without:
            continue
        option = f"--{name.replace('_', '-')}"
        words.append(option if value is True else f"{option} {shlex.quote(str(value))}")
    return " ".join(words)


def write_html(results: Sequence[Result], file: str | None) -> None:
    """Write the page of some results, if a file was given for it."""
    if file is None:
        return
    from gradproof.report.html import render_html
    from gradproof.report.writing import write_whole

    page = render_html(results).encode("utf-8")
    with file_errors():
        write_whole(file, page)


def file_of(output: str | None) -> str | None:
    """The file that --output names, None for standard output.

    /dev/stdout may be a file, which must not be replaced.
    """
    return None if output in ("-", "/dev/stdout") else output


def emit(
    results: Sequence[Result], form: str, output: str | None, *, verbose: bool = False
) -> None:
    """Print results in a format, or write them to a file and print their verdicts."""
    file = file_of(output)
    if file is None:
        page = page_of_stdout()
        echo(rendered(results, form, verbose=verbose, **page), page["encoding"])
        return
    from gradproof.report.writing import write_whole

    text = rendered(results, form, verbose=verbose, width=100, color=False, encoding="utf-8")
    with file_errors():
        write_whole(file, text.encode("utf-8"))
    echo("".join(f"{_verdict(result)}\n" for result in results), page_of_stdout()["encoding"])


def rendered(
    results: Sequence[Result],
    form: str,
    *,
    width: int,
    color: bool,
    encoding: str,
    verbose: bool = False,
) -> str:
    """Results in one of `FORMATS`, ending in a new line if there is anything to say."""
    from gradproof.report import results as renderers
    from gradproof.report.store import dump_results
    from gradproof.report.text import render_text

    if form == "json":
        return dump_results(results)
    if form == "junit":
        return renderers.junit(results)
    if form == "github":
        root = os.environ.get("GITHUB_WORKSPACE")
        return renderers.github(renderers.in_repository(results, root, Path.cwd()))
    if form == "markdown":
        return renderers.github_markdown(results)
    parts = []
    for result in results:
        text = render_text(
            result.report, width=width, color=color, verbose=verbose, encoding=encoding
        ) + renderers.reproduce_line(result)
        title = f"{_title(result)}\n{'=' * min(len(_title(result)), width)}\n"
        parts.append(f"{title}{text}\n" if len(results) > 1 else f"{text}\n")
    if len(results) > 1:
        verdicts = [result.report.verdict for result in results]
        told = ", ".join(
            f"{verdicts.count(v)} {v}" for v in ("pass", "inconclusive", "fail") if v in verdicts
        )
        parts.append(f"{len(results)} cases: {told}\n")
    return "\n".join(parts)


def page_of_stdout() -> dict[str, Any]:
    """Width, colour and encoding of standard output."""
    least, most = WIDTHS
    return {
        "width": min(max(shutil.get_terminal_size((100, 24)).columns, least), most),
        "color": sys.stdout.isatty() and not _is_plain(),
        "encoding": sys.stdout.encoding or "ascii",
    }


def _is_plain() -> bool:
    """Whether a terminal is to get no colours: see https://no-color.org."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def echo(text: str, encoding: str) -> None:
    """Print, with what the encoding lacks written out."""
    with file_errors():
        click.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False)


def _verdict(result: Result) -> str:
    from gradproof.report.escape import one_line

    report = result.report
    name = f"{_title(result)}: " if result.name else ""
    return f"{name}{report.verdict.upper()}: {one_line(report.reason)}"


def _title(result: Result) -> str:
    from gradproof.report.escape import NAME, one_line

    name = one_line(result.name, NAME) or "check"
    if result.file is None:
        return name
    line = "" if result.line is None else f":{result.line}"
    return f"{name} ({one_line(result.file)}{line})"
