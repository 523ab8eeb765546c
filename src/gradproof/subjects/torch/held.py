"""What objects of the user's own classes hold."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

#: Objects looked at before it is taken that nothing is held.
MOST = 10_000
#: Whose objects hold parameters but are none of f (optimisers, data loaders), or hold nothing.
FOREIGN = {"builtins", "jax", "numpy", "torch", *sys.stdlib_module_names}


def is_named(value: object) -> bool:
    """Whether it is a named tuple."""
    return isinstance(value, tuple) and hasattr(value, "_make")


def is_record(value: object) -> bool:
    """Whether it is an object of a class that f's author wrote, whose attributes can be seen."""
    kind = type(value)
    if isinstance(value, type | types.ModuleType) or not hasattr(value, "__dict__"):
        return False
    if kind.__module__.startswith("torch.distributions."):
        return True
    return kind.__module__.partition(".")[0] not in FOREIGN


def reaches(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether an object of one of these kinds is held by `value`, at any depth."""
    seen: dict[int, object] = {}
    waiting = [value]
    while waiting and len(seen) < MOST:
        found = waiting.pop()
        if isinstance(found, kinds):
            return True
        if id(found) not in seen:
            seen[id(found)] = found
            waiting.extend(_held(found))
    return False


def _held(value: Any) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not bound yet
                continue
    elif isinstance(value, types.MethodType):
        yield value.__self__
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif is_record(value):
        yield from vars(value).values()
