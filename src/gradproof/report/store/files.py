"""Writing and reading result files."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from gradproof._errors import InputError
from gradproof.report import codec
from gradproof.report.entries import Entries
from gradproof.report.escape import one_line
from gradproof.report.model import Report
from gradproof.report.store import document, npz, parquet
from gradproof.report.store.columns import Reader
from gradproof.report.store.document import Result
from gradproof.report.store.tables import Writer
from gradproof.report.writing import write_whole

EntriesFormat = Literal["npz", "parquet"]

#: With more rows than this in all, the entries stand in a file of their own.
MOST_INLINE = 2000

_WRITERS: dict[str, Callable[[Sequence[Entries]], bytes]] = {
    "npz": npz.write,
    "parquet": parquet.write,
}
_READERS: dict[str, Callable[[bytes, Sequence[int] | None], Reader]] = {
    "npz": npz.NpzReader,
    "parquet": parquet.ParquetReader,
}


def save(report: Report, path: str | os.PathLike[str], entries: EntriesFormat = "npz") -> None:
    """Write a report to a file that `load` reads; see `Report.save`."""
    save_results([Result("", report)], path, entries)


def load(path: str | os.PathLike[str], case: str | None = None) -> Report:
    """The report that `Report.save` or `gradproof check --save` wrote. It executes nothing.

    Evidence of findings comes back as plain numbers, strings, lists, tuples and dicts; all else as
    it was.

    Args:
        path: the JSON file. If the entries are many they are read from the file beside it.
        case: which report, where the command line saved those of several cases.

    Raises:
        InputError: it is not such a file, of a later version, or damaged; or its entries need
            pyarrow, which is not installed.
        OSError: it cannot be opened.
    """
    results = load_results(path)
    if case is None and len(results) == 1:
        return results[0].report
    for result in results:
        if result.name == case:
            return result.report
    names = ", ".join(repr(result.name) for result in results)
    raise InputError(f"Expected case to be one of {names} but got case={case!r}")


def dump_results(results: Sequence[Result]) -> str:
    """The JSON document with all entries in it, in ASCII."""
    return document.text(document.plain_results(results, Writer()), None)


def save_results(
    results: Sequence[Result],
    path: str | os.PathLike[str],
    entries: EntriesFormat = "npz",
) -> None:
    """Write several reports to one file. Killed at any moment, it leaves the old or the new one.

    Args:
        results: the reports and their names.
        path: the JSON file.
        entries: the format of the file beside it. With "npz" there is one if the entries are more
            than 2,000, with "parquet" if there are any. Beside what is no ordinary file, such as
            /dev/stdout, there is none.

    Raises:
        InputError: `entries` is something else, or needs pyarrow, which is not installed.
        OSError: it cannot be written.
    """
    if entries not in get_args(EntriesFormat):
        raise InputError(f"Expected entries to be 'npz' or 'parquet' but got entries={entries!r}")
    final = Path(os.path.realpath(path))
    stem = final.name.removesuffix(".json")
    is_ordinary = final.is_file() or not final.exists()
    most = MOST_INLINE if entries == "npz" else 0
    rows = sum(_rows(result.report) for result in results)
    writer = Writer(is_inline=rows <= most or not is_ordinary)
    plain = document.plain_results(results, writer)
    reference: dict[str, Any] | None = None
    if not writer.is_inline:
        content = _WRITERS[entries](writer.beside)
        digest = hashlib.sha256(content).hexdigest()
        # Named by what is in it: as long as the old document stands, so do its entries.
        name = f"{stem}.entries-{digest[:12]}.{entries}"
        lengths = [len(table) for table in writer.beside]
        reference = {"name": name, "sha256": digest, "rows": lengths}
        write_whole(final.with_name(name), content)
    # Only of an ordinary file: to read a pipe or a device may never end.
    old = _entries_beside(final, stem) if is_ordinary else None
    write_whole(path, document.text(plain, reference).encode("ascii"))
    if old is not None and (reference is None or old.name != reference["name"]):
        old.unlink(missing_ok=True)


def read_results(text: str) -> list[Result]:
    """All reports in a document of `dump_results`, which has its entries in it.

    Raises:
        InputError: it is something else, of a later version, or damaged.
    """
    found = document.parse(text.encode("utf-8", "surrogatepass"))
    if found.get("entries_file") is not None:
        raise InputError("Expected a document with its entries in it but got one beside a file")
    return document.results_in(found, None)


def load_results(path: str | os.PathLike[str]) -> list[Result]:
    """All reports in a file, with what they are reports of; raises as `load` does."""
    content = Path(path).read_bytes()
    try:
        found = document.parse(content)
        reader = _reader(found.get("entries_file"), Path(path))
        return document.results_in(found, reader)
    except InputError as error:
        # A library's words about damage may be as long as the file.
        why = one_line(str(error))
        raise InputError(f"{os.fspath(path)!r} cannot be read: {why}") from error


def _entries_beside(final: Path, stem: str) -> Path | None:
    """The file of entries of the result that stands there, if one does."""
    try:
        name = json.loads(final.read_bytes())["entries_file"]["name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_ours = isinstance(name, str) and re.fullmatch(
        r"\.entries-[0-9a-f]{12}\.(npz|parquet)", name[len(stem) :]
    )
    return final.with_name(name) if is_ours and name.startswith(stem) else None


def _rows(report: Report) -> int:
    return len(report.entries) + sum(_rows(term) for term in report.terms.values())


class _Named:
    """A reader whose errors name its file."""

    def __init__(self, name: str, reader: Reader) -> None:
        self._name = name
        self._reader = reader

    def columns(self, table: int, most: int) -> dict[str, Any]:
        try:
            return self._reader.columns(table, most)
        except InputError as error:
            raise InputError(f"its entries, {self._name!r}, cannot be read ({error})") from error


def _reader(reference: Any, path: Path) -> Reader | None:
    if reference is None:
        return None
    found = codec.demand(reference, dict, "entries_file")
    name = codec.demand(found.get("name"), str, "entries_file.name")
    kind = name.rpartition(".")[2]
    if kind not in _READERS or os.path.basename(name) != name or "\0" in name:
        raise InputError(f"Expected the name of a file beside it but got entries_file={name!r:.60}")
    rows = found.get("rows")
    if rows is not None:
        where = "entries_file.rows"
        rows = [codec.demand(n, int, where) for n in codec.demand(rows, list, where)]
        if min(rows, default=0) < 0:
            raise InputError(f"Expected {where} of 0 or more but got {min(rows)}")
    try:
        content = _read_beside(path, name)
    except OSError as error:
        raise InputError(f"its entries, {name!r}, are not beside it ({error})") from error
    if hashlib.sha256(content).hexdigest() != found.get("sha256"):
        raise InputError(f"its entries, {name!r}, are damaged, or those of another result")
    return _Named(name, _READERS[kind](content, rows))


def _read_beside(path: Path, name: str) -> bytes:
    """The file of that name beside the document, or beside what the document is a link to."""
    try:
        return path.with_name(name).read_bytes()
    except FileNotFoundError:
        return Path(os.path.realpath(path)).with_name(name).read_bytes()
