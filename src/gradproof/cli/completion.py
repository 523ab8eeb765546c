"""The command `gradproof completion`, and what a shell is told when it asks."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from gradproof.cli.exits import PREFIX

SHELLS = ("bash", "zsh", "fish")
#: The shell sets it when it asks; click looks for it under this name.
VARIABLE = "_GRADPROOF_COMPLETE"

#: Unlike click's own, it hands over the line: bash takes `cases.py:name` for three words, and
#: replaces the last of them alone.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line word kept response type value
    line="${COMP_LINE:0:COMP_POINT}"
    word="${line##*[[:space:]]}"
    kept=""
    [[ $COMP_WORDBREAKS == *:* ]] && kept="${word%%"${word##*:}"}"
    response=$(env COMP_LINE="$line" %(complete_var)s=bash_complete "$1")
    while IFS=',' read -r type value; do
        case "$type" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$kept"}") ;;
        esac
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the last one, and that one."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]


add_completion_class(_Bash)


@click.command(short_help="Print a shell's completion script.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options, files and cases.

    \b
    bash, in ~/.bashrc:  eval "$(gradproof completion bash)"
    zsh, in ~/.zshrc:    eval "$(gradproof completion zsh)"
    fish:  gradproof completion fish > ~/.config/fish/completions/gradproof.fish
    """  # noqa: D301 - click wants the character itself
    kind = get_completion_class(shell)
    assert kind is not None
    # Not kind.source(): click would start the shell to ask for its version.
    script = kind(context.find_root().command, {}, "gradproof", VARIABLE)
    click.echo(script.source_template % script.source_vars())


def complete_target(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Files, and after `file.py:` the cases that are written there. It runs none of that file."""
    place, colon, begun = incomplete.rpartition(":")
    if not colon:
        file = Path(incomplete)
        if incomplete.endswith(".py") and file.is_file():
            return [CompletionItem(f"{incomplete}:{name}") for name in _cases(file)]
        return [CompletionItem(incomplete, type="file")]
    return [
        CompletionItem(f"{place}:{name}") for name in _cases(Path(place)) if name.startswith(begun)
    ]


def _cases(file: Path) -> Iterator[str]:
    """Names of functions called case_..., and of what a call of Case is assigned to."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith(PREFIX):
            yield statement.name
        elif isinstance(statement, ast.Assign) and _is_case(statement.value):
            yield from (one.id for one in statement.targets if isinstance(one, ast.Name))


def _is_case(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    called = value.func
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
    return name == "Case"
