"""Entries as the page's script reads them: base64 of little-endian arrays, in JSON.

What a table of 100,000 entries needs is small and quick to read this way: it is decoded when a
tensor is opened, and nothing of it becomes an element of the page before it is shown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.escape import NAME, SENTENCE, one_line
from gradproof.report.model import Report

#: Entries in one page; of more, the worst of each tensor are in it. It has about 70 bytes for each.
MOST_ENTRIES = 200_000
#: Letters of a tensor's name where it is shown in full.
FULL_NAME = 2000
#: Bins of the histograms, one digit wide; 15.95 digits are the most there are.
BINS = 16

_TYPES = {"f8": "<f8", "f4": "<f4", "u4": "<u4", "u2": "<u2", "u1": "<u1"}
#: Columns of numbers that are computed here once, so that the script needs no formulas for them.
_DERIVED = ("relative_error", "digits_agree", "digits_attainable")
_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def script_json(value: object) -> str:
    r"""JSON that can stand in a script element: ASCII, and nothing in it ends the element.

    >>> script_json({"a": "</script>"})
    '{"a":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.translate(_HTML)


def most_of_each(counts: Sequence[int], limit: int) -> int:
    """How many rows each tensor may have so that together they have at most `limit`.

    >>> most_of_each([10, 1000, 5000], 2000)
    995
    >>> most_of_each([10, 1000], 2000)
    1000
    """
    left, share = limit, 0
    ascending = sorted(counts)
    for i, rows in enumerate(ascending):
        share = left // (len(ascending) - i)
        if rows > share:
            return share
        left -= rows
    return max(ascending, default=0)


def rows_of_each(report: Report) -> list[int]:
    """The number of entries of each tensor in the table of entries."""
    entries = report.entries
    return [int(n) for n in np.bincount(entries.tensor_code, minlength=len(entries.names))]


def pack(report: Report, most: int) -> dict[str, Any]:
    """The entries, at most so many of each tensor, and what the script has to know of tensors."""
    parts = _by_tensor(report.entries)
    nothing = report.entries[:0]
    tensors, kept = [], []
    start = 0
    for name, tensor in report.tensors.items():
        whole = parts.get(name, nothing)
        part = whole.worst(most) if len(whole) > most else whole
        about = {
            "name": one_line(name, NAME),
            "full_name": one_line(name, FULL_NAME),
            "shape": list(tensor.shape),
            "verdict": tensor.verdict,
            "reason": one_line(tensor.reason, SENTENCE),
            "looked_at": len(whole),
            "start": start,
            "stop": start + len(part),
            "agree": _histogram(whole["digits_agree"]),
            "attainable": _histogram(whole["digits_attainable"]),
        }
        tensors.append(about)
        kept.append(part)
        start += len(part)
    return {
        "rows": start,
        "verdicts": list(VERDICTS),
        "reasons": [one_line(reason, SENTENCE) for reason in report.entries.reasons],
        "tensors": tensors,
        "columns": _columns(kept) if start else {},
    }


def _by_tensor(entries: Entries) -> dict[str, Entries]:
    """The rows of each tensor that has any."""
    grouped = entries.sort("tensor")
    edges = np.searchsorted(grouped.tensor_code, np.arange(len(entries.names) + 1)).tolist()
    pairs = zip(entries.names, edges[:-1], edges[1:], strict=True)
    return {name: grouped[start:stop] for name, start, stop in pairs if stop > start}


def _histogram(digits: NDArray[np.float64]) -> list[int]:
    """How many entries have 0 to 1 digits, 1 to 2, ..., 15 to 16."""
    bins = np.bincount(np.clip(digits, 0, BINS - 1).astype(np.intp), minlength=BINS)
    return [int(n) for n in bins]


def _columns(parts: Sequence[Entries]) -> dict[str, Any]:
    def joined(get: Callable[[Entries], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([get(part) for part in parts])

    flat = joined(lambda part: part.flat_index)
    columns = {
        "flat": _column(flat, "u4" if int(flat.max()) < 2**32 else "f8"),
        "verdict": _column(joined(lambda part: part.verdict_code), "u1"),
        "reason": _column(joined(lambda part: part.reason_code), "u4"),
    }
    for name in ("value", "analytic", "numeric", "error", "rounding"):
        columns[name] = _column(joined(itemgetter(name)), "f8")
    for name in _DERIVED:
        columns[name] = _column(joined(itemgetter(name)), "f4")
    return columns


def _column(values: NDArray[Any], kind: str) -> dict[str, str]:
    array = np.ascontiguousarray(values, _TYPES[kind])
    if array.size and bool(np.all(array == array[0])):
        array = array[:1]  # the script repeats it
    return {"type": kind, "data": base64.b64encode(array.tobytes()).decode("ascii")}
