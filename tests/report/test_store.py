"""Result files: what comes back, what is refused, and what a killed writer leaves behind."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradproof
from gradproof import InputError, Report
from gradproof.report import writing
from gradproof.report.entries import Entries
from gradproof.report.model import Finding
from gradproof.report.store import (
    Result,
    dump_results,
    files,
    load_results,
    read_results,
    save_results,
)

LONG = "x" * 10_000
HOSTILE = (
    "<script>alert(1)</script>",
    "a\nb\r\x00\x1b[31m\u2028\ud800",
    LONG,
    "|`*_[x](y)",
    "&amp;%0A::",
)


def right() -> Report:
    x = {"w": np.linspace(0.5, 2.0, 6).reshape(2, 3), "none": np.zeros((0, 4))}
    return gradproof.check(
        lambda p: float(np.sum(np.sin(p["w"]))),
        x,
        lambda p: {"w": np.cos(p["w"]), "none": p["none"]},
        coverage="full",
    )


def with_terms() -> Report:
    return gradproof.check(
        lambda x: float(np.sum(x**3) + np.sum(x**2)),
        np.array([1.0, 2.0]),
        lambda x: 3 * x**2 + 2 * x,
        terms={
            "cube": (lambda x: float(np.sum(x**3)), lambda x: 3 * x**2),
            "square": lambda x: float(np.sum(x**2)),
        },
    )


def with_kinks() -> Report:
    x = np.array([0.0, 1e-5, 1.0])
    f = lambda x: float(np.sum(np.maximum(x, 0.0) + x))  # noqa: E731
    return gradproof.check(f, x, lambda x: (x > 0.0) + 1.0, coverage="full", steps="x[1]")


def wrong() -> Report:
    x = np.random.default_rng(0).normal(size=(4, 3))
    return gradproof.check(
        lambda w: float(np.sum(np.tanh(x @ w))),
        np.ones(3),
        lambda w: -(x.T @ (1 - np.tanh(x @ w) ** 2)),
    )


def not_a_number() -> Report:
    with np.errstate(all="ignore"):
        x = np.array([-1.0, 1.0])
        return gradproof.check(lambda x: float(np.sum(np.log(x))), x, lambda x: 1 / x)


def large() -> Report:
    return gradproof.check(
        lambda x: 0.5 * float(x @ x),
        np.linspace(1.0, 2.0, 2500),
        lambda x: x,
        f_batch=lambda xs: 0.5 * np.sum(xs * xs, axis=1),
        coverage="full",
    )


def hostile() -> Report:
    report = wrong()
    evidence: dict[str, object] = {
        "nan": math.nan,
        "text": "nan",
        "inf": np.float64(-np.inf),
        "scalar": np.float32(0.5),
        "whole": np.int64(7),
        "flag": np.bool_(True),
        "array": np.array([[1.0, np.nan]]),
        "tuple": (1, ("a", None)),
        "float": {"float": "nan"},
        "mapping": {"mapping": 1e308},
        "no tuple": {"tuple": [1, 2]},
        "complex": 1 + 2j,
        HOSTILE[1]: set("ba"),
    }
    findings = tuple(Finding(name, name, tensor=name, evidence=evidence) for name in HOSTILE)
    tensor = replace(report.tensors["x"], detection_limit=math.inf, norm_ratio=1e308)
    tensors = {name: replace(tensor, name=name, reason=name) for name in HOSTILE}
    rows = [math.nan, math.inf, -math.inf, 1e308, 5e-324]
    entries = Entries.build(
        HOSTILE,
        [(1,), (), (2, 0), (3,), (1,)],
        tensor=[0, 1, 3, 3, 4],
        flat_index=[0, 0, 1, 2, 0],
        value=rows,
        analytic=rows[::-1],
        numeric=rows,
        error=[*rows[:3], 0.0, -0.0],
        verdict=["match", "mismatch", "kink", "unresolved", "mismatch"],
        reason=list(HOSTILE),
    )
    return replace(
        report,
        reason=HOSTILE[1],
        tensors=tensors,
        entries=entries,
        findings=findings,
        seconds=math.inf,
    )


MAKERS = [right, with_terms, with_kinks, wrong, not_a_number, large, hostile]


@pytest.fixture(scope="module", params=MAKERS, ids=lambda make: str(make.__name__))
def report(request: pytest.FixtureRequest) -> Report:
    made = request.param()
    assert isinstance(made, Report)
    return made


def test_what_is_saved_comes_back(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "result.json")
    loaded = gradproof.load(tmp_path / "result.json")
    assert str(loaded) == str(report)
    assert loaded.entries == report.entries
    assert [(t, loaded.terms[t].entries) for t in loaded.terms] == [
        (t, report.terms[t].entries) for t in report.terms
    ]
    # As documents NaN equals NaN.
    assert dump_results([Result("", loaded)]) == dump_results([Result("", report)])
    assert list(loaded.tensors) == list(report.tensors)


@pytest.mark.parametrize("make", [right, with_terms, with_kinks])
def test_plain_fields_have_their_types(make: Callable[[], Report], tmp_path: Path) -> None:
    report = make()
    report.save(tmp_path / "r")
    loaded = gradproof.load(tmp_path / "r")
    for name in ("verdict", "reason", "seed", "coverage", "evaluations", "plan", "probes", "steps"):
        # Not by ==: there are NaN in them.
        assert repr(getattr(loaded, name)) == repr(getattr(report, name)), name
    for name, tensor in report.tensors.items():
        assert type(loaded.tensors[name].worst) is type(tensor.worst)
        assert loaded.tensors[name].shape == tensor.shape
    assert not loaded.entries["value"].flags.writeable


def test_every_part_of_a_report_was_in_the_reports_above() -> None:
    assert with_terms().terms
    assert with_kinks().steps
    assert with_kinks().entries.counts()["kink"]
    assert with_kinks().customary
    assert wrong().probes
    assert any(finding.evidence for finding in wrong().findings)
    assert wrong().plan is not None
    assert math.isnan(not_a_number().value)


def test_a_torch_report_comes_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
    report = gradproof.check(model, (torch.ones(4, 3),))
    report.save(tmp_path / "result.json")
    loaded = gradproof.load(tmp_path / "result.json")
    assert str(loaded) == str(report)
    assert dump_results([Result("", loaded)]) == dump_results([Result("", report)])


def test_evidence_is_plain_and_numbers_are_told_from_strings(tmp_path: Path) -> None:
    hostile().save(tmp_path / "r.json")
    evidence = dict(gradproof.load(tmp_path / "r.json").findings[0].evidence)
    nan, array = evidence.pop("nan"), evidence.pop("array")
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert str(array) == "[[1.0, nan]]"
    assert evidence == {
        "text": "nan",
        "inf": -math.inf,
        "scalar": 0.5,
        "whole": 7,
        "flag": True,
        "tuple": (1, ("a", None)),
        "float": {"float": "nan"},
        "mapping": {"mapping": 1e308},
        "no tuple": {"tuple": [1, 2]},
        "complex": "(1+2j)",
        HOSTILE[1]: ["a", "b"],
    }
    assert all(
        type(evidence[key]) in (str, float, int, bool, list, tuple, dict) for key in evidence
    )


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


@pytest.mark.parametrize("make", [hostile, not_a_number])
def test_the_file_is_strict_ascii_json(make: Callable[[], Report], tmp_path: Path) -> None:
    make().save(tmp_path / "r.json")
    content = (tmp_path / "r.json").read_bytes()
    assert content.isascii()
    assert json.loads(content, parse_constant=refuse)["format"] == "gradproof-report"


def entries_file(folder: Path, stem: str) -> Path:
    (found,) = folder.glob(f"{stem}.entries-*.npz")
    return found


def test_many_entries_stand_beside_and_few_do_not(tmp_path: Path) -> None:
    large().save(tmp_path / "large.json")
    right().save(tmp_path / "small.json")
    assert len(list(tmp_path.iterdir())) == 3
    with np.load(entries_file(tmp_path, "large"), allow_pickle=False) as arrays:
        assert arrays["0.value"].shape == (2500,)


def test_entries_of_terms_stand_beside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_INLINE", 0)
    some = [Result("a", right()), Result("b", with_terms()), Result("c", hostile())]
    save_results(some, tmp_path / "r")
    assert (tmp_path / "r").stat().st_size > 0
    entries_file(tmp_path, "r")
    loaded = load_results(tmp_path / "r")
    assert dump_results(loaded) == dump_results(some)
    assert [r.report.entries for r in loaded] == [r.report.entries for r in some]


def test_entries_of_another_result_are_refused(tmp_path: Path) -> None:
    large().save(tmp_path / "a.json")
    replace(large(), entries=large().entries[::-1]).save(tmp_path / "b.json")
    os.replace(entries_file(tmp_path, "b"), entries_file(tmp_path, "a"))
    with pytest.raises(InputError, match=r"a\.entries-.*another result"):
        gradproof.load(tmp_path / "a.json")
    with pytest.raises(InputError, match=r"b\.entries-.*not beside it"):
        gradproof.load(tmp_path / "b.json")


def test_a_result_in_place_of_another_takes_its_entries_away_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, first = tmp_path / "r.json", large()
    second = replace(first, entries=first.entries[::-1])
    first.save(path)

    def killed(to: str | os.PathLike[str], content: bytes) -> None:
        if os.fspath(to).endswith(".json"):
            raise KeyboardInterrupt
        writing.write_whole(to, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            second.save(path)
    assert gradproof.load(path).entries == first.entries
    second.save(path)
    assert gradproof.load(path).entries == second.entries
    assert len(list(tmp_path.iterdir())) == 2
    right().save(path)
    assert list(tmp_path.iterdir()) == [path]


def test_several_cases_are_asked_for_by_name(tmp_path: Path) -> None:
    some = [Result("a", right(), "cases.py", 3), Result("b", wrong())]
    save_results(some, tmp_path / "r.json")
    assert [(r.name, r.file, r.line) for r in load_results(tmp_path / "r.json")] == [
        ("a", "cases.py", 3),
        ("b", None, None),
    ]
    assert gradproof.load(tmp_path / "r.json", case="b").verdict == "fail"
    for case in (None, "c"):
        with pytest.raises(InputError, match=f"'a', 'b' but got case={case!r}"):
            gradproof.load(tmp_path / "r.json", case)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(dump_results([Result("", wrong())]))
    change(document)
    return json.dumps(document).encode()


def report_in(document: dict[str, Any]) -> Any:
    return document["results"][0]["report"]


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "no JSON"),
    "no JSON": (lambda: b"\x00\xff" * 10, "no JSON"),
    "truncated": (lambda: dump_results([Result("", wrong())]).encode()[:-50], "not all of it"),
    "deep": (lambda: b"[" * 200_000, "no JSON"),
    "another": (lambda: b'{"format": "coverage"}', "no result of gradproof's"),
    "a list": (lambda: b"[1]", "no result of gradproof's"),
    "later": (lambda: changed(lambda d: d.update(version=3)), "version 3"),
    "no results": (lambda: changed(lambda d: d.update(results=[])), "no result"),
    "a field": (
        lambda: changed(lambda d: report_in(d).pop("seed")),
        r"report\.seed but it is missing",
    ),
    "a type": (lambda: changed(lambda d: report_in(d).update(seed="1")), r"report\.seed to be int"),
    "a verdict": (lambda: changed(lambda d: report_in(d).update(verdict="ok")), "pass, fail"),
    "a number": (lambda: changed(lambda d: report_in(d).update(value="1e5")), "to be float"),
    "a huge number": (lambda: changed(lambda d: report_in(d).update(value=10**400)), "to be float"),
    "a code": (
        lambda: changed(
            lambda d: report_in(d)["entries"]["columns"]["verdict_code"].__setitem__(0, 9)
        ),
        "verdict_code",
    ),
    "an index": (
        lambda: changed(
            lambda d: report_in(d)["entries"]["columns"]["flat_index"].__setitem__(0, 2**70)
        ),
        "too large",
    ),
    "a column": (
        lambda: changed(lambda d: report_in(d)["entries"]["columns"].pop("value")),
        "columns.value",
    ),
    "a folder": (
        lambda: changed(lambda d: d.update(entries_file={"name": "../x.npz", "sha256": ""})),
        "the name of a file beside it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_result_is_refused_in_one_error(name: str, tmp_path: Path) -> None:
    make, message = BAD[name]
    path = tmp_path / "bad.json"
    path.write_bytes(make())
    with pytest.raises(InputError, match=message) as caught:
        gradproof.load(path)
    assert "bad.json" in str(caught.value)
    assert len(str(caught.value)) < 500


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InputError, match="no JSON"):
        gradproof.load("a.json")
    # Arrays of objects are pickles within an .npz, and the digest is right.
    large().save("b.json")
    columns = np.array([Bomb()] * 3, object)
    beside = entries_file(tmp_path, "b")
    np.savez(beside, columns)
    document = json.loads(Path("b.json").read_bytes())
    content = beside.read_bytes()
    document["entries_file"]["sha256"] = hashlib.sha256(content).hexdigest()
    Path("b.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"b\.entries-.*cannot be read"):
        gradproof.load("b.json")
    assert not Path("executed").exists()


def test_fields_that_older_files_lack_have_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(changed(lambda d: [report_in(d).pop(key) for key in ("plan", "probes")]))
    loaded = gradproof.load(path)
    assert (loaded.plan, loaded.probes) == (None, ())


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        gradproof.load(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match=r"none.r\.json"):
        right().save(tmp_path / "none" / "r.json")


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_an_error_while_writing_leaves_the_old_file(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.json"
    right().save(path)
    before = path.read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        wrong().save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_the_document_is_written_after_the_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(files, "write_whole", lambda path, content: written.append(path.name))
    large().save(tmp_path / "r.json")
    assert [name.partition("-")[0] for name in written] == ["r.entries", "r.json"]


WRITER = """
import os, sys
from gradproof.report import writing
fsync = os.fsync
def wait(file):
    print("writing", flush=True)
    sys.stdin.read()
