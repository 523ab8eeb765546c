"""Tables of entries for pandas and Arrow, which are imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gradproof.report.entry_columns import index_lists

if TYPE_CHECKING:
    import pandas
    import pyarrow

    from gradproof.report.entries import Entries


def to_pandas(entries: Entries) -> pandas.DataFrame:
    """See `Entries.to_pandas`."""
    frame = _need("pandas", "Entries.to_pandas()").DataFrame
    return frame({name: entries[name].copy() for name in entries.columns})


def to_arrow(entries: Entries) -> pyarrow.Table:
    """See `Entries.to_arrow`."""
    arrow = _need("pyarrow", "Entries.to_arrow()")
    columns = {name: arrow.array(entries[name]) for name in entries.columns if name != "index"}
    columns["index"] = arrow.ListArray.from_arrays(*map(arrow.array, index_lists(entries)))
    return arrow.table({name: columns[name] for name in entries.columns})


def _need(package: str, method: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ImportError(f"{method} needs {package}: pip install {package}") from None
