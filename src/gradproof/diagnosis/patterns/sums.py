"""Axes along which something was summed that should not be, or was not that should."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, is_enough
from gradproof.diagnosis.patterns.field import INCOMING, Bools, Codes, Explanation, Match
from gradproof.diagnosis.patterns.wording import axes_of
from gradproof.numerics.agreement import Floats

MOST_AXES = 4
#: How far entries that are the same along an axis may be apart, relative to the largest.
SAME = 1e-12


def match_unsummed(seen: Comparison) -> Iterator[Match]:
    """The right gradient is the sum of the claim along an axis, the same all along it."""
    if not is_enough(float(seen.digits.sum())) or np.count_nonzero(seen.wrong & seen.is_new) < 2:
        return
    claim = seen.field.claim.reshape(seen.field.shape)
    for axes in _axes(seen.field.shape):
        count = int(np.prod([seen.field.shape[a] for a in axes]))
        for value, what in ((1.0, "sum"), (1.0 / count, "mean")):
            if not _is_sum_at_one(seen, claim, axes, value):
                continue
            summed = value * claim.sum(axis=axes, keepdims=True)
            corrected = np.broadcast_to(summed, claim.shape).ravel()
            if not seen.agrees(corrected[seen.index]).all():
                continue
            message = (
                f"the right gradient is the {what} of the claim along {axes_of(axes)} (on "
                f"{seen.counts}): the claim was not summed where f broadcasts"
            )
            evidence = {"axes": axes, "of": what, "entries": seen.looked}
            yield Match(2.4, Explanation("not-summed", message, evidence, corrected))
            return


def match_constant(seen: Comparison) -> Iterator[Match]:
    """The claim is the same all along an axis, and the right gradient is not."""
    claim = seen.field.claim.reshape(seen.field.shape)
    if not claim.any() or not seen.wrong.any():
        return
    largest = float(np.max(np.abs(claim)))
    axes = tuple(a for a, n in enumerate(seen.field.shape) if n > 1 and _is_same(claim, a, largest))
    if not axes or not _varies(seen, _group(seen, axes)):
        return
    groups = seen.size // int(np.prod([seen.field.shape[a] for a in axes]))
    values = max(len(np.unique(seen.field.claim)), 2)
    if not is_enough((seen.size - groups) * float(np.log10(values))):
        return  # few numbers of few values are the same by chance
    evidence: dict[str, object] = {"axes": axes, "entries": seen.looked}
    found = _whole(seen, axes)
    message = f"the claim is the same all along {axes_of(axes)}, and the right gradient is not"
    if found is not None:
        message += f": it is {found} of the right one along it, broadcast"
        evidence["of"] = found
    cost = 4.5 if found is None else 2.4
    yield Match(cost, Explanation("not-summed", message, evidence, None))


def match_mean_of_incoming(seen: Comparison) -> Iterator[Match]:
    """Every entry of the claim is the mean of the incoming gradient, or its sum."""
    incoming = seen.field.arrays.get(INCOMING)
    if incoming is None or seen.size < 2 or not seen.wrong.any():
        return
    claim = float(seen.field.claim[0])
    if claim == 0.0 or np.any(np.abs(seen.field.claim - claim) > SAME * abs(claim)):
        return
    total = float(incoming.sum())
    leeway = SAME * float(np.abs(incoming).sum())
    for times, what in ((1.0, "sum"), (1.0 / seen.size, "mean")):
        for sign, words in ((1.0, f"the {what}"), (-1.0, f"minus the {what}")):
            if abs(sign * times * total - claim) <= times * leeway:
                count = int(np.count_nonzero(seen.wrong))
                message = (
                    f"the claim is {words} of {INCOMING} at all {seen.size} entries; that is wrong "
                    f"at {count} of {seen.looked} looked at"
                )
                evidence = {"of": what, "array": INCOMING, "sign": sign, "wrong": count}
                yield Match(2.2, Explanation("not-summed", message, evidence, None))
                return


def _is_sum_at_one(seen: Comparison, claim: Floats, axes: tuple[int, ...], value: float) -> bool:
    """Whether one wrong entry is the sum along some axes, times a value."""
    one = int(np.argmax(seen.wrong))
    at = tuple(slice(None) if a in axes else int(c[one]) for a, c in enumerate(seen.coordinates))
    return bool(abs(value * claim[at].sum() - seen.numeric[one]) <= seen.error[one])


def _is_same(claim: Floats, axis: int, largest: float) -> bool:
    """Whether all slices along an axis are the same."""
    first, last = claim.take([0], axis), claim.take([-1], axis)
    if np.max(np.abs(first - last)) > SAME * largest:
        return False
    return bool(np.max(np.abs(claim - first)) <= SAME * largest)


def _axes(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    axes = [a for a, n in enumerate(shape) if n > 1]
    for count in range(1, min(len(axes), MOST_AXES) + 1):
        yield from combinations(axes, count)


def _group(seen: Comparison, axes: tuple[int, ...]) -> Codes:
    """A number for each entry that is the same for entries that differ along `axes` alone."""
    kept = tuple(1 if a in axes else n for a, n in enumerate(seen.field.shape))
    at = [np.zeros_like(c) if a in axes else c for a, c in enumerate(seen.coordinates)]
    return np.asarray(np.ravel_multi_index(at, kept))


def _varies(seen: Comparison, group: Codes) -> Bools:
    """Whether two entries of one group differ beyond their bars."""
    count = int(group.max()) + 1
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, group, seen.numeric + seen.error)
    np.maximum.at(high, group, seen.numeric - seen.error)
    return np.asarray(np.any(high > low))


def _whole(seen: Comparison, axes: tuple[int, ...]) -> str | None:
    """What of the right gradient the claim is, where all entries are known."""
    if seen.looked < seen.size:
        return None
    shape = seen.field.shape

    def along(values: Floats) -> Floats:
        return np.asarray(values.reshape(shape).sum(axis=axes))

    total, bar = along(seen.numeric), along(seen.error)
    claim = seen.field.claim.reshape(shape).max(axis=axes)
    count = int(np.prod([shape[a] for a in axes]))
    for value, name in ((1.0, "the sum"), (1.0 / count, "the mean")):
        if np.all(np.abs(value * total - claim) <= value * bar + SAME * np.abs(claim)):
            return name
    return None
