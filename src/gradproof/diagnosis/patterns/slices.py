"""Factors, terms and places that differ from slice to slice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from gradproof.diagnosis.patterns.chance import digits_of_places
from gradproof.diagnosis.patterns.comparison import Comparison
from gradproof.diagnosis.patterns.field import SECOND_CALL, Codes, Explanation, Match
from gradproof.diagnosis.patterns.names import is_enough
from gradproof.diagnosis.patterns.wording import axes_of, several
from gradproof.numerics.agreement import Floats

#: Axes whose slices are tried in other places are no longer than this, in all entries times slices.
MOST_TRIALS = 4_000_000
#: Slices whose right place is told.
MOST_TOLD = 4
#: Entries that are looked for in other places.
MOST_SOUGHT = 512


def match_factor_by_slice(seen: Comparison) -> Iterator[Match]:
    """One factor for each slice: a factor that is an array of fewer axes."""
    if not seen.wrong.any():
        return
    for axes in _kept(seen.field.shape):
        found = _by_group(seen, axes, seen.claim, np.zeros(len(seen.index)))
        if found is None:
            continue
        middle, digits = found
        if not is_enough(digits) or np.any(middle == 0.0):
            continue
        ratios = 1.0 / middle[np.isfinite(middle)]
        message = (
            f"the claim is a multiple of the right gradient with one factor for each index of "
            f"{axes_of(axes)}, from {ratios.min():.6g} to {ratios.max():.6g} (on {seen.counts}): "
            f"a factor that varies along {axes_of(axes)} is missing or wrong"
        )
        evidence = {"axes": axes, "ratios": tuple(float(r) for r in ratios[:20])}
        corrected = seen.field.claim * _spread_out(seen, axes, middle)
        is_known = bool(np.isfinite(middle).all())
        yield Match(
            5.0 + 0.2 * len(axes),
            Explanation("factor", message, evidence, corrected if is_known else None),
        )
        return


def match_term_by_slice(seen: Comparison) -> Iterator[Match]:
    """A term that is constant along some axes, or proportional to a known array along them."""
    if not seen.wrong.any():
        return
    arrays = {"": np.ones(seen.size)}
    arrays |= {
        name: array
        for name, array in seen.field.arrays.items()
        if name != SECOND_CALL and array.any() and np.isfinite(array).all()
    }
    for axes in ((), *_kept(seen.field.shape)):
        along = tuple(a for a, n in enumerate(seen.field.shape) if n > 1 and a not in axes)
        for name, array in arrays.items():
            if name and not axes:
                continue  # one coefficient: a term of the whole tensor
            found = _by_group(seen, axes, array[seen.index], seen.claim)
            if found is None or not is_enough(found[1]):
                continue
            middle = found[0]
            what = f"proportional to {name}" if name else "the same"
            message = (
                f"the difference between claim and right gradient is {what} all along "
                f"{axes_of(along)} (on {seen.counts}): a term such as a mean or a sum along "
                f"{'it' if len(along) == 1 else 'them'} is missing or wrong"
            )
            evidence = {"axes": along, "array": name or "1"}
            corrected = seen.field.claim + array * _spread_out(seen, axes, middle)
            is_known = bool(np.isfinite(middle).all())
            yield Match(
                5.5 + 0.2 * len(axes) + (0.3 if name else 0.0),
                Explanation("missing-term", message, evidence, corrected if is_known else None),
            )
            return


def match_order(seen: Comparison) -> Iterator[Match]:
    """The slices along an axis are right, but in another order."""
    wrong = seen.wrong
    shape = seen.field.shape
    for axis, n in enumerate(shape):
        if n == 1 or n * len(seen.index) > MOST_TRIALS or not wrong.any():
            continue
        here = seen.coordinates[axis]
        stride = int(np.prod(shape[axis + 1 :], dtype=int))
        base = seen.index - here * stride
        fits = np.ones((n, n), bool)  # fits[j, l]: slice j may be the claim's slice l
        for slice_ in range(n):
            agrees = seen.agrees(seen.field.claim[base + slice_ * stride])
            fits[here[~agrees], slice_] = False
        moved = np.unique(here[wrong])
        if not fits[moved].any(axis=1).all():
            continue
        kept = np.setdiff1d(np.unique(here), moved)
        choices = float(np.log10(n)) * len(moved)
        if not is_enough(digits_of_places(seen) - choices - float(np.log10(len(shape)))):
            continue
        sources = {int(j): int(np.argmax(fits[j])) for j in moved}
        if len(set(sources.values())) < len(sources):
            what = "taken from the wrong slices"
        else:
            what = "right, but in another order"
        told = [f"its {of} belongs at {to}" for to, of in list(sources.items())[:MOST_TOLD]]
        more = ", ..." if len(sources) > MOST_TOLD else ""
        message = (
            f"the slices along axis {axis} are {what}: {several(told)}{more} ({len(moved)} of "
            f"{len(moved) + len(kept)} slices looked at)"
        )
        corrected = _reordered(seen, axis, sources) if len(moved) + len(kept) == n else None
        evidence = {"axis": axis, "sources": sources}
        yield Match(4.5, Explanation("misplaced", message, evidence, corrected))
        return


def match_misplaced(seen: Comparison) -> Iterator[Match]:
    """Each wrong entry's right value stands somewhere else in the claim."""
    wrong = np.flatnonzero(seen.wrong)
    least = 2 if seen.looked == seen.size else 3
    if len(wrong) < least or len(wrong) > MOST_SOUGHT:
        return
    order = np.argsort(seen.field.claim)
    values = seen.field.claim[order]
    low = np.searchsorted(values, seen.numeric - seen.error, "left")
    high = np.searchsorted(values, seen.numeric + seen.error, "right")
    if np.any((high - low)[wrong] != 1):  # not there, or not at one place alone
        return
    digits = digits_of_places(seen) - len(wrong) * float(np.log10(seen.size))
    if not is_enough(digits):
        return
    sources = order[low[wrong]]
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


