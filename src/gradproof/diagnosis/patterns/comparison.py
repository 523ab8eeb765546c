"""Claim against numeric at the entries looked at; what agrees, and what may do so by chance.

Bars are promises (the right value lies inside), so that hypotheses are judged by intervals: one
that misses a single bar is out, and a free number is known to within the intersection of the
intervals that the entries leave it. What is left to chance is counted in decimal digits: an entry
that the claim misses by d, and that a hypothesis then hits to within a bar of half-width e, had a
chance of about 2 e / d; log10(d / 2 e) are the digits that it speaks for the hypothesis. The digits
of all entries together, less those of the entries that free numbers were fitted to, less log10 of
the number of hypotheses that were open, have to exceed `ENOUGH`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from gradproof.diagnosis.patterns.field import SECOND_CALL, Bools, Codes, Field
from gradproof.numerics.agreement import Floats

#: Digits that have to speak for an explanation: one in 10^4 wrong ones would be taken for right.
ENOUGH = 4.0
#: No entry speaks with more digits than double precision has.
MOST = 15.0
#: What a corrected value is rounded by, relative to it.
ROUNDING = 2.0**-50
#: How many entries that are known to be right, but were not looked at, take part.
RIGHT_ONES = 2000


def is_enough(digits: float) -> bool:
    """Whether an explanation that `digits` speak for is no accident."""
    return digits >= ENOUGH


class Line(NamedTuple):
    """The numbers q for which numeric = q u + v within all bars, from `low` to `high`.

    `all_digits` speak for it if q was known before; `digits` if it had to be found, which takes
    those of one entry.
    """

    low: float
    high: float
    digits: float
    all_digits: float

    @property
    def middle(self) -> float:
        """The best value of q."""
        return 0.5 * (self.low + self.high)

    @property
    def inverse(self) -> Line:
        """The line of 1 / q, of one sign."""
        return self._replace(low=1.0 / self.high, high=1.0 / self.low)

    def holds(self, q: float) -> bool:
        """Whether q is among the numbers."""
        slack = ROUNDING * abs(q)
        return self.low - slack <= q <= self.high + slack


@dataclass(frozen=True)
class Comparison:
    """A field at the entries that say something.

    Attributes:
        field: all of it.
        index: the entries' row-major indices, (k,).
        claim, numeric, error: there, (k,).
        looked: how many of the k were looked at; the others, last, are known to be right.
        lengths: of the tensor's axes, by name.
    """

    field: Field
    index: Codes
    claim: Floats
    numeric: Floats
    error: Floats
    looked: int
    lengths: Mapping[str, float]

    @cached_property
    def wrong(self) -> Bools:
        """Where the claim is outside the bar."""
        return np.asarray(~self.agrees(self.claim))

    @cached_property
    def mute(self) -> Bools:
        """Where both are zero within the bar: a factor of them, or a mask, would not be seen."""
        quiet = (np.abs(self.numeric) <= self.error) & (np.abs(self.claim) <= self.error)
        return np.asarray(quiet)

    @cached_property
    def right(self) -> Bools:
        """Where the claim is right, and not just zero."""
        return np.asarray(~self.wrong & ~self.mute)

    @cached_property
    def coordinates(self) -> tuple[Codes, ...]:
        """The entries' indices along each axis, (k,) each."""
        return np.unravel_index(self.index, self.field.shape) if self.field.shape else ()

    @cached_property
    def arrays(self) -> Mapping[str, Floats]:
        """What the error may be made of: the field's arrays that are not 0, each (size,)."""
        return {
            name: array
            for name, array in self.field.arrays.items()
            if name != SECOND_CALL and array.any() and np.isfinite(array).all()
        }

    @cached_property
    def size(self) -> int:
        """Entries of the tensor."""
        return len(self.field.claim)

    @cached_property
    def digits(self) -> Floats:
        """What each entry says if a hypothesis that moves the claim hits its bar, (k,).

        0 where the claim is right, and where claim and numeric are what they are at another entry:
        the same pair of numbers again says no more than once.
        """
        digits = np.log10(np.abs(self.numeric - self.claim) / (2.0 * self.error))
        return np.where(self.wrong & self.is_new, np.clip(digits, 0.0, MOST), 0.0)

    @cached_property
    def is_new(self) -> Bools:
        """Whether no other entry before has the same claim and, within the bars, numeric value."""
        order = np.lexsort((self.numeric, self.claim))
        claim, numeric, error = self.claim[order], self.numeric[order], self.error[order]
        is_new = np.ones(len(order), bool)
        is_new[order[1:]] = (claim[1:] != claim[:-1]) | (
            numeric[1:] - numeric[:-1] > error[1:] + error[:-1]
        )
        return is_new

    @cached_property
    def is_shown(self) -> bool:
        """Whether two wrong entries are different, or there is but one entry: one shows no rule."""
        return self.looked == self.size or int(np.sum(self.wrong & self.is_new)) >= 2

    @cached_property
    def counts(self) -> str:
        """The entries at which something can be seen, in words: `72 of 72 entries`."""
        seen = int(np.count_nonzero(~self.mute[: self.looked]))
        return f"{seen} of {self.size} entries"

    def agrees(self, values: Floats) -> Bools:
        """Whether values, (k,), are inside the bars."""
        return np.asarray(np.abs(values - self.numeric) <= self.error)

    def line(self, u: Floats, v: Floats | float = 0.0) -> Line | None:
        """The numbers q for which numeric = q u + v at all entries; None if there are none."""
        gap, fixed = self.numeric - v, u == 0.0
        if fixed.all() or np.any(np.abs(gap[fixed]) > self.error[fixed]):
            return None
        middle, half = gap[~fixed] / u[~fixed], self.error[~fixed] / np.abs(u[~fixed])
        low, high = float(np.max(middle - half)), float(np.min(middle + half))
        if not low <= high:
            return None
        digits = self.digits
        return Line(low, high, float(digits.sum() - digits.max()), float(digits.sum()))

    def slope(self, u: Floats, v: Floats | float = 0.0) -> Line | None:
        """The same if all of them have one sign; None as well if q may be 0."""
        line = self.line(u, v)
        return line if line is not None and line.low * line.high > 0.0 else None


