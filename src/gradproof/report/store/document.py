"""The JSON document of a result file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from gradproof._errors import InputError
from gradproof.report import codec
from gradproof.report.entries import Entries
from gradproof.report.model import Report
from gradproof.report.store.columns import Reader
from gradproof.report.store.tables import Writer, unpack

FORMAT, VERSION = "gradproof-report", 2
_READ = (1, 2)


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


def plain_results(results: Sequence[Result], writer: Writer) -> list[Any]:
    """Results as plain JSON values, their entries as the writer has them."""
    return [codec.to_plain(result, Result, writer.pack) for result in results]


def text(results: list[Any], entries_file: dict[str, Any] | None) -> str:
    """The whole document, in ASCII."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "gradproof": version("gradproof"),
        "entries_file": entries_file,
        "results": results,
    }
    return json.dumps(document, allow_nan=False) + "\n"


def parse(content: bytes) -> dict[str, Any]:
    """A document of a version that can be read, brought up to this one.

    Raises:
        InputError: it is none.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is no JSON, or not all of it is there ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"it is no result of gradproof's (format {FORMAT!r})")
    if document.get("version") not in _READ:
        found = repr(document.get("version"))[:20]
        known = " and ".join(map(str, _READ))
        raise InputError(f"its format is version {found}, and this gradproof reads {known}")
    if document["version"] == 1:
        for result in codec.demand(document.get("results"), list, "results"):
            if isinstance(result, dict):
                _upgrade(result.get("report"))
    return document


def results_in(document: dict[str, Any], reader: Reader | None) -> list[Result]:
    """The results of a document, with the entries that the reader has.

    Raises:
        InputError: something else stands there.
    """

    def read_entries(plain: Any) -> Entries:
        return unpack(plain, reader)

    try:
        results: list[Result] = [
            codec.from_plain(result, Result, read_entries, f"results[{i}]")
            for i, result in enumerate(codec.demand(document.get("results"), list, "results"))
        ]
    except (ValueError, OverflowError, RecursionError) as error:
        raise InputError(str(error)) from error
    if not results:
        raise InputError("it holds no result")
    return results


def _upgrade(report: Any) -> None:
    """Mark what in evidence of version 1 would be taken for a tuple."""
    if not isinstance(report, dict):
        return
    findings = report.get("findings")
    for finding in findings if isinstance(findings, list) else []:
        evidence = finding.get("evidence") if isinstance(finding, dict) else None
        if isinstance(evidence, dict):
            finding["evidence"] = {key: _marked(value) for key, value in evidence.items()}
    terms = report.get("terms")
    for term in terms.values() if isinstance(terms, dict) else ():
        _upgrade(term)


def _marked(value: Any) -> Any:
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if not isinstance(value, dict):
        return value
    marked = {key: _marked(item) for key, item in value.items()}
    return {"mapping": marked} if set(marked) == {"tuple"} else marked
