"""A report as a notebook shows it: short, and safe to put into any page.

Nothing but div, span and table, with styles of their own: no script, no link, no class. Text takes
the colour of the page, so that it reads on dark and on light ones, and says the same without styles
where a notebook's viewer takes them away.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence

from gradproof.report.escape import NAME, SENTENCE, one_line
from gradproof.report.model import Finding, Report, TensorReport
from gradproof.report.ranking import WORST_SEVERITIES, worst_first
from gradproof.report.steps_text import number

#: How many of each are shown; the text has more.
MOST_FINDINGS, MOST_TENSORS, MOST_TERMS = 6, 8, 6
LONGEST_NAME = 60

# White on these, and these on white, are told apart at a contrast of 4.5 and more.
_BADGES = {"pass": "#00694a", "fail": "#b03a00", "inconclusive": "#7a5200"}
_NAME = "text-align:left"
_WORD, _NUMBER = "text-align:left;white-space:nowrap", "text-align:right;white-space:nowrap"
_CELL = "padding:2px 9px 2px 0;border-bottom:1px solid rgba(128,128,128,.4)"
_HEADINGS = (
    "tensor",
    "shape",
    "looked at",
    "verdict",
    "digits agree",
    "attainable",
    "largest rel. error",
    "detection limit",
)
_WORDS = 4  # so many columns hold words; the others are numbers, and stand to the right


def render_notebook(report: Report) -> str:
    """HTML of the verdict, its reason, the findings, the worst tensors and the cost."""
    parts = [_verdict(report), *_findings(report), *_tensors(report), *_terms(report)]
    style = "line-height:1.45;text-align:left;overflow-wrap:anywhere"
    return f'<div style="{style}">{"".join((*parts, _cost(report)))}</div>'


def _verdict(report: Report) -> str:
    return f"<div>{_badge(report.verdict)} {_text(report.reason)}</div>"


def _badge(verdict: str) -> str:
    style = f"background:{_BADGES[verdict]};color:#fff;padding:1px 7px;border-radius:3px"
    return f'<span style="{style};font-weight:bold">{verdict.upper()}</span>'


def _findings(report: Report) -> Iterator[str]:
    ordered: list[Finding] = sorted(
        report.findings, key=lambda finding: WORST_SEVERITIES.index(finding.severity)
    )
    for finding in ordered[:MOST_FINDINGS]:
        tensor = "" if finding.tensor is None else f"{_text(finding.tensor, LONGEST_NAME)}: "
        what = f"{_bold(finding.severity)} {_text(finding.kind, NAME)}: {tensor}"
        is_said = finding.message in report.reason
        yield f"<div>{what}{'as said above' if is_said else _text(finding.message)}</div>"
    yield from _more(len(ordered) - MOST_FINDINGS, "findings")


def _tensors(report: Report) -> Iterator[str]:
    tensors = worst_first(report.tensors.values())
    if not tensors:
        return
    rows = [[_bold(heading) for heading in _HEADINGS], *map(_cells, tensors[:MOST_TENSORS])]
    if not any(tensor.checked for tensor in tensors):
        rows = [[*row[:_WORDS], row[-1]] for row in rows]
    style = "border-collapse:collapse;margin:6px 0;color:inherit;background:transparent"
    table = f'<table style="{style}"><tbody>{"".join(map(_row, rows))}</tbody></table>'
    yield f'<div style="overflow-x:auto">{table}</div>'
    yield from _more(len(tensors) - MOST_TENSORS, "tensors, none of them worse")


def _row(cells: Sequence[str]) -> str:
    styled = "".join(
        f'<td style="{_NAME if k == 0 else _WORD if k < _WORDS else _NUMBER};{_CELL}">{cell}</td>'
        for k, cell in enumerate(cells)
    )
    return f'<tr style="background:transparent">{styled}</tr>'


def _cells(tensor: TensorReport) -> list[str]:
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    looked_at = f"{tensor.checked:,} of {tensor.size:,}"
    verdict = tensor.verdict if tensor.verdict == "pass" else _bold(tensor.verdict)
    return [
        _text(tensor.name, LONGEST_NAME),
        _text(shape, LONGEST_NAME),
        looked_at,
        verdict,
        _digits(tensor.digits_agree.minimum, tensor.digits_agree.median),
        _digits(tensor.digits_attainable.minimum, tensor.digits_attainable.median),
        number(tensor.max_relative_error) if tensor.checked else "-",
        "-" if math.isnan(tensor.detection_limit) else number(tensor.detection_limit),
    ]


def _digits(fewest: float, median: float) -> str:
    """The fewest and the median; 0 where it is -0."""
    if math.isnan(fewest):
        return "-"
    return f"{abs(fewest):.1f}, median {abs(median):.1f}"


def _terms(report: Report) -> Iterator[str]:
    for name, term in list(report.terms.items())[:MOST_TERMS]:
        reason = _text(term.reason)
        yield f"<div>term {_text(name, LONGEST_NAME)}: {_bold(term.verdict)}, {reason}</div>"
    yield from _more(len(report.terms) - MOST_TERMS, "terms")


def _cost(report: Report) -> str:
    facts = (
        f"{report.evaluations:,} evaluations of f, {report.gradient_evaluations:,} of the gradient",
        f"{number(report.seconds)} s",
        f"seed {report.seed}",
        f"coverage {_text(report.coverage, NAME)}",
        f"resolution {number(report.resolution, 1)}",
    )
    said = f"{'; '.join(facts)}. print(report) says more."
    return f'<div style="opacity:.75;font-size:90%">{said}</div>'


def _more(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f'<div style="opacity:.75">{count:,} more {what}</div>'


def _bold(text: str) -> str:
    return f'<span style="font-weight:bold">{text}</span>'


def _text(text: str, limit: int = SENTENCE) -> str:
    """Text of the user's: on one line, shortened, and no HTML."""
    return html.escape(one_line(text, limit))
