"""Values of f at many points: compiled together, or compiled one by one, or by calling f."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.base import Floats
from gradproof.subjects.jax.arguments import spacing
from gradproof.subjects.jax.batches import Batches
from gradproof.subjects.jax.function import Function

#: How far from x what is compiled is compared with f itself, relative to the tensors.
BESIDE = 1e-3

Stacked = list[NDArray[Any]]


class Points:
    """Values of f at points, the fastest way that gives f's own values.

    Attributes:
        why_one_by_one: empty as long as points are evaluated together.
        again: appended to where evaluations were made that nobody asked for.
    """

    def __init__(self, function: Function, again: list[int]) -> None:
        self._function, self.again = function, again
        self._work: Stacked = function.arguments.values
        self._is_ready = False
        self._batches: Batches | None = None
        self._verified: set[int] = set()
        self._one: Callable[[Stacked], float] = function.guarded
        self.why_one_by_one = ""

    @property
    def batches(self) -> Batches | None:
        """F compiled for many points, once it has been seen to agree with f itself."""
        if not self._is_ready:
            self._is_ready = True
            self._compile()
        return self._batches

    def at(self, stacked: Stacked) -> Floats:
        """Values at the points along the first axis of every tensor."""
        batches = self.batches
        if batches is None:
            return self._each(stacked)
        try:
            return self._function.outputs.contract_many(batches.at(stacked))
        except Exception:
            # One point may have spoilt all, and f's own exception is wanted.
            self.again.append(len(stacked[0]))
            return self._each(stacked)

    def at_entries(self, tensor: int, index: NDArray[np.intp], value: NDArray[Any]) -> Floats:
        """Values with one entry of `tensor` replaced by `value`."""
        batches = self.batches
        if batches is not None and self._is_verified(batches, tensor):
            try:
                return self._function.outputs.contract_many(
                    batches.at_entries(tensor, index, value)
                )
            except Exception:
                self.again.append(len(index))
        return self.at(self.moved(np.full(len(index), tensor), index, value))

    def moved(self, tensor: NDArray[np.intp], index: NDArray[np.intp], value: Any) -> Stacked:
        """The point as often as there are indices, each time with one entry replaced."""
        count, stacked = len(index), []
        for k, work in enumerate(self._work):
            rows = np.flatnonzero(tensor == k)
            copies = np.broadcast_to(work, (count, *work.shape))
            if len(rows):
                copies = copies.copy()
                copies.reshape(count, -1)[rows, index[rows]] = value[rows].astype(work.dtype)
            stacked.append(copies)
        return stacked

    def _each(self, stacked: Stacked) -> Floats:
        return np.array([self._one([t[i] for t in stacked]) for i in range(len(stacked[0]))])

    def _compile(self) -> None:
        function = self._function
        there = beside(self._work)
        plain = [function.guarded(self._work), function.guarded(there)]
        self.again.append(2)
        first = function.outputs.contract(function.outputs.flat(function.first))
        if plain[0] != first:  # then f is random, and what is compiled would not be
            return
        try:
            batches = Batches(function.flat, self._work)
            stacked = [np.stack([w, b]) for w, b in zip(self._work, there, strict=True)]
            if batches.large > 1:
                found = function.outputs.contract_many(batches.at(stacked))
            else:
                each = ([t[i : i + 1] for t in stacked] for i in range(2))
                found = np.concatenate(
                    [function.outputs.contract_many(batches.at(one)) for one in each]
                )
            self.again.append(2)
        except Exception as error:  # JAX, XLA and f raise many kinds
            self.why_one_by_one = _first_line(error)
        else:
            if self._agree(plain, found):
                self._batches = batches
                return
            given, compiled = plain[1], float(found[1])
            self.why_one_by_one = f"compiled for many points it gives {compiled!r} for {given!r}"
        self._compile_one(there, plain)

    def _compile_one(self, there: Stacked, plain: Sequence[float]) -> None:
        """Without batches: at least without Python between its operations."""
        function = self._function
        compiled = jax.jit(function.flat)

        def one(values: Stacked) -> float:
            try:
                return function.outputs.contract(compiled([jnp.asarray(v) for v in values]))
            except Exception:
                return function.guarded(values)

        try:
            compiled([jnp.asarray(v) for v in self._work])
        except Exception:  # then f is called as it is
            return
        self.again.append(2)
        if self._agree(plain, np.array([one(self._work), one(there)])):
            self._one = one

    def _is_verified(self, batches: Batches, tensor: int) -> bool:
        """Whether the function that moves entries of this tensor gives the others' values."""
        if tensor not in self._verified:
            work = self._work[tensor]
            index = np.array([work.size // 2, work.size - 1])
            value = beside(self._work)[tensor].reshape(-1)[index]
            expected = self.at(self.moved(np.full(2, tensor), index, value))
            found = self._function.outputs.contract_many(batches.at_entries(tensor, index, value))
            self.again.append(4)
            if not self._agree(expected.tolist(), found):
                return False
            self._verified.add(tensor)
        return True

    def _agree(self, plain: Sequence[float], found: Floats) -> bool:
        """Whether values agree to rounding, as far as they are numbers."""
        outputs = self._function.outputs
        unit = max(spacing(array.dtype) for array in self._work)
        unit = max(unit, *(spacing(dtype) for dtype in outputs.dtypes))
        size = max(outputs.size, *(abs(v) for v in plain if np.isfinite(v)), 1e-300)
        gaps = np.abs(found - np.array(plain))
        both = ~np.isfinite(found) & ~np.isfinite(plain)
        return bool(np.all(both | (gaps <= np.sqrt(unit) * size)))


def beside(work: Stacked) -> Stacked:
    """A point so near that f is defined there, so far that its value differs visibly."""
    moved = []
    for array in work:
        wide = array.astype(np.float64)
        step = BESIDE * (float(np.abs(wide).max(initial=0.0)) or 1.0)
        signs = np.where(np.arange(wide.size) % 3 == 1, -1.0, 1.0).reshape(wide.shape)
        moved.append((wide + step * signs).astype(array.dtype))
    return moved


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0]
    return f"{type(error).__name__}: {text[:200]}"
