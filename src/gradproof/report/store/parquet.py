"""Entries as Parquet, which other programs read as a table of their own (the extra `store`).

A row for every entry, with the columns `table`, `tensor`, `index` (a list), `value`, `analytic`,
`numeric`, `error`, `rounding`, `verdict` and `reason`. gradproof itself reads the numbers and the
codes behind them alone: whatever else stands in the file, no string or metadata of it is decoded.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.entry_columns import FLOATS, index_lists
from gradproof.report.store.columns import (
    ALL,
    Columns,
    columns_of,
    is_numeric,
    rows_of,
)

#: Rows of a group, and the bytes that a column may take for a row and for its pages' headers.
GROUP, WIDEST, HEADERS = 1 << 17, 16, 1 << 20


def write(tables: Sequence[Entries]) -> bytes:
    """The file's content.

    Raises:
        InputError: pyarrow is not installed.
    """
    arrow, parquet = _pyarrow()
    text = arrow.dictionary(arrow.int32(), arrow.string())
    types = {
        "table": arrow.int32(),
        "tensor": text,
        "index": arrow.list_(arrow.int64()),
        **{name: arrow.float64() for name in FLOATS},
        "verdict": text,
        "reason": text,
        "tensor_code": arrow.int64(),
        "flat_index": arrow.int64(),
        "verdict_code": arrow.uint8(),
        "reason_code": arrow.int64(),
    }
    schema = arrow.schema([arrow.field(name, kind, nullable=False) for name, kind in types.items()])
    buffer = io.BytesIO()
    # Numbers as they are: in a dictionary 0 and -0 might become one.
    strings = ["tensor", "verdict", "reason"]
    with parquet.ParquetWriter(
        buffer, schema, compression="zstd", use_dictionary=strings
    ) as writer:
        for number, entries in enumerate(tables):
            columns = {
                **{name: arrow.array(column) for name, column in columns_of(entries).items()},
                "table": arrow.array(np.full(len(entries), number, np.int32)),
                "tensor": _dictionary(arrow, entries.tensor_code, entries.names),
                "verdict": _dictionary(arrow, entries.verdict_code, VERDICTS),
                "reason": _dictionary(arrow, entries.reason_code, entries.reasons),
                "index": arrow.ListArray.from_arrays(*map(arrow.array, index_lists(entries))),
            }
            arrays = [columns[name].cast(kind) for name, kind in types.items()]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema), GROUP)
    return buffer.getvalue()


class ParquetReader:
    """Reads all tables at once, when the first is asked for."""

    def __init__(self, content: bytes, rows: Sequence[int] | None) -> None:
        if rows is None:
            raise InputError("Expected rows beside the name of a .parquet")
        self._content = content
        self._rows = rows
        self._read: Columns | None = None

    def columns(self, table: int, most: int) -> Columns:
        """The columns of one table.

        Raises:
            InputError: they are missing, damaged, or larger than the document says, or pyarrow is
                not installed.
        """
        rows = rows_of(self._rows, table) or 0
        if self._read is None:
            self._read = self._all()
        first = sum(self._rows[:table])
        part = slice(first, first + rows)
        if not np.all(self._read["table"][part] == table):
            raise InputError(f"Expected the rows of table {table} together, from row {first} on")
        return {name: self._read[name][part] for name in ALL}

    def _all(self) -> Columns:
        arrow, parquet = _pyarrow()
        wanted = ("table", *ALL)
        try:
            file = parquet.ParquetFile(io.BytesIO(self._content))
            _demand_sizes(file.metadata, sum(self._rows), wanted)
            table = file.read(columns=list(wanted), use_threads=False)
            return {name: _numbers(table.column(name), name) for name in wanted}
        except (arrow.ArrowException, OSError, KeyError) as error:
            raise InputError(str(error)) from error


def _demand_sizes(metadata: Any, rows: int, wanted: Iterable[str]) -> None:
    """Before any of it is unpacked: rows as stated, and no more bytes than these can take."""
    if metadata.num_rows != rows:
        raise InputError(f"Expected {rows} rows but got {metadata.num_rows}")
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    if any(group.num_rows < 0 for group in groups) or sum(g.num_rows for g in groups) != rows:
        raise InputError(f"Expected {rows} rows in the groups")
    sizes = dict.fromkeys(wanted, 0)
    for group in groups:
        for k in range(group.num_columns):
            chunk = group.column(k)
            if chunk.path_in_schema not in sizes:
                continue
            if chunk.num_values != group.num_rows:
                raise InputError(f"Expected {group.num_rows} numbers in {chunk.path_in_schema}")
            if chunk.total_uncompressed_size > WIDEST * group.num_rows + HEADERS:
                raise InputError(f"Expected numbers of 8 bytes in {chunk.path_in_schema}")
            sizes[chunk.path_in_schema] += 1
    missing = [name for name, count in sizes.items() if count != len(groups)]
    if missing:
        raise InputError(f"Expected a column {missing[0]}")


def _numbers(column: Any, name: str) -> NDArray[Any]:
    if column.null_count:
        raise InputError(f"Expected no gaps in column {name}")
    numbers: NDArray[Any] = column.to_numpy()
    if not is_numeric(name, numbers.dtype):
        raise InputError(f"Expected numbers in column {name}")
    return numbers


def _dictionary(arrow: Any, codes: NDArray[Any], texts: Sequence[str]) -> Any:
    # Half of a surrogate pair has no UTF-8 and is written out; a dictionary has no text twice.
    shown = [text.encode("utf-8", "backslashreplace").decode("utf-8") for text in texts]
    code_of = {text: code for code, text in enumerate(dict.fromkeys(shown))}
    new = np.array([code_of[text] for text in shown], np.int32)
    known = arrow.array(list(code_of), arrow.string())
    return arrow.DictionaryArray.from_arrays(arrow.array(new[codes]), known)


def _pyarrow() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError("a .parquet needs pyarrow: pip install 'gradproof[store]'") from None
