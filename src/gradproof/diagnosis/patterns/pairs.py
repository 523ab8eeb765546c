"""Complex numbers, as pairs of a real and an imaginary part in a last axis of 2."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, is_enough
from gradproof.diagnosis.patterns.field import Explanation, Match


def match_conjugate(seen: Comparison) -> Iterator[Match]:
    """One of the two parts has the opposite sign, the other is right."""
    if seen.field.shape[-1:] != (2,) or not is_enough(float(seen.digits.sum()) - np.log10(2.0)):
        return
    for part, name, what in ((1, "imaginary", "the conjugate"), (0, "real", "minus the conjugate")):
        is_part = seen.index % 2 == part
        flipped = np.where(is_part, -seen.claim, seen.claim)
        if not seen.agrees(flipped).all() or not np.any(seen.right & ~is_part):
            continue
        corrected = seen.field.claim.copy()
        corrected[part::2] *= -1.0
        count = int(np.count_nonzero(seen.wrong))
        message = (
            f"the claim has the opposite sign in [..., {part}], the {name} parts if the last axis "
            f"holds complex numbers (at {count} of {seen.looked} entries looked at), and is right "
            f"in the other: it is {what}"
        )
        evidence = {"entries": count, "looked_at": seen.looked, "part": name}
        yield Match(1.2, Explanation("conjugate", message, evidence, corrected))
