"""Factors, terms and places that differ from slice to slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison, is_enough
from gradproof.diagnosis.patterns.field import INCOMING, Codes, Explanation, Match
from gradproof.diagnosis.patterns.minimax import fit_two
from gradproof.diagnosis.patterns.wording import axes_of
from gradproof.numerics.agreement import Floats


def match_factor_by_slice(seen: Comparison) -> Iterator[Match]:
    """One factor for each slice: a factor that is an array of fewer axes."""
    if not seen.wrong.any():
        return
    for axes in _kept(seen.field.shape):
        found = _by_group(seen, axes, seen.claim)
        if found is None:
            continue
        middle, digits = found
        if not is_enough(digits):
            continue
        ratios = 1.0 / middle[np.isfinite(middle)]
        message = (
            f"the claim is a multiple of the right gradient with one factor for each index of "
            f"{axes_of(axes)}, from {ratios.min():.6g} to {ratios.max():.6g} (on {seen.counts}): "
            f"a factor that varies along {axes_of(axes)} is missing or wrong"
        )
        evidence = {
            "axes": axes,
            "ratios": tuple(float(r) for r in ratios[:20]),
            "fitted": len(ratios),
        }
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
    arrays = {"": np.ones(seen.size), **seen.arrays}
    for axes in ((), *_kept(seen.field.shape)):
        for name, array in arrays.items():
            if name and not axes:
                continue  # one coefficient: a term of the whole tensor
            found = _by_group(seen, axes, array[seen.index], seen.claim)
            if found is None or not is_enough(found[1]):
                continue
            what = f"proportional to {name}" if name else "the same"
            yield _as_term(seen, axes, array * _spread_out(seen, axes, found[0]), what, 1)
            return


def match_two_terms_by_slice(seen: Comparison) -> Iterator[Match]:
    """A constant and a multiple of a known array in each slice, as of a mean and a variance."""
    if not seen.wrong.any():
        return
    for axes in _kept(seen.field.shape):
        for name, array in seen.arrays.items():
            term = _two_by_group(seen, axes, array)
            if term is not None:
                yield _as_term(seen, axes, term, f"a constant plus a multiple of {name}", 2)
                return


def match_product(seen: Comparison) -> Iterator[Match]:
    """The right gradient is a b - c a in each slice, of two known arrays: a softmax's.

    There a is what it returns, b the incoming gradient, and c their inner product along an axis.
    """
    incoming = seen.arrays.get(INCOMING)
    if incoming is None or not seen.wrong.any():
        return
    for name, array in seen.arrays.items():
        product = array * incoming
        for axes in _kept(seen.field.shape) if name != INCOMING else ():
            found = _by_group(seen, axes, array[seen.index], product[seen.index])
            if found is None or not is_enough(found[1]):
                continue
            right = product + array * _spread_out(seen, axes, found[0])
            along = tuple(a for a, n in enumerate(seen.field.shape) if n > 1 and a not in axes)
            message = (
                f"the right gradient is {name} times {INCOMING}, less {name} times a number "
                f"that is the same all along {axes_of(along)}, as of a softmax (on {seen.counts}): "
                "in the claim that number, a sum, is missing or wrong"
            )
            evidence = {"axes": along, "array": name, "fitted": len(found[0])}
            corrected = right if np.isfinite(right).all() else None
            yield Match(6.5, Explanation("missing-term", message, evidence, corrected))
            return


def _as_term(seen: Comparison, axes: tuple[int, ...], term: Floats, what: str, each: int) -> Match:
    """The claim lacks a term (size,), NaN where it is not known, of `each` numbers a slice."""
    along = tuple(a for a, n in enumerate(seen.field.shape) if n > 1 and a not in axes)
    message = (
        f"the difference between claim and right gradient is {what} all along {axes_of(along)} (on "
        f"{seen.counts}): a term such as that of a mean, a sum or a variance along "
        f"{'it' if len(along) == 1 else 'them'} is missing or wrong"
    )
    evidence = {"axes": along, "term": what, "fitted": each * _group(seen, axes)[1]}
    corrected = seen.field.claim + term if np.isfinite(term).all() else None
    cost = 5.0 + 0.5 * each + 0.2 * len(axes)
    return Match(cost, Explanation("missing-term", message, evidence, corrected))


def _kept(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Axes along which something may vary: one of them, all but one, and the first few."""
    axes = tuple(a for a, n in enumerate(shape) if n > 1)
    count = len(axes)
    found = [(a,) for a in axes] + [axes[:k] for k in range(2, count)]
    found += [tuple(a for a in axes if a != left_out) for left_out in axes]
    return list(dict.fromkeys(some for some in found if 0 < len(some) < count))


