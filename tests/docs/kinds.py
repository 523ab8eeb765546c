"""The kinds of findings that the code can make, read from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

__all__ = ["kinds_in"]

#: Classes whose first argument is a kind.
_WITH_KINDS = ("Alternative", "Explanation", "Finding", "Map")

#: What a function returns that yields kinds, messages and arrays.
_TRIPLES = "[str, str, Floats]]"


def kinds_in(folder: Path) -> set[str]:
    """Every kind that a module below `folder` can give to a finding.

    Raises:
        ValueError: a kind is made in a way that is not understood.
    """
    kinds: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        code = path.read_text(encoding="utf-8")
        if not any(name in code for name in (*_WITH_KINDS, _TRIPLES)):
            continue
        tree = ast.parse(code)
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for scope in functions:
            kinds |= set(_of_calls(scope, path)) | set(_of_yields(scope))
    return kinds


def _of_calls(scope: ast.FunctionDef, path: Path) -> Iterator[str]:
    for node in ast.walk(scope):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        if node.func.id in _WITH_KINDS and node.args:
            yield from _values(node.args[0], scope, f"{path.name}:{node.lineno}")


def _of_yields(scope: ast.FunctionDef) -> Iterator[str]:
    """Those of `yield kind, message, array`, of which an `Alternative` is made elsewhere."""
    if scope.returns is None or not ast.unparse(scope.returns).endswith(_TRIPLES):
        return
    for node in ast.walk(scope):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
            first, *rest = node.value.elts
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and len(rest) == 2:
                yield first.value


def _values(node: ast.expr, scope: ast.FunctionDef, where: str) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from _values(node.body, scope, where)
        yield from _values(node.orelse, scope, where)
    elif isinstance(node, ast.Name):
        for given in _given_to(node.id, scope):
            yield from _values(given, scope, where)
    elif not isinstance(node, ast.Attribute) or node.attr != "kind":  # that of another finding
        raise ValueError(f"{where}: Expected a kind that can be read but got {ast.unparse(node)}")


def _given_to(name: str, scope: ast.FunctionDef) -> Iterator[ast.expr]:
    """What is assigned to a name, by itself or among others."""
    for node in ast.walk(scope):
        pairs: list[tuple[ast.expr, ast.expr]]
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        else:
            continue
        for target, value in pairs:
            if isinstance(target, ast.Name) and target.id == name:
                yield value
            elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                for one, part in zip(target.elts, value.elts, strict=True):
                    if isinstance(one, ast.Name) and one.id == name:
                        yield part
