"""Calls of the user's functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gradproof._errors import InputError


def positional(function: Callable[..., Any]) -> list[str] | None:
    """Names of the arguments that can be given by position; None where they are not known."""
    found = _parameters(function)
    return None if found is None else [p.name for p in found]


def required(function: Callable[..., Any]) -> list[str] | None:
    """Names of the arguments that must be given; None where that is not known.

    >>> required(lambda x, train=True: x), required(lambda *args: args)
    (['x'], None)
    """
    found = _parameters(function)
    return None if found is None else [p.name for p in found if p.default is p.empty]


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    try:
        found = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in found):
        return None
    return [p for p in found if p.kind is not p.VAR_KEYWORD]


@contextmanager
def noted(what: str) -> Iterator[None]:
    """Say in an exception of the user's code in which layer it was raised."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        error.add_note(f"raised in {what}")
        raise
