"""The columns of entries that are stored, and what a file beside the document must hold of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.report.entries import Entries
from gradproof.report.entry_columns import CODES, FLOATS

ALL = (*CODES, *FLOATS)

Columns = dict[str, NDArray[Any]]


class Reader(Protocol):
    """A file of entries, of which `columns` reads one of the tables.

    The document says how many rows a table has, or, in version 1, how many entries there are of
    which it has at most all, `most`: more are refused before memory is taken for them.
    """

    def columns(self, table: int, most: int) -> Columns:
        """The columns of one table."""


def columns_of(entries: Entries) -> Columns:
    """The columns that say all there is about some entries."""
    return {name: getattr(entries, name) for name in ALL}


def demand_rows(rows: int, expected: int | None, most: int, table: int) -> None:
    """Refuse a table of other than `expected` rows, or where that is None of more than `most`.

    Raises:
        InputError: it is.
    """
    if expected is not None and rows != expected:
        raise InputError(f"Expected {expected} rows in table {table} but got {rows}")
    if expected is None and not 0 <= rows <= most:
        raise InputError(f"Expected at most {most} rows in table {table} but got {rows}")


def rows_of(rows: Sequence[int] | None, table: int) -> int | None:
    """How many rows the document says a table has; None where it says nothing (version 1)."""
    if rows is None:
        return None
    if not 0 <= table < len(rows):
        raise InputError(f"Expected a table from 0 to {len(rows) - 1} but got {table}")
    return rows[table]


def is_numeric(name: str, dtype: np.dtype[Any]) -> bool:
    """Whether a column may have this type: floats or integers of 8 bytes at most."""
    return dtype.kind in ("f" if name in FLOATS else "iu") and dtype.itemsize <= 8
