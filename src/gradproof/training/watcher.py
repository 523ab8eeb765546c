"""The hooks that count a training's steps and make the probes that are due."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import nn

from gradproof._errors import InputError
from gradproof.arguments import demand
from gradproof.training.journal import LOGGER, Failure, Journal, OnReport, Probe
from gradproof.training.probe import count_hooks, probe
from gradproof.training.schedule import Schedule, checked_options

_CALL = nn.Module._call_impl.__code__


class Watcher:
    """Probes of one model's gradient while it trains (see `watch`); also a context manager.

    Attributes:
        steps: training steps seen so far.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        every: int,
        burn_in: int,
        loss: Callable[[Any], Any] | None,
        optimizer: torch.optim.Optimizer | None,
        on_report: OnReport | None,
        on_fail: str,
        options: Mapping[str, Any],
    ) -> None:
        self._schedule = Schedule(every, burn_in)
        self._options = checked_options(
            options, "watch", on_report=on_report, on_fail=on_fail, loss=loss
        )
        is_optimizer = optimizer is None or isinstance(optimizer, torch.optim.Optimizer)
        demand(is_optimizer, "a torch.optim.Optimizer", "optimizer", optimizer)
        self._outer, self._model = model, _inner(model)
        self._loss = loss
        self._journal = Journal(on_report, on_fail)
        self._told = False
        self.steps = 0
        self._counts_calls = optimizer is None
        self._handles = [model.register_forward_pre_hook(_Hook(self._before), with_kwargs=True)]
        if optimizer is not None:
            self._handles.append(optimizer.register_step_post_hook(self._after_step))

    @property
    def reports(self) -> list[Probe]:
        """Step and report of every probe so far."""
        return self._journal.reports

    @property
    def errors(self) -> list[Failure]:
        """Step and reason of every probe that could not be made."""
        return self._journal.errors

    def close(self) -> None:
        """Stop watching; the reports stay. To be called any number of times."""
        for handle in self._handles:
            handle.remove()
        if self._handles and not self.reports and not self.errors:
            LOGGER.warning(
                "no probe was due in the %d training steps that were seen: only calls of the "
                "watched module itself count, in training mode with gradients enabled",
                self.steps,
            )
        self._handles = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before each forward pass: nothing has been written yet, to buffers or to the inputs."""
        if not (self._model.training and torch.is_grad_enabled()) or self._is_inner_call():
            return
        step = self.steps
        if self._counts_calls:
            self.steps += 1
        if not self._schedule.is_due(step):
            return
        self._tell_of_hooks()
        options = {**self._options, "seed": self._options.get("seed", 0) + step}
        self._journal.enter(
            step,
            lambda: probe(self._model, args, kwargs, loss=self._loss, options=options),
        )

    def _is_inner_call(self) -> bool:
        """Whether the module was called by itself, or by a backward pass that recomputes."""
        if torch._C._current_graph_task_id() != -1:
            return True
        calls = 0
        frame = sys._getframe()
        while frame is not None and calls < 2:
            # Not a count of calls begun and ended: an interrupted one would never end.
            calls += frame.f_code is _CALL and frame.f_locals["self"] is self._outer
            frame = frame.f_back  # type: ignore[assignment]
        return calls > 1

    def _after_step(self, optimizer: object, args: object, kwargs: object) -> None:
        self.steps += 1

    def _tell_of_hooks(self) -> None:
        count = 0 if self._told else count_hooks(self._model) - (self._outer is self._model)
        self._told = True
        if count:
            LOGGER.info("%d hooks on the model's modules are left out in probes", count)


class _Hook:
    """What PyTorch calls before a forward pass; in a copy of the model, pickled or not, nothing."""

    def __init__(self, before: Callable[[tuple[Any, ...], dict[str, Any]], None] | None) -> None:
        self._before = before

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Where the module was compiled after it was watched, this is compiled with it.
        if self._before is not None and not torch.compiler.is_compiling():
            self._before(args, kwargs)

    def __reduce__(self) -> tuple[type[_Hook], tuple[None]]:
        return _Hook, (None,)


def _inner(model: nn.Module) -> nn.Module:
    """The module that is checked: the one within a compiled or data-parallel one."""
    kinds = [kind.__name__ for kind in type(model).__mro__]
    if isinstance(model, torch.jit.ScriptModule) or model._compiled_call_impl is not None:
        raise InputError(
            "Expected a module whose hooks run in Python but got one that is scripted or was "
            "compiled in place by model.compile(); watch what torch.compile(model) returns instead"
        )
    if "FullyShardedDataParallel" in kinds or "FSDPModule" in kinds:
        raise InputError("Expected a module with whole parameters but got a sharded one (FSDP)")
    if "OptimizedModule" in kinds:
        return _inner(model._orig_mod)  # type: ignore[arg-type]
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _inner(model.module)
    return model
