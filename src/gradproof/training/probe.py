"""One probe of a module at the point where its training is, made on a copy without its hooks."""

from __future__ import annotations

import types
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gradproof.check import check
from gradproof.report.model import Report
from gradproof.subjects.torch.copies import Copier
from gradproof.training.untouched import generators_of, untouched

#: Where a module keeps the hooks that run when it is called and differentiated.
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def probe(
    model: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    loss: Callable[[Any], Any] | None = None,
    options: Mapping[str, Any],
) -> Report:
    """Check `model` at its weights as they are and at these arguments.

    Nothing of the training is changed: not the model, its buffers and gradients, not the arguments
    and the graph that they come from, no random numbers, modes and flags, also if it raises.

    Args:
        model: in whatever mode it is.
        args: its arguments; those that require grad are checked too.
        kwargs: its keyword arguments.
        loss: a function of what the model returns.
        options: others of `check`.
    """
    with untouched(generators_of(model, loss)), warnings.catch_warnings():
        # They would be about the copy: what vmap makes of it, what it cannot log.
        warnings.simplefilter("ignore")
        copier = _HooklessCopier(model)
        twin, arguments, keywords = copier((model, args, kwargs))
        copier.mark_wanted()
        return check(twin, arguments, kwargs=keywords, loss=loss, **options)


def count_hooks(model: nn.Module) -> int:
    """Number of the user's hooks, which a probe leaves out."""
    return sum(
        not _is_part_of_f(hook)
        for part in model.modules()
        for name in HOOKS
        for hook in vars(part).get(name, {}).values()
    )


class _HooklessCopier(Copier):
    """Copies all but the user's hooks on the model, its tensors and its arguments.

    They may count calls, store activations for a loss or log gradients: a probe that ran them
    hundreds of times would change the training. PyTorch's own are part of what a module computes
    (weight_norm, spectral_norm, pruning).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__(promote=False)
        for part in model.modules():
            for name in HOOKS:
                hooks = vars(part).get(name)
                if hooks is not None:
                    kept = ((key, hook) for key, hook in hooks.items() if _is_part_of_f(hook))
                    # What a deep copy finds in its memo it does not copy, nor what holds it.
                    self._memo[id(hooks)] = OrderedDict(kept)

    def mark_wanted(self) -> None:
        """Let those copies require grad whose originals do."""
        for original, twin in self._hooked:
            twin.requires_grad_(original.requires_grad)


def _is_part_of_f(hook: object) -> bool:
    if isinstance(hook, types.FunctionType | types.MethodType):
        return (hook.__module__ or "").partition(".")[0] == "torch"
    # A pruning method of the user's own is derived from PyTorch's.
    return any(kind.__module__.startswith("torch.nn.utils.") for kind in type(hook).__mro__)
