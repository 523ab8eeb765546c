"""A factor of the gradient that was read in the wrong order: strides ignored, axes exchanged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, is_enough, only
from gradproof.diagnosis.patterns.field import Explanation, Match
from gradproof.diagnosis.patterns.maps import maps

#: Entries that have to be right before all are asked; wrong ones that there have to be.
FIRST, FEWEST = 64, 3
#: Powers of a known array that gradients hold.
POWERS = {1: "", 2: ", squared,"}


def match_operand(seen: Comparison) -> Iterator[Match]:
    """The claim holds a known array as a factor, with its entries in the wrong places."""
    wrong = np.flatnonzero(seen.wrong)
    if len(wrong) < FEWEST:
        return
    candidates = list(maps(seen.field.shape))
    choices = float(np.log10(max(len(candidates) * len(seen.arrays) * len(POWERS), 1)))
    digits = float(seen.digits.sum()) - choices
    if not is_enough(digits):
        return
    first = np.zeros(len(seen.index), bool)
    first[wrong[:: max(len(wrong) // FIRST, 1)]] = True
    few = only(seen, first)
    for mix_up in candidates:
        places = mix_up.source(few.index)
        if np.any(places < 0):
            continue
        for name, array in seen.arrays.items():
            for power, words in POWERS.items():
                back = (array[few.index] / array[places]) ** power
                if not few.agrees(few.claim * back).all():
                    continue
                back = (array / array[mix_up.source(np.arange(seen.size))]) ** power
                if not seen.agrees(seen.claim * back[seen.index]).all():
                    continue
                message = (
                    f"the claim holds {name}{words} as a factor that {mix_up.message}: with that "
                    f"in order the claim agrees at all {seen.looked} entries looked at, "
                    f"{len(wrong)} of which are wrong now"
                )
                evidence = {"array": name, "power": power, "entries": len(wrong)}
                corrected = seen.field.claim * back
                cost = mix_up.cost + 2.0
                yield Match(cost, Explanation(mix_up.kind, message, evidence, corrected))
                return
