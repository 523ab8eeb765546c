"""Entries as an .npz: an array for every column of every table, "0.value"."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.report.entries import Entries
from gradproof.report.store.columns import (
    ALL,
    Columns,
    columns_of,
    demand_rows,
    is_numeric,
    rows_of,
)

_DAMAGED = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def write(tables: Sequence[Entries]) -> bytes:
    """The file's content."""
    arrays = {
        f"{number}.{name}": column
        for number, entries in enumerate(tables)
        for name, column in columns_of(entries).items()
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


class NpzReader:
    """Reads tables array by array; of a header that promises too much nothing more is read.

    Not by np.load: it takes the memory that a file asks for before it looks whether that is there.
    """

    def __init__(self, content: bytes, rows: Sequence[int] | None) -> None:
        self._content = content
        self._rows = rows

    def columns(self, table: int, most: int) -> Columns:
        """The columns of one table.

        Raises:
            InputError: they are missing, damaged, or larger than the document says.
        """
        expected = rows_of(self._rows, table)
        try:
            with zipfile.ZipFile(io.BytesIO(self._content)) as archive:
                return {
                    name: _array(archive, f"{table}.{name}", name, expected, most, table)
                    for name in ALL
                }
        except KeyError as error:
            raise InputError(f"Expected a column {error.args[0]}") from error
        except _DAMAGED as error:
            raise InputError(str(error)) from error


def _array(
    archive: zipfile.ZipFile, member: str, name: str, expected: int | None, most: int, table: int
) -> NDArray[Any]:
    info = archive.getinfo(f"{member}.npy")
    if info.compress_type not in _COMPRESSIONS:
        raise InputError(f"Expected deflate in column {member}")
    with archive.open(info) as file:
        rows, dtype = _header(file, member, name)
        demand_rows(rows, expected, most, table)
        content = file.read(rows * dtype.itemsize)
        if len(content) != rows * dtype.itemsize or file.read(1):
            raise InputError(f"Expected {rows} numbers in column {member}")
    return np.frombuffer(content, dtype)


def _header(file: IO[bytes], member: str, name: str) -> tuple[int, np.dtype[Any]]:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise InputError(f"Expected column {member} in npy format 1 or 2 but got {version}")
    shape, _, dtype = _HEADERS[version](file)
    if len(shape) != 1 or not is_numeric(name, dtype):
        raise InputError(f"Expected numbers in column {member}")
    return shape[0], dtype