def _kept(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Axes along which something may vary: one, all but one, and what is between."""
    axes = [a for a, n in enumerate(shape) if n > 1]
    return [c for count in range(1, min(len(axes), 5)) for c in combinations(axes, count)]


def _group(seen: Comparison, axes: tuple[int, ...]) -> tuple[Codes, int]:
    """A number for each entry that tells its indices along `axes`; and how many there are."""
    lengths = tuple(seen.field.shape[a] for a in axes)
    if not axes:
        return np.zeros(len(seen.index), np.intp), 1
    at = np.ravel_multi_index([seen.coordinates[a] for a in axes], lengths)
    return np.asarray(at), int(np.prod(lengths))


def _by_group(
    seen: Comparison, axes: tuple[int, ...], u: Floats, v: Floats
) -> tuple[Floats, float] | None:
    """For each group the q with numeric = q u + v, NaN where it is not known; and the digits."""
    group, count = _group(seen, axes)
    fixed = u == 0.0
    if np.any(np.abs(seen.numeric - v)[fixed] > seen.error[fixed]):
        return None
    middle, half = (seen.numeric - v) / u, np.abs(seen.error / u)
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(low, group[~fixed], (middle - half)[~fixed])
    np.minimum.at(high, group[~fixed], (middle + half)[~fixed])
    if np.any(low > high):
        return None
    best = np.zeros(count)
    np.maximum.at(best, group, seen.digits)
    digits = float(seen.digits.sum() - best.sum()) - float(np.log10(len(seen.field.shape) + 1))
    known = np.isfinite(low) & np.isfinite(high)
    return np.where(known, 0.5 * low + 0.5 * high, np.nan), digits


def _spread_out(seen: Comparison, axes: tuple[int, ...], values: Floats) -> Floats:
    shape = tuple(n if a in axes else 1 for a, n in enumerate(seen.field.shape))
    return np.asarray(np.broadcast_to(values.reshape(shape), seen.field.shape).ravel())


def _reordered(seen: Comparison, axis: int, sources: dict[int, int]) -> Floats:
    claim = np.moveaxis(seen.field.claim.reshape(seen.field.shape), axis, 0)
    order = np.arange(len(claim))
    for to, of in sources.items():
        order[to] = of
    return np.asarray(np.moveaxis(claim[order], 0, axis).ravel())
