"""From `cases.py:case_sine` to the cases that are written there."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gradproof._errors import GradproofError
from gradproof.case import Case
from gradproof.cli.exits import PREFIX, Refusal

#: Under this name a file is imported: its own might be that of a module that it needs.
MODULE = "_gradproof_target"


@dataclass(frozen=True)
class Target:
    """A case that can be had, its name, and where it is written."""

    name: str
    make: Callable[[], Any]
    file: str | None
    line: int | None

    def case(self) -> Case:
        """Call the function that the user wrote; a pair that it returns is f and x."""
        line = "" if self.line is None else f":{self.line}"
        with users_errors(self.name, f"{self.file}{line}"):
            case = self.make()
        if isinstance(case, Case):
            return case
        if isinstance(case, tuple) and len(case) == 2 and callable(case[0]):
            return Case(*case)
        raise Refusal(
            f"Expected a gradproof.Case, or a pair (f, x) such as (module, input), from "
            f"{self.name} but got {type(case).__name__}"
        )


def targets_of(text: str) -> list[Target]:
    """The cases that `file.py:name`, `module:name`, `file.py` or `module` stand for.

    Raises:
        Refusal: there is no such file, module or name, it cannot be imported, or it is no case.
    """
    place, name = split_target(text)
    module = _file(place) if place.endswith(".py") else _module(place)
    if name is not None:
        if not hasattr(module, name):
            known = ", ".join(t.name for t in _all_of(module)) or "none"
            raise Refusal(f"{place} has no {name!r}; its cases: {known}")
        return [_target(module, name, getattr(module, name))]
    found = list(_all_of(module))
    if not found:
        raise Refusal(f"{place} has no gradproof.Case and no function named {PREFIX}...")
    return found


@contextmanager
def users_errors(what: str, by_default: str | None = None) -> Iterator[None]:
    """Whatever the user's own code raises becomes one line with the place in that code.

    Where no line of that code took part the error is gradproof's own and passes, unless the place
    to name `by_default` is given.
    """
    try:
        yield
    except (GradproofError, Refusal):
        raise
    except (Exception, SystemExit) as error:
        place = _users_place(error) or by_default
        if place is None:
            raise
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise Refusal(f"{what}: {said[:1000]} ({place})") from error


def split_target(text: str) -> tuple[str, str | None]:
    """File or module, and the name in it if one is given."""
    place, colon, name = text.rpartition(":")
    # C:\cases.py is a file.
    if not colon or not name.isidentifier() or (len(place) == 1 and os.sep == "\\"):
        return text, None
    return place, name


def _file(place: str) -> ModuleType:
    path = Path(place).resolve()
    if not path.is_file():
        raise Refusal(f"there is no file {place!r}")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    if spec is None or spec.loader is None:
        raise Refusal(f"{place!r} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    # As python itself does, so that the file can import its neighbours.
    sys.path.insert(0, str(path.parent))
    with users_errors(f"{place} cannot be imported", place):
        spec.loader.exec_module(module)
    return module


def _module(place: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        raise Refusal(f"there is no module {place!r}, and a file's name ends in .py")
    with users_errors(f"{place} cannot be imported", place):
        return importlib.import_module(place)


def _all_of(module: ModuleType) -> Iterator[Target]:
    for name, value in list(vars(module).items()):
        is_function = inspect.isfunction(value) and name.startswith(PREFIX)
        if is_function or isinstance(value, Case):
            yield _target(module, name, value)


def _target(module: ModuleType, name: str, value: Any) -> Target:
    if isinstance(value, Case):
        file = getattr(module, "__file__", None)
        return Target(name, lambda: value, _shown(file), _line_of(file, name))
    if not callable(value):
        raise Refusal(
            f"Expected {name} to be a function that returns a gradproof.Case, or a gradproof.Case, "
            f"but got {type(value).__name__}"
        )
    code = getattr(inspect.unwrap(value), "__code__", None)
    if code is None:
        return Target(name, value, _shown(getattr(module, "__file__", None)), None)
    return Target(name, value, _shown(code.co_filename), code.co_firstlineno)


def _line_of(file: str | None, name: str) -> int | None:
    """Where a name of a module is first given its value."""
    if file is None:
        return None
    for statement in ast.parse(Path(file).read_bytes()).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return statement.lineno
    return None


def _shown(file: str | None) -> str | None:
    """As short as it can be, with slashes: GitHub wants it so."""
    if file is None:
        return None
    path = Path(file).resolve()
    here = Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def _users_place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_shown(error.filename)}:{error.lineno}"
    places = sysconfig.get_paths()
    not_theirs = [Path(places[k]).resolve() for k in ("stdlib", "purelib", "platlib")]
    not_theirs.append(Path(__file__).resolve().parents[1])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename).resolve()
        if path.is_file() and not any(path.is_relative_to(folder) for folder in not_theirs):
            return f"{_shown(frame.filename)}:{frame.lineno}"
    return None
