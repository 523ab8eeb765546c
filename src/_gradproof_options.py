"""Options that a project sets once, in pytest's ini file or in pyproject.toml.

    [tool.gradproof]
    coverage = "sample"
    max_seconds = 30

It stands outside the package and needs the standard library alone: pytest and `gradproof --help`
load it at every start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

COVERAGES = ("probe", "sample", "full")
TABLE = "[tool.gradproof]"


class Option(NamedTuple):
    """What an option is, and the type of its value."""

    kind: type
    meaning: str


OPTIONS: Mapping[str, Option] = {
    "coverage": Option(str, "probe, sample or full"),
    "samples": Option(int, "with sample, entries drawn from every tensor"),
    "resolution": Option(float, "relative error that must not go unseen"),
    "confidence": Option(float, "with probe, probability with which a larger error is caught"),
    "seed": Option(int, "seed of the random directions and samples"),
    "max_evaluations": Option(int, "evaluations of f that a check may take"),
    "max_seconds": Option(float, "seconds that a check may take"),
    "html": Option(str, "file for the report of all checks, as a page"),
}


def read_text(name: str, text: str) -> Any:
    """The value of an option that is written as text, as in an ini file.

    Raises:
        ValueError: it is no such value.
    """
    kind = OPTIONS[name].kind
    if kind is int:
        return count(text)
    return check_value(name, kind(text))


def count(text: str) -> int:
    """An integer that is not negative."""
    if not text.strip().isdecimal():
        raise ValueError(f"Expected an integer that is not negative but got {text!r}")
    return int(text)


def check_value(name: str, value: Any) -> Any:
    """The value of an option, if it is of the option's type.

    Raises:
        ValueError: it is not.
    """
    kind, meaning = OPTIONS[name]
    kinds = (int, float) if kind is float else kind
    is_of_kind = isinstance(value, kinds) and not isinstance(value, bool)
    if not is_of_kind or (name == "coverage" and value not in COVERAGES):
        wanted = {int: "an integer, ", float: "a number, "}.get(kind, "")
        raise ValueError(f"Expected {wanted}{meaning} but got {name}={value!r}")
    if kind is int and value < 0:
        raise ValueError(f"Expected an integer that is not negative but got {name}={value!r}")
    return value


def options_of(folder: Path) -> dict[str, Any]:
    """What the table of gradproof in the pyproject.toml of a folder says; {} without one.

    The file that `html` names stands, if it is relative, in that folder.

    Raises:
        ValueError: the table has an unknown option or a wrong value; the message names the file.
    """
    file = folder / "pyproject.toml"
    try:
        content = file.read_bytes()
    except OSError:
        return {}
    if b"gradproof" not in content:  # as in most projects: nothing is to be parsed
        return {}
    import tomllib

    try:
        found = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    tool = found.get("tool")
    table = tool.get("gradproof") if isinstance(tool, dict) else None
    try:
        options = _checked({} if table is None else table)
    except ValueError as error:
        raise ValueError(f"{TABLE} in {file}: {error}") from error
    if "html" in options:
        options["html"] = str(folder / options["html"])
    return options


def _checked(table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ValueError(f"Expected a table but got {table!r}")
    unknown = [name for name in table if name not in OPTIONS]
    if unknown:
        raise ValueError(f"Expected options in {', '.join(OPTIONS)} but got {', '.join(unknown)}")
    return {name: check_value(name, value) for name, value in table.items()}
