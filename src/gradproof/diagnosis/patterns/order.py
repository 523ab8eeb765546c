"""The right values in places that only the data tell: slices, or entries, in another order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.chance import digits_of_places
from gradproof.diagnosis.patterns.comparison import Comparison, is_enough
from gradproof.diagnosis.patterns.field import Bools, Explanation, Match
from gradproof.diagnosis.patterns.wording import several
from gradproof.numerics.agreement import Floats

#: Slices that are tried in one another's places, and entries times slices.
MOST_SLICES, MOST_TRIALS = 1000, 4_000_000
#: Slices whose right place is told.
MOST_TOLD = 4
#: Entries that are looked for in other places.
MOST_SOUGHT = 512


def match_order(seen: Comparison) -> Iterator[Match]:
    """The slices along an axis are right, but in another order."""
    wrong = seen.wrong
    shape = seen.field.shape
    if np.count_nonzero(wrong) < (2 if seen.looked == seen.size else 3):
        return
    for axis, n in enumerate(shape):
        if n == 1 or n > MOST_SLICES or n * len(seen.index) > MOST_TRIALS:
            continue
        here = seen.coordinates[axis]
        moved, looked = np.unique(here[wrong]), np.unique(here)
        fits = _fits(seen, axis)[moved]
        sources = np.argmax(fits, axis=1)
        # One slice each, and none for two of them.
        if np.any(fits.sum(axis=1) != 1) or len(np.unique(sources)) != len(moved) or len(moved) < 2:
            continue
        choices = float(np.log10(n)) * len(moved) + float(np.log10(len(shape)))
        if not is_enough(digits_of_places(seen) - choices):
            continue
        pairs = {int(to): int(of) for to, of in zip(moved, sources, strict=True)}
        told = [f"{of} belongs at {to}" for to, of in list(pairs.items())[:MOST_TOLD]]
        if len(pairs) > MOST_TOLD:
            told.append("so on")
        what = "entries" if n == seen.size else f"slices along axis {axis}"
        message = (
            f"the {what} are right, but in another order: {several(told)} ({len(moved)} of "
            f"{len(looked)} looked at are moved)"
        )
        corrected = _reordered(seen, axis, pairs) if len(looked) == n else None
        evidence = {"axis": axis, "sources": pairs}
        yield Match(4.5, Explanation("misplaced", message, evidence, corrected))
        return


def _fits(seen: Comparison, axis: int) -> Bools:
    """Whether slice j of the right gradient may be slice l of the claim, [j, l]."""
    shape, here = seen.field.shape, seen.coordinates[axis]
    stride = int(np.prod(shape[axis + 1 :], dtype=int))
    base = seen.index - here * stride
    fits = np.ones((shape[axis], shape[axis]), bool)
    for of in range(shape[axis]):
        agrees = seen.agrees(seen.field.claim[base + of * stride])
        fits[here[~agrees], of] = False
    return fits


def match_misplaced(seen: Comparison) -> Iterator[Match]:
    """Each wrong entry's right value stands somewhere else in the claim."""
    wrong = np.flatnonzero(seen.wrong)
    least = 2 if seen.looked == seen.size else 3
    if len(wrong) < least or len(wrong) > MOST_SOUGHT:
        return
    values = np.sort(seen.field.claim)
    low = np.searchsorted(values, seen.numeric - seen.error, "left")
    high = np.searchsorted(values, seen.numeric + seen.error, "right")
    if np.any((high - low)[wrong] != 1):  # not there, or not at one place alone
        return
    digits = digits_of_places(seen) - len(wrong) * float(np.log10(seen.size))
    if not is_enough(digits):
        return
    sources = np.argsort(seen.field.claim)[low[wrong]]
    if len(np.unique(sources)) < len(sources):
        return
    pairs = {int(seen.index[i]): int(j) for i, j in zip(wrong, sources, strict=True)}
    message = (
        f"the values are right but in the wrong places: each of the {len(wrong)} wrong entries' "
        "right values stands at another entry of the claim"
    )
    corrected = None
    if seen.looked == seen.size:
        corrected = seen.field.claim.copy()
        corrected[seen.index[wrong]] = seen.field.claim[sources]
    evidence = {"sources": dict(list(pairs.items())[:20]), "wrong": len(wrong)}
    yield Match(6.2, Explanation("misplaced", message, evidence, corrected))


def _reordered(seen: Comparison, axis: int, sources: dict[int, int]) -> Floats:
    claim = np.moveaxis(seen.field.claim.reshape(seen.field.shape), axis, 0)
    order = np.arange(len(claim))
    for to, of in sources.items():
        order[to] = of
    return np.asarray(np.moveaxis(claim[order], 0, axis).ravel())
