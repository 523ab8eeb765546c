"""Masks: of a ReLU, a pool or a dropout, taken from the wrong array, or not applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, Line, only
from gradproof.diagnosis.patterns.field import SECOND_CALL, Bools, Explanation, Match
from gradproof.diagnosis.patterns.names import is_enough, match, with_lengths
from gradproof.diagnosis.patterns.regions import coincidence
from gradproof.diagnosis.patterns.scalar import ratio_of
from gradproof.diagnosis.patterns.wording import number, within
from gradproof.numerics.agreement import Floats

#: Digits that the places of the wrong entries have to say, before what is wrong there counts.
PLACED = 2.0
#: Entries that a mask has to get right before all are asked.
FIRST = 256
#: How far an array and its masked copy may be apart, relative to the largest entry.
SAME = 1e-12


@dataclass(frozen=True)
class _Mask:
    """Where a known array has a certain sign."""

    text: str
    inside: Bools


def match_mask(seen: Comparison) -> Iterator[Match]:
    """Wrong where a known array has a certain sign, and right elsewhere."""
    if not seen.wrong.any() or not seen.right.any():
        return
    masks = list(_masks(seen))
    ways = coincidence(int(np.count_nonzero(seen.wrong)), int(np.count_nonzero(seen.right)))
    digits = ways - float(np.log10(max(len(masks), 1)))
    if digits < PLACED:
        return
    for mask in masks:
        there = mask.inside[seen.index]
        if np.any(seen.wrong & ~there) or np.any(seen.right & there):
            continue
        yield from _inside(seen, mask, only(seen, there), digits)


def match_masked(seen: Comparison) -> Iterator[Match]:
    """The right gradient is a known array, or the claim, where an array has a certain sign; else 0.

    The claim may be the same with another mask: that of the wrong array, or none.
    """
    if not is_enough(float(seen.digits.sum())):
        return
    masks = list(_masks(seen))
    bases = {"the claim": seen.field.claim, **_arrays(seen)}
    few = only(seen, _some(seen))
    for mask in masks:
        there = mask.inside[few.index]
        if np.any((np.abs(few.numeric) > few.error) & ~there):
            continue
        for name, base in bases.items():
            line = few.line(base[few.index] * there)
            if line is None or line.low * line.high <= 0.0:
                continue
            line = seen.line(base[seen.index] * mask.inside[seen.index])
            if line is not None and line.low * line.high > 0.0:
                yield from _as_masked(seen, mask, name, base, line, masks)


def match_clipped(seen: Comparison) -> Iterator[Match]:
    """The claim stops at a largest size that the right gradient exceeds."""
    wrong = seen.wrong
    most = float(np.max(np.abs(seen.field.claim), initial=0.0))
    if np.count_nonzero(wrong) < 2 or most == 0.0:
        return
    at_most = np.abs(seen.claim[wrong]) >= most * (1.0 - SAME)
    beyond = seen.numeric[wrong] * np.sign(seen.claim[wrong]) > most
    if at_most.all() and beyond.all():
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
    zeros = (np.count_nonzero(seen.field.claim == 0.0) + 1) / (seen.size + 1)
    digits = -float(np.log10(zeros)) * np.count_nonzero(no_claim)
    digits += float(seen.digits[no_gradient].sum()) if not np.any(seen.wrong & rest) else 0.0
    some = {"claim_zero": int(no_claim.sum()), "gradient_zero": int(no_gradient.sum())}
    if not no_claim.any() and not no_gradient.any():
        return
    if not np.any(seen.wrong & rest):
        limit = float(np.max(np.abs(seen.numeric[seen.wrong])))
        is_small = not no_gradient.any() and limit < np.min(
            np.abs(seen.numeric[seen.right]), initial=np.inf
        )
        if is_small:
            ways = coincidence(int(no_claim.sum()), int(seen.right.sum()))
            digits = max(digits, ways)
        if not is_enough(digits):
            return
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
    line = few.line(few.claim)
    digits = float(seen.digits[no_gradient].sum())
    if line is None or line.low * line.high <= 0.0 or no_claim.any():
        return
    if not is_enough(line.digits) or not is_enough(digits):
        return
    ratio, error, meaning = _named(seen, line)
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
    if not seen.right.any() or len(few.index) < 3:
        return
    line = few.line(few.claim)
    if line is None or line.low * line.high <= 0.0 or not is_enough(line.digits):
        return
    ratio, error, meaning = _named(seen, line)
    count = len(few.index)
    message = (
        f"right at {int(np.count_nonzero(seen.right))} entries, and at the {count} others looked "
        f"at {number(ratio, error)} times the right gradient ({within(error)}){meaning}"
    )
    evidence: dict[str, object] = {"ratio": ratio, "ratio_error": error, "wrong": count}
    yield Match(7.0, Explanation("mask", message, evidence, None))


def _masks(seen: Comparison) -> Iterator[_Mask]:
    for name, array in _arrays(seen).items():
        yield _Mask(f"{name} is positive", array > 0.0)
        yield _Mask(f"{name} is negative", array < 0.0)
        if not array.all():
            yield _Mask(f"{name} is positive or 0", array >= 0.0)
            yield _Mask(f"{name} is negative or 0", array <= 0.0)
            yield _Mask(f"{name} is 0", array == 0.0)
            yield _Mask(f"{name} is not 0", array != 0.0)


def _arrays(seen: Comparison) -> dict[str, Floats]:
    return {
        name: array
        for name, array in seen.field.arrays.items()
        if name != SECOND_CALL and array.any() and np.isfinite(array).all()
    }


def _some(seen: Comparison) -> Bools:
    wrong, others = np.flatnonzero(seen.wrong), np.flatnonzero(~seen.wrong)
    chosen = np.zeros(len(seen.index), bool)
    for lanes in (wrong, others):
        chosen[lanes[:: max(len(lanes) // FIRST, 1)]] = True
    return chosen


def _inside(seen: Comparison, mask: _Mask, part: Comparison, digits: float) -> Iterator[Match]:
    """What is wrong inside a mask."""
    count = f"{int(np.count_nonzero(part.wrong))} of {seen.looked} entries looked at"
    evidence: dict[str, object] = {
        "where": mask.text,
        "wrong": int(np.count_nonzero(part.wrong)),
        "right": int(np.count_nonzero(seen.right)),
    }
    start = f"wrong exactly where {mask.text} ({count}), and right elsewhere; there "
    corrected = seen.field.claim.copy()
    if np.all(np.abs(part.numeric) <= part.error):
        corrected[mask.inside] = 0.0
        message = start + "the right gradient is 0 and the claim is not"
        yield Match(3.0, Explanation("mask", message, evidence, corrected))
        return
    for name, base in {"the claim": seen.field.claim, **_arrays(seen)}.items():
        line = part.line(base[part.index])
        if line is None or line.low * line.high <= 0.0:
            continue
        ratio, error, meaning = _named(seen, line)
        evidence |= {"ratio": ratio, "ratio_error": error}
        if name == "the claim":
            says = f"the claim is {number(ratio, error)} times the right gradient"
        else:
            evidence |= {"array": name}
            value = f"{number(1.0 / ratio, error / ratio**2)} times " if ratio != 1.0 else ""
            says = f"the right gradient is {value}{name}"
        if is_enough(digits + (line.all_digits if meaning or ratio == 1.0 else line.digits)):
            corrected[mask.inside] = base[mask.inside] / ratio
            message = f"{start}{says} ({within(error)}){meaning}"
            cost = 3.0 + (0.4 if meaning or ratio == 1.0 else 1.5)
            yield Match(cost, Explanation("mask", message, evidence, corrected))
            return
    if not is_enough(digits):
        return
    is_zero = not seen.field.claim[mask.inside].any()
    message = start + ("the claim is 0 and the right gradient is not" if is_zero else "no pattern")
    yield Match(3.0 if is_zero else 5.5, Explanation("mask", message, evidence, None))


def _as_masked(
    seen: Comparison, mask: _Mask, name: str, base: Floats, line: Line, masks: list[_Mask]
) -> Iterator[Match]:
    ratio, error, meaning = _named(seen, line)
    is_known = ratio == 1.0 or bool(meaning)
    digits = line.all_digits if is_known else line.digits
    masked = base * mask.inside
    if not is_enough(digits - float(np.log10(len(masks) * (1 + len(seen.field.arrays))))):
        return
    if name == "the claim" and ratio == 1.0 and seen.right.any():
        return  # wrong where the mask says so, and right elsewhere: said better so
    if _is_same(masked, base):
        return  # nothing is masked
    value = f"{number(1.0 / ratio, error / ratio**2)} times " if ratio != 1.0 else ""
    claimed = _claimed(seen, name, base, masks)
    if name != "the claim" and not claimed:
        return
    message = (
        f"the right gradient is {value}{name} where {mask.text} and 0 elsewhere (on {seen.looked} "
        f"entries looked at){meaning}{claimed}"
    )
    evidence: dict[str, object] = {
        "where": mask.text,
        "array": name,
        "ratio": ratio,
        "ratio_error": error,
        "wrong": int(np.count_nonzero(seen.wrong)),
    }
    cost = 3.1 + (0.0 if ratio == 1.0 else 0.4 if meaning else 1.5)
    yield Match(cost, Explanation("mask", message, evidence, masked / ratio))


def _claimed(seen: Comparison, name: str, base: Floats, masks: list[_Mask]) -> str:
    """What the claim is, if it is the same array with another mask; empty if it is not."""
    if name == "the claim":
        return ""
    if _is_same(seen.field.claim, base):
        return f"; the claim is {name} everywhere: the mask is not applied"
    for mask in masks:
        if _is_same(seen.field.claim, base * mask.inside):
            return f"; the claim is {name} where {mask.text}: the mask is that of another array"
    return ""


def _named(seen: Comparison, line: Line) -> tuple[float, float, str]:
    """The ratio of claim to right gradient, its half-width, and what it is."""
    ratio, error = ratio_of(line)
    if line.holds(1.0):
        return 1.0, error, ""
    if line.holds(-1.0):
        return -1.0, error, ": the sign is wrong"
    inverse = replace_ends(line)
    lengths = with_lengths({}, seen.field.shape)  # of no meaning for a part of the entries
    known = {n: value for n, value in seen.field.constants.items() if n not in lengths}
    named = match(inverse, known)
    if named is None:
        return ratio, error, ""
    value = float(np.copysign(named.value, ratio))
    return value, error, f": {named.value:.6g} is {named.name}" if named.name else f": {value:g}"


def replace_ends(line: Line) -> Line:
    """The line of the inverse numbers."""
    return line._replace(low=1.0 / line.high, high=1.0 / line.low)


def _is_same(a: Floats, b: Floats) -> bool:
    return bool(np.all(np.abs(a - b) <= SAME * np.max(np.abs(b), initial=0.0)))
