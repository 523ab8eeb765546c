"""Nested parameters <-> named tensors.

A tensor's name joins dict keys, attributes and list indices with dots: ``conv1.weight``,
``layers.0.bias``. A key that is no identifier stands in brackets: ``w['a b']``, ``w[3]``. The root
is written only where a name needs it: ``x`` for a bare array, ``x.0`` in a list.
"""

import dataclasses
import re
import reprlib
import threading
from collections.abc import Iterable, Sequence
from textwrap import shorten
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import optree

from gradproof._errors import InputError

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

_NAMESPACE = "gradproof"
_flattening = threading.RLock()  # optree's switch to insertion order is global
_REMEDY = dict.fromkeys("biuO", ": convert it to float, as in x.astype(float)") | {
    "c": ": split it into real and imaginary parts"
}


@dataclasses.dataclass(frozen=True, eq=False)
class Tree:
    """The tensors of a nested structure, and the way back to it.

    Attributes:
        names: One name per tensor, all different, in the order in which the structure was written.
        leaves: The tensors themselves, not copied.

    Example:
        >>> tree = flatten({"conv1": {"weight": np.ones((2, 3)), "bias": np.zeros(2)}, "gain": 2.0})
        >>> tree.names
        ('conv1.weight', 'conv1.bias', 'gain')
        >>> tree.unflatten(2 * leaf for leaf in tree.leaves)["gain"]
        np.float64(4.0)
    """

    names: tuple[str, ...]
    leaves: tuple[FloatArray, ...]
    _paths: tuple[str, ...] = dataclasses.field(repr=False)
    _is_scalar: tuple[bool, ...] = dataclasses.field(repr=False)
    _structure: optree.PyTreeSpec = dataclasses.field(repr=False)
    _root: str = dataclasses.field(repr=False)

    def unflatten(self, leaves: Iterable[npt.ArrayLike]) -> Any:
        """Return `leaves` in the structure that was flattened.

        Where a float stood there is a NumPy scalar again, so that ``math.sin(x)`` works; elsewhere
        an array. Dataclasses are built anew, so what ``__post_init__`` derives follows the leaves.

        Raises:
            InputError: There are not as many leaves as names.
        """
        arrays = [np.asarray(leaf) for leaf in leaves]
        if len(arrays) != len(self.names):
            raise InputError(f"Expected {len(self.names)} leaves but got {len(arrays)}")
        placed = zip(arrays, self._is_scalar, strict=True)
        return self._structure.unflatten(array[()] if scalar else array for array, scalar in placed)

    def match(
        self, other: object, *, argument: str, prefix: tuple[int, ...] = ()
    ) -> tuple[FloatArray, ...]:
        """Return the tensors of `other`, which messages call `argument`, in the order of `names`.

        Paths and shapes must agree. The order of keys does not matter; a list may stand for a
        tuple, a dict for a dataclass. Every shape begins with `prefix` (that of a Jacobian with
        the function's). Integers and booleans become floats. NaN is passed on: a
        claim of NaN is for the verdict to judge.

        Raises:
            InputError: A tensor is missing, unexpected, of another shape, or not of real numbers.

        Example:
            >>> flatten({"w": np.ones(2), "b": 1.0}).match({"w": [5.0], "b": 3}, argument="grad")
            Traceback (most recent call last):
            gradproof._errors.InputError: Expected grad in the structure of x: \
missing grad.w; unexpected grad.w.0
        """
        paths, _, leaves, _ = _take_apart(other, argument)
        given = dict(zip(paths, leaves, strict=True))
        expected = dict(zip(self._paths, self.leaves, strict=True))
        missing = ", ".join(argument + path for path in expected if path not in given) or "none"
        extra = ", ".join(argument + path for path in given if path not in expected) or "none"
        if missing != extra:
            gap = f"missing {shorten(missing, 200)}; unexpected {shorten(extra, 200)}"
            raise InputError(f"Expected {argument} in the structure of {self._root}: {gap}")
        matched = []
        for path, leaf in expected.items():
            array = _as_array(given[path], argument + path, kinds="fiub")
            shape = prefix + leaf.shape
            if array.shape != shape:
                came = f"{argument}{path} of shape {array.shape}"
                raise InputError(f"Expected shape {shape} but got {came}")
            matched.append(array if array.dtype.kind == "f" else array.astype(float))
        return tuple(matched)


@dataclasses.dataclass(frozen=True, eq=False)
class Nest:
    """Leaves of any kind in nested containers, and the way back.

    Attributes:
        paths: One per leaf, below the root: ``.conv1.weight``, ``[3]``, or nothing.
        leaves: What is no container.
    """

    paths: tuple[str, ...]
    leaves: tuple[Any, ...]
    _structure: optree.PyTreeSpec = dataclasses.field(repr=False)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """Return `leaves` in the structure that was taken apart."""
        return self._structure.unflatten(leaves)


def take_apart(x: object, *, root: str) -> Nest:
    """Take the containers of `x` apart, as `flatten` does, whatever the leaves; None is none.

    >>> take_apart({"a": [1, "b"]}, root="x").paths
    ('.a.0', '.a.1')
    """
    paths, _, leaves, structure = _take_apart(x, root)
    return Nest(tuple(paths), tuple(leaves), structure)


