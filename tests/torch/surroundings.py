"""Everything about a module, its inputs and torch itself that a check must leave as it was.

`Observer.observe` returns it by name: two observations are equal where nothing has changed.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

__all__ = ["Observer", "changed"]

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """The names of what differs."""
    return [name for name in before if before[name] != after[name]]


@dataclass
class Observer:
    """Looks at a module and at inputs.

    It keeps every object that it has seen, so that a new one cannot come by the number (`id`) of
    one that is gone.
    """

    net: nn.Module
    inputs: tuple[Tensor, ...]
    _seen: list[object] = field(default_factory=list)

    def observe(self) -> dict[str, object]:
        """All of it, by name."""
        return self._of_module() | self._of_inputs() | _of_generators() | _of_torch()

    def _of_module(self) -> dict[str, object]:
        parameters = dict(self.net.named_parameters())
        modules = dict(self.net.named_modules())
        return {
            "parameters": {n: self._identity(p) for n, p in parameters.items()},
            "versions of parameters": {n: p._version for n, p in parameters.items()},
            "buffers": {n: self._identity(b) for n, b in self.net.named_buffers()},
            "gradients of parameters": {n: self._identity(p.grad) for n, p in parameters.items()},
            "requires_grad of parameters": {n: p.requires_grad for n, p in parameters.items()},
            "training mode": {n: module.training for n, module in modules.items()},
            "hooks of modules": {
                n: [len(getattr(module, hooks)) for hooks in _HOOKS]
                for n, module in modules.items()
            },
            "hooks of parameters": [len(p._backward_hooks or ()) for p in parameters.values()],
            "attributes of modules": {n: sorted(vars(module)) for n, module in modules.items()},
        }

    def _of_inputs(self) -> dict[str, object]:
        return {
            "inputs": [self._identity(x) for x in self.inputs],
            "versions of inputs": [x._version for x in self.inputs],
            "gradients of inputs": [self._identity(x.grad) for x in self.inputs],
            "requires_grad of inputs": [x.requires_grad for x in self.inputs],
        }

    def _identity(self, tensor: Tensor | None) -> tuple[Any, ...] | None:
        """Which object it is, and its bytes."""
        if tensor is None:
            return None
        self._seen.append(tensor)
        return id(tensor), tensor.dtype, tensor.shape, tensor.detach().numpy().tobytes()


def _of_generators() -> dict[str, object]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - it is to be seen whether it moves
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "seeds that wait for CUDA": [
            call and call[0] for call in torch.cuda._lazy_seed_tracker.get_calls()
        ],
        "Python's generator": random.getstate(),
        "NumPy's generator": (kind, np.asarray(keys).tobytes(), *rest),
    }


def _of_torch() -> dict[str, object]:
    function_modes: Callable[[], list[object]] = _get_current_function_mode_stack
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return {
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "TF32 in products": matmul.allow_tf32,
        "TF32 in cuDNN": cudnn.allow_tf32,
        "precision of products": _precision(),
        "reduced precision": (
            matmul.allow_fp16_reduced_precision_reduction,
            matmul.allow_bf16_reduced_precision_reduction,
        ),
        "cuDNN deterministic": cudnn.deterministic,
        "cuDNN benchmark": cudnn.benchmark,
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "function modes": _ids(function_modes()),
        "dispatch modes": _ids(_get_current_dispatch_mode_stack()),
        "levels of vmap and grad": torch._C._functorch.peek_interpreter_stack() is None,
        "warning filters": list(warnings.filters),
        "NumPy's errors": np.geterr(),
    }


def _precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError as error:  # the flags contradict each other
        return str(error)


def _ids(modes: Iterable[object]) -> list[int]:
    return [id(mode) for mode in modes]
