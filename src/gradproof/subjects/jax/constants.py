"""Numbers that a gradient is often wrong by, as far as shapes tell them."""

from __future__ import annotations

import functools
import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradproof.subjects.jax.arguments import Arguments, part

Shapes = Mapping[str, tuple[int, ...]]

#: Numbers that f holds that are told.
MOST = 4


def constants_of(
    f: Callable[..., Any], arguments: Arguments, outputs: Sequence[tuple[int, ...]]
) -> dict[str, float]:
    """The batch size and other sizes, each number once, with what it is; 0 and 1 are left out.

    Arrays that `f` holds (as a closure, from its module, in a partial) are looked at too, since
    data are often given so, and numbers: a probability, a rate. The batch is the first axis of an
    array if f's value or another argument has as many entries along its own. Only that array's
    sizes are told: the more there are, the more easily one is met by chance.

    Args:
        f: the function.
        arguments: of f.
        outputs: shapes of what it returns.
    """
    arrays = {
        name: shape
        for name, shape in {**_given(f, arguments), **_of_arrays(_held(f))}.items()
        if shape
    }
    leading = {shape[0] for shape in outputs if shape}
    roots = {name: _root(name) for name in arrays}
    if not arguments.is_tuple:
        # The parts of one argument are parameters of a model, mostly.
        roots |= dict.fromkeys((leaf.name for leaf in arguments.leaves), "")
    times = Counter(n for n, _ in {(shape[0], roots[name]) for name, shape in arrays.items()})
    ranked = sorted(
        arrays,
        key=lambda name: (
            arrays[name][0] in leading,
            times[arrays[name][0]] > 1,
            # What is another array's inner dimension counts features.
            all(arrays[name][0] not in s[1:] for other, s in arrays.items() if other != name),
            len(arrays[name]),
        ),
        reverse=True,
    )
    found = _sizes(f"`{ranked[0]}`", arrays[ranked[0]]) if ranked else []
    found += [("the last dimension of the output", shape[-1]) for shape in outputs[:1] if shape]
    numbers = [(f"`{name}`", value) for name, value in _held(f).items() if _is_number(value)]
    by_number: dict[float, str] = {}
    for what, number in [*found, *numbers[:MOST]]:
        if number not in (0, 1):
            by_number.setdefault(float(number), what)
    return {what: number for number, what in by_number.items()}


def _sizes(name: str, shape: tuple[int, ...]) -> list[tuple[str, int]]:
    if len(shape) == 1:
        return [(f"the length of {name}", shape[0])]
    found = [(f"the batch size (first dimension of {name})", shape[0])]
    if len(shape) == 2:
        return [*found, (f"the second dimension of {name}", shape[1])]
    if len(shape) == 3:
        return [
            *found,
            (f"the sequence length (second dimension of {name})", shape[1]),
            (f"the last dimension of {name}", shape[2]),
        ]
    inner = math.prod(shape[1:-1])
    return [
        *found,
        (f"the number of channels (last dimension of {name})", shape[-1]),
        (f"the number of pixels (height times width of {name})", inner),
        (f"the number of pixels (of {name}, channels first)", math.prod(shape[2:])),
    ]


def _given(f: Callable[..., Any], arguments: Arguments) -> Shapes:
    """Shapes of the leaves that are checked, and of the other arrays among the arguments."""
    shapes = {
        leaf.name: leaf.shape[:-1] if leaf.is_complex else leaf.shape for leaf in arguments.leaves
    }
    args, kwargs = arguments.build(arguments.values)
    try:
        bound = inspect.signature(f).bind(*args, **kwargs).arguments
    except (TypeError, ValueError):
        return shapes
    return {**_of_arrays(bound, is_data=True), **shapes}


def _held(f: Any) -> dict[str, Any]:
    """What a function holds besides functions and modules, by the names in it."""
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
    return held


def _of_arrays(values: Mapping[str, Any], *, is_data: bool = False) -> Shapes:
    """Shapes of the arrays in `values`, by name; of integers alone if `is_data`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(dict(values))
    return {
        str(path[0].key) + "".join(part(step) for step in path[1:]): tuple(leaf.shape)
        for path, leaf in leaves
        if isinstance(leaf, jax.Array | np.ndarray)
        and not (is_data and jnp.issubdtype(leaf.dtype, jnp.inexact))
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _root(name: str) -> str:
    return name.split(".", 1)[0].split("[", 1)[0]
