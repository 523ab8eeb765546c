"""Result files: JSON with a format version, and the entries in an .npz beside it if they are many.

Reading executes nothing: JSON and arrays of numbers, no pickle. Format 1:

    {"format": "gradproof-report", "version": 1, "gradproof": "0.1.0",
     "entries_file": null or {"name": "result.entries-0123456789ab.npz", "sha256": "..."},
     "results": [{"name": ..., "file": ..., "line": ..., "report": {fields of Report}}]}

Entries hold `names`, `shapes`, `reasons`, `verdicts` (what the codes of that file mean) and either
the `columns` as lists or, as `table`, the number of their columns in the .npz ("0.value").
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.report import codec
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.model import Report
from gradproof.report.writing import write_whole

FORMAT, VERSION = "gradproof-report", 1
#: With more rows than this in all, the entries stand in a file of their own.
MOST_INLINE = 2000

_FLOATS = ("value", "analytic", "numeric", "error", "rounding")
_INTEGERS = ("tensor_code", "flat_index", "verdict_code", "reason_code")
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Result:
    """A report, what was checked, and where that is written; `file` is None where nobody said.

    `reproduce` is the line for a shell that makes the same check again.
    """

    name: str
    report: Report
    file: str | None = None
    line: int | None = None
    reproduce: str | None = None


@dataclass
class _Tables:
    """Tables of entries on their way into a document, or out of it."""

    is_inline: bool = True
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    count: int = 0

    def pack(self, entries: Entries) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "names": list(entries.names),
            "shapes": [list(shape) for shape in entries.shapes],
            "reasons": list(entries.reasons),
            "verdicts": list(VERDICTS),
        }
        columns = {name: getattr(entries, name) for name in (*_INTEGERS, *_FLOATS)}
        if self.is_inline:
            plain["columns"] = {
                name: [codec.plain_float(x) if name in _FLOATS else x for x in column.tolist()]
                for name, column in columns.items()
            }
        else:
            plain["table"] = self.count
            self.arrays |= {f"{self.count}.{name}": column for name, column in columns.items()}
        self.count += 1
        return plain

    def unpack(self, plain: Any) -> Entries:
        where = "entries"
        found = codec.demand(plain, dict, where)
        lists: dict[str, list[Any]] = {
            key: codec.demand(found.get(key), list, f"{where}.{key}")
            for key in ("names", "shapes", "reasons", "verdicts")
        }
        for key in ("names", "reasons", "verdicts"):
            for text in lists[key]:
                codec.demand(text, str, f"{where}.{key}")
        shapes = codec.from_plain(lists["shapes"], tuple[tuple[int, ...], ...], self.unpack, where)
        columns = self._columns(found)
        code_of = {verdict: code for code, verdict in enumerate(VERDICTS)}
        if not set(lists["verdicts"]) <= set(VERDICTS):
            raise InputError(f"Expected verdicts in {VERDICTS} but got {lists['verdicts']!r:.60}")
        codes = np.array([code_of[verdict] for verdict in lists["verdicts"]], np.intp)
        theirs = columns["verdict_code"]
        if theirs.size and not 0 <= theirs.min() <= theirs.max() < codes.size:
            raise InputError(f"Expected verdict_code from 0 to {codes.size - 1}")
        columns["verdict_code"] = codes[theirs]
        return Entries(
            names=tuple(lists["names"]), shapes=shapes, reasons=tuple(lists["reasons"]), **columns
        )

    def _columns(self, found: dict[str, Any]) -> dict[str, NDArray[Any]]:
        if "table" in found:
            number = codec.demand(found["table"], int, "entries.table")
            missing = [n for n in (*_INTEGERS, *_FLOATS) if f"{number}.{n}" not in self.arrays]
            if missing:
                raise InputError(f"Expected a column {number}.{missing[0]} but it is missing")
            columns = {n: self.arrays[f"{number}.{n}"] for n in (*_INTEGERS, *_FLOATS)}
            for name, column in columns.items():
                kinds = "f" if name in _FLOATS else "iu"
                if column.ndim != 1 or column.dtype.kind not in kinds:
                    raise InputError(f"Expected numbers in column {number}.{name}")
            return columns
        given = codec.demand(found.get("columns"), dict, "entries.columns")
        columns = {}
        for name in (*_INTEGERS, *_FLOATS):
            where = f"entries.columns.{name}"
            cells = codec.demand(given.get(name), list, where)
            if name in _FLOATS:
                columns[name] = np.array([codec.read_float(x, where) for x in cells], np.float64)
            else:
                whole = [codec.demand(x, int, where) for x in cells]
                columns[name] = np.array(whole, np.intp)
        return columns


def save(report: Report, path: str | os.PathLike[str]) -> None:
    """Write a report to a file that `load` reads; see `Report.save`."""
    save_results([Result("", report)], path)


def load(path: str | os.PathLike[str], case: str | None = None) -> Report:
    """The report that `Report.save` or `gradproof check --save` wrote. It executes nothing.

    Evidence of findings comes back as plain numbers, strings, lists and dicts; all else as it was.

    Args:
        path: the JSON file. If the entries are many they are read from the .npz beside it.
        case: which report, where the command line saved those of several cases.

    Raises:
        InputError: it is not such a file, of a later version, or damaged.
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
    return _document(_plain(results, _Tables()), None)


