"""The table of tensors: its columns, each with what is shown and what it is sorted by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from gradproof.report.html.words import NOTHING, count, digits, measured, shape_of, size
from gradproof.report.model import Report, TensorReport
from gradproof.report.ranking import WORST_VERDICTS


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and the number that the column is sorted by; None comes last."""

    text: str
    rank: float | None


@dataclass(frozen=True)
class Column:
    """A column of numbers; `group` is the header over several of them."""

    label: str
    cell: Callable[[TensorReport], Cell]
    group: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Row:
    """A tensor in the table; its verdict and name are no columns of numbers."""

    number: int
    tensor: TensorReport
    rank: int
    cells: tuple[Cell, ...]


def columns_of(report: Report) -> tuple[Column, ...]:
    """The columns that say something in this report: where no entry was looked at, few do."""
    tensors = report.tensors.values()
    shown = [_SHAPE, _ENTRIES]
    if any(t.checked != t.size for t in tensors):
        shown.append(_LOOKED_AT)
    if any(math.isfinite(t.detection_limit) for t in tensors):
        shown.append(_LIMIT)
    if any(t.checked for t in tensors):
        shown += _OF_ENTRIES
    return tuple(shown)


def rows_of(report: Report, columns: Sequence[Column]) -> list[Row]:
    """One row a tensor, in the order of the model."""
    return [
        Row(i, t, WORST_VERDICTS.index(t.verdict), tuple(column.cell(t) for column in columns))
        for i, t in enumerate(report.tensors.values())
    ]


def grouped(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns, those under one header together."""
    return [list(some) for _, some in groupby(columns, lambda column: column.group)]


def badness(tensor: TensorReport) -> tuple[int, bool, float]:
    """What the worst tensor has most of."""
    largest = tensor.max_relative_error
    verdict = len(WORST_VERDICTS) - WORST_VERDICTS.index(tensor.verdict)
    # Of tensors alike, one of which entries were seen shows more.
    return verdict, tensor.checked > 0, math.inf if math.isnan(largest) else largest


def _whole(get: Callable[[TensorReport], int]) -> Callable[[TensorReport], Cell]:
    return lambda t: Cell(count(get(t)), get(t))


def _counted(get: Callable[[TensorReport], int]) -> Callable[[TensorReport], Cell]:
    """A count among the entries looked at."""
    return lambda t: Cell(count(get(t)), get(t)) if t.checked else Cell(NOTHING, None)


def _digits(get: Callable[[TensorReport], float]) -> Callable[[TensorReport], Cell]:
    def cell(t: TensorReport) -> Cell:
        x = get(t)
        return Cell(digits(x), None if math.isnan(x) else x)

    return cell


def _measured(get: Callable[[TensorReport], float]) -> Callable[[TensorReport], Cell]:
    """A NaN that was met is shown and is worse than any number; none was where nothing was seen."""

    def cell(t: TensorReport) -> Cell:
        if not t.checked:
            return Cell(NOTHING, None)
        x = get(t)
        return Cell(measured(x), math.inf if math.isnan(x) else x)

    return cell


def _limit(t: TensorReport) -> Cell:
    x = t.detection_limit
    return Cell(size(x, 1), x) if math.isfinite(x) else Cell(NOTHING, None)


def _worst(t: TensorReport) -> Cell:
    if t.worst is None:
        return Cell(NOTHING, None)
    return Cell(f"[{', '.join(map(str, t.worst.index))}]", None)


_SHAPE = Column("shape", lambda t: Cell(shape_of(t.shape), t.size))
_ENTRIES = Column("entries", _whole(lambda t: t.size))
_LOOKED_AT = Column("looked at", _whole(lambda t: t.checked), "", "entries looked at one by one")
_LIMIT = Column(
    "detection limit",
    _limit,
    "",
    "the smallest error of the tensor's gradient, relative to it in the Euclidean norm, "
    "that would have been caught",
)
_AGREE, _ATTAINABLE = "digits agree", "digits attainable"
_OF_ENTRIES = (
    Column("min", _digits(lambda t: t.digits_agree.minimum), _AGREE),
    Column("med", _digits(lambda t: t.digits_agree.median), _AGREE),
    Column("max", _digits(lambda t: t.digits_agree.maximum), _AGREE),
    Column("min", _digits(lambda t: t.digits_attainable.minimum), _ATTAINABLE),
    Column("med", _digits(lambda t: t.digits_attainable.median), _ATTAINABLE),
    Column("max", _digits(lambda t: t.digits_attainable.maximum), _ATTAINABLE),
    Column("at a kink", _counted(lambda t: t.counts.get("kink", 0))),
    Column("signs differ", _counted(lambda t: t.sign_mismatches), "", "entries of opposite signs"),
    Column("norm ratio", _measured(lambda t: t.norm_ratio), "", "norm(g - n) / norm(g + n)"),
    Column(
        "max rel. error",
        _measured(lambda t: t.max_relative_error),
        "",
        "the largest |g - n| / max(|g|, |n|)",
    ),
    Column("worst entry", _worst),
)
