"""The command line. It imports NumPy and the rest of gradproof only where a command runs."""

from __future__ import annotations

import click

from gradproof.cli.check import check
from gradproof.cli.compare import compare
from gradproof.cli.completion import completion
from gradproof.cli.demo import demo
from gradproof.cli.exits import Commands, ExitCode
from gradproof.cli.show import show

__all__ = ["ExitCode", "main"]


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 pass, 1 fail, 2 wrong usage, 3 inconclusive.",
)
@click.version_option(package_name="gradproof")
def main() -> None:
    """Proofread gradients.

    Is the gradient right, how sure is that, and where it is wrong, where and why?
    """


for _command in (check, compare, completion, demo, show):
    main.add_command(_command)
