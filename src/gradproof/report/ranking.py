"""What is worse than what: verdicts, findings and tensors, for those who show the worst first."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradproof.report.model import TensorReport

#: Verdicts and severities, each before what is less bad.
WORST_VERDICTS = ("fail", "inconclusive", "pass")
WORST_SEVERITIES = ("bug", "warning", "info")


def worst_first(tensors: Iterable[TensorReport]) -> list[TensorReport]:
    """By verdict; among equals by how far the worst entry stands out from its bar.

    After these come tensors of which no entry was looked at, the coarsest detection limit first;
    equals keep the order of the model.
    """
    return sorted(tensors, key=_standing_out, reverse=True)


def badness(tensor: TensorReport) -> tuple[int, float]:
    """By verdict, then by the largest relative error of an entry; NaN is worse than any."""
    return -WORST_VERDICTS.index(tensor.verdict), _or_inf(tensor.max_relative_error)


def _standing_out(tensor: TensorReport) -> tuple[int, bool, float, float]:
    worst = tensor.worst
    excess = 0.0
    if worst is not None and worst.difference != 0.0:
        bar = worst.error + worst.rounding
        excess = abs(worst.difference) / bar if bar else math.inf
    limit = tensor.detection_limit
    verdict = -WORST_VERDICTS.index(tensor.verdict)
    return verdict, tensor.checked > 0, _or_inf(excess), _or_inf(limit)


def _or_inf(x: float) -> float:
    return math.inf if math.isnan(x) else x
