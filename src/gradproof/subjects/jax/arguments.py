"""A pytree of arguments <-> its floating leaves by name, complex ones as pairs of reals."""

from __future__ import annotations

import inspect
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.tree import entry_name

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Leaf:
    """A leaf that is checked.

    Attributes:
        name: as reports show it.
        path: below x, or below kwargs; keys, attributes and indices as in `part`.
        is_keyword: whether it is in kwargs.
        position: among all leaves of the arguments.
        value: real numbers in `shape`.
        is_complex: whether `value` holds pairs of reals, in a last axis of 2.
    """

    name: str
    path: tuple[str, ...]
    is_keyword: bool
    position: int
    value: NDArray[Any]
    is_complex: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the real numbers."""
        return self.value.shape


@dataclass(frozen=True, eq=False)
class Arguments:
    """Positional and keyword arguments as leaves that are checked, and constants.

    Attributes:
        leaves: what is checked.
        is_tuple: whether x holds the positional arguments, and is not the only one.
        constants: paths below x of what is not checked.
        floats: how many of the leaves are Python's floats.
    """

    leaves: tuple[Leaf, ...]
    is_tuple: bool
    constants: frozenset[tuple[str, ...]]
    floats: int
    _all: tuple[Any, ...]
    _structure: Any

    def build(self, values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with `values`, real and in the leaves' shapes, in the leaves' places."""
        every = list(self._all)
        for leaf, value in zip(self.leaves, values, strict=True):
            united = jax.lax.complex(value[..., 0], value[..., 1]) if leaf.is_complex else value
            every[leaf.position] = united
        args, kwargs = jax.tree_util.tree_unflatten(self._structure, every)
        return args, kwargs

    @property
    def values(self) -> list[NDArray[Any]]:
        """The leaves' real numbers."""
        return [leaf.value for leaf in self.leaves]

    def in_precision(self, *, is_double: bool) -> Arguments:
        """The same in double precision, or in what JAX makes of the leaves as it is set."""
        leaves = []
        for leaf in self.leaves:
            dtype = np.dtype(np.float64)
            if not is_double:
                dtype = jax.dtypes.canonicalize_dtype(leaf.value.dtype)
            leaves.append(replace(leaf, value=leaf.value.astype(dtype)))
        return replace(self, leaves=tuple(leaves))


def take_apart(
    f: Callable[..., Any], x: object, kwargs: Mapping[str, Any], *, with_floats: bool
) -> Arguments:
    """The arguments of `f`: a tuple x holds the positional ones, anything else is the only one.

    Floating and complex arrays are checked, and Python's floats in x if `with_floats`. What f
    itself declares not to be differentiated in (`nondiff_argnums`) is not.

    Raises:
        InputError: nothing is to be checked, or there are NaN or infinite numbers.
    """
    is_tuple = type(x) is tuple
    args = x if is_tuple else (x,)
    assert isinstance(args, tuple)
    flat, structure = jax.tree_util.tree_flatten_with_path((args, dict(kwargs)))
    roots = _roots(f, len(args)) if is_tuple else ("x",)
    left_out = _nondiff(f, len(args), roots)
    leaves, constants, floats = [], [], 0
    for position, ((where, key, *rest), value) in enumerate(flat):
        is_keyword = where.idx == 1
        steps = tuple(part(step) for step in rest)
        path = (part(key), *steps) if is_keyword or is_tuple else steps
        root = str(key.key) if is_keyword else roots[key.idx]
        is_float = isinstance(value, float) and not isinstance(value, np.generic)
        is_wanted = with_floats and not is_keyword if is_float else _is_inexact(value)
        if not is_wanted or (key.key if is_keyword else key.idx) in left_out:
            constants += [] if is_keyword else [path]
            continue
        floats += is_float
        is_alone = not is_tuple and not is_keyword
        name = _name(root, steps, is_alone=is_alone)
        array, is_complex = _as_reals(value)
        leaf = Leaf(name, path, is_keyword, position, array, is_complex)
        _demand_finite(leaf)
        leaves.append(leaf)
    if not any(leaf.value.size for leaf in leaves):
        came = "only empty arrays" if leaves else f"x={reprlib.repr(x)}"
        raise InputError(f"Expected at least one floating number but got {came}")
    everything = tuple(value for _, value in flat)
    found = Arguments(tuple(leaves), is_tuple, frozenset(constants), floats, everything, structure)
    return _with_different_names(found)


