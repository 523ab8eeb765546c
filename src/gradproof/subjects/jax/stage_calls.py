"""Which operations of a jaxpr have a rule of differentiation that somebody wrote.

JAX's own functions with such rules (relu, logaddexp) are trusted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import jax
from jax.extend.core import Primitive

#: Operations that do nothing but call a function.
CALLS = frozenset(
    {
        "jit",
        "pjit",
        "closed_call",
        "core_closed_call",
        "core_call",
        "checkpoint",
        "remat",
        "remat2",
        "custom_vmap_call",
        "custom_dce_call",
    }
)
CUSTOM = {"custom_vjp_call": "custom_vjp", "custom_jvp_call": "custom_jvp"}
LOOPS_AND_CONDITIONS = frozenset({"scan", "while", "cond"})

JAX = os.path.dirname(jax.__file__) + os.sep
#: Files of JAX's whose functions call what the user wrote.
WRAPPERS = tuple(
    os.path.join(JAX, "_src", *path)
    for path in (
        ("custom_derivatives.py",),
        ("custom_transpose.py",),
        ("lax", "control_flow", "solves.py"),
    )
)

#: Files of JAX's that apply a function to a tree.
_PASSING = ("tree_util.py", "tree.py")


def is_custom(equation: Any) -> bool:
    """Whether it calls a function that somebody gave a rule by custom_vjp or custom_jvp."""
    if equation.primitive.name not in CUSTOM:
        return False
    files = [equation.params["call_jaxpr"].jaxpr.debug_info.func_filename]
    for name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd"):
        rule = equation.params.get(name)
        files.append(getattr(getattr(rule, "debug_info", None), "func_filename", None))
    if any(file is not None and not file.startswith(JAX) for file in files):
        return True
    return files[0] is None or files[0].startswith(WRAPPERS)


def is_suspect(equation: Any) -> bool:
    """Whether its derivative is no matter of course, though no custom_vjp or custom_jvp is there.

    It is left out on purpose by stop_gradient, and somebody's own where the primitive is, or where
    a linear function comes with its transpose.
    """
    name = equation.primitive.name
    if name == "stop_gradient":
        return not _is_stopped_by_jax(equation)
    if name in CALLS or name in CUSTOM or name in LOOPS_AND_CONDITIONS:
        return False
    files = [inner.debug_info.func_filename for inner in inner_jaxprs(equation.params)]
    if name in ("custom_linear_solve", "linear_call", "custom_transpose_call"):
        return any(file is not None and not file.startswith(JAX) for file in files)
    return equation.primitive not in _own_primitives()


def called(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr that an operation does nothing but call, and its constants."""
    if equation.primitive.name not in CALLS and equation.primitive.name not in CUSTOM:
        return None
    for name in ("jaxpr", "call_jaxpr", "call", "fun_jaxpr"):
        inner = equation.params.get(name)
        if hasattr(inner, "consts") and hasattr(inner, "jaxpr"):
            return inner.jaxpr, inner.consts
        if hasattr(inner, "eqns"):
            return inner, ()
    return None


def bound(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The operation at `inputs`, with its own rules of differentiation."""
    params = equation.primitive.get_bind_params(equation.params)
    with equation.ctx.manager:
        result = equation.primitive.bind(*inputs, **params)
    return list(result) if equation.primitive.multiple_results else [result]


def inner_jaxprs(params: Any) -> list[Any]:
    """Every jaxpr among the parameters of an operation."""
    values = jax.tree_util.tree_leaves(params, is_leaf=lambda v: hasattr(v, "eqns"))
    return [getattr(value, "jaxpr", value) for value in values if hasattr(value, "eqns")]


def _is_stopped_by_jax(equation: Any) -> bool:
    """Whether one of JAX's functions stops the gradient: softmax that of the maximum."""
    traceback = equation.source_info.traceback
    frames = [*traceback.frames] if traceback is not None else []
    called_by = [frame for frame in frames if os.path.basename(frame.file_name) not in _PASSING]
    for frame, caller in pairwise(called_by):
        if frame.function_name == "stop_gradient" and frame.file_name.startswith(JAX):
            return bool(caller.file_name.startswith(JAX))
    return False


@cache
def _own_primitives() -> frozenset[Any]:
    """JAX's own operations."""
    modules = [module for name, module in [*sys.modules.items()] if name.split(".")[0] == "jax"]
    values = [value for module in modules for value in [*vars(module).values()]]
    return frozenset(value for value in values if isinstance(value, Primitive))