def compare(field: Field, lengths: Mapping[str, float]) -> Comparison:
    """Leave out entries that say nothing, and add some that are known to be right.

    Args:
        field: the gradient of one tensor, or of a part of it.
        lengths: of the whole tensor's axes, by name.
    """
    claim = field.claim[field.index]
    use = np.isfinite(field.numeric) & np.isfinite(field.error) & np.isfinite(claim)
    index, numeric, claim = field.index[use], field.numeric[use], claim[use]
    error = field.error[use]
    looked = len(index)
    if field.is_complete and looked:
        more = _not_looked_at(field)
        bar = float(np.median(error / np.fmax(np.abs(claim), np.abs(numeric)).clip(1e-300)))
        there = field.claim[more]
        index, claim = np.concatenate([index, more]), np.concatenate([claim, there])
        numeric = np.concatenate([numeric, there])
        error = np.concatenate([error, min(bar, 1e-6) * np.abs(there)])
    least = ROUNDING * np.fmax(np.abs(claim), np.abs(numeric))
    return Comparison(field, index, claim, numeric, np.fmax(error, least), looked, lengths)


def _not_looked_at(field: Field) -> Codes:
    rest = np.ones(len(field.claim), bool)
    rest[field.index] = False
    rest &= np.isfinite(field.claim)
    more = np.flatnonzero(rest)
    if len(more) > RIGHT_ONES:
        more = np.sort(np.random.default_rng(0).choice(more, RIGHT_ONES, replace=False))
    return more


def only(comparison: Comparison, where: Bools) -> Comparison:
    """The same of fewer entries, `where` of (k,)."""
    return replace(
        comparison,
        index=comparison.index[where],
        claim=comparison.claim[where],
        numeric=comparison.numeric[where],
        error=comparison.error[where],
        looked=int(np.count_nonzero(where[: comparison.looked])),
    )
