"""Reports as what other programs read: JUnit's XML, GitHub's annotations and its Markdown.

All of it is ASCII or can be written in ASCII; what the user has named is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree

from gradproof.report.escape import NAME, annotation, annotation_property, markdown, one_line
from gradproof.report.model import Report, TensorReport
from gradproof.report.steps_text import number
from gradproof.report.store import Result
from gradproof.report.text import render_text

#: Tensors and findings that are listed in Markdown; a step summary holds 1 MiB.
MOST_TENSORS, MOST_FINDINGS = 40, 20
#: Letters of a path: longer ones are no paths.
PATH = 4096

_SIGNS = {"pass": "white_check_mark", "fail": "x", "inconclusive": "grey_question"}
_RANKS = ("fail", "inconclusive", "pass")


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
        ElementTree.SubElement(case, tag, said).text = f"{_place(result)}\n{render_text(report)}"
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="us-ascii").decode("ascii")
    declaration = "<?xml version='1.0' encoding='us-ascii'?>"
    return body if body.startswith("<?xml") else f"{declaration}\n{body}\n"


def github(results: Sequence[Result]) -> str:
    """Annotations for GitHub Actions: a line for every result that is not `pass`."""
    return "".join(f"{line}\n" for result in results for line in _annotations(result))


def github_markdown(results: Sequence[Result]) -> str:
    """Markdown for GitHub's step summary, or anywhere."""
    passed = sum(bool(result.report) for result in results)
    lines = [f"## gradproof: {passed} of {len(results)} passed", ""]
    for result in results:
        lines += [*_section(result), ""]
    return "\n".join(lines)


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
    yield f"::{level} {','.join(properties)}::{annotation(report.reason)}"


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


def _table(report: Report) -> Iterator[str]:
    yield "| tensor | shape | checked | verdict | digits agree | detection limit |"
    yield "| --- | --- | ---: | --- | ---: | ---: |"
    # The worst first; among equals the order is the model's.
    tensors = sorted(report.tensors.values(), key=lambda tensor: _RANKS.index(tensor.verdict))
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
