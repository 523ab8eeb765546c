"""Which tensor is the worst, for those who show it first."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradproof.report.model import TensorReport

_RANKS = ("pass", "inconclusive", "fail")


def worst_first(tensors: Iterable[TensorReport]) -> list[TensorReport]:
    """By verdict; among equals by how far the worst entry stands out from its bar.

    After these come tensors of which no entry was looked at, the coarsest detection limit first;
    equals keep the order of the model.
    """
    return sorted(tensors, key=_badness, reverse=True)


def _badness(tensor: TensorReport) -> tuple[int, bool, float, float]:
    worst = tensor.worst
    excess = 0.0
    if worst is not None and worst.difference != 0.0:
        bar = worst.error + worst.rounding
        excess = abs(worst.difference) / bar if bar else math.inf
    limit = tensor.detection_limit
    return _RANKS.index(tensor.verdict), tensor.checked > 0, _or_inf(excess), _or_inf(limit)


def _or_inf(x: float) -> float:
    return math.inf if math.isnan(x) else x
