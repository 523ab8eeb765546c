"""The columns of a table of entries: checked as they come in, and those computed from others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradproof._errors import InputError
from gradproof.numerics import agreement
from gradproof.report.entry import VERDICTS

if TYPE_CHECKING:
    from gradproof.report.entries import Entries

#: What is stored; everything else follows from it.
FLOATS = ("value", "analytic", "numeric", "error", "rounding")
CODES = ("tensor_code", "flat_index", "verdict_code", "reason_code")

_NAMED_IN_ERRORS = 20


def as_column(name: str, given: ArrayLike, rows: int) -> NDArray[Any]:
    """A read-only copy of a column that is stored, in its type.

    Raises:
        InputError: it has another number of rows, or holds something else.
    """
    array = np.asarray(given)
    if array.shape != (rows,):
        raise InputError(f"Expected {name} of shape ({rows},) but got shape {array.shape}")
    wanted = np.dtype(np.float64 if name in FLOATS else np.intp)
    if rows and not np.can_cast(array.dtype, wanted, "same_kind"):
        raise InputError(f"Expected {name} of {wanted} but got {array.dtype}")
    column = array.astype(wanted)  # a copy, so that nobody else can write to it
    column.setflags(write=False)
    return column


def demand_below(name: str, codes: NDArray[np.integer[Any]], limit: int | NDArray[np.intp]) -> None:
    """Refuse codes that are negative, or not below the limit.

    Raises:
        InputError: one is; the message names the row.
    """
    wrong = np.flatnonzero((codes < 0) | (codes >= limit))
    if wrong.size:
        row = int(wrong[0])
        most = int(np.broadcast_to(limit, codes.shape)[row]) - 1
        raise InputError(f"Expected {name} from 0 to {most} but got {codes[row]} in row {row}")


def codes_of(what: str, labels: Sequence[str] | ArrayLike, known: Sequence[str]) -> NDArray[Any]:
    """The places of labels among those known; codes as they are.

    Raises:
        InputError: a label is not known.
    """
    # Python strings, not a NumPy array of them: one long name would widen every cell.
    if isinstance(labels, str):
        labels = np.array(labels, object)
    array = np.asarray(labels, None if isinstance(labels, np.ndarray) else object)
    if not array.size or not isinstance(array.flat[0], str):
        return np.asarray(labels)
    code_of = {label: code for code, label in enumerate(known)}
    try:
        return np.array([code_of[label] for label in array.ravel().tolist()]).reshape(array.shape)
    except KeyError as unknown:
        more = ", ..." if len(known) > _NAMED_IN_ERRORS else ""
        some = ", ".join(map(repr, known[:_NAMED_IN_ERRORS]))
        raise InputError(f"Expected {what} in [{some}{more}] but got {unknown}") from None


def index_lists(table: Entries) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Indices of all rows one after another: where each begins, (rows + 1,), and their numbers."""
    ranks = np.array([len(shape) for shape in table.shapes], np.int64)
    offsets = np.concatenate([[0], np.cumsum(ranks[table.tensor_code])])
    numbers = np.empty(int(offsets[-1]), np.int64)
    for code, shape in enumerate(table.shapes):
        rows = np.flatnonzero(table.tensor_code == code)
        axes = np.unravel_index(table.flat_index[rows], shape) if shape else ()
        for k, axis in enumerate(axes):
            numbers[offsets[rows] + k] = axis
    return offsets.astype(np.int32), numbers


def _index_tuples(table: Entries) -> NDArray[Any]:
    column = np.empty(len(table), object)
    for code, shape in enumerate(table.shapes):
        rows = np.flatnonzero(table.tensor_code == code)
        axes = np.unravel_index(table.flat_index[rows], shape) if shape else ()
        tuples = zip(*(axis.tolist() for axis in axes), strict=True) if axes else [()] * len(rows)
        column[rows] = _objects(tuples, len(rows))
    return column


def _difference(table: Entries) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):  # infinity - infinity is a NaN to show, not to warn of
        return table.analytic - table.numeric


def _same_sign(table: Entries) -> NDArray[np.bool_]:
    # Not strictly opposite: a 0 agrees with either sign, a NaN with none.
    with np.errstate(invalid="ignore"):
        same: NDArray[np.bool_] = np.sign(table.analytic) * np.sign(table.numeric) >= 0.0
    return same


#: The columns that are computed when they are asked for.
DERIVED: dict[str, Callable[[Entries], NDArray[Any]]] = {
    "tensor": lambda t: _objects(t.names, len(t.names))[t.tensor_code],
    "index": _index_tuples,
    "difference": _difference,
    "same_sign": _same_sign,
    "relative_error": lambda t: agreement.relative_error(t.analytic, t.numeric),
    "digits_agree": lambda t: agreement.digits_agree(t.analytic, t.numeric),
    "digits_attainable": lambda t: agreement.digits_attainable(t.numeric, t.error),
    "verdict": lambda t: np.array(VERDICTS)[t.verdict_code],
    "reason": lambda t: _objects(t.reasons, len(t.reasons))[t.reason_code],
}


def _objects(items: Iterable[object], count: int) -> NDArray[Any]:
    # One object per cell: np.array would take a list of tuples apart into more dimensions.
    return np.fromiter(items, object, count)
