"""Masks: of a ReLU, a pool or a dropout, taken from the wrong array, or not applied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, Line, is_enough, only
from gradproof.diagnosis.patterns.field import Bools, Explanation, Match
from gradproof.diagnosis.patterns.regions import coincidence
from gradproof.diagnosis.patterns.subsets import named_ratio
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
    rivals: float  # log10 of the number of masks of this sort
    cost: float = 3.0
    is_known: bool = True  # at the entries that were not looked at, too


def match_mask(seen: Comparison) -> Iterator[Match]:
    """Wrong where a known array has a certain sign, and right elsewhere."""
    if not seen.wrong.any() or not seen.right.any():
        return
    ways = coincidence(int(np.count_nonzero(seen.wrong)), int(np.count_nonzero(seen.right)))
    for mask in (*_masks(seen), *_intervals(seen)):
        if ways - mask.rivals < PLACED:
            continue
        there = mask.inside[seen.index]
        if np.any(seen.wrong & ~there) or np.any(seen.right & there):
            continue
        yield from _inside(seen, mask, only(seen, there), ways - mask.rivals)


def match_masked(seen: Comparison) -> Iterator[Match]:
    """The right gradient is a known array, or the claim, where an array has a certain sign; else 0.

    The claim may be the same with another mask: that of the wrong array, or none.
    """
    if not is_enough(float(seen.digits.sum())) or not seen.is_shown:
        return
    masks = list(_masks(seen))
    bases = {"the claim": seen.field.claim, **seen.arrays}
    few = only(seen, _some(seen))
    for mask in masks:
        there = mask.inside[few.index]
        if np.any((np.abs(few.numeric) > few.error) & ~there):
            continue
        for name, base in bases.items():
            line = few.slope(base[few.index] * there)
            if line is None:
                continue
            line = seen.slope(base[seen.index] * mask.inside[seen.index])
            if line is not None:
                yield from _as_masked(seen, mask, name, base, line, masks)


def _masks(seen: Comparison) -> list[_Mask]:
    found = []
    for name, array in seen.arrays.items():
        found.append((f"{name} is positive", array > 0.0))
        found.append((f"{name} is negative", array < 0.0))
        if not array.all():
            found.append((f"{name} is positive or 0", array >= 0.0))
            found.append((f"{name} is negative or 0", array <= 0.0))
            found.append((f"{name} is 0", array == 0.0))
            found.append((f"{name} is not 0", array != 0.0))
    return [_Mask(text, inside, float(np.log10(len(found)))) for text, inside in found]


def _intervals(seen: Comparison) -> Iterator[_Mask]:
    """Values of a known array between limits that the wrong entries set."""
    is_all = seen.looked == seen.size
    for name, array in seen.arrays.items():
        wrong, right = array[seen.index[seen.wrong]], array[seen.index[seen.right]]
        low, high = float(wrong.min()), float(wrong.max())
        below, above = right[right < low], right[right > high]
        inside = (array >= low) & (array <= high)
        one_sided = float(np.log10(2 * len(seen.arrays) * len(seen.index)))
        if not len(below):
            text = f"{name} is below {0.5 * (high + above.min(initial=np.inf)):.3g}"
            yield _Mask(text, inside, one_sided, 4.0, is_all)
        elif not len(above):
            text = f"{name} is above {0.5 * (low + below.max()):.3g}"
            yield _Mask(text, inside, one_sided, 4.0, is_all)
        else:
            text = f"{name} is between {low:.3g} and {high:.3g}"
            yield _Mask(text, inside, 2.0 * one_sided, 4.0, is_all)


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
    if np.all(np.abs(part.numeric) <= part.error):
        message = start + "the right gradient is 0 and the claim is not"
        corrected = _put(seen, mask, np.zeros(seen.size))
        yield Match(mask.cost, Explanation("mask", message, evidence, corrected))
        return
    for name, base in {"the claim": seen.field.claim, **seen.arrays}.items():
        line = part.slope(base[part.index])
        if line is None:
            continue
        # What is told is the claim over the right gradient, or that over an array.
        told = line if name == "the claim" else line.inverse
        factor, error, meaning = named_ratio(seen, told)
        is_known = factor == 1.0 or bool(meaning)
        if not is_enough(digits + (line.all_digits if is_known else line.digits)):
            continue
        value = f"{number(factor, error)} times " if factor != 1.0 else ""
        if name == "the claim":
            says, ratio = f"the claim is {value}the right gradient", factor
        else:
            says, ratio, error = (
                f"the right gradient is {value}{name}",
                1 / factor,
                error / factor**2,
            )
        evidence |= {"array": name, "ratio": ratio, "ratio_error": error}
        message = f"{start}{says} ({within(error)}){meaning}"
        cost = mask.cost + (0.4 if is_known else 1.5)
        corrected = _put(seen, mask, base / ratio)
        yield Match(cost, Explanation("mask", message, evidence, corrected))
        return
    is_zero = not seen.field.claim[mask.inside].any()
    if is_zero:
        message = start + "the claim is 0 and the right gradient is not"
        yield Match(mask.cost, Explanation("mask", message, evidence, None))
    elif is_enough(digits):
        message = start + "the claim is wrong by no one factor"
        yield Match(mask.cost + 2.5, Explanation("mask", message, evidence, None))


def _put(seen: Comparison, mask: _Mask, values: Floats) -> Floats | None:
    """The claim with other values inside of a mask, if the mask is known everywhere."""
    return np.where(mask.inside, values, seen.field.claim) if mask.is_known else None


def _as_masked(
    seen: Comparison, mask: _Mask, name: str, base: Floats, line: Line, masks: list[_Mask]
) -> Iterator[Match]:
    factor, error, meaning = named_ratio(seen, line.inverse)
    is_known = factor == 1.0 or bool(meaning)
    # Where the right gradient is 0, it is its place that says something, not that it is 0.
    is_zero = np.abs(seen.numeric) <= seen.error
    shown = base[seen.index] != 0.0
    digits = coincidence(int((is_zero & shown).sum()), int((~is_zero & shown).sum()))
    each = seen.digits[~is_zero]
    digits += float(each.sum() - (0.0 if is_known else each.max(initial=0.0)))
    masked = base * mask.inside
    if not is_enough(digits - float(np.log10(len(masks) * (1 + len(seen.field.arrays))))):
        return
    if name == "the claim" and factor == 1.0 and seen.right.any():
        return  # wrong where the mask says so, and right elsewhere: said better so
    if _is_same(masked, base):
        return  # nothing is masked
    value = f"{number(factor, error)} times " if factor != 1.0 else ""
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
        "ratio": 1.0 / factor,
        "ratio_error": error / factor**2,
        "wrong": int(np.count_nonzero(seen.wrong)),
    }
    cost = 3.1 + (0.0 if factor == 1.0 else 0.4 if meaning else 1.5)
    yield Match(cost, Explanation("mask", message, evidence, masked * factor))


def _claimed(seen: Comparison, name: str, base: Floats, masks: list[_Mask]) -> str:
    """What the claim is, if it is the same array with another mask; empty if it is not."""
    if name == "the claim":
        return ""
    if _is_same(seen.field.claim, base):
        return f"; the claim is {name} everywhere: the mask is not applied"
    for mask in masks:
        if _is_same(seen.field.claim, base * mask.inside):
            return (
                f"; the claim is {name} where {mask.text}: the mask is taken from the wrong array"
            )
    return ""


def _is_same(a: Floats, b: Floats) -> bool:
    return bool(np.all(np.abs(a - b) <= SAME * np.max(np.abs(b), initial=0.0)))
