"""Which operations of a jaxpr have a rule of differentiation that somebody wrote, and their names.

JAX's own functions with such rules (relu, logaddexp) are trusted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import primitives

#: Operations that do nothing but call a function, and where it is among their parameters.
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

_JAX = os.path.dirname(jax.__file__) + os.sep
#: Files of JAX's whose functions call what the user wrote.
_WRAPPERS = tuple(
    os.path.join(_JAX, "_src", *path)
    for path in (
        ("custom_derivatives.py",),
        ("custom_transpose.py",),
        ("lax", "control_flow", "solves.py"),
    )
)
_FOREIGN = (_JAX, os.path.dirname(__file__) + os.sep)
_KNOWN = frozenset(
    getattr(primitives, name).name for name in vars(primitives) if name.endswith("_p")
)


def is_custom(equation: Any) -> bool:
    """Whether it calls a function that somebody gave a rule by custom_vjp or custom_jvp."""
    if equation.primitive.name not in CUSTOM:
        return False
    files = [equation.params["call_jaxpr"].jaxpr.debug_info.func_filename]
    for name in ("jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd"):
        rule = equation.params.get(name)
        files.append(getattr(getattr(rule, "debug_info", None), "func_filename", None))
    if any(file is not None and not file.startswith(_JAX) for file in files):
        return True
    return files[0] is None or files[0].startswith(_WRAPPERS)


def is_suspect(equation: Any) -> bool:
    """Whether its derivative is no matter of course, though no custom_vjp or custom_jvp is there.

    It is left out on purpose by stop_gradient, and somebody's own where the primitive is, or where
    a linear function comes with its transpose.
    """
    name = equation.primitive.name
    if name == "stop_gradient":
        return True
    if name in CALLS or name in CUSTOM or name in LOOPS_AND_CONDITIONS:
        return False
    files = [inner.debug_info.func_filename for inner in _inner(equation.params)]
    if name in ("custom_linear_solve", "linear_call", "custom_transpose_call"):
        return any(file is not None and not file.startswith(_JAX) for file in files)
    return name not in _KNOWN and _module(equation.primitive).split(".")[0] not in ("jax", "jaxlib")


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


def function_name(equation: Any) -> str:
    """The called function as its user knows it, with the line where it has no name of its own."""
    if equation.primitive.name not in CUSTOM:
        return _at(equation.primitive.name, equation)
    function = equation.params["call_jaxpr"].jaxpr.debug_info
    name = function.func_name.rsplit(".", 1)[-1]
    is_wrapper = (function.func_filename or "").startswith(_WRAPPERS)
    if is_wrapper and name == "wrapped_fun":
        return _at("custom_gradient", equation)
    return _at("lambda", equation) if name.startswith("<") else name.removeprefix("_")


def input_names(equation: Any, count: int) -> list[str]:
    """Names of the inputs, as the function or its rule takes them; input_0 and so on otherwise."""
    params = equation.params
    sources = [params.get("fwd_jaxpr_thunk")]
    if equation.primitive.name in CUSTOM:
        sources.append(params["call_jaxpr"].jaxpr)
    for source in sources:
        names = getattr(getattr(source, "debug_info", None), "arg_names", None) or ()
        found = [_plain(name or "") for name in names]
        if len(found) == count and all(found) and len(set(found)) == count:
            return found
    return [f"input_{k}" for k in range(count)]


def scope(outer: str, equation: Any) -> str:
    """The names of jax.named_scope, and so of modules, that an operation is in."""
    # vmap(net)/layer1 is net/layer1, mapped.
    own = re.sub(r"\w+\(([^()]*)\)", r"\1", str(equation.source_info.name_stack))
    return "/".join(part for part in (outer, *own.split("/")) if part)


def bound(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    """The operation at `inputs`, with its own rules of differentiation."""
    params = equation.primitive.get_bind_params(equation.params)
    with equation.ctx.manager:
        result = equation.primitive.bind(*inputs, **params)
    return list(result) if equation.primitive.multiple_results else [result]


def _plain(name: str) -> str:
    """`params['w'][0]` as params.w.0; nothing of names such as args[0], which say nothing."""
    if re.match(r"(args|primals)\[\d+\]", name):
        return ""
    return re.sub(r"\[['\"]?([^\]'\"]*)['\"]?\]", r".\1", name)


def _at(name: str, equation: Any) -> str:
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith(_FOREIGN):
            return f"{name} at {os.path.basename(frame.file_name)}:{frame.line_num}"
    return name


def _inner(params: Any) -> list[Any]:
    """Every jaxpr among the parameters of an operation."""
    found = []
    for value in jax.tree_util.tree_leaves(params, is_leaf=lambda v: hasattr(v, "eqns")):
        if hasattr(value, "eqns"):
            found.append(getattr(value, "jaxpr", value))
    return found


def _module(primitive: Any) -> str:
    return str(getattr(primitive.impl, "__module__", ""))
