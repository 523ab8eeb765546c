"""A callback for Lightning that probes the gradient of the loss which is trained.

Imported from here and not from `gradproof` itself: Lightning takes seconds to import.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from gradproof._errors import InputError
from gradproof.report.model import Report
from gradproof.training.journal import Failure, Journal, OnReport, Probe
from gradproof.training.probe import probe
from gradproof.training.schedule import Schedule, checked_options

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError:
        try:
            # The same package under its older name.
            from pytorch_lightning import Callback
        except ModuleNotFoundError:
            raise ImportError(
                "gradproof.training.lightning needs Lightning: pip install 'gradproof[lightning]'"
            ) from None


class GradientWatch(Callback):
    """Checks the gradient of `training_step`'s loss now and then; the training stays the same.

    At every step of the optimiser that is due, before its first batch, `training_step` is called
    on a copy of the module in double precision, with that batch. What the copy logs is dropped, and
    of its trainer it sees numbers and flags alone (`self.trainer.current_epoch`); where it asks for
    more, such as the trainer's logger or optimisers, no probe can be made, and the log says why.
    What is logged by Python's logger "gradproof", and what a probe leaves out, is as with
    `gradproof.watch`.

    The trainer's loggers get `gradproof/pass` (1 or 0) and, where a gradient passes,
    `gradproof/limit`: the relative error of a tensor's gradient that would have been caught.
    Only the process of rank zero makes probes.

    Args:
        every: steps from one probe to the next.
        burn_in: steps before the first one.
        on_report: called with the step and the report of each probe.
        on_fail: "log", or "raise" to end the training at the first wrong gradient.
        options: those of `gradproof.check`, such as `max_seconds`.

    Raises:
        InputError: an argument cannot be used; the message names it.

    Works with trainers of both `lightning` and `pytorch_lightning`.
    """

    def __init__(
        self,
        every: int = 1000,
        burn_in: int = 10,
        *,
        on_report: OnReport | None = None,
        on_fail: str = "log",
        **options: Any,
    ) -> None:
        self._schedule = Schedule(every, burn_in)
        self._options = checked_options(
            options, "GradientWatch", on_report=on_report, on_fail=on_fail
        )
        self._journal = Journal(on_report, on_fail)

    @property
    def reports(self) -> list[Probe]:
        """Step and report of every probe so far."""
        return self._journal.reports

    @property
    def errors(self) -> list[Failure]:
        """Step and reason of every probe that could not be made."""
        return self._journal.errors

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a module that steps its optimisers itself.

        Raises:
            InputError: it does; a copy of it has none.
        """
        if not pl_module.automatic_optimization:
            raise InputError(
                "Expected automatic optimisation but got automatic_optimization=False: watch the "
                "network that training_step calls instead, with gradproof.watch(self.net, ...) in "
                "on_fit_start"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Make a probe if one is due."""
        step = trainer.global_step
        if not self._schedule.is_due(step) or not trainer.is_global_zero:
            return
        args = (batch, batch_idx)[: _count_arguments(pl_module.training_step)]
        options = {**self._options, "seed": self._options.get("seed", 0) + step}
        report = self._journal.enter(
            step, lambda: probe(_Loss(pl_module), args, {}, options=options)
        )
        if report is not None:
            for logger in trainer.loggers:
                logger.log_metrics(_metrics(report), step=step)


class _Loss(nn.Module):
    """The loss that a module trains on, as a function of a batch.

    The module's own class names it here, and so names the tensors: `LitNet.conv1.weight`.
    """

    def __init__(self, module: LightningModule) -> None:
        super().__init__()
        self._name = type(module).__name__
        self._view = _View(module.trainer)
        self.add_module(self._name, module)

    def forward(self, *batch: Any) -> torch.Tensor:
        module: Any = self.get_submodule(self._name)
        # A copy, which has lost its trainer.
        vars(module).update(_trainer=self._view, log=_log_nothing)
        result = module.training_step(*batch)
        loss = result.get("loss") if isinstance(result, Mapping) else result
        if not isinstance(loss, torch.Tensor):
            raise InputError(f"Expected a loss but training_step returned {loss!r}")
        return loss


class _View:
    """What a copy may see of the trainer: plain values, as they are now."""

    def __init__(self, trainer: object) -> None:
        self._of = trainer

    def __getattr__(self, name: str) -> object:
        value = getattr(self._of, name)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise RuntimeError(f"training_step asks for trainer.{name}, which a probe must not touch")

    def __deepcopy__(self, memo: object) -> _View:
        return self


def _log_nothing(*args: object, **kwargs: object) -> None:
    """In place of a copy's `log`."""


def _count_arguments(step: Any) -> int:
    """1 or 2: Lightning passes the batch's number to a training_step with a second argument."""
    return min(2, len(inspect.signature(step).parameters))


def _metrics(report: Report) -> dict[str, float]:
    metrics = {"gradproof/pass": float(report.verdict == "pass")}
    limits = [t.detection_limit for t in report.tensors.values()]
    # Larger ones are those of gradients that are zero but for rounding.
    limits = [limit for limit in limits if limit <= report.resolution]
    if report.verdict == "pass" and limits:
        metrics["gradproof/limit"] = max(limits)
    return metrics
