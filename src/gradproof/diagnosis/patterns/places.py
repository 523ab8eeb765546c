"""The right values in the wrong places: transposed, permuted, flipped, shifted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.chance import digits_of_places
from gradproof.diagnosis.patterns.comparison import Comparison, Line, is_enough, only
from gradproof.diagnosis.patterns.field import Bools, Codes, Explanation, Match
from gradproof.diagnosis.patterns.maps import Map, maps
from gradproof.diagnosis.patterns.names import match
from gradproof.diagnosis.patterns.scalar import ratio_of
from gradproof.diagnosis.patterns.wording import number, within
from gradproof.numerics.agreement import Floats

#: Entries that a mix-up has to get right before all are asked.
FIRST = 64
#: Wrong values that have to be found elsewhere if not all entries were looked at.
FEWEST = 3
#: The share of the wrong entries whose right value a shift may have pushed over the edge.
LOST = 0.75


def match_places(seen: Comparison) -> Iterator[Match]:
    """The claim holds the right values, or a multiple of them, in other places."""
    wrong = np.flatnonzero(seen.wrong)
    least = 2 if seen.looked == seen.size else FEWEST
    if len(wrong) < least:
        return
    digits = digits_of_places(seen)
    candidates = list(maps(seen.field.shape))
    digits -= float(np.log10(max(len(candidates), 1)))
    if not is_enough(digits):
        return
    stride = max(len(wrong) // FIRST, 1)
    first = np.zeros(len(seen.index), bool)
    first[wrong[::stride]] = True
    few = only(seen, first)
    known: set[bytes] = set()
    for mix_up in candidates:
        found = _fit(few, mix_up)
        if found is None:
            continue
        source = mix_up.source(seen.index)
        same = source.tobytes()
        if same in known or (known and np.any(source < 0)):
            continue
        found = _fit(seen, mix_up)
        if found is not None:
            known.add(same)
            yield from _explained(seen, mix_up, found, digits)


def _fit(seen: Comparison, mix_up: Map) -> tuple[Line | None, Bools] | None:
    """The ratio at which the values agree, None for 1; and the entries whose value is not lost."""
    source = mix_up.source(seen.index)
    is_there = source >= 0
    values = seen.field.claim[source]
    if np.all(seen.agrees(values) | ~is_there):
        return None, is_there
    if not is_there.all() or mix_up.kind == "shifted" or seen.line(seen.claim) is not None:
        return None
    line = seen.slope(values)
    return None if line is None else (line, is_there)


def _explained(
    seen: Comparison, mix_up: Map, found: tuple[Line | None, Bools], digits: float
) -> Iterator[Match]:
    line, is_there = found
    evidence: dict[str, object] = {
        "entries": int(np.count_nonzero(seen.wrong & is_there)),
        "looked_at": seen.looked,
        "size": seen.size,
    }
    if not is_there.all():
        yield from _with_losses(seen, mix_up, is_there, evidence)
        return
    corrected = _moved(seen, mix_up)
    if line is None:
        message = (
            f"the claim {mix_up.message}: with that undone it agrees at all {seen.looked} entries "
            f"looked at, {int(np.count_nonzero(seen.wrong))} of which are wrong now"
        )
        yield Match(mix_up.cost, Explanation(mix_up.kind, message, evidence, corrected))
        return
    largest = float(np.max(seen.digits))
    if np.count_nonzero(seen.wrong) <= FEWEST or not is_enough(digits - largest):
        return
    ratio, error = ratio_of(line)
    named = match(line.inverse, seen.field.constants, seen.lengths)
    if line.holds(-1.0):
        value, cost, meaning = -1.0, 1.0, ": the sign is wrong as well"
    elif named is not None:
        value = float(np.copysign(named.value, ratio))
        cost, meaning = 1.5, named.meaning
    else:
        value, cost, meaning = ratio, 3.0, ""
    message = (
        f"the claim {mix_up.message}, and is also {number(ratio, error)} times the right gradient "
        f"({within(error)}){meaning}"
    )
    evidence |= {"ratio": ratio, "ratio_error": error}
    yield Match(mix_up.cost + cost, Explanation(mix_up.kind, message, evidence, corrected / value))


def _with_losses(
    seen: Comparison, mix_up: Map, is_there: Bools, evidence: dict[str, object]
) -> Iterator[Match]:
    """A shift that pushed some values out, so that the claim does not tell what they were."""
    lost = int(np.count_nonzero(seen.wrong & ~is_there))
    kept = int(np.count_nonzero(seen.wrong & is_there))
    if (
        kept < FEWEST
        or lost > LOST * (lost + kept)
        or not is_enough(digits_of_places(seen, is_there))
    ):
        return
    message = (
        f"the claim {mix_up.message}: off by one; shifted back it agrees at all {kept} wrong "
        f"entries whose values are still there ({lost} were lost at the edge)"
    )
    evidence |= {"lost": lost}
    yield Match(mix_up.cost, Explanation(mix_up.kind, message, evidence, None))


def _moved(seen: Comparison, mix_up: Map) -> Floats:
    everywhere: Codes = np.arange(seen.size)
    return np.asarray(seen.field.claim[mix_up.source(everywhere)])