writing.os.fsync = wait
writing.write_whole(sys.argv[1], b"x" * 1_000_000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert sum(p.stat().st_size for p in tmp_path.iterdir()) > 900_000
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    writing.write_whole(tmp_path / "r", b"")
    assert (tmp_path / "r").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_is_no_ordinary_file_is_written_to_and_a_link_is_followed(tmp_path: Path) -> None:
    writing.write_whole(os.devnull, b"x")
    assert not Path(os.devnull).is_file()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    writing.write_whole(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"x"


def many_entries() -> Report:
    n = files.MOST_INLINE + 1
    entries = Entries.build(
        ["w"],
        [(n,)],
        tensor=0,
        flat_index=np.arange(n),
        value=0.0,
        analytic=1.0,
        numeric=1.0,
        error=1e-9,
        verdict="match",
    )
    return replace(right(), entries=entries)


def test_what_is_no_ordinary_file_gets_all_entries_and_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    report, received = many_entries(), list[bytes]()
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    writer = threading.Thread(target=lambda: report.save(pipe), daemon=True)
    writer.start()
    for thread in (reader, writer):
        thread.join(20.0)
        assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == [pipe]
    (tmp_path / "r.json").write_bytes(received[0])
    assert gradproof.load(tmp_path / "r.json").entries == report.entries


@pytest.mark.skipif(os.name == "nt", reason="neither links nor such names")
@pytest.mark.parametrize("name", ["link.json", "a:b.json", "a\\b.json", "a\nb.json"])
def test_entries_are_found_whatever_the_name_and_behind_a_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "folder" / "r.json")
    report = many_entries()
    report.save(tmp_path / name)
    assert gradproof.load(tmp_path / name).entries == report.entries


def test_an_error_is_short_however_long_the_words_about_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    many_entries().save(path)
    (beside,) = tmp_path.glob("*.npz")
    content = bytearray(beside.read_bytes())
    content[26] = content[27] = 255  # the length of the first name
    beside.write_bytes(content)
    document = json.loads(path.read_bytes())
    document["entries_file"]["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        gradproof.load(path)
    assert len(str(caught.value)) < 1000


def test_a_hundred_thousand_entries_are_quick(tmp_path: Path) -> None:
    n = 100_000
    report = replace(
        right(),
        entries=Entries.build(
            ["w"],
            [(n,)],
            tensor=0,
            flat_index=np.arange(n),
            value=np.zeros(n),
            analytic=np.ones(n),
            numeric=np.ones(n),
            error=1e-9,
            verdict="match",
        ),
    )
    started = time.process_time()
    report.save(tmp_path / "r.json")
    assert gradproof.load(tmp_path / "r.json").entries == report.entries
    assert time.process_time() - started < 5.0


def test_a_document_with_its_entries_in_it_needs_no_file(tmp_path: Path) -> None:
    results = [Result("é", right(), "f.py", 3, "make it")]
    text = dump_results(results)
    assert dump_results(read_results(text)) == text
    with pytest.raises(InputError, match="no JSON"):
        read_results(text[:-9])
    beside = json.loads(text) | {"entries_file": {"name": "r.entries.npz"}}
    with pytest.raises(InputError, match="beside"):
        read_results(json.dumps(beside))
