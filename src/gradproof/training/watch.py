"""`gradproof.watch`: probes from within a training loop of PyTorch's that knows nothing of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradproof.arguments import demand

if TYPE_CHECKING:
    import torch

    from gradproof.training.journal import OnReport
    from gradproof.training.watcher import Watcher


def watch(
    model: torch.nn.Module,
    *,
    every: int = 1000,
    burn_in: int = 10,
    loss: Callable[[Any], Any] | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    on_report: OnReport | None = None,
    on_fail: str = "log",
    **options: Any,
) -> Watcher:
    """Probe the gradient of a network now and then while it trains; the training stays the same.

    The loop needs no change. At every training step that is due, just before the model's forward
    pass, its gradient is checked on a copy in double precision, at the weights, the batch and the
    mode that this pass is about to use. Weights, buffers, gradients, the optimiser, random numbers
    and flags are bitwise what they would have been.

    A step is a call of the model in training mode with gradients enabled; evaluation, calls of the
    model by itself and recomputation in a backward pass do not count. With `optimizer` a step is
    one of the optimiser's, however many forward passes it takes (accumulated gradients, a GAN's
    discriminator, LBFGS), and the first pass of a step that is due is probed.

    Each probe is logged to Python's logger "gradproof" in one line: at level INFO where it passes,
    WARNING where it is inconclusive, ERROR where the gradient is wrong. A probe that cannot be made
    is logged as a WARNING, with each reason once, and the training goes on.

    The user's hooks (on modules, on tensors) do not run in a probe, since they may count or store;
    PyTorch's own, as weight_norm's, do.

    Args:
        model: what the loop calls. A compiled module (`torch.compile(model)`) and DataParallel are
            watched from outside, and the module within is checked.
        every: steps from one probe to the next.
        burn_in: steps before the first one.
        loss: a function of what the model returns; without it every output is given a random
            weight. It is called with the outputs of a copy, and must not store them.
        optimizer: whose steps count.
        on_report: called with the step and the report of each probe, to send it elsewhere. What it
            raises ends the training.
        on_fail: "log", or "raise" to end the training at the first wrong gradient.
        options: those of `check`, such as `max_seconds`. `seed` is that of step 0; every step
            has another.

    Returns:
        The watcher, which has `reports` and `close()` and is a context manager.

    Raises:
        InputError: an argument cannot be used; the message names it.
        GradientMismatch: out of the model's call, if `on_fail` is "raise".
    """
    is_module = "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module)
    demand(is_module, "a torch.nn.Module", "model", model)
    from gradproof.training.watcher import Watcher

    return Watcher(
        model,
        every=every,
        burn_in=burn_in,
        loss=loss,
        optimizer=optimizer,
        on_report=on_report,
        on_fail=on_fail,
        options=options,
    )
