"""Reports as what other programs read: JUnit's XML, GitHub's annotations and its Markdown.

All of it is ASCII or can be written in ASCII; what the user has named is escaped.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from gradproof.report.escape import (
    NAME,
    annotation,
    annotation_property,
    markdown,
    markdown_code,
    one_line,
)
from gradproof.report.model import Report, TensorReport
from gradproof.report.ranking import WORST_VERDICTS
from gradproof.report.steps_text import number
from gradproof.report.store import Result
from gradproof.report.text import render_text

#: Tensors and findings that are listed in Markdown.
MOST_TENSORS, MOST_FINDINGS = 40, 20
#: Results that have a section there and those that have a line, and bytes of all the sections: a
#: step summary holds 1 MiB, and above that GitHub shows nothing.
MOST_SECTIONS, MOST_LINES, MOST_BYTES = 20, 500, 700_000
#: Letters of a path: longer ones are no paths.
PATH = 4096

_SIGNS = {"pass": "white_check_mark", "fail": "x", "inconclusive": "grey_question"}


def junit(results: Sequence[Result]) -> str:
    """JUnit's XML, as Jenkins and GitLab read it: a test case for every result.

    `fail` is a failure, and `inconclusive` an error: what was asked could not be answered.
    """
    failures = sum(result.report.verdict == "fail" for result in results)
    errors = sum(result.report.verdict == "inconclusive" for result in results)
    seconds = _seconds(sum(result.report.seconds for result in results))
    counts = {"tests": str(len(results)), "failures": str(failures), "errors": str(errors)}
    root = ElementTree.Element("testsuites", {"name": "gradproof", **counts, "time": seconds})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": "gradproof", **counts, "time": seconds}
    )
    for result in results:
        report = result.report
        about = {
            "classname": one_line(result.file or "gradproof", PATH),
            "name": one_line(result.name or "check", NAME),
            "time": _seconds(report.seconds),
        }
        case = ElementTree.SubElement(suite, "testcase", about)
        if report.verdict == "pass":
            continue
        tag = "failure" if report.verdict == "fail" else "error"
        said = {"message": one_line(report.reason), "type": report.verdict}
        # The text has no control characters but its line ends, and is ASCII.
        text = f"{_place(result)}\n{render_text(report)}{reproduce_line(result)}"
        ElementTree.SubElement(case, tag, said).text = text
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="us-ascii").decode("ascii")
    declaration = "<?xml version='1.0' encoding='us-ascii'?>"
    return body if body.startswith("<?xml") else f"{declaration}\n{body}\n"


def github(results: Sequence[Result]) -> str:
    """Annotations for GitHub Actions: a line for every result that is not `pass`."""
    return "".join(f"{line}\n" for result in results for line in _annotations(result))


def in_repository(results: Sequence[Result], root: str | None, folder: Path) -> list[Result]:
    """The results with their files as GitHub knows them: from the root of the repository.

    Args:
        results: with files named from `folder`.
        root: of the repository, GITHUB_WORKSPACE; None where nothing is known of one.
        folder: which files are named from.
    """
    return [replace(result, file=_from_root(result.file, root, folder)) for result in results]


def _from_root(file: str | None, root: str | None, folder: Path) -> str | None:
    if file is None or not root:
        return file
    path, top = Path(os.path.abspath(folder / file)), Path(os.path.abspath(root))
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else file


def github_markdown(results: Sequence[Result]) -> str:
    """Markdown for GitHub's step summary, or anywhere: the worst first, and the whole below 1 MiB.

    A result has a section, or, where there are many of them, a line in a table.
    """
    passed = sum(bool(result.report) for result in results)
    parts = [f"## gradproof: {passed} of {len(results)} passed\n"]
    ordered = sorted(results, key=lambda result: WORST_VERDICTS.index(result.report.verdict))
    left, size = list(ordered), 0
    while left and len(ordered) - len(left) < MOST_SECTIONS:
        section = "\n".join(_section(left[0])) + "\n"
        size += len(section.encode())
        if size > MOST_BYTES:
            break
        parts.append(section)
        del left[0]
    if left:
        parts.append("\n".join(_lines(left)) + "\n")
    return "\n".join(parts)


def reproduce_line(result: Result) -> str:
    """In text: a line, below an empty one, if the result is not `pass` and says how it was made."""
    if result.reproduce is None or result.report.verdict == "pass":
        return ""
    return f"\n\nReproduce: {one_line(result.reproduce, PATH)}"


def _annotations(result: Result) -> Iterator[str]:
    report = result.report
    if report.verdict == "pass":
        return
    level = "error" if report.verdict == "fail" else "warning"
    properties = []
    if result.file is not None:
        properties.append(f"file={annotation_property(result.file, PATH)}")
        if result.line is not None:
            properties.append(f"line={result.line}")
    title = f"gradproof {result.name}: {report.verdict}" if result.name else "gradproof"
    properties.append(f"title={annotation_property(title, 2 * NAME)}")
    message = annotation(report.reason)
    if result.reproduce is not None:
        message += f"%0AReproduce: {annotation(result.reproduce, PATH)}"
    yield f"::{level} {','.join(properties)}::{message}"


def _section(result: Result) -> Iterator[str]:
    report = result.report
    name = markdown(result.name, NAME) or "check"
    yield f"### :{_SIGNS[report.verdict]}: {name}: {report.verdict}"
    yield ""
    yield markdown(report.reason)
    bugs = [finding for finding in report.findings if finding.severity != "info"]
    if bugs:
        yield ""
    for finding in bugs[:MOST_FINDINGS]:
        yield f"- **{markdown(finding.kind, NAME)}**: {markdown(finding.message)}"
    if report.tensors:
        yield ""
        yield from _table(report)
    yield ""
    yield (
        f"{report.evaluations:,} evaluations of f, {number(report.seconds)} s; seed {report.seed}; "
        f"coverage {markdown(report.coverage, NAME)}; resolution {number(report.resolution, 1)}"
    )
    if result.reproduce is not None and report.verdict != "pass":
        yield ""
        yield markdown_code(result.reproduce, PATH)


def _lines(results: Sequence[Result]) -> Iterator[str]:
    yield "| | case | evaluations | seconds |"
    yield "| --- | --- | ---: | ---: |"
    for result in results[:MOST_LINES]:
        report = result.report
        name = markdown(result.name, NAME) or "check"
        cost = f"{report.evaluations:,} | {number(report.seconds)}"
        yield f"| {report.verdict} | {name} | {cost} |"
    if len(results) > MOST_LINES:
        yield ""
        yield f"{len(results) - MOST_LINES:,} more, none of them worse."


def _table(report: Report) -> Iterator[str]:
    yield "| tensor | shape | checked | verdict | digits agree | detection limit |"
    yield "| --- | --- | ---: | --- | ---: | ---: |"
    # The worst first; among equals the order is the model's.
    tensors = sorted(
        report.tensors.values(), key=lambda tensor: WORST_VERDICTS.index(tensor.verdict)
    )
    for tensor in tensors[:MOST_TENSORS]:
        yield f"| {' | '.join(_cells(tensor))} |"
    if len(tensors) > MOST_TENSORS:
        yield ""
        yield f"{len(tensors) - MOST_TENSORS:,} more tensors, none of them worse."


def _cells(tensor: TensorReport) -> tuple[str, ...]:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    least, limit = tensor.digits_agree.minimum, tensor.detection_limit
    return (
        markdown(tensor.name, NAME),
        shape if len(shape) <= NAME else f"{len(tensor.shape)} axes",
        f"{tensor.checked:,} of {tensor.size:,}",
        tensor.verdict,
        "-" if math.isnan(least) else f"{least:.1f}",
        number(limit, 1) if math.isfinite(limit) else "-",
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}" if math.isfinite(seconds) else "0"


def _place(result: Result) -> str:
    if result.file is None:
        return ""
    line = "" if result.line is None else f":{result.line}"
    return f"{one_line(result.file, PATH)}{line}"
