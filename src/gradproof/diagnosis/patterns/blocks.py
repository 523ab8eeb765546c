"""Wrong in a part of the tensor alone, and what is wrong there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, compare
from gradproof.diagnosis.patterns.field import Alternative, Bools, Explanation, Field, Match
from gradproof.diagnosis.patterns.regions import Region, coincidence, entries, regions
from gradproof.diagnosis.patterns.wording import number
from gradproof.numerics.agreement import Floats

Matcher = Callable[[Comparison], Iterator[Match]]

#: Digits that the place of the wrong entries has to say if what is wrong there is clear, and how
#: many regions are looked into.
PLACED, MOST_REGIONS = 1.0, 6
#: The same if what is wrong there is not clear, where all entries were looked at and where not; and
#: if they are all 0.
PLAINLY, LIKELY, EMPTY = 1.3, 3.0, 2.0
#: Indices of slices that are told.
MOST_TOLD = 6


def match_inside(seen: Comparison, inside: tuple[Matcher, ...]) -> Iterator[Match]:
    """All wrong entries lie in one region and all right ones outside, and a mistake explains them.

    Args:
        seen: claim against numeric.
        inside: what may have been done to the region.
    """
    for region, digits in _placed(seen):
        if digits < PLACED:
            continue
        within = region.everywhere(seen.field.shape)
        if not _is_free_of_right_ones(seen, within):
            continue
        part = compare(_part(seen.field, region, within), seen.lengths)
        matches = sorted((m for f in inside for m in f(part)), key=lambda m: m.cost)
        for found in matches[:1]:
            yield _explained(seen, region, within, found)


def match_place(seen: Comparison) -> Iterator[Match]:
    """All wrong entries lie in one region, all right ones outside; what is wrong is not clear."""
    least = PLAINLY if seen.looked == seen.size else LIKELY
    for region, digits in _placed(seen):
        if digits >= least and _is_free_of_right_ones(seen, region.everywhere(seen.field.shape)):
            yield _unclear(seen, region)
            return
    few = entries(seen.field.shape, [c[seen.wrong] for c in seen.coordinates])
    if seen.wrong.any() and seen.right.any() and few is not None:
        yield _unclear(seen, few)


def match_zero_slice(seen: Comparison) -> Iterator[Match]:
    """The claim is 0 in whole slices, and the right gradient is not."""
    wrong = seen.wrong
    if not wrong.any() or seen.claim[wrong].any() or not seen.field.claim.any():
        return
    shape = seen.field.shape
    is_zero = (seen.field.claim == 0.0).reshape(shape)
    for axis, n in enumerate(shape):
        others = tuple(a for a in range(len(shape)) if a != axis)
        if n in (1, seen.size):
            continue
        # Other slices may be 0 by right.
        missed = np.zeros(n, bool)
        missed[seen.coordinates[axis][wrong]] = True
        empty = is_zero.all(axis=others) & missed
        if not np.array_equal(empty, missed):
            continue
        count = int(empty.sum()) * (seen.size // n)
        elsewhere = (int(is_zero.sum()) - count + 1) / (seen.size - count + 1)
        if -count * np.log10(elsewhere) - np.log10(n * len(shape)) < EMPTY:
            continue
        told = [str(i) for i in np.flatnonzero(empty)]
        if len(told) > MOST_TOLD:
            told[MOST_TOLD:] = ["..."]
        place = [":"] * len(shape)
        place[axis] = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
        text = f"in [{', '.join(place)}]"
        known = int(np.count_nonzero(wrong))
        message = (
            f"the claim is 0 everywhere {text} ({count} of {seen.size} entries), where the right "
            f"gradient is not ({known} of them looked at), and right elsewhere: this part is never "
            "written, or cut off"
        )
        evidence = {"region": text, "inside": "zero", "entries": count, "wrong": known}
        yield Match(2.0, Explanation("zero", message, evidence, _restored(seen)))


def _placed(seen: Comparison) -> list[tuple[Region, float]]:
    """Regions that fit, and the digits that speak for each."""
    wrong, right = seen.wrong, seen.right
    if not wrong.any() or not right.any() or not seen.field.shape:
        return []
    found = regions(
        seen.field.shape,
        [c[wrong] for c in seen.coordinates],
        [c[right] for c in seen.coordinates],
    )
    ways = coincidence(int(np.count_nonzero(wrong)), int(np.count_nonzero(right)))
    return [(region, ways - region.rivals) for region in found[:MOST_REGIONS]]


def _is_free_of_right_ones(seen: Comparison, within: Bools) -> bool:
    """Whether no entry of a region is known to be right though it was not looked at."""
    if not seen.field.is_complete:
        return True
    rest = within.copy()
    rest[seen.index[: seen.looked]] = False
    return not seen.field.claim[rest].any()


def _part(field: Field, region: Region, within: Bools) -> Field:
    """The field inside a region."""
    looked = within[field.index]
    positions = np.cumsum(within) - 1
    return replace(
        field,
        shape=region.shape if region.shape is not None else (int(within.sum()),),
        claim=field.claim[within],
        index=positions[field.index[looked]],
        numeric=field.numeric[looked],
        error=field.error[looked],
        is_complete=False,
        arrays={name: array[within] for name, array in field.arrays.items()},
        alternatives=[
            Alternative(a.kind, a.message, a.numeric[looked], a.error[looked])
            for a in field.alternatives
        ],
    )


def _explained(seen: Comparison, region: Region, within: Bools, found: Match) -> Match:
    corrected: Floats | None = None
    if found.explanation.corrected is not None:
        corrected = seen.field.claim.copy()
        corrected[within] = found.explanation.corrected
    count = int(np.count_nonzero(within))
    message = (
        f"wrong only {region.text} ({count} of {seen.size} entries); there "
        f"{found.explanation.message}"
    )
    evidence: dict[str, object] = {
        **found.explanation.evidence,
        "region": region.text,
        "inside": found.explanation.kind,
        "entries": count,
    }
    cost = 2.5 + region.cost + found.cost
    is_slice = region.shape is not None and found.explanation.kind == "zero"
    kind = "zero" if is_slice else "block"
    return Match(cost, Explanation(kind, message, evidence, corrected))


def _unclear(seen: Comparison, region: Region) -> Match:
    wrong = np.flatnonzero(seen.wrong)
    right = int(np.count_nonzero(seen.right[: seen.looked]))
    evidence: dict[str, object] = {
        "region": region.text,
        "inside": "unexplained",
        "wrong": len(wrong),
        "right": right,
    }
    first = wrong[np.argmax(np.abs(seen.claim - seen.numeric)[wrong])]
    claim, numeric, error = (float(x[first]) for x in (seen.claim, seen.numeric, seen.error))
    ratio = ""
    if claim and abs(numeric) > error:
        ratio = f", a ratio of {number(claim / numeric, error / abs(numeric))}"
    only = "only " if seen.field.is_complete or region.rivals > 0.0 else ""
    message = (
        f"wrong {only}{region.text} ({len(wrong)} of {seen.looked} entries looked at)"
        f"{'; at the worst' if len(wrong) > 1 else ';'} the claim is {claim:.9g} and the right "
        f"gradient {numeric:.9g} (+- {error:.0e}){ratio}"
    )
    return Match(9.0 + region.cost, Explanation("block", message, evidence, _restored(seen)))


def _restored(seen: Comparison) -> Floats | None:
    """What was found in place of what is wrong, where all else is known to be right."""
    if not seen.field.is_complete or not np.isfinite(seen.field.error + seen.field.numeric).all():
        return None
    corrected = seen.field.claim.copy()
    corrected[seen.index[seen.wrong]] = seen.numeric[seen.wrong]
    return corrected