def part(step: Any) -> str:
    """A step of a path as names show it: `.weight`, `.0`, `['a b']`."""
    if isinstance(step, SequenceKey):
        return f".{step.idx}"
    if isinstance(step, GetAttrKey):
        return f".{step.name}"
    if not isinstance(step, DictKey | FlattenedIndexKey):
        return f".{step}"
    key = str.__str__(step.key) if isinstance(step.key, str) else step.key
    if isinstance(step, FlattenedIndexKey) or (isinstance(key, str) and key.isidentifier()):
        return f".{key}"
    shown = repr(key)
    return f"[{shown if shown.isprintable() else ascii(shown)[1:-1]}]"


def as_numpy(value: Any) -> NDArray[Any]:
    """An array or number of JAX's, NumPy's or Python's as an array of NumPy's."""
    return np.asarray(value)


def is_floating(dtype: Any) -> bool:
    """Whether numbers of this dtype are real and floating, bfloat16 and the like included."""
    return bool(jnp.issubdtype(dtype, jnp.floating))


def is_complex(dtype: Any) -> bool:
    """Whether numbers of this dtype are complex."""
    return bool(jnp.issubdtype(dtype, jnp.complexfloating))


def spacing(dtype: Any) -> float:
    """Relative spacing of the numbers of a dtype, but at least that of doubles."""
    return max(float(_finfo(dtype).eps), EPS) if jnp.issubdtype(dtype, jnp.inexact) else EPS


def bits(dtype: Any) -> int:
    """Bits of a floating number of a dtype."""
    return int(_finfo(dtype).bits)


def _finfo(dtype: Any) -> Any:
    return jnp.finfo(dtype)  # type: ignore[no-untyped-call]


def _name(root: str, steps: Sequence[str], *, is_alone: bool) -> str:
    """The root is written only where a name needs it: for several arguments, or before an index."""
    path = "".join(steps)
    if is_alone:
        path = re.sub(r"^\['(\w+(?:\.\w+)+)'\]", r".\1", path)  # {"conv1.weight": ...}
        if path[:1] == "." and not path[1].isdecimal():
            return path[1:]
    return root + path


def _with_different_names(found: Arguments) -> Arguments:
    names = [leaf.name for leaf in found.leaves]
    if len(set(names)) < len(names):
        leaves = [replace(leaf, name="x" + "".join(leaf.path)) for leaf in found.leaves]
        names = [leaf.name for leaf in leaves]
        found = replace(found, leaves=tuple(leaves))
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise InputError(f"Expected keys that print differently but got {twice} twice")
    return found


def _roots(f: Callable[..., Any], count: int) -> tuple[str, ...]:
    """Names of positional arguments: f's own, or x.0, x.1 where it has none."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return tuple(f"x.{i}" for i in range(count))
    names: list[str] = []
    for p in parameters:
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}.{i}" for i in range(count - len(names))]
    if len(names) < count:
        raise InputError(
            f"Expected at most {len(names)} positional arguments, which is what f takes, but got a "
            f"tuple x of {count}"
        )
    return tuple(names[:count])


def _nondiff(f: object, count: int, roots: Sequence[str]) -> set[object]:
    """Arguments, by position or name, that a custom_vjp or custom_jvp does not differentiate."""
    numbers = [n % count if n < 0 else n for n in getattr(f, "nondiff_argnums", ())]
    names = set(getattr(f, "nondiff_argnames", ())) | {roots[n] for n in numbers if n < count}
    return {*numbers, *names, *(i for i, root in enumerate(roots) if root in names)}


def _is_inexact(value: object) -> bool:
    if isinstance(value, complex) and not isinstance(value, np.generic):
        return True
    is_array = isinstance(value, jax.Array | np.ndarray | np.generic)
    return is_array and bool(jnp.issubdtype(value.dtype, jnp.inexact))  # type: ignore[attr-defined]


def _as_reals(value: Any) -> tuple[NDArray[Any], bool]:
    array = as_numpy(value)
    if not is_complex(array.dtype):
        return array.copy(), False
    return np.stack([array.real, array.imag], axis=-1), True


def _demand_finite(leaf: Leaf) -> None:
    finite = np.isfinite(leaf.value.astype(np.float64))
    if not finite.all():
        entry = entry_name(leaf.name, leaf.shape, int(finite.argmin()))
        raise InputError(f"Expected finite numbers but {entry} is {leaf.value[~finite][0]}")