def save_results(results: Sequence[Result], path: str | os.PathLike[str]) -> None:
    """Write several reports to one file. Killed at any moment, it leaves the old or the new one."""
    final = Path(os.path.realpath(path))
    stem = final.name.removesuffix(".json")
    is_inline = sum(_rows(result.report) for result in results) <= MOST_INLINE
    tables = _Tables(is_inline)
    plain = _plain(results, tables)
    reference = None
    if not is_inline:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **tables.arrays)  # type: ignore[arg-type]
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        # Named by what is in it: as long as the old document stands, so do its entries.
        reference = {"name": f"{stem}.entries-{digest[:12]}.npz", "sha256": digest}
        write_whole(final.with_name(reference["name"]), buffer.getvalue())
    old = _entries_beside(final, stem)
    write_whole(path, _document(plain, reference).encode("ascii"))
    if old is not None and (reference is None or old.name != reference["name"]):
        old.unlink(missing_ok=True)


def _entries_beside(final: Path, stem: str) -> Path | None:
    """The file of entries of the result that stands there, if one does."""
    try:
        name = json.loads(final.read_bytes())["entries_file"]["name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    is_ours = isinstance(name, str) and re.fullmatch(
        r"\.entries-[0-9a-f]{12}\.npz", name[len(stem) :]
    )
    return final.with_name(name) if is_ours and name.startswith(stem) else None


def load_results(path: str | os.PathLike[str]) -> list[Result]:
    """All reports in a file, with what they are reports of; raises as `load` does."""
    content = Path(path).read_bytes()
    try:
        return _read(content, Path(path).parent)
    except InputError as error:
        raise InputError(f"{os.fspath(path)!r} cannot be read: {error}") from error


def _plain(results: Sequence[Result], tables: _Tables) -> list[Any]:
    return [codec.to_plain(result, Result, tables.pack) for result in results]


def _document(results: list[Any], entries_file: dict[str, str] | None) -> str:
    document = {
        "format": FORMAT,
        "version": VERSION,
        "gradproof": version("gradproof"),
        "entries_file": entries_file,
        "results": results,
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _rows(report: Report) -> int:
    return len(report.entries) + sum(_rows(term) for term in report.terms.values())


def _read(content: bytes, folder: Path) -> list[Result]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no JSON, or not all of it is there ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"it is no result of gradproof's (format {FORMAT!r})")
    if document.get("version") != VERSION:
        found = repr(document.get("version"))[:20]
        raise InputError(
            f"its format is version {found}, and this gradproof reads version {VERSION}"
        )
    tables = _Tables(arrays=_arrays(document.get("entries_file"), folder))
    try:
        results: list[Result] = [
            codec.from_plain(result, Result, tables.unpack, f"results[{i}]")
            for i, result in enumerate(codec.demand(document.get("results"), list, "results"))
        ]
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(str(error)) from error
    if not results:
        raise InputError("it holds no result")
    return results


def _arrays(reference: Any, folder: Path) -> dict[str, NDArray[Any]]:
    if reference is None:
        return {}
    found = codec.demand(reference, dict, "entries_file")
    name = codec.demand(found.get("name"), str, "entries_file.name")
    if not name.endswith(".npz") or {"/", "\\", "\0", ":"} & set(name):
        raise InputError(f"Expected the name of a file beside it but got entries_file={name!r:.60}")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise InputError(f"its entries, {name!r}, are not beside it ({error})") from error
    if hashlib.sha256(content).hexdigest() != found.get("sha256"):
        raise InputError(f"its entries, {name!r}, are damaged, or those of another result")
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except _UNREADABLE as error:
        raise InputError(f"its entries, {name!r}, cannot be read ({error})") from error
