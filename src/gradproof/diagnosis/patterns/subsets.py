"""Wrong in places that nothing known tells: clipped, masked, scaled."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, Line, is_enough, only
from gradproof.diagnosis.patterns.field import Explanation, Match
from gradproof.diagnosis.patterns.names import match
from gradproof.diagnosis.patterns.regions import coincidence
from gradproof.diagnosis.patterns.scalar import ratio_of
from gradproof.diagnosis.patterns.wording import number, within

#: Digits that the places of zeros have to say.
PLACED = 2.0
#: How far clipped entries may be apart, relative to the limit.
SAME = 1e-12


def match_clipped(seen: Comparison) -> Iterator[Match]:
    """The claim stops at a largest size that the right gradient exceeds."""
    wrong = seen.wrong
    most = float(np.max(np.abs(seen.field.claim), initial=0.0))
    if np.count_nonzero(wrong) < 2 or most == 0.0:
        return
    at_most = np.abs(seen.claim[wrong]) >= most * (1.0 - SAME)
    beyond = seen.numeric[wrong] * np.sign(seen.claim[wrong]) > most
    ways = coincidence(int(np.count_nonzero(wrong)), int(np.count_nonzero(seen.right)))
    if at_most.all() and beyond.all() and ways >= PLACED:
        count = int(np.count_nonzero(wrong))
        message = (
            f"the claim is clipped at {most:.6g}: it is right where the right gradient is smaller, "
            f"and +-{most:.6g} at all {count} entries looked at where it is larger"
        )
        evidence = {"limit": most, "wrong": count, "looked_at": seen.looked}
        yield Match(2.3, Explanation("clipped", message, evidence, None))


def match_two_ratios(seen: Comparison) -> Iterator[Match]:
    """Masked in places that nothing known tells: two ratios, one of them 0 or 1."""
    yield from _one_is_zero(seen)
    yield from _right_or_scaled(seen)


def _one_is_zero(seen: Comparison) -> Iterator[Match]:
    """At each wrong entry the claim is 0 or the right gradient is; elsewhere one ratio."""
    no_claim = seen.wrong & (seen.claim == 0.0)
    no_gradient = seen.wrong & (np.abs(seen.numeric) <= seen.error)
    rest = ~no_claim & ~no_gradient & ~seen.mute
    some = {"claim_zero": int(no_claim.sum()), "gradient_zero": int(no_gradient.sum())}
    if not no_claim.any() and not no_gradient.any():
        return
    if not np.any(seen.wrong & rest):
        # By chance the zeros would not be where the wrong entries are.
        if coincidence(int(seen.wrong.sum()), int(seen.right.sum())) < PLACED:
            return
        limit = float(np.max(np.abs(seen.numeric[seen.wrong])))
        is_small = not no_gradient.any() and limit < np.min(
            np.abs(seen.numeric[seen.right]), initial=np.inf
        )
        parts = []
        if no_claim.any():
            parts.append(f"0 at {some['claim_zero']} entries where the right gradient is not")
        if no_gradient.any():
            parts.append(f"not 0 at {some['gradient_zero']} entries where the right gradient is")
        message = (
            f"the claim is {' and '.join(parts)} (of {seen.looked} looked at), and right at the "
            "others: a mask is wrong"
        )
        if is_small:
            message = (
                f"the claim is 0 where the right gradient is small, at {some['claim_zero']} of "
                f"{seen.looked} entries looked at (up to {limit:.3g} in size), and right at the "
                "others: something rounds or cuts it off"
            )
        evidence: dict[str, object] = {**some, "right": int(seen.right.sum())}
        yield Match(6.0, Explanation("mask", message, evidence, None))
        return
    few = only(seen, rest)
    line = few.slope(few.claim)
    if line is None or no_claim.any():
        return
    if not is_enough(line.digits):
        return
    ratio, error, meaning = named_ratio(seen, line)
    message = (
        f"the right gradient is 0 at {some['gradient_zero']} of {seen.looked} entries looked at, "
        f"where the claim is not, and at all others the claim is {number(ratio, error)} times it "
        f"({within(error)}){meaning}: a mask, as of dropout, is not applied"
    )
    evidence = {**some, "ratio": ratio, "ratio_error": error, "entries": int(rest.sum())}
    yield Match(6.5, Explanation("mask", message, evidence, None))


def _right_or_scaled(seen: Comparison) -> Iterator[Match]:
    """Right at some entries, and at all others wrong by one factor."""
    few = only(seen, seen.wrong)
    if not seen.right.any() or np.count_nonzero(few.is_new) < 3:
        return
    line = few.slope(few.claim)
    if line is None or not is_enough(line.digits):
        return
    ratio, error, meaning = named_ratio(seen, line)
    count = len(few.index)
    message = (
        f"right at {int(np.count_nonzero(seen.right))} entries, and at the {count} others looked "
        f"at {number(ratio, error)} times the right gradient ({within(error)}){meaning}"
    )
    evidence: dict[str, object] = {"ratio": ratio, "ratio_error": error, "wrong": count}
    yield Match(7.0, Explanation("mask", message, evidence, None))


def named_ratio(seen: Comparison, line: Line) -> tuple[float, float, str]:
    """A ratio, its half-width, and what it is: that of u to the right gradient, numeric = q u.

    Args:
        seen: claim against numeric.
        line: the possible q; the ratio is 1 / q.
    """
    ratio, error = ratio_of(line)
    if line.holds(1.0):
        return 1.0, error, ""
    if line.holds(-1.0):
        return -1.0, error, ": the sign is wrong"
    named = match(line.inverse, seen.field.constants, {})  # of some entries: lengths mean nothing
    if named is None:
        return ratio, error, ""
    value = float(np.copysign(named.value, ratio))
    plain = ": twice as much" if named.value == 2.0 else ": half as much"
    return value, error, named.meaning or plain
