"""The claim is another gradient: of another point, another batch, another function."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import MOST, Comparison, is_enough
from gradproof.diagnosis.patterns.field import (
    INCOMING,
    ITSELF,
    RETURNED,
    SECOND_CALL,
    Codes,
    Explanation,
    Match,
)
from gradproof.numerics.agreement import Floats

#: How far two arrays that are the same may be apart, relative to the largest entry.
SAME = 1e-12


def match_alternative(seen: Comparison) -> Iterator[Match]:
    """The claim agrees with what it would be if a certain mistake had been made."""
    for alternative in seen.field.alternatives:
        numeric, error = _at(seen, alternative.numeric), _at(seen, alternative.error)
        bar = error + seen.error[: seen.looked]
        claim, wrong = seen.claim[: seen.looked], seen.wrong[: seen.looked]
        known = np.isfinite(numeric) & np.isfinite(bar)
        gap = np.abs(claim - numeric)
        if not np.any(known & wrong) or np.any(gap[known] > bar[known]):
            continue
        off = np.abs(numeric - seen.numeric[: seen.looked])
        digits = np.clip(np.log10(off / (2.0 * bar)), 0.0, MOST)[known & wrong]
        if not is_enough(float(digits.sum()) - np.log10(len(seen.field.alternatives))):
            continue
        count = int(np.count_nonzero(known & wrong))
        message = (
            f"the claim is what comes out where {alternative.message}: it agrees with that at all "
            f"{int(np.count_nonzero(known))} entries compared, {count} of which are wrong"
        )
        evidence: dict[str, object] = {
            "entries": int(np.count_nonzero(known)),
            "wrong": count,
            "largest_gap": float(np.max(gap[known])),
        }
        yield Match(1.8, Explanation(alternative.kind, message, evidence, None))


def match_array(seen: Comparison) -> Iterator[Match]:
    """The claim is one of the known arrays, at every entry."""
    if not seen.wrong.any() or not seen.field.claim.any():
        return
    for name, array in seen.field.arrays.items():
        if name == SECOND_CALL or not _is_same(seen.claim, array[seen.index]):
            continue
        if not _is_same(seen.field.claim, array):
            continue
        # Other arrays are gradients: of another batch, of another tensor.
        is_own = name in (INCOMING, RETURNED) or name.endswith(ITSELF)
        kind = "identity" if is_own else "stale"
        passed = ", passed on as it came in," if name == INCOMING else ""
        message = (
            f"the claim is {name}{passed} at all {seen.size} entries; that is wrong at "
            f"{int(np.count_nonzero(seen.wrong))} of {seen.looked} looked at"
        )
        evidence = {"array": name, "wrong": int(np.count_nonzero(seen.wrong))}
        cost = 8.0 if kind == "identity" else 1.8
        yield Match(cost, Explanation(kind, message, evidence, None))


def match_accumulated(seen: Comparison) -> Iterator[Match]:
    """A second call of the gradient adds the right gradient to the first."""
    second = seen.field.arrays.get(SECOND_CALL)
    if second is None or not seen.wrong.any() or _is_same(second, seen.field.claim):
        return
    added = second - seen.field.claim
    if not is_enough(float(seen.digits.sum())):
        return
    if seen.agrees(added[seen.index]).all():
        message = (
            "a second call of the gradient adds the right one to what the first gave (on "
            f"{seen.counts}): it is added up over calls and never set to zero"
        )
        corrected = added
        evidence: dict[str, object] = {"entries": seen.looked}
    else:
        line = seen.line(added[seen.index])
        if line is None or not is_enough(line.digits) or line.low <= 0.0:
            return
        times = 1.0 / line.middle
        if round(times) < 1 or not line.holds(1.0 / round(times)):
            return
        message = (
            f"a second call of the gradient adds {round(times)} times the right one to what the "
            f"first gave (on {seen.counts}): it is added up over calls"
        )
        corrected = added / round(times)
        evidence = {"entries": seen.looked, "times": round(times)}
    yield Match(0.9, Explanation("accumulated", message, evidence, corrected))


def _at(seen: Comparison, values: Floats) -> Floats:
    """Values at the field's entries, (k,), at those of them that say something."""
    place: Codes = np.searchsorted(seen.field.index, seen.index[: seen.looked])
    return np.asarray(values[place])


def _is_same(a: Floats, b: Floats) -> bool:
    return bool(np.all(np.abs(a - b) <= SAME * np.max(np.abs(a))))
