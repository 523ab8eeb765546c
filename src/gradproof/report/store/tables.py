"""Tables of entries on their way into a document, and out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradproof._errors import InputError
from gradproof.report import codec
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.entry_columns import CODES, FLOATS
from gradproof.report.store.columns import ALL, Columns, Reader, columns_of


@dataclass
class Writer:
    """Packs tables: as lists, or `beside` the document, which then has their numbers."""

    is_inline: bool = True
    beside: list[Entries] = field(default_factory=list)

    def pack(self, entries: Entries) -> dict[str, Any]:
        """A table as plain JSON values."""
        plain: dict[str, Any] = {
            "names": list(entries.names),
            "shapes": [list(shape) for shape in entries.shapes],
            "reasons": list(entries.reasons),
            "verdicts": list(VERDICTS),
        }
        if self.is_inline:
            plain["columns"] = {
                name: [codec.plain_float(x) if name in FLOATS else x for x in column.tolist()]
                for name, column in columns_of(entries).items()
            }
        else:
            plain["table"] = len(self.beside)
            self.beside.append(entries)
        return plain


def unpack(plain: Any, reader: Reader | None) -> Entries:
    """The table that a `Writer` packed; `reader` has those that stand beside.

    Raises:
        InputError: something else stands there.
    """
    where = "entries"
    found = codec.demand(plain, dict, where)
    lists: dict[str, list[Any]] = {
        key: codec.demand(found.get(key), list, f"{where}.{key}")
        for key in ("names", "shapes", "reasons", "verdicts")
    }
    for key in ("names", "reasons", "verdicts"):
        for text in lists[key]:
            codec.demand(text, str, f"{where}.{key}")
    shapes = [
        tuple(
            codec.demand(n, int, f"{where}.shapes")
            for n in codec.demand(shape, list, f"{where}.shapes")
        )
        for shape in lists["shapes"]
    ]
    if "table" in found:
        table = codec.demand(found["table"], int, f"{where}.table")
        if reader is None:
            raise InputError(f"Expected a file beside it with table {table}")
        columns = reader.columns(table, sum(map(math.prod, shapes)))
    else:
        columns = _inline(codec.demand(found.get("columns"), dict, f"{where}.columns"))
    columns["verdict_code"] = _verdict_codes(columns["verdict_code"], lists["verdicts"])
    return Entries(
        names=tuple(lists["names"]),
        shapes=tuple(shapes),
        reasons=tuple(lists["reasons"]),
        **columns,
    )


def _inline(given: dict[str, Any]) -> Columns:
    columns: Columns = {}
    for name in ALL:
        where = f"entries.columns.{name}"
        cells = codec.demand(given.get(name), list, where)
        if name in CODES:
            columns[name] = np.array([codec.demand(x, int, where) for x in cells], np.intp)
        else:
            columns[name] = np.array([codec.read_float(x, where) for x in cells], np.float64)
    return columns


def _verdict_codes(theirs: Any, verdicts: list[str]) -> Any:
    """The codes of this version, for those of the version that wrote the file."""
    code_of = {verdict: code for code, verdict in enumerate(VERDICTS)}
    if not set(verdicts) <= set(VERDICTS):
        raise InputError(f"Expected verdicts in {VERDICTS} but got {verdicts!r:.60}")
    codes = np.array([code_of[verdict] for verdict in verdicts], np.intp)
    if theirs.size and not 0 <= theirs.min() <= theirs.max() < codes.size:
        raise InputError(f"Expected verdict_code from 0 to {codes.size - 1}")
    return codes[theirs]
