"""The file of entries beside a result: Parquet and npz, bombs, a writer killed, and old files."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradproof
from gradproof import InputError, Report
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.store import (
    EntriesFormat,
    Result,
    dump_results,
    files,
    load_results,
    save_results,
)
from gradproof.report.text import render_text

FORMATS: tuple[EntriesFormat, ...] = ("npz", "parquet")
OLD = Path(__file__).with_name("version_1")
NAMES = ("w", "<script>alert(1)</script>", "a\nb\x00\ud800", "a\nb\x00\\ud800", "x" * 10_000)
SHAPES = ((3, 4), (), (2,), (1, 1, 1), (5,))


@pytest.fixture(scope="module")
def plain() -> Report:
    return gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones(3), np.cos, coverage="full")


def entries_of(count: int) -> Entries:
    """Rows with every kind of float in every column of floats."""
    rng = np.random.default_rng(0)
    odd = np.array([np.nan, np.inf, -np.inf, 1e308, 5e-324, 0.0, -0.0])
    tensor = np.arange(count) % len(NAMES)
    sizes = np.array([math.prod(shape) for shape in SHAPES])
    return Entries.build(
        NAMES,
        SHAPES,
        tensor=tensor,
        flat_index=np.arange(count) % sizes[tensor],
        value=rng.permutation(np.resize(odd, count)),
        analytic=rng.permutation(np.resize(odd, count)),
        numeric=rng.normal(size=count),
        error=rng.permutation(np.resize(odd, count)),
        rounding=np.full(count, -0.0),
        verdict=np.arange(count) % len(VERDICTS),
        reason=[NAMES[k] for k in rng.integers(0, len(NAMES), count)],
    )


@pytest.fixture(scope="module")
def several(plain: Report) -> list[Result]:
    """Three tables, one of them empty and one a term's."""
    many, few = (replace(plain, entries=entries_of(count)) for count in (2500, 7))
    none = replace(plain, entries=Entries.empty(NAMES, SHAPES))
    return [Result("many", replace(many, terms={"few": few})), Result("none", none)]


def beside(folder: Path, stem: str = "r") -> Path:
    (found,) = folder.glob(f"{stem}.entries-*")
    return found


def bits(entries: Entries) -> list[bytes]:
    columns = ("value", "analytic", "numeric", "error", "rounding", "tensor_code", "flat_index")
    return [getattr(entries, name).tobytes() for name in columns]


@pytest.mark.parametrize("kind", FORMATS)
def test_entries_come_back_to_the_bit(
    kind: EntriesFormat, several: list[Result], tmp_path: Path
) -> None:
    save_results(several, tmp_path / "r.json", kind)
    assert beside(tmp_path).suffix == f".{kind}"
    loaded = load_results(tmp_path / "r.json")
    assert dump_results(loaded) == dump_results(several)
    for theirs, ours in zip(loaded, several, strict=True):
        assert bits(theirs.report.entries) == bits(ours.report.entries)
        assert theirs.report.entries == ours.report.entries
        for name in ours.report.terms:
            term = theirs.report.terms[name].entries
            assert bits(term) == bits(ours.report.terms[name].entries)