def flatten(x: object, *, root: str = "x") -> Tree:
    """Name the tensors of `x`, an array or float or any nesting of containers of them.

    Containers are dicts, lists, tuples, deques, named tuples and dataclasses (their ``init``
    fields, but for those marked ``metadata={"static": True}`` or ``{"pytree_node": False}``). None
    holds nothing. `x` is neither copied nor changed; names and messages call it `root`.

    Raises:
        InputError: `x` holds what cannot be differentiated, a NaN, an infinity, or no number.

    Example:
        >>> flatten(np.ones(3)).names, flatten([0.5, {"a b": 1.5}]).names
        (('x',), ('x.0', "x.1['a b']"))
    """
    paths, names, leaves, structure = _take_apart(x, root)
    arrays = []
    for path, leaf in zip(paths, leaves, strict=True):
        array = _as_array(leaf, root + path, kinds="f")
        is_finite = np.isfinite(array)
        if not is_finite.all():
            entry = entry_name(root + path, array.shape, int(is_finite.argmin()))
            raise InputError(f"Expected finite numbers but {entry} is {array[~is_finite][0]}")
        arrays.append(array)
    if not any(array.size for array in arrays):
        came = "only empty arrays" if arrays else f"{root}={reprlib.repr(x)}"
        raise InputError(f"Expected at least one number but got {came}")
    scalars = tuple(not isinstance(leaf, np.ndarray) for leaf in leaves)
    return Tree(tuple(names), tuple(arrays), tuple(paths), scalars, structure, root)


def entry_name(name: str, shape: Sequence[int], flat_index: int) -> str:
    """Return the name of one entry of a tensor, counted in row-major order.

    Example:
        >>> entry_name("conv1.weight", (4, 1, 3, 3), 34), entry_name("gain", (), 0)
        ('conv1.weight[3, 0, 2, 1]', 'gain')
    """
    index = np.unravel_index(flat_index, tuple(shape))
    return f"{name}[{', '.join(str(i) for i in index)}]" if index else name


@optree.register_pytree_node_class(namespace=_NAMESPACE)
class _Record:
    """Stands for a dataclass instance inside optree, so that no user's class is registered."""

    TREE_PATH_ENTRY_TYPE = optree.GetAttrEntry

    def __init__(self, source: Any) -> None:
        # What __post_init__ derives is no parameter, nor what is marked constant for JAX or Flax.
        fields = [f for f in dataclasses.fields(source) if f.metadata.get("pytree_node", True)]
        self.names = [f.name for f in fields if f.init and not f.metadata.get("static", False)]
        self.source = source

    def __tree_flatten__(self) -> tuple[Iterable[Any], Any, Iterable[str]]:
        children = [_with_records(getattr(self.source, name)) for name in self.names]
        return children, self, self.names

    @classmethod
    def __tree_unflatten__(cls, record: Any, children: Iterable[Any]) -> Any:
        return dataclasses.replace(record.source, **dict(zip(record.names, children, strict=True)))


def _with_records(x: Any) -> Any:
    def is_record(node: object) -> bool:
        return dataclasses.is_dataclass(node) and not isinstance(node, type)

    def wrap(node: object) -> object:
        return _Record(node) if is_record(node) else node

    return optree.tree_map(wrap, x, is_leaf=is_record, namespace=_NAMESPACE)


def _take_apart(x: Any, root: str) -> tuple[Sequence[str], Sequence[str], list[Any], Any]:
    """Return paths below the root, names, leaves and structure of `x`."""
    try:
        with _flattening, optree.dict_insertion_ordered(True, namespace=_NAMESPACE):
            accessors, leaves, structure = optree.tree_flatten_with_accessor(
                _with_records(x), namespace=_NAMESPACE
            )
    except RecursionError:
        raise InputError(f"Expected {root} to be a tree but it is too deep or cyclic") from None
    paths = ["".join(map(_part, accessor)) for accessor in accessors]
    if len(set(paths)) < len(paths):
        twice = max(paths, key=paths.count)
        raise InputError(f"Expected keys that print differently but got {root}{twice} twice")
    names = short_names(paths, root)
    return paths, names, leaves, structure


def _part(step: Any) -> str:
    if isinstance(step, optree.NamedTupleEntry | optree.StructSequenceEntry):
        return f".{step.field}"
    if isinstance(step, optree.SequenceEntry | optree.GetAttrEntry):
        return f".{step.entry}"
    key = str.__str__(step.entry) if isinstance(step.entry, str) else step.entry
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    shown = repr(key)
    return f"[{shown if shown.isprintable() else ascii(shown)[1:-1]}]"


def short_names(paths: Sequence[str], root: str) -> list[str]:
    """Names of tensors at these paths: the root is written only where a name needs it."""
    names = [_short(path, root) for path in paths]
    return names if len(set(names)) == len(names) else [root + path for path in paths]


def _short(path: str, root: str) -> str:
    path = re.sub(r"^\['(\w+(?:\.\w+)+)'\]", r".\1", path)  # {"conv1.weight": ...}, a state dict
    return path[1:] if path[:1] == "." and not path[1].isdecimal() else root + path


def _as_array(leaf: Any, place: str, kinds: str) -> npt.NDArray[Any]:
    is_array = isinstance(leaf, np.ndarray | np.generic | complex | float | int | str | bytes)
    is_foreign = kinds != "f" and hasattr(leaf, "__array__")  # a gradient may be JAX's, say
    if isinstance(leaf, np.ma.MaskedArray) or not (is_array or is_foreign):
        raise InputError(f"Expected a NumPy array or float but got {place} of {type(leaf)}")
    array = np.asarray(leaf)
    if array.dtype.kind not in kinds:
        came = f"{place} with dtype {array.dtype}{_REMEDY.get(array.dtype.kind, '')}"
        raise InputError(f"Expected floating point but got {came}")
    return array