def _group(seen: Comparison, axes: tuple[int, ...]) -> tuple[Codes, int]:
    """A number for each entry that tells its indices along `axes`; and how many there are."""
    lengths = tuple(seen.field.shape[a] for a in axes)
    if not axes:
        return np.zeros(len(seen.index), np.intp), 1
    at = np.ravel_multi_index([seen.coordinates[a] for a in axes], lengths)
    return np.asarray(at), int(np.prod(lengths))


def _by_group(
    seen: Comparison, axes: tuple[int, ...], u: Floats, v: Floats | None = None
) -> tuple[Floats, float] | None:
    """For each group the q with numeric = q u + v, NaN where it is not known; and the digits.

    Without v they are ratios, none of which may be 0.
    """
    is_ratio = v is None
    gap = seen.numeric if v is None else seen.numeric - v
    group, count = _group(seen, axes)
    fixed = u == 0.0
    if np.any(np.abs(gap[fixed]) > seen.error[fixed]):
        return None
    middle, half = gap / u, np.abs(seen.error / u)
    low, high = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(low, group[~fixed], (middle - half)[~fixed])
    np.minimum.at(high, group[~fixed], (middle + half)[~fixed])
    if np.any(low > high) or (is_ratio and np.any((low <= 0.0) & (high >= 0.0) & (low > -np.inf))):
        return None
    if axes and not _shows_slices(seen, group):
        return None
    digits = _digits_beyond(seen, group, 1) - float(np.log10(len(seen.field.shape) + 1))
    known = np.isfinite(low) & np.isfinite(high)
    return np.where(known, 0.5 * low + 0.5 * high, np.nan), digits


def _two_by_group(seen: Comparison, axes: tuple[int, ...], array: Floats) -> Floats | None:
    """The term c + d array, (size,), one c and d for each group; None if it does not fit."""
    group, count = _group(seen, axes)
    if not _shows_slices(seen, group):
        return None
    there, gap = array[seen.index], seen.numeric - seen.claim
    slope, constant = fit_two(gap, seen.error, there, np.ones(len(gap)), group, count)
    if not seen.agrees(seen.claim + constant[group] + slope[group] * there).all():
        return None
    digits = _digits_beyond(seen, group, 2)
    choices = float(np.log10(len(seen.arrays) * len(_kept(seen.field.shape))))
    constant[np.bincount(group, minlength=count) < 2] = np.nan  # fits, and says nothing of others
    if not is_enough(digits - choices):
        return None
    term = _spread_out(seen, axes, constant) + _spread_out(seen, axes, slope) * array
    return np.asarray(term)


def _shows_slices(seen: Comparison, group: Codes) -> bool:
    """Whether two slices or more have two wrong entries: one shows nothing of slices."""
    return int(np.count_nonzero(np.bincount(group[seen.wrong]) >= 2)) >= 2


def _digits_beyond(seen: Comparison, group: Codes, fitted: int) -> float:
    """The digits of all entries but those of the best few in each group, which numbers fit."""
    order = np.lexsort((-seen.digits, group))
    first = np.searchsorted(group[order], group[order], "left")
    return float(seen.digits[order][np.arange(len(order)) - first >= fitted].sum())


def _spread_out(seen: Comparison, axes: tuple[int, ...], values: Floats) -> Floats:
    shape = tuple(n if a in axes else 1 for a, n in enumerate(seen.field.shape))
    return np.asarray(np.broadcast_to(values.reshape(shape), seen.field.shape).ravel())
