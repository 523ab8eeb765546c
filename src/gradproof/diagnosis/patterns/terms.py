"""A term that is missing or too much, and factors that are arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, Line, is_enough
from gradproof.diagnosis.patterns.field import ITSELF, Explanation, Match
from gradproof.diagnosis.patterns.minimax import fit_two
from gradproof.diagnosis.patterns.names import digits_of_name, match
from gradproof.diagnosis.patterns.scalar import ratio_of
from gradproof.diagnosis.patterns.wording import number, within
from gradproof.numerics.agreement import Floats


def match_term(seen: Comparison) -> Iterator[Match]:
    """Claim less right gradient is a multiple of a known array."""
    if np.count_nonzero(seen.wrong & seen.is_new) < 2:
        return
    for name, array in seen.arrays.items():
        line = seen.slope(-array[seen.index], seen.claim)
        if line is None:
            continue
        found = _coefficient(seen, line)
        if found is None:
            continue
        value, meaning, cost, evidence = found
        kind = "extra-term" if value > 0.0 else "missing-term"
        is_whole = abs(value) == 1.0 and not name.endswith(ITSELF)
        of = name if is_whole else f"{number(abs(line.middle), _half(line))} times {name}"
        if kind == "missing-term":
            message = f"the claim lacks {of}"
        elif is_whole:
            message = f"the claim holds {of} once too often"
        else:
            message = f"the claim holds {of} too much"
        if name.endswith(ITSELF):
            message += ", as weight decay adds it"
        message += f" ({within(_half(line))}, on {seen.counts}){meaning}"
        evidence |= {"array": name}
        corrected = seen.field.claim - value * array
        yield Match(cost, Explanation(kind, message, evidence, corrected))


def match_array_factor(seen: Comparison) -> Iterator[Match]:
    """The claim is the right gradient times a known array, or over it, and a number."""
    if not seen.wrong.any():
        return
    for name, array in seen.arrays.items():
        if np.all(array == array[0]):
            continue
        there = array[seen.index]
        for words, u in (
            ("times", np.where(there == 0.0, np.nan, seen.claim / there)),
            ("over", seen.claim * there),
        ):
            line = None if np.isnan(u).any() else seen.slope(u)
            if line is None or not is_enough(line.digits):
                continue
            ratio, error = ratio_of(line)
            is_one = line.holds(1.0)
            factor = "" if is_one else f"{number(ratio, error)} times "
            message = (
                f"the claim is {factor}the right gradient {words} {name} (entry by entry, on "
                f"{seen.counts})"
            )
            evidence = {"array": name, "ratio": ratio, "ratio_error": error}
            corrected = seen.field.claim / (1.0 if is_one else ratio)
            if words == "times":
                corrected = np.where(array == 0.0, 0.0, corrected / array)
            else:
                corrected = corrected * array
            cost = 2.5 if is_one else 4.0
            yield Match(cost, Explanation("factor", message, evidence, corrected))


def match_factor_of_one_term(seen: Comparison) -> Iterator[Match]:
    """The claim is a multiple of the right gradient but for a term: numeric = q claim + c array."""
    wrong = int(np.count_nonzero(seen.wrong))
    ordered = np.sort(seen.digits)
    digits = float(ordered[:-2].sum()) if wrong > 3 else 0.0
    if not is_enough(digits) or seen.line(seen.claim) is not None:
        return
    alone = np.zeros(len(seen.index), np.intp)
    for name, array in seen.arrays.items():
        there = array[seen.index]
        if not seen.claim.any() or not there.any():
            continue
        (q,), (c,) = fit_two(seen.numeric, seen.error, seen.claim, there, alone, 1)
        if not seen.agrees(q * seen.claim + c * there).all():
            continue
        error = _leeway(seen, there)
        if abs(q - 1.0) <= error or abs(q) <= 2.0 * error:
            continue
        q_line = Line(q - error, q + error, digits, digits)
        ratio, ratio_error = ratio_of(q_line)
        named = match(q_line.inverse, seen.field.constants, seen.lengths)
        meaning = named.meaning if named else ""
        message = (
            f"but for a term proportional to {name}, the claim is {number(ratio, ratio_error)} "
            f"times the right gradient ({within(ratio_error)}, on {seen.counts}){meaning}"
        )
        evidence = {"ratio": ratio, "ratio_error": ratio_error, "array": name, "coefficient": c}
        corrected = q * seen.field.claim + c * array
        cost = 4.0 if named else 5.0
        yield Match(cost, Explanation("factor", message, evidence, corrected))


def _coefficient(
    seen: Comparison, line: Line
) -> tuple[float, str, float, dict[str, object]] | None:
    """The coefficient, what it is, what it costs, and the evidence."""
    evidence: dict[str, object] = {
        "coefficient": line.middle,
        "coefficient_error": _half(line),
        "entries": int(np.count_nonzero(seen.wrong)),
        "looked_at": seen.looked,
    }
    sign = float(np.sign(line.middle))
    if line.holds(sign) and is_enough(line.all_digits):
        return sign, "", 1.6, evidence
    named = match(line, seen.field.constants, seen.lengths)
    if named is not None and is_enough(digits_of_name(line, named)):
        meaning = named.meaning
        evidence |= {"matched": named.name or f"{named.value:g}", "constants": named.constants}
        return sign * named.value, meaning, 2.0 + 0.01 * min(named.rank, 50), evidence
    if is_enough(line.digits):
        return line.middle, "", 3.5, evidence
    return None


def _leeway(seen: Comparison, array: Floats) -> float:
    """How far the ratio may go: the bars over what of the claim is not along the array."""
    weight = 1.0 / seen.error
    claim, along = seen.claim * weight, array * weight
    rest = claim - along * (claim @ along) / (along @ along)
    return float(np.sqrt(len(rest) / (rest @ rest)))


def _half(line: Line) -> float:
    return max(0.5 * (line.high - line.low), 2.0**-52 * abs(line.middle))
