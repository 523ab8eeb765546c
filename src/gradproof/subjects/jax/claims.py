"""Gradients that the caller claims, in the forms in which JAX's users have them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from textwrap import shorten
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.subjects.base import Floats
from gradproof.subjects.jax.arguments import Arguments, Leaf, as_numpy, is_complex, part, spacing
from gradproof.subjects.jax.outputs import Outputs

Path = tuple[str, ...]


def contracted(
    result: object, arguments: Arguments, outputs: Outputs
) -> tuple[list[NDArray[Any]], float]:
    """A claim that is no product with the cotangent yet, contracted, and its numbers' spacing.

    Of a single number it is the gradient in x's structure. Otherwise every tensor has the output's
    shape before its own; where f returns several arrays, those stand in the outputs' structure.

    Raises:
        InputError: it fits neither.
    """
    weights = np.concatenate(outputs.weights)
    if weights.size == 1:
        try:
            gradient = matched(result, arguments)
            return [weights[0] * array for array in gradient], spacing_of(gradient)
        except InputError:
            if outputs.shape == ():
                raise
    if any(is_complex(dtype) for dtype in outputs.dtypes):
        raise InputError(
            "Expected a callable grad(x, cotangent), since f returns complex numbers, but got "
            "another grad"
        )
    try:
        parts = outputs.take_apart(result) if len(outputs.shapes) > 1 else [result]
    except ValueError:
        raise InputError("Expected grad in the structure of f's value, and in each x's") from None
    total: list[NDArray[Any]] | None = None
    spacing = 0.0
    for piece, weight, shape in zip(parts, outputs.weights, outputs.shapes, strict=True):
        if not weight.any():
            continue
        jacobian = matched(piece, arguments, prefix=shape)
        spacing = max(spacing, spacing_of(jacobian))
        with np.errstate(all="ignore"):
            added = [np.tensordot(weight.reshape(shape), j, len(shape)) for j in jacobian]
        total = added if total is None else [a + b for a, b in zip(total, added, strict=True)]
    assert total is not None
    return total, spacing


def matched(
    result: object, arguments: Arguments, *, prefix: tuple[int, ...] = ()
) -> list[NDArray[Any]]:
    """The arrays of a claim in the order of the leaves, real as they are.

    It is in the structure of x, or of those arguments in x that are checked, or a dict by the
    tensors' names. What belongs to a constant is passed over. A complex leaf's is complex as
    jax.grad has it (the conjugate of the steepest ascent), or pairs of reals.

    Raises:
        InputError: it is in no such structure, or an array does not fit.
    """
    given = _by_path(result)
    names = [leaf.name for leaf in arguments.leaves]
    if isinstance(result, Mapping) and set(result) == set(names):
        return [_as_reals(result[leaf.name], leaf, prefix) for leaf in arguments.leaves]
    if any(leaf.is_keyword for leaf in arguments.leaves):
        wanted = ", ".join(names)
        came = f"{type(result)}"
        raise InputError(
            f"Expected grad as a dict with the keys {shorten(wanted, 200)}, since kwargs are "
            f"checked, but got {came}"
        )
    forms = _forms(arguments)
    gaps = [
        _gap(given, form, arguments.constants if k == 0 else ()) for k, form in enumerate(forms)
    ]
    fitting = [
        form
        for form, (missing, extra) in zip(forms, gaps, strict=True)
        if not missing and not extra
    ]
    if not fitting:
        missing, extra = (
            ", ".join("grad" + "".join(p) for p in paths) or "none" for paths in gaps[0]
        )
        gap = f"missing {shorten(missing, 200)}; unexpected {shorten(extra, 200)}"
        raise InputError(f"Expected grad in the structure of x: {gap}")
    pairs = zip(fitting[0], arguments.leaves, strict=True)
    return [_as_reals(given[path], leaf, prefix) for path, leaf in pairs]


def call(
    grad: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], outputs: Outputs
) -> tuple[object, bool]:
    """What a callable claims, and whether it got the cotangent, and so gave the product with it."""
    try:
        parameters = list(inspect.signature(grad).parameters.values())
    except (TypeError, ValueError):
        return grad(*args, **kwargs), False
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    known = {p.name for p in parameters}
    passed = {name: value for name, value in kwargs.items() if takes_all or name in known}
    asked = [
        p.name
        for p in parameters
        if p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.name not in passed
    ]
    wants_cotangent = len(asked) == len(args) + 1
    extra = (outputs.structured(),) if wants_cotangent else ()
    return grad(*args, *extra, **passed), wants_cotangent


def flat(arrays: Sequence[NDArray[Any]]) -> tuple[Floats, ...]:
    """The arrays flattened, in double precision."""
    return tuple(np.array(array, dtype=np.float64).ravel() for array in arrays)


def spacing_of(arrays: Sequence[NDArray[Any]]) -> float:
    """The relative spacing of the least precise arrays' numbers, at least that of doubles."""
    return max(spacing(array.dtype) for array in arrays)


def _by_path(result: object) -> dict[Path, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(result)
    return {tuple(part(key) for key in path): leaf for path, leaf in leaves}


def _forms(arguments: Arguments) -> list[list[Path]]:
    """The leaves' paths in each structure that a claim may have."""
    whole = [leaf.path for leaf in arguments.leaves]
    if not arguments.is_tuple:
        return [whole]
    order = list(dict.fromkeys(path[0] for path in whole))
    renumbered = [(f".{order.index(path[0])}", *path[1:]) for path in whole]
    return [whole, renumbered, *([[path[1:] for path in whole]] if len(order) == 1 else [])]


def _gap(
    given: Mapping[Path, Any], form: Sequence[Path], constants: Any
) -> tuple[list[Path], list[Path]]:
    missing = [path for path in form if path not in given]
    extra = [
        path
        for path, leaf in given.items()
        if path not in form and path not in constants and not _is_nothing(leaf)
    ]
    return missing, extra


def _is_nothing(leaf: object) -> bool:
    """Whether it is JAX's gradient of an integer."""
    return getattr(leaf, "dtype", None) == jax.dtypes.float0


def _as_reals(given: Any, leaf: Leaf, prefix: tuple[int, ...]) -> NDArray[Any]:
    array = as_numpy(given)
    is_number = array.dtype == bool or bool(jnp.issubdtype(array.dtype, jnp.number))
    if not is_number or array.dtype == jax.dtypes.float0:
        raise InputError(
            f"Expected floating point but got grad of {leaf.name} with dtype {array.dtype}"
        )
    if is_complex(array.dtype):
        if not leaf.is_complex:
            raise InputError(
                f"Expected real numbers but got grad of {leaf.name} with dtype {array.dtype}"
            )
        array = np.stack([array.real, -array.imag], axis=-1)
    shape = prefix + leaf.shape
    if array.shape != shape:
        raise InputError(
            f"Expected shape {shape} but got grad of {leaf.name} of shape {array.shape}"
        )
    return array if array.dtype.kind not in "iub" else array.astype(np.float64)