def test_parquet_is_a_table_of_its_own(several: list[Result], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    save_results(several, tmp_path / "r.json", "parquet")
    frame = pandas.read_parquet(beside(tmp_path))
    entries = several[0].report.entries
    first = frame[frame["table"] == 0]
    assert len(frame) == 2507
    assert str(frame["tensor"].dtype) == "category"
    escaped = [n.encode("utf-8", "backslashreplace").decode() for n in entries["tensor"]]
    assert first["tensor"].tolist() == escaped
    assert [tuple(index) for index in first["index"]] == entries["index"].tolist()
    assert first["verdict"].tolist() == entries["verdict"].tolist()
    for name in ("value", "analytic", "numeric", "error", "rounding"):
        np.testing.assert_array_equal(first[name], entries[name])
    assert "reason" in frame


def test_parquet_is_written_however_few_entries_there_are(plain: Report, tmp_path: Path) -> None:
    plain.save(tmp_path / "r.json", entries="parquet")
    assert beside(tmp_path).suffix == ".parquet"
    assert gradproof.load(tmp_path / "r.json").entries == plain.entries
    certified = replace(plain, entries=Entries.empty(["x"], [(3,)]))
    certified.save(tmp_path / "r.json", entries="parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_a_format_that_there_is_not_is_refused(plain: Report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'npz' or 'parquet' but got entries='csv'"):
        plain.save(tmp_path / "r.json", entries="csv")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_missing_pyarrow_is_named(
    plain: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.save(tmp_path / "r.json", entries="parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for act in (
        lambda: gradproof.load(tmp_path / "r.json"),
        lambda: plain.save(tmp_path / "new.json", entries="parquet"),
    ):
        with pytest.raises(InputError, match=r"pyarrow: pip install 'gradproof\[store\]'"):
            act()
    assert not (tmp_path / "new.json").exists()


def tamper(folder: Path, content: bytes, **changes: Any) -> Path:
    """Put other entries beside r.json, with the right digest."""
    path = folder / "r.json"
    document = json.loads(path.read_bytes())
    beside(folder).write_bytes(content)
    document["entries_file"]["sha256"] = hashlib.sha256(content).hexdigest()
    document["entries_file"].update(changes)
    path.write_text(json.dumps(document))
    return path


def npz_with(content: bytes, member: str, replaced: bytes) -> bytes:
    """The .npz with another array in place of one of its own."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, replaced if name == f"{member}.npy" else old.read(name))
    return buffer.getvalue()


def npy(header: str, body: bytes) -> bytes:
    text = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


BOMB = b"\0" * 50_000_000
HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}"
NPZ_BOMBS: dict[str, tuple[bytes, str]] = {
    "a header that promises too much": (
        npy(HEADER.format("<f8", "(1000000000000,)"), b""),
        "2500 rows",
    ),
    "more than the header says": (npy(HEADER.format("<f8", "(2500,)"), BOMB), "2500 numbers"),
    "less than the header says": (npy(HEADER.format("<f8", "(2500,)"), b""), "2500 numbers"),
    "a negative size": (npy(HEADER.format("<f8", "(-1,)"), BOMB), "2500 rows"),
    "wide cells": (npy(HEADER.format("<U10000", "(2500,)"), BOMB), "Expected numbers"),
    "a matrix": (npy(HEADER.format("<f8", "(2500, 1000000)"), b""), "Expected numbers"),
    "objects": (npy(HEADER.format("|O", "(2500,)"), b""), "Expected numbers"),
}


@pytest.mark.parametrize("name", NPZ_BOMBS)
def test_an_npz_larger_than_the_document_says_is_not_unpacked(
    name: str, several: list[Result], tmp_path: Path
) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    save_results(several, tmp_path / "r.json")
    member, message = NPZ_BOMBS[name]
    path = tamper(tmp_path, npz_with(beside(tmp_path).read_bytes(), "0.error", member))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            gradproof.load(path, "many")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", FORMATS)
def test_other_numbers_of_rows_than_the_document_says_are_refused(
    kind: EntriesFormat, several: list[Result], tmp_path: Path
) -> None:
    save_results(several, tmp_path / "r.json", kind)
    content = beside(tmp_path).read_bytes()
    for rows in ([2500, 8, 0], [2499, 8, 0], [2499, 7], [-1, 2508, 0], [10**30, 0, 0], "2500"):
        with pytest.raises(InputError, match="cannot be read"):
            load_results(tamper(tmp_path, content, rows=rows))
    tamper(tmp_path, content, rows=[2500, 7, 0])
    assert len(load_results(tmp_path / "r.json")) == 2


def parquet_of(columns: dict[str, Any], **options: Any) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns), buffer, **options)
    return buffer.getvalue()


def parquet_bombs() -> dict[str, tuple[bytes, str]]:
    integers = dict.fromkeys(("table", "tensor_code", "flat_index", "reason_code"), [0] * 3)
    floats = dict.fromkeys(("value", "analytic", "numeric", "error", "rounding"), [1.0] * 3)
    right = {**integers, **floats, "verdict_code": np.zeros(3, np.uint8)}
    million = {name: np.zeros(1_000_000) for name in right}
    return {
        "more rows": (parquet_of(million), "Expected 3 rows but got 1000000"),
        "strings": (
            parquet_of({**right, "value": ["x" * 3_000_000] * 3}, use_dictionary=False),
            "Expected numbers of 8 bytes in value",
        ),
        "lists": (parquet_of({**right, "value": [[0.0] * 1_000_000] * 3}), "a column value"),
        "short strings": (parquet_of({**right, "value": ["x"] * 3}), "numbers in column value"),
        "gaps": (parquet_of({**right, "value": [1.0, None, 1.0]}), "no gaps in column value"),
        "a column is missing": (
            parquet_of({name: c for name, c in right.items() if name != "error"}),
            "Expected a column error",
        ),
        "another table": (parquet_of({**right, "table": [0, 1, 0]}), "rows of table 0 together"),
        "another type": (parquet_of({**right, "flat_index": [0.0] * 3}), "in column flat_index"),
        "an index beyond": (parquet_of({**right, "flat_index": [0, 1, 3]}), "flat_index from 0"),
        "no parquet": (b"PAR1" * 10, "cannot be read"),
        "truncated": (parquet_of(right)[:-20], "cannot be read"),
    }


def test_a_parquet_that_is_not_what_the_document_says_is_refused(
    plain: Report, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    plain.save(tmp_path / "r.json", entries="parquet")
    for name, (content, message) in parquet_bombs().items():
        path = tamper(tmp_path, content)
        with pytest.raises(InputError, match=message) as caught:
            gradproof.load(path)
        assert "r.entries-" in str(caught.value) or name == "an index beyond"


def test_damaged_bytes_are_refused(several: list[Result], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in FORMATS:
        save_results(several, tmp_path / "r.json", kind)
        content = bytearray(beside(tmp_path).read_bytes())
        for place in rng.integers(0, len(content), 12):
            damaged = bytes([*content[:place], content[place] ^ 255, *content[place + 1 :]])
            # What is read in spite of it is a table all the same; no other error is raised.
            with suppress(InputError):
                load_results(tamper(tmp_path, damaged))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_disk_that_fails_at_any_write_leaves_the_old_result(
    which: int,
    call: str,
    kind: EntriesFormat,
    several: list[Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "r.json"
    save_results(several, path, "parquet" if kind == "npz" else "npz")
    old, real, count = dump_results(load_results(path)), getattr(os, call), 0

    def fail(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == which + 1:
            raise OSError(28, "No space left on device")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            save_results(several[:1], path, kind)
    assert dump_results(load_results(path)) == old
    assert not list(tmp_path.glob("*.tmp"))
    save_results(several[:1], path, kind)
    assert len(load_results(path)) == 1


WRITER = """
import os, sys
import gradproof
from gradproof.report.store import load_results, save_results
path, kind, call, which = sys.argv[1:]
results = load_results(path)
real, count = getattr(os, call), 0
def wait(*arguments):
    global count
    count += 1
    if count == int(which):
        print("here", flush=True)
        sys.stdin.read()
    return real(*arguments)
setattr(os, call, wait)
save_results(results[:1], path, kind)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("kind", "call", "which"), [("parquet", "fsync", 1), ("parquet", "replace", 2)]
)
def test_a_writer_killed_at_any_write_leaves_a_whole_result(
    kind: EntriesFormat, call: str, which: int, several: list[Result], tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    save_results(several, path)
    old = dump_results(load_results(path))
    command = [sys.executable, "-c", WRITER, str(path), kind, call, str(which)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert dump_results(load_results(path)) == old


@pytest.mark.parametrize("name", ["inline.json", "beside.json"])
def test_files_of_version_1_are_read_and_rendered(name: str) -> None:
    assert json.loads((OLD / name).read_bytes())["version"] == 1
    full, probe = load_results(OLD / name)
    assert (full.name, full.file, full.line) == ("full", "cases.py", 3)
    assert full.report.verdict == "fail"
    assert full.report.entries.counts() == {"match": 6, "mismatch": 2, "kink": 0, "unresolved": 0}
    assert full.report.entries["analytic"][1] == 2e-5
    (note,) = (finding for finding in full.report.findings if finding.kind == "note")
    evidence = {"shape": [2, 3], "names": ["a", "b"], "mapping": {"mapping": 1}}
    assert {key: value for key, value in note.evidence.items() if key != "nan"} == evidence
    assert math.isnan(float(str(note.evidence["nan"])))
    assert probe.report.probes
    text = render_text(full.report)
    assert text.startswith("FAIL: b: the claim has the opposite sign")
    assert "kink: the gap drops suddenly" in text


def test_both_files_of_version_1_say_the_same() -> None:
    assert dump_results(load_results(OLD / "inline.json")) == dump_results(
        load_results(OLD / "beside.json")
    )


def test_what_looks_like_a_tuple_in_version_1_is_none(tmp_path: Path) -> None:
    document = json.loads((OLD / "inline.json").read_bytes())
    evidence: Callable[[dict[str, Any]], Any] = lambda d: d["results"][0]["report"]["findings"][0]  # noqa: E731
    evidence(document)["evidence"] = {"a": {"tuple": [1]}, "tuple": [{"tuple": [2]}]}
    (tmp_path / "r.json").write_text(json.dumps(document))
    finding = load_results(tmp_path / "r.json")[0].report.findings[0]
    assert finding.evidence == {"a": {"tuple": [1]}, "tuple": [{"tuple": [2]}]}


def test_an_npz_of_version_1_has_no_more_rows_than_its_tensors_have_entries(
    tmp_path: Path,
) -> None:
    for path in OLD.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    os.rename(tmp_path / "beside.json", tmp_path / "r.json")
    entries = beside(tmp_path, "beside")
    large = npy(HEADER.format("<f8", "(9,)"), b"\0" * 72)
    content = npz_with(entries.read_bytes(), "0.value", large)
    entries.write_bytes(content)
    document = json.loads((tmp_path / "r.json").read_bytes())
    document["entries_file"]["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match="at most 8 rows in table 0 but got 9"):
        load_results(tmp_path / "r.json")


def test_what_is_inline_depends_on_the_number_of_rows(several: list[Result]) -> None:
    assert files.MOST_INLINE == 2000
    assert len(several[0].report.entries) > files.MOST_INLINE
