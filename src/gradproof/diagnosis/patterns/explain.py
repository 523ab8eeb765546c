"""The explanations of one tensor's error, the simplest first.

An explanation is accepted only if the corrected gradient agrees with all that was found, to within
the bars, and if that is no accident (see `comparison`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, compare
from gradproof.diagnosis.patterns.field import Explanation, Field, Match
from gradproof.diagnosis.patterns.scalar import match_factor, match_no_gradient, match_zero
from gradproof.diagnosis.patterns.wording import entry

__all__ = ["Explanation", "explain"]

Matcher = Callable[[Comparison], Iterator[Match]]

_MATCHERS: tuple[Matcher, ...] = (match_zero, match_no_gradient, match_factor)

#: Entries that are shown where nothing explains the error.
MOST_SHOWN = 5


@np.errstate(all="ignore")
def explain(field: Field) -> list[Explanation]:
    """What kinds of mistake make the claim out of the right gradient, the simplest first.

    Args:
        field: the gradient of one tensor.

    Returns:
        All explanations under which the entries that were looked at agree; exactly one, of kind
        "unexplained", if there is none.
    """
    seen = compare(field)
    matches = [m for matcher in _MATCHERS for m in matcher(seen)]
    found = [m.explanation for m in sorted(matches, key=lambda m: m.cost)]
    return found or [_unexplained(seen)]


def _unexplained(seen: Comparison) -> Explanation:
    gap = np.abs(seen.claim - seen.numeric)
    worst = np.argsort(np.where(seen.wrong, -gap, np.inf))[:MOST_SHOWN]
    worst = worst[seen.wrong[worst]]
    rows = [
        {
            "index": entry(int(seen.index[i]), seen.field.shape),
            "claim": float(seen.claim[i]),
            "numeric": float(seen.numeric[i]),
            "error": float(seen.error[i]),
        }
        for i in worst
    ]
    count = int(np.count_nonzero(seen.wrong))
    evidence: dict[str, object] = {"wrong": count, "looked_at": seen.looked, "worst": rows}
    if not rows:
        message = f"the claim agrees at all {seen.looked} entries looked at"
    else:
        first = rows[0]
        message = (
            f"the claim is wrong at {count} of {seen.looked} entries looked at, and no known "
            f"mistake explains how; the worst is {first['index']}, claimed "
            f"{first['claim']:.9g}, found {first['numeric']:.9g} +- {first['error']:.0e}"
        )
    return Explanation("unexplained", message, evidence, None)
