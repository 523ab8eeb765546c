"""The claim is the right gradient times one number: a sign, a factor, nothing at all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, Line, is_enough
from gradproof.diagnosis.patterns.field import SECOND_CALL, Explanation, Match
from gradproof.diagnosis.patterns.names import digits_of_name, match
from gradproof.diagnosis.patterns.wording import number, within

#: Integer multiples up to here may be gradients added up over calls, if they are nothing else.
MOST_CALLS = 16
#: Entries whose right gradient is 0 before all are said to be, if not all were looked at.
FEWEST = 3


def match_zero(seen: Comparison) -> Iterator[Match]:
    """The claim is 0 at every entry, and the gradient is not."""
    if seen.wrong.any() and not seen.field.claim.any():
        count = int(np.count_nonzero(seen.wrong))
        message = (
            f"the claim is 0 at all {seen.size} entries, and the right gradient is not (at {count} "
            f"of {seen.looked} looked at): it never arrives (detached, disconnected or not written)"
        )
        evidence = {"size": seen.size, "wrong": count, "looked_at": seen.looked}
        yield Match(1.0, Explanation("zero", message, evidence, None))


def match_no_gradient(seen: Comparison) -> Iterator[Match]:
    """The gradient is 0 at every entry looked at, and the claim is not."""
    if not np.all(np.abs(seen.numeric) <= seen.error):
        return
    count = int(np.count_nonzero(seen.wrong))
    is_known = count >= FEWEST or seen.looked == seen.size
    if is_known and is_enough(float(seen.digits.sum())):
        message = (
            f"the right gradient is 0 at all {seen.looked} entries looked at, and the claim is not "
            f"at {count} of them"
        )
        evidence = {"ratio": np.inf, "wrong": count, "looked_at": seen.looked}
        corrected = np.zeros_like(seen.field.claim)
        yield Match(2.0, Explanation("extra-term", message, evidence, corrected))


def match_factor(seen: Comparison) -> Iterator[Match]:
    """The claim is the right gradient times one number that is not 1."""
    line = seen.slope(seen.claim)
    # Where the claim is one number everywhere, as that of a sum, all entries show the same.
    is_one = seen.size > 1 and np.all(seen.field.claim == seen.field.claim[0])
    if line is None or not (seen.is_shown or is_one):
        return
    ratio, error = ratio_of(line)
    evidence: dict[str, object] = {
        "ratio": ratio,
        "ratio_error": error,
        "entries": int(np.count_nonzero(~seen.mute[: seen.looked])),
        "looked_at": seen.looked,
        "size": seen.size,
    }
    if line.holds(-1.0) and is_enough(line.all_digits):
        message = (
            f"the claim has the opposite sign of the right gradient (ratio {number(ratio, error)} "
            f"{within(error)}, on {seen.counts})"
        )
        yield Match(1.0, Explanation("sign-flip", message, evidence, -seen.field.claim))
        return
    named = match(line.inverse, seen.field.constants, seen.lengths)
    shown = number(ratio, error)
    if named is not None and is_enough(digits_of_name(line, named)):
        value = float(np.copysign(named.value, ratio))
        shown = f"{value:.6g}"
        meaning = _meaning(value, named.meaning)
        kind, cost = "factor", 1.5 + 0.01 * min(named.rank, 50)
        evidence |= {"matched": named.name or f"{value:g}", "constants": named.constants}
    elif seen.is_shown and is_enough(line.digits):
        value, meaning, kind, cost = ratio, "", "factor", 3.0
        whole = round(ratio)
        if 3 <= whole <= MOST_CALLS and line.holds(1.0 / whole) and _may_add_up(seen, error):
            kind, value = "accumulated", float(whole)
            meaning = (
                f"; {whole} is none of the known sizes: it may be the sum of {whole} calls, or of "
                f"{whole} terms that are one"
            )
    else:
        return
    sign = "; its sign is wrong as well" if ratio < 0.0 else ""
    message = (
        f"the claim is {shown} times the right gradient ({within(error)}, on {seen.counts})"
        f"{meaning}{sign}"
    )
    yield Match(cost, Explanation(kind, message, evidence, seen.field.claim / value))


def _may_add_up(seen: Comparison, error: float) -> bool:
    """Whether an integer ratio is one for sure, and a second call did not give the same again."""
    second = seen.field.arrays.get(SECOND_CALL)
    return error < 0.01 and (second is None or not np.array_equal(second, seen.field.claim))


def ratio_of(line: Line) -> tuple[float, float]:
    """Claim over right gradient, where the right one is q times the claim; and its half-width."""
    ends = 1.0 / line.high, 1.0 / line.low
    error = 0.5 * abs(ends[1] - ends[0])
    middle = 0.5 * (ends[0] + ends[1])
    return middle, max(error, 2.0**-52 * abs(middle))


def _meaning(value: float, named: str) -> str:
    size = abs(value)
    if size not in (2.0, 0.5):
        return named
    plain = "it is counted twice" if size == 2.0 else "half of it is missing"
    return f"{named}, or {plain}" if named else f": {plain}"
