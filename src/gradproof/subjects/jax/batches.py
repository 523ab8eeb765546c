"""f compiled for many points at once, in chunks of few sizes, each padded.

A chunk's size is part of what is compiled, and compiling takes longer than most chunks do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.jax.tracing import Traced

#: Points in a small chunk at most, and in a large one.
SMALL = 16
LARGE = 256
#: Points from which on large chunks are compiled too.
MANY = 1024
#: Floating point operations that a small chunk may take, as some of its points are padding.
SMALL_WORK = 2e8
#: Bytes that the points of a chunk and what is computed from them may take, roughly.
BATCH_BYTES = 64 * 2**20
#: Floating point operations for points with one entry of the same tensor moved, from which on they
#: get a function of their own, in which what does not depend on the tensor is computed once.
OWN_WORK = 5e8

Outputs = Callable[[list[Any]], Sequence[jax.Array]]
Arrays = Sequence[NDArray[Any]]


class Batches:
    """Outputs of f at many points.

    Attributes:
        small: points in a small chunk.
        large: points in a large chunk of points in which every tensor differs.
        work: floating point operations for one point, as far as they are known.
    """

    def __init__(self, outputs: Outputs, point: Arrays) -> None:
        """Compile for a small chunk.

        Args:
            outputs: flat outputs at a point, traceable.
            point: the tensors around which everything takes place.

        Raises:
            Exception: whatever tracing, batching or compiling it raises.
        """
        self._point = list(point)
        self._traced = Traced(outputs, self._point)
        self._compiled: dict[tuple[int | None, int], Any] = {}
        bytes_each = sum(array.nbytes for array in point)
        constants = self._traced.constants
        self.work = bytes_each + _operations(jax.jit(self._traced).lower(constants, self._point))
        most = min(SMALL, max(2, int(SMALL_WORK / self.work)))
        self.large = self.small = _clip(bytes_each, most)
        small = self._all(self.small)
        self._scratch = _temporary_bytes(small) // self.small
        self.large = max(self.small, _clip(bytes_each + self._scratch, LARGE))

    def at(self, stacked: Arrays) -> list[NDArray[Any]]:
        """Outputs at the points along the first axis of every tensor; at most `large` of them."""
        count = len(stacked[0])
        size = self.small if count <= self.small else self.large
        padded = [_padded(array, size) for array in stacked]
        results = self._all(size)(self._traced.constants, padded)
        return [np.asarray(result)[:count] for result in results]

    def at_entries(
        self, tensor: int, index: NDArray[np.intp], value: NDArray[Any]
    ) -> list[NDArray[Any]]:
        """Outputs with one entry of `tensor` replaced, at most `large_of(tensor)` of them."""
        count, size = len(index), self.large_of(tensor)
        compiled = self._entries(tensor, size)
        padded = _padded(index.astype(np.int32), size), _padded(value, size)
        results = compiled(self._traced.constants, self._point, *padded)
        return [np.asarray(result)[:count] for result in results]

    def is_own_worthwhile(self, count: int) -> bool:
        """Whether to compile a function for the entries of one tensor for so many points."""
        return count >= MANY // 4 and count * self.work >= OWN_WORK

    def large_of(self, tensor: int) -> int:
        """Points in a chunk in which the entries of one tensor are moved."""
        return max(self.small, _clip(self._point[tensor].nbytes + self._scratch, LARGE))

    def _all(self, size: int) -> Any:
        key = (None, size)
        if key not in self._compiled:
            stacked = [_shape((size, *a.shape), a.dtype) for a in self._point]
            batched = jax.jit(jax.vmap(self._traced, in_axes=(None, 0)))
            self._compiled[key] = batched.lower(self._traced.constants, stacked).compile()
        return self._compiled[key]

    def _entries(self, tensor: int, size: int) -> Any:
        key = (tensor, size)
        if key in self._compiled:
            return self._compiled[key]

        def moved(constants: Any, point: list[Any], index: Any, value: Any) -> list[Any]:
            flat = point[tensor].ravel()
            there = jnp.where(jnp.arange(flat.size, dtype=jnp.int32) == index, value, flat)
            changed = [*point]
            changed[tensor] = there.reshape(point[tensor].shape)
            return self._traced(constants, changed)

        batched = jax.jit(jax.vmap(moved, in_axes=(None, None, 0, 0)))
        index = _shape((size,), np.int32)
        value = _shape((size,), self._point[tensor].dtype)
        self._compiled[key] = batched.lower(
            self._traced.constants, self._point, index, value
        ).compile()
        return self._compiled[key]


def _clip(bytes_each: int, most: int) -> int:
    """A power of two, so that few sizes are compiled."""
    fitting = int(np.clip(BATCH_BYTES // max(bytes_each, 1), 1, most))
    return 1 << (fitting.bit_length() - 1)


def _shape(shape: tuple[int, ...], dtype: Any) -> Any:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def _operations(lowered: Any) -> float:
    """Floating point operations of a function, where the platform tells."""
    analysis = lowered.cost_analysis()
    return float(analysis.get("flops", 0.0)) if isinstance(analysis, dict) else 0.0


def _temporary_bytes(compiled: Any) -> int:
    """What a compiled function needs beside its arguments, where the platform tells."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0
    return int(analysis.temp_size_in_bytes + analysis.output_size_in_bytes)


def _padded(array: NDArray[Any], size: int) -> NDArray[Any]:
    """More rows, equal to the first one: f is defined there."""
    missing = size - len(array)
    if missing == 0:
        return array
    return np.concatenate([array, np.broadcast_to(array[:1], (missing, *array.shape[1:]))])
