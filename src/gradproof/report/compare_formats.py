"""Comparisons of two results for comments and for other programs: Markdown and JSON.

The JSON, with "nan", "inf" and "-inf" for numbers that JSON lacks:

    {"format": "gradproof-comparison", "version": 1, "judgement": "worse",
     "cases": [{"case": ..., "before": {"verdict": ..., "evaluations": ...} or null, "after": ...}],
     "tensors": [{"case": ..., "tensor": ..., "judgement": ..., "before": {"verdict": ...,
                  "digits_agree": ..., "detection_limit": ...} or null, "after": ...}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from gradproof.report import codec
from gradproof.report.compare import Change, changes, is_worse, pairs
from gradproof.report.escape import NAME, markdown
from gradproof.report.model import Report, TensorReport
from gradproof.report.steps_text import number
from gradproof.report.store import Result

FORMAT, VERSION = "gradproof-comparison", 1
#: Rows of a table; a comment on GitHub holds 65,536 letters.
MOST_ROWS = 100

_SIGNS = {"worse": "x", "better": "white_check_mark", "same": "heavy_minus_sign"}


def markdown_changes(before: Sequence[Result], after: Sequence[Result]) -> str:
    """The comparison as Markdown: how many got worse, the cases, the tensors that changed."""
    return "\n".join([*_parts(before, after), ""])


def json_changes(before: Sequence[Result], after: Sequence[Result]) -> str:
    """The comparison as JSON, with every tensor, in ASCII."""
    found = changes(before, after)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "judgement": _judgement(before, after, found),
        "cases": [
            {"case": case, "before": _plain_report(old), "after": _plain_report(new)}
            for case, (old, new) in pairs(before, after).items()
        ],
        "tensors": [
            {
                "case": change.case,
                "tensor": change.tensor,
                "judgement": change.judgement,
                "before": _plain_tensor(change.before),
                "after": _plain_tensor(change.after),
            }
            for change in found
        ],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _judgement(before: Sequence[Result], after: Sequence[Result], found: Sequence[Change]) -> str:
    if is_worse(before, after):
        return "worse"
    return "better" if any(change.judgement == "better" for change in found) else "same"


def _plain_report(report: Report | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {"verdict": report.verdict, "evaluations": int(report.evaluations)}


def _plain_tensor(tensor: TensorReport | None) -> dict[str, Any] | None:
    if tensor is None:
        return None
    return {
        "verdict": tensor.verdict,
        "digits_agree": codec.plain_float(tensor.digits_agree.minimum),
        "detection_limit": codec.plain_float(tensor.detection_limit),
    }


def _parts(before: Sequence[Result], after: Sequence[Result]) -> Iterator[str]:
    found = changes(before, after)
    judgement = _judgement(before, after, found)
    counts = {kind: sum(c.judgement == kind for c in found) for kind in ("worse", "better", "same")}
    told = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    yield f"## :{_SIGNS[judgement]}: gradproof: {judgement}"
    yield ""
    yield f"Of {len(found)} tensors {told}."
    yield ""
    yield from _table(
        ("case", "verdict", "evaluations"),
        [
            (
                _name(case or "check"),
                _arrow(*("-" if one is None else one.verdict for one in pair)),
                _arrow(*("-" if one is None else f"{one.evaluations:,}" for one in pair)),
            )
            for case, pair in pairs(before, after).items()
        ],
    )
    moved = [change for change in found if change.judgement != "same"]
    if moved:
        yield ""
        yield from _table(
            ("", "tensor", "verdict", "digits agree", "detection limit"),
            # Worse comes after better in the alphabet, and here before it.
            [_row(change) for change in sorted(moved, key=lambda c: c.judgement, reverse=True)],
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---' for _ in head)} |"
    for row in rows[:MOST_ROWS]:
        yield f"| {' | '.join(row)} |"
    if len(rows) > MOST_ROWS:
        yield ""
        yield f"{len(rows) - MOST_ROWS:,} more."


def _row(change: Change) -> tuple[str, ...]:
    pair = (change.before, change.after)
    return (
        change.judgement,
        _name(f"{change.case}: {change.tensor}" if change.case else change.tensor),
        _arrow(*("-" if one is None else one.verdict for one in pair)),
        _arrow(*("-" if one is None else _figure(one.digits_agree.minimum) for one in pair)),
        _arrow(*("-" if one is None else number(one.detection_limit, 1) for one in pair)),
    )


def _name(name: str) -> str:
    return markdown(name, NAME)


def _figure(digits: float) -> str:
    return "-" if math.isnan(digits) else f"{digits:.1f}"


def _arrow(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"
