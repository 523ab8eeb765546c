"""A term that is missing or too much, and factors that are arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, Line
from gradproof.diagnosis.patterns.field import PARAMETER, SECOND_CALL, Explanation, Match
from gradproof.diagnosis.patterns.names import digits_of_name, is_enough, match
from gradproof.diagnosis.patterns.scalar import ratio_of
from gradproof.diagnosis.patterns.wording import number, within
from gradproof.numerics.agreement import Floats


def match_term(seen: Comparison) -> Iterator[Match]:
    """Claim less right gradient is a multiple of a known array."""
    if not seen.wrong.any():
        return
    for name, array in _arrays(seen):
        line = seen.line(-array[seen.index], seen.claim)
        if line is None or line.low * line.high <= 0.0:
            continue
        found = _coefficient(seen, line)
        if found is None:
            continue
        value, meaning, cost, evidence = found
        kind = "extra-term" if value > 0.0 else "missing-term"
        is_whole = abs(value) == 1.0 and name != PARAMETER
        of = name if is_whole else f"{number(abs(line.middle), _half(line))} times {name}"
        if kind == "missing-term":
            message = f"the claim lacks {of}"
        elif is_whole:
            message = f"the claim holds {of} once too often"
        else:
            message = f"the claim holds {of} too much"
        if name == PARAMETER:
            message += ", which is what weight decay adds"
        message += f" ({within(_half(line))}, on {seen.counts}){meaning}"
        evidence |= {"array": name}
        corrected = seen.field.claim - value * array
        yield Match(cost, Explanation(kind, message, evidence, corrected))


def match_array_factor(seen: Comparison) -> Iterator[Match]:
    """The claim is the right gradient times a known array, or over it, and a number."""
    if not seen.wrong.any():
        return
    for name, array in _arrays(seen):
        if np.all(array == array[0]):
            continue
        there = array[seen.index]
        with np.errstate(all="ignore"):
            over = np.where(there == 0.0, np.nan, seen.claim / there)
            all_over = np.where(array == 0.0, 0.0, seen.field.claim / array)
        for words, u, corrected in (
            ("times", over, all_over),
            ("over", seen.claim * there, seen.field.claim * array),
        ):
            line = None if np.isnan(u).any() else seen.line(u)
            if line is None or line.low * line.high <= 0.0 or not is_enough(line.digits):
                continue
            ratio, error = ratio_of(line)
            is_one = line.holds(1.0)
            factor = "" if is_one else f"{number(ratio, error)} times "
            message = (
                f"the claim is {factor}the right gradient {words} {name} (entry by entry, on "
                f"{seen.counts})"
            )
            evidence = {"array": name, "ratio": ratio, "ratio_error": error}
            value = 1.0 if is_one else ratio
            yield Match(
                2.5 if is_one else 4.0,
                Explanation("factor", message, evidence, corrected / value),
            )


def match_factor_of_one_term(seen: Comparison) -> Iterator[Match]:
    """The claim is a multiple of the right gradient but for a term: numeric = q claim + c array."""
    wrong = int(np.count_nonzero(seen.wrong))
    ordered = np.sort(seen.digits)
    digits = float(ordered[:-2].sum()) if wrong > 3 else 0.0
    if not is_enough(digits):
        return
    weight = 1.0 / np.fmax(seen.error, 1e-300)
    for name, array in _arrays(seen):
        there = array[seen.index]
        columns = np.stack([seen.claim, there], axis=1) * weight[:, None]
        if not np.isfinite(columns).all():
            continue
        scale = np.linalg.norm(columns, axis=0)
        if not scale.all():
            continue
        solution, _, rank, _ = np.linalg.lstsq(columns / scale, seen.numeric * weight, rcond=None)
        q, c = solution / scale
        if rank < 2 or q == 0.0 or not seen.agrees(q * seen.claim + c * there).all():
            continue
        # How far q may go: the bars over what of the claim is not along the array.
        inverse = np.linalg.inv((columns / scale).T @ (columns / scale))
        error = float(np.sqrt(inverse[0, 0]) / scale[0])
        if abs(q - 1.0) <= 3.0 * error:
            continue
        q_line = Line(q - error, q + error, digits, digits)
        ratio, ratio_error = ratio_of(q_line)
        inverse_line = Line(ratio - ratio_error, ratio + ratio_error, digits, digits)
        named = match(inverse_line, seen.field.constants)
        meaning = f": {named.value:.6g} is {named.name}" if named and named.name else ""
        message = (
            f"but for a term proportional to {name}, the claim is {number(ratio, ratio_error)} "
            f"times the right gradient ({within(ratio_error)}, on {seen.counts}){meaning}"
        )
        evidence = {"ratio": ratio, "ratio_error": ratio_error, "array": name, "coefficient": c}
        corrected = q * seen.field.claim + c * array
        cost = 4.0 if named else 5.0
        yield Match(cost, Explanation("factor", message, evidence, corrected))


def _arrays(seen: Comparison) -> Iterator[tuple[str, Floats]]:
    for name, array in seen.field.arrays.items():
        if name != SECOND_CALL and array.any() and np.isfinite(array).all():
            yield name, array


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
    named = match(line, seen.field.constants)
    if named is not None and is_enough(digits_of_name(line, named)):
        meaning = f": {named.value:.6g} is {named.name}" if named.name else ""
        evidence |= {"matched": named.name or f"{named.value:g}", "constants": named.constants}
        return sign * named.value, meaning, 2.0 + 0.01 * min(named.rank, 50), evidence
    if is_enough(line.digits):
        return line.middle, "", 3.5, evidence
    return None


def _half(line: Line) -> float:
    return max(0.5 * (line.high - line.low), 2.0**-52 * abs(line.middle))
