"""Spectral norm's singular vectors, which PyTorch takes for constants by design.

In training mode every forward pass of `spectral_norm` makes a step of the power iteration and
writes the vectors u and v down, without a graph: autograd's gradient is that of W / (u^T W v) with
u and v held (Miyato et al., Spectral Normalization for Generative Adversarial Networks, 2018), and
the derivative of all of it only where the iteration has converged. So they are held here at what
the first call makes of them: f's value at the point is the one that it has in training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm


class Iteration:
    """Stands in for a power iteration: each call within f gives what it gave the first time.

    Args:
        step: one call of the iteration.
        owner: the module whose buffers it writes to.
        buffers: their names.
    """

    def __init__(self, step: Callable[..., Any], owner: nn.Module, buffers: tuple[str, str]):
        self._step, self._owner, self._buffers = step, owner, buffers
        self._kept: list[list[Tensor]] = []
        self._turn = 0

    def restart(self) -> None:
        """A new call of f begins."""
        self._turn = 0

    def vectors(self) -> list[Tensor]:
        """The buffers as they are."""
        return [self._owner.get_buffer(name) for name in self._buffers]

    def __call__(self, *args: Any) -> None:
        """One step, as it went the first time."""
        turn, self._turn = self._turn, self._turn + 1
        if turn == len(self._kept):
            self._step(*args)
            self._kept.append([vector.clone() for vector in self.vectors()])
            return
        with torch.no_grad():
            for vector, kept in zip(self.vectors(), self._kept[turn], strict=True):
                vector.copy_(kept)


class Weight:
    """Stands in for `compute_weight` of the older `torch.nn.utils.spectral_norm`.

    Args:
        hook: whose method it is.
        module: whose weight it computes.
    """

    def __init__(self, hook: SpectralNorm, module: nn.Module) -> None:
        self._hook, self._compute = hook, hook.compute_weight
        buffers = (f"{hook.name}_u", f"{hook.name}_v")
        self.iteration = Iteration(self._compute, module, buffers)

    def __call__(self, module: nn.Module, do_power_iteration: bool) -> Any:
        """The normalised weight."""
        if not do_power_iteration:
            return self._compute(module, do_power_iteration=False)
        self.iteration(module, True)
        # Copies: the next call in f writes to them.
        u, v = (vector.clone() for vector in self.iteration.vectors())
        weight = getattr(module, f"{self._hook.name}_orig")
        matrix = self._hook.reshape_weight_to_matrix(weight)
        return weight / torch.dot(u, torch.mv(matrix, v))


def hold(modules: Mapping[str, nn.Module]) -> dict[str, Iteration]:
    """Hold the vectors of all spectral norms in training mode, by the names of their weights.

    Args:
        modules: copies, by name; they are changed.
    """
    held: dict[str, Iteration] = {}
    for root, module in modules.items():
        for name, part in module.named_modules(prefix=root):
            if not part.training:
                continue
            if isinstance(part, _SpectralNorm):
                iteration = vars(part).get("_power_method")
                if not isinstance(iteration, Iteration):
                    iteration = Iteration(part._power_method, part, ("_u", "_v"))
                    part._power_method = iteration  # type: ignore[method-assign,assignment]
                held[re.sub(r"parametrizations\.(\w+)\.\d+$", r"\1", name)] = iteration
            for hook in part._forward_pre_hooks.values():
                if isinstance(hook, SpectralNorm):
                    weight = vars(hook).get("compute_weight")
                    if not isinstance(weight, Weight):
                        weight = Weight(hook, part)
                        hook.compute_weight = weight  # type: ignore[method-assign]
                    held[f"{name}.{hook.name}".lstrip(".")] = weight.iteration
    return held
