"""The branch that each unit of one operation takes.

The tables of `branch_rules` know most operations that branch. One that they do not know branches if
it makes whole numbers or booleans of floating tensors: comparisons, argmax, sort, max-pooling,
casts; its output is then the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gradproof.subjects.torch.branch_rules import AFTER, BEFORE, Arguments

_DISCRETE = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.uint16, torch.uint32, torch.uint64}
)

#: Operations whose whole-number outputs are no branches: pivots of a smooth result, the state of a
#: random generator, scratch space for the backward pass, memory not yet filled.
_NO_BRANCH = frozenset({"_linalg_det", "_linalg_slogdet", "_linalg_solve_ex"})
_NO_BRANCH_STARTS = (
    *("_scaled_dot_product", "_flash_attention", "_efficient_attention", "_cudnn", "cudnn"),
    *("miopen", "_batch_norm", "new_"),
)
_NO_BRANCH_END = "_like"

#: What the schemas add to an operation's name.
_SUFFIXES = ("_with_indices", "_with_noise", "_kernel", "_forward_only", "_forward", "_ex")


def mask_before(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The mask of an operation that is about to run, or None if its inputs do not decide.

    Args:
        func: the operation (an OpOverload).
        args: its positional arguments.
        kwargs: its keyword arguments.

    Returns:
        A boolean or integer tensor that shares no memory with the arguments.
    """
    rule = BEFORE.get(_name(func))
    if rule is None or not _takes_floats(args):
        return None
    return rule(_bind(func, args, kwargs))


def masks_after(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> list[Tensor]:
    """The masks of an operation that has run, where `mask_before` knew none.

    Args:
        func: the operation (an OpOverload).
        args: its positional arguments.
        kwargs: its keyword arguments.
        out: what it returned.

    Returns:
        Boolean or integer tensors that share no memory with the output; none if there is no
        branch.
    """
    rule = AFTER.get(_name(func))
    if rule is not None:
        mask = rule(_bind(func, args, kwargs), out) if _takes_floats(args) else None
        return [] if mask is None else [mask]
    outputs = out if isinstance(out, tuple | list) else (out,)
    found = [o for o in outputs if _is_discrete(o)]
    if not found or not _may_branch(_name(func)) or not _takes_floats(args):
        return []
    return [_kept(o) for o in found]


@cache
def label(func: Any) -> str:
    """The operation's name as people know it: "max_pool2d", "prelu", "relu" for relu_ too."""
    name = _name(func).rpartition("::")[2]
    if name == "_to_copy":
        return "to"
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name.removeprefix("linalg_").strip("_")


@cache
def _name(func: Any) -> str:
    """The name without its overload; the in-place variant has the same."""
    if not isinstance(func, torch._ops.OpOverload):
        return str(func)
    space, _, name = func._schema.name.partition("::")
    # The tables are about PyTorch's own operations: another library's relu is not this one.
    return name.rstrip("_") if space == "aten" else f"{space}::{name}"


@cache
def _may_branch(name: str) -> bool:
    return not (
        name in _NO_BRANCH or name.startswith(_NO_BRANCH_STARTS) or name.endswith(_NO_BRANCH_END)
    )


@cache
def _parameters(func: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((argument.name, argument.default_value) for argument in func._schema.arguments)


def _bind(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    bound = {name: kwargs.get(name, default) for name, default in _parameters(func)}
    bound.update(zip(bound, args, strict=False))
    return {name: _strided(value) for name, value in bound.items()}


def _strided(value: Any) -> Any:
    """Sparse and nested tensors have no comparisons: a dense copy has."""
    if not isinstance(value, Tensor):
        return value
    if value.is_nested:
        return torch.nested.to_padded_tensor(value, 0.0)
    return value if value.layout is torch.strided else value.to_dense()


def _takes_floats(args: Sequence[Any]) -> bool:
    for arg in args:
        if isinstance(arg, Tensor):
            if arg.dtype.is_floating_point or arg.dtype.is_complex:
                return True
        elif isinstance(arg, list | tuple) and _takes_floats(arg):
            return True
    return False


def _is_discrete(value: Any) -> bool:
    return value.dtype in _DISCRETE if isinstance(value, Tensor) else isinstance(value, bool)


def _kept(value: Any) -> Tensor:
    """A copy: the function may go on to change its own tensor in place."""
    value = _strided(value) if isinstance(value, Tensor) else torch.tensor(value)
    small = value.dtype if value.dtype.itemsize < 4 else torch.int32
    kept: Tensor = value.to(small, copy=True)
    return kept
