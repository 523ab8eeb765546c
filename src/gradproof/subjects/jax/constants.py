"""Numbers that a gradient is often wrong by, as far as shapes tell them."""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gradproof.subjects.jax.arguments import part

Shapes = Mapping[str, tuple[int, ...]]

#: Further ones say nothing that those of the first arrays do not.
MANY = 64


def constants_of(
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    outputs: Sequence[tuple[int, ...]],
) -> dict[str, float]:
    """The batch size and other dimensions, each number once, with what it is.

    Arrays that `f` holds (as a closure, from its module, in a partial) are looked at too: data are
    often given so. Where several arguments begin with the same number, or f's value does, that is
    the batch size; of a single one it is called the first dimension.

    Args:
        f: the function.
        args: its positional arguments.
        kwargs: its keyword arguments.
        outputs: shapes of what it returns.
    """
    given = _shapes(f, args, kwargs)
    arrays = {**given, **_held(f)}
    leading = {shape[0] for shape in outputs if shape}
    times = Counter(n for n, _ in {(s[0], _root(name)) for name, s in arrays.items() if s})
    found: list[tuple[str, int]] = []
    for name, shape in arrays.items():
        if shape and (shape[0] in leading or times[shape[0]] > 1):
            found.append((f"the batch size (first dimension of `{name}`)", shape[0]))
    for name, shape in arrays.items():
        if shape:
            found.append((f"the first dimension of `{name}`", shape[0]))
            found.append((f"the last dimension of `{name}`", shape[-1]))
        if len(shape) == 4:
            found.append((f"the spatial size of `{name}`", shape[2] * shape[3]))
            found.append((f"the spatial size of `{name}`, channels last", shape[1] * shape[2]))
        found.append((f"the size of `{name}`", int(np.prod(shape))))
    for shape in outputs:
        found.append(("the last dimension of f's value", shape[-1] if shape else 1))
        found.append(("the size of f's value", int(np.prod(shape))))
    by_number: dict[int, str] = {}
    for label, number in found:
        if number > 1:
            by_number.setdefault(number, label)
    return {label: float(number) for number, label in list(by_number.items())[:MANY]}


def _shapes(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Shapes:
    try:
        bound = inspect.signature(f).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        bound = {"x": args[0] if len(args) == 1 else tuple(args), **kwargs}
    return _of_arrays(bound)


def _held(f: Any) -> Shapes:
    """Arrays that a function holds, by their names in it."""
    held: dict[str, Any] = {}
    while True:
        if isinstance(f, functools.partial):
            held |= {f"argument {k}": value for k, value in enumerate(f.args)} | f.keywords
            f = f.func
        elif hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        else:
            break
    if inspect.isfunction(f) or inspect.ismethod(f):
        variables = inspect.getclosurevars(f)
        for name, value in {**variables.globals, **variables.nonlocals}.items():
            if not callable(value) and not inspect.ismodule(value):
                held.setdefault(name, value)
    return _of_arrays(held)


def _of_arrays(values: Mapping[str, Any]) -> Shapes:
    leaves, _ = jax.tree_util.tree_flatten_with_path(dict(values))
    return {
        str(path[0].key) + "".join(part(step) for step in path[1:]): tuple(leaf.shape)
        for path, leaf in leaves
        if isinstance(leaf, jax.Array | np.ndarray)
    }


def _root(name: str) -> str:
    return name.split(".", 1)[0].split("[", 1)[0]
