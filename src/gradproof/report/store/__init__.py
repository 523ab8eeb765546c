"""Result files: JSON with a format version, and the entries in a file beside it if they are many.

Reading executes nothing: JSON and columns of numbers, no pickle. Format 2:

    {"format": "gradproof-report", "version": 2, "gradproof": "0.1.0",
     "entries_file": null or {"name": "result.entries-0123456789ab.npz", "sha256": "...",
                              "rows": [rows of table 0, rows of table 1, ...]},
     "results": [{"name": ..., "file": ..., "line": ..., "report": {fields of Report}}]}

Entries hold `names`, `shapes`, `reasons`, `verdicts` (what the codes of that file mean) and either
the `columns` as lists or, as `table`, the number of their columns in the other file: the arrays
"0.value" of an .npz, or the rows of a .parquet whose column `table` is 0. Version 1 knew neither
`rows` nor .parquet, and evidence had no tuples; it is read too.
"""

from gradproof.report.store.document import FORMAT, VERSION, Result
from gradproof.report.store.files import (
    EntriesFormat,
    dump_results,
    load,
    load_results,
    read_results,
    save,
    save_results,
)

__all__ = [
    "FORMAT",
    "VERSION",
    "EntriesFormat",
    "Result",
    "dump_results",
    "load",
    "load_results",
    "read_results",
    "save",
    "save_results",
]
