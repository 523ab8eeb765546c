"""The explanations of one tensor's error, the simplest first.

An explanation is accepted only if the corrected gradient agrees with all that was found, to within
the bars, and if that is no accident (see `comparison`).

Simpler is what had to choose less, in this order (`Match.cost`): a whole tensor and no number (a
sign, zero, another gradient); a number with a name; a mix-up of places; a number without a name; a
known array; a mask of a known array; a region, the dearer the more indices it takes to describe
it, plus what is wrong there; one number for each slice; places or a mask that only the data tell.
The last two are looked for only if nothing else fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from gradproof.diagnosis.patterns.blocks import match_inside, match_place, match_zero_slice
from gradproof.diagnosis.patterns.comparison import Comparison, compare
from gradproof.diagnosis.patterns.equals import match_accumulated, match_alternative, match_array
from gradproof.diagnosis.patterns.field import Explanation, Field, Match
from gradproof.diagnosis.patterns.masks import match_mask, match_masked
from gradproof.diagnosis.patterns.names import lengths_of
from gradproof.diagnosis.patterns.nan import match_nan
from gradproof.diagnosis.patterns.operands import match_operand
from gradproof.diagnosis.patterns.order import match_misplaced, match_order
from gradproof.diagnosis.patterns.pairs import match_conjugate
from gradproof.diagnosis.patterns.places import match_places
from gradproof.diagnosis.patterns.precision import match_precision
from gradproof.diagnosis.patterns.scalar import match_factor, match_no_gradient, match_zero
from gradproof.diagnosis.patterns.slices import (
    match_factor_by_slice,
    match_product,
    match_term_by_slice,
    match_two_terms_by_slice,
)
from gradproof.diagnosis.patterns.subsets import match_clipped, match_two_ratios
from gradproof.diagnosis.patterns.sums import match_constant, match_mean_of_incoming, match_unsummed
from gradproof.diagnosis.patterns.terms import (
    match_array_factor,
    match_factor_of_one_term,
    match_term,
)
from gradproof.diagnosis.patterns.wording import entry

__all__ = ["Explanation", "explain"]

Matcher = Callable[[Comparison], Iterator[Match]]

#: What may have been done to a part of a tensor.
_INSIDE: tuple[Matcher, ...] = (
    match_zero,
    match_no_gradient,
    match_factor,
    match_term,
    match_alternative,
    match_array_factor,
    match_places,
)


def match_block(seen: Comparison) -> Iterator[Match]:
    """Wrong in a region alone, in a way in which a whole tensor may be wrong."""
    yield from match_inside(seen, _INSIDE)


#: What may have been done to all of it.
_WHOLE: tuple[Matcher, ...] = (
    *_INSIDE,
    match_accumulated,
    match_array,
    match_conjugate,
    match_zero_slice,
    match_unsummed,
    match_mean_of_incoming,
    match_constant,
    match_factor_of_one_term,
    match_clipped,
    match_precision,
    match_mask,
    match_masked,
    match_two_ratios,
    match_block,
)
#: What is looked for if nothing else fits: much is found from the data.
_FREE: tuple[Matcher, ...] = (
    match_operand,
    match_order,
    match_factor_by_slice,
    match_term_by_slice,
    match_two_terms_by_slice,
    match_product,
    match_misplaced,
    match_place,
)

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
    seen = compare(field, lengths_of(field.shape))
    matches = list(match_nan(field))
    if seen.wrong.any():
        for matchers in (_WHOLE, _FREE):
            found = [m for matcher in matchers for m in matcher(seen)]
            found = [m for m in found if _spares_the_rest(seen, m.explanation)]
            matches += found
            if found:
                break
    matches.sort(key=lambda m: m.cost)
    return _distinct([m.explanation for m in matches]) or [_unexplained(seen)]


def _distinct(explanations: list[Explanation]) -> list[Explanation]:
    """Leave out what has been said: the same kind, and the same corrected gradient."""
    kept: list[Explanation] = []
    for new in explanations:
        if not any(new.kind == old.kind and _is_same(new, old) for old in kept):
            kept.append(new)
    return kept


def _is_same(new: Explanation, old: Explanation) -> bool:
    if new.corrected is None or old.corrected is None:
        return new.corrected is None and old.corrected is None
    return np.allclose(new.corrected, old.corrected, rtol=1e-6, atol=0.0, equal_nan=True)


def _spares_the_rest(seen: Comparison, explanation: Explanation) -> bool:
    """Whether entries that are known to be right, though not looked at, stay what they are."""
    corrected, field = explanation.corrected, seen.field
    if not field.is_complete or corrected is None or seen.looked == seen.size:
        return True
    rest = np.isfinite(field.claim)
    rest[field.index] = False
    bar = float(np.median(seen.error[: seen.looked]))
    gap = np.abs(corrected - field.claim)[rest]
    return bool(np.all(gap <= np.fmax(1e-6 * np.abs(field.claim[rest]), bar)))


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
