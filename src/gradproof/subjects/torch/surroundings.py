"""Global state around a check: set for it, and put back at its end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def surroundings(*, is_double: bool) -> Iterator[None]:
    """Everything global that a check or f itself may change is as it was at the end.

    Random numbers (PyTorch's on every device, NumPy's, Python's), the default dtype, TF32 and other
    reduced precision, grad mode.

    Args:
        is_double: whether new tensors are in double precision by default.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(_cuda_devices()))
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        if is_double:
            torch.set_default_dtype(torch.float64)
        stack.enter_context(_no_fast_path())
        for owner, name, precise in _precision():
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, precise)
        yield


def _precision() -> list[tuple[Any, str, Any]]:
    """Switches for reduced precision, and how they stand for a check."""
    matmul = torch.backends.cuda.matmul
    return [
        (matmul, "allow_tf32", False),
        (matmul, "allow_fp16_reduced_precision_reduction", False),
        (matmul, "allow_bf16_reduced_precision_reduction", False),
        (torch.backends.cudnn, "allow_tf32", False),
    ]


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Transformer layers as they are in training.

    In eval mode and without a graph they take a fused path, whose values at padded places are
    others than those that autograd differentiates.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]


class Seeds:
    """The same random numbers at every evaluation.

    Args:
        seed: of the global generators.
        generators: generators of f's own, with the states that they start from.
    """

    def __init__(self, seed: int, generators: list[tuple[torch.Generator, Tensor]]) -> None:
        self._seed, self._generators = seed, generators

    def set(self) -> None:
        """Start all generators anew."""
        # Not torch.manual_seed, which would leave a seed in wait for CUDA's start.
        torch.default_generator.manual_seed(self._seed)
        if _cuda_devices():
            torch.cuda.manual_seed_all(self._seed)
        if torch.backends.mps.is_available():
            torch.mps.manual_seed(self._seed)
        np.random.seed(self._seed)  # noqa: NPY002 - f may draw from the global one
        random.seed(self._seed)
        for generator, state in self._generators:
            generator.set_state(state)

    def are_used(self, run: Callable[[], object]) -> bool:
        """Whether `run` draws random numbers."""
        self.set()
        before = self._states()
        run()
        return any(not _same(a, b) for a, b in zip(before, self._states(), strict=True))

    def _states(self) -> list[Any]:
        devices = [torch.cuda.get_rng_state(device) for device in _cuda_devices()]
        own = [generator.get_state() for generator, _ in self._generators]
        numpy_state: Any = np.random.get_state()  # noqa: NPY002
        return [torch.get_rng_state(), *devices, *own, numpy_state[1:3], random.getstate()]


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor):
        return torch.equal(before, after)
    if isinstance(before[0], np.ndarray):
        return bool(np.array_equal(before[0], after[0]) and before[1] == after[1])
    return bool(before == after)
