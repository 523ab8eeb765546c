"""What f computes without a graph: quantities that autograd takes for constants, held as such.

`detach`, `no_grad` and `.item()` cut the graph on purpose (a target, a running estimate, a stop of
the gradient) or by mistake. In both cases autograd's gradient is the derivative of f with these
quantities held at the values that they have at the point, and not f's own.
"""

from __future__ import annotations

import contextlib
import linecache
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_TORCH = Path(torch.__file__).parent
#: Code between an operation and whoever wrote it down.
_BETWEEN = tuple(
    str(_TORCH / part)
    for part in ("_tensor.py", "functional.py", "nn/functional.py", "overrides.py", "utils")
)
#: Who calls f.
_CALLER = str(Path(__file__).with_name("function.py"))
#: The base of autograd.Function through which every `apply` goes.
_BASE: Any = torch.autograd.Function.__mro__[1]


class Cuts:
    """The quantities in one run of f that are computed without a graph.

    Every run goes through the same operations in the same order: what is cut is known by its number
    there. Where a run takes another way than the first, nothing more is held.

    Attributes:
        moved: where in f's code those are computed that were seen to change with x.
    """

    def __init__(self) -> None:
        self.moved: dict[str, None] = {}
        self._first: dict[int, tuple[str, Any]] = {}
        self._is_recorded = False

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Around a call of f with a graph; the first one is at the point."""
        mode = _Mode(self)
        with _without_functions(mode), mode:
            yield
        self._is_recorded = True

    def put(self, number: int, given: Iterable[Tensor], result: Any) -> Any:
        """A cut quantity as it was in the first run."""
        if not self._is_recorded:
            self._first[number] = (_place(), _copy(result))
            return result
        if number not in self._first:
            return result
        place, first = self._first[number]
        if type(first) is not type(result) or _is_equal(first, result):
            return result
        self.moved[place] = None
        if isinstance(result, Tensor) and any(result is one for one in given):
            return result.copy_(first)  # done in place, or with out=
        return _copy(first)


class _Mode(TorchFunctionMode):
    """Numbers f's operations, but for those inside of autograd.Functions, which have a backward."""

    def __init__(self, cuts: Cuts) -> None:
        super().__init__()
        self._cuts, self._number = cuts, 0
        self.inside = 0

    def __torch_function__(
        self,
        func: Any,
        classes: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        has_graph = torch.is_grad_enabled()
        result = func(*args, **kwargs)
        if self.inside:
            return result
        self._number += 1
        if not _is_number(result) or (isinstance(result, Tensor) and result.requires_grad):
            return result
        given = list(_tensors([*args, *kwargs.values()]))
        if has_graph and not any(tensor.requires_grad for tensor in given):
            return result
        return self._cuts.put(self._number, given, result)


@contextlib.contextmanager
def _without_functions(mode: _Mode) -> Iterator[None]:
    """Let a mode know what is called inside of autograd.Functions."""

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        base: Any = super(_BASE, cls)
        mode.inside += 1
        try:
            return base.apply(*args, **kwargs)
        finally:
            mode.inside -= 1

    _BASE.apply = classmethod(apply)
    try:
        yield
    finally:
        del _BASE.apply


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() or value.is_complex()
    return isinstance(value, float | np.ndarray)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return bool(np.array_equal(one, other))


def _place() -> str:
    """The statement that is being run, and where it stands.

    That is f's author's own where there is one, and else the innermost of PyTorch.
    """
    frame: types.FrameType | None = sys._getframe(1)
    ours: list[types.FrameType] = []
    while frame is not None and not frame.f_code.co_filename.startswith(_CALLER):
        if frame.f_code.co_filename != __file__:
            ours.append(frame)
        frame = frame.f_back
    written = [one for one in ours if not one.f_code.co_filename.startswith(str(_TORCH))]
    inner = [one for one in ours if not one.f_code.co_filename.startswith(_BETWEEN)]
    found = [*written, *inner, *ours][0]
    name, line = found.f_code.co_filename, found.f_lineno
    where = f"{Path(name).name}, line {line}, in {found.f_code.co_name}"
    text = linecache.getline(name, line).partition("  #")[0].strip().rstrip(",")
    return f"{text} ({where})" if text else where
