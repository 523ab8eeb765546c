"""Entries of the claim that are not numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.field import Bools, Explanation, Field, Match
from gradproof.diagnosis.patterns.regions import entries, regions

#: Numbers beside which the place of those that are none is looked for.
MOST_NUMBERS = 20_000


def match_nan(field: Field) -> Iterator[Match]:
    """NaN or infinity in the claim, and where."""
    bad = ~np.isfinite(field.claim)
    if not bad.any():
        return
    count, size = int(bad.sum()), len(field.claim)
    kinds = {
        "NaN": int(np.isnan(field.claim).sum()),
        "infinite": int(np.isinf(field.claim).sum()),
    }
    what = " and ".join(f"{name} at {n}" for name, n in kinds.items() if n)
    place = "everywhere" if count == size else _place(field, bad)
    message = f"the claim is {what} of {size} entries" + (f", {place}" if place else "")
    evidence: dict[str, object] = {**kinds, "size": size, "region": place}
    yield Match(0.0, Explanation("nan", message, evidence, None))


def _place(field: Field, bad: Bools) -> str:
    good = np.flatnonzero(~bad)
    good = good[:: max(len(good) // MOST_NUMBERS, 1)]
    wrong = np.unravel_index(np.flatnonzero(bad), field.shape)
    if len(wrong[0]) == 1:
        few = entries(field.shape, wrong)
        return few.text if few else ""
    found = regions(field.shape, wrong, np.unravel_index(good, field.shape))
    if found and not found[0].everywhere(field.shape)[~bad].any():
        return found[0].text
    few = entries(field.shape, wrong)
    return few.text if few else ""
