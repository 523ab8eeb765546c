"""Names of the operations that have a rule of differentiation of their own, and of their inputs."""

from __future__ import annotations

import ast
import linecache
import os
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax

from gradproof.subjects.jax.arguments import part
from gradproof.subjects.jax.stage_calls import CUSTOM, JAX, WRAPPERS

#: Files that f is not written in.
_FOREIGN = (JAX, os.path.dirname(__file__) + os.sep)


def function_name(equation: Any) -> str:
    """The called function as its user knows it, with the line where it has no name of its own."""
    if equation.primitive.name not in CUSTOM:
        return _at(equation.primitive.name, equation)
    function = equation.params["call_jaxpr"].jaxpr.debug_info
    name = function.func_name.rsplit(".", 1)[-1]
    is_wrapper = (function.func_filename or "").startswith(WRAPPERS)
    if is_wrapper and name == "wrapped_fun":
        return _at("custom_gradient", equation)
    return _at("lambda", equation) if name.startswith("<") else name.removeprefix("_")


def input_names(equation: Any, count: int) -> list[str]:
    """Names of the inputs, as the function or its rule takes them; input_0 and so on otherwise."""
    plain = [f"input_{k}" for k in range(count)]
    if equation.primitive.name not in CUSTOM:
        return ["input"] if count == 1 else plain
    function = equation.params["call_jaxpr"].jaxpr.debug_info
    rule = getattr(equation.params.get("fwd_jaxpr_thunk"), "debug_info", None)
    of_source = _from_source(function, equation.params.get("bwd"), count)
    held = equation.params.get("num_consts", 0)
    for found in (_arg_names(rule), _arg_names(function), of_source):
        # Arrays that the function holds come first.
        names = plain[:held] + found if len(found) == count - held else found
        are_plain = all(re.fullmatch(r"[^\W\d]\w*(\.\w+)*", name) for name in names)
        if len(names) == count and are_plain and len(set(names)) == count:
            return names
    return plain


def scopes(equation: Any) -> tuple[str, ...]:
    """The names of jax.named_scope, and so of modules, that an operation is in."""
    own, times = str(equation.source_info.name_stack), 1
    while times:  # vmap(net)/layer1 is net/layer1, mapped
        own, times = re.subn(r"\w+\(([^()]*)\)", r"\1", own)
    return tuple(part for part in own.split("/") if part)


def _arg_names(info: Any) -> list[str]:
    return [_plain(name or "") for name in getattr(info, "arg_names", None) or ()]


def _from_source(function: Any, backward: Any, count: int) -> list[str]:
    """The names in the function's definition; a pytree's leaves by their paths in it."""
    names = _defined(function.func_filename or "", function.func_lineno or 0, function.func_name)
    trees = [
        found
        for _, static in getattr(backward, "transforms", ())
        for found in static
        if isinstance(found, jax.tree_util.PyTreeDef)
    ]
    if not trees or trees[0].num_leaves != count:
        return list(names)
    if len(trees[0].children()) != len(names):
        return []
    numbered = jax.tree_util.tree_unflatten(trees[0], range(count))
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(numbered)[0]]
    return [names[path[0].idx] + "".join(map(part, path[1:])) for path in paths]


@cache
def _defined(file: str, line: int, function: str) -> Sequence[str]:
    """The positional arguments of the function defined at a line of a file."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return ()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == function.rsplit(".", 1)[-1]:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= line <= node.lineno:
                return tuple(a.arg for a in [*node.args.posonlyargs, *node.args.args])
    return ()


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
