"""What is to be found of many entries, and what was found; arrays, one element per entry."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.estimate import Estimates
from gradproof.numerics.ladder import REGULAR
from gradproof.numerics.sampling import EPS, Floats


@dataclass(frozen=True)
class Request:
    """Entries to be found; every array has shape (entries,).

    `center` is the entry's value and `scale` the size of its surroundings; `wide` the tensor's size
    where that is larger (an entry that is nearly 0 may be tiny by nature or by rounding); `claim`
    the derivative that is claimed and `rounding` the claim's own rounding; `typical` the
    derivative that would move f as much as the entries of the same tensor do; `group` the tensor's
    number; `unit` the relative spacing of the numbers that the entry can be, `value_unit` that of
    those that f returns.
    """

    center: Floats
    scale: Floats
    wide: Floats
    claim: Floats
    rounding: Floats
    typical: Floats
    group: NDArray[np.intp]
    unit: Floats
    value_unit: float = EPS

    def take(self, where: NDArray[np.intp]) -> Request:
        """Some of the entries."""
        arrays = [name for name in self.__annotations__ if name != "value_unit"]
        return replace(self, **{name: getattr(self, name)[where] for name in arrays})


@dataclass
class Numeric:
    """Numeric derivatives; every array has shape (entries,), `status` as in `STATUSES`.

    `confirmed` says of a claim beyond the bar that a second look found the same. `variation` is how
    much f was seen to change when the entry was moved, `scale` the one on which it was found.
    """

    value: Floats
    error: Floats
    half_jump: Floats
    status: NDArray[np.uint8]
    confirmed: NDArray[np.bool_]
    variation: Floats
    scale: Floats

    def put(
        self, where: NDArray[np.intp], found: Estimates, rows: NDArray[np.intp] | None = None
    ) -> None:
        """Replace some by what a ladder found (in these of its rows)."""
        if rows is None:
            rows = np.arange(len(where))
        self.value[where], self.error[where] = found.value[rows], found.error[rows]
        self.half_jump[where], self.status[where] = found.half_jump[rows], found.status[rows]
        ladder, regular = found.ladder, np.ix_(rows, np.asarray(REGULAR))
        for values in (ladder.plus, ladder.minus):
            changes = np.nan_to_num(np.abs(values[regular] - ladder.value[rows, None]))
            self.variation[where] = np.fmax(self.variation[where], changes.max(axis=1))


def gap_beyond(request: Request, numeric: Numeric) -> Floats:
    """|claim - numeric| in units of the bar; at a kink the distance from the interval of slopes.

    NaN where the claim or the numeric value is; 0 where the two are equal.
    """
    gap = np.abs(request.claim - numeric.value) - np.abs(numeric.half_jump)
    gap = np.where(np.isnan(gap), np.nan, np.maximum(gap, 0.0))
    bar = numeric.error + request.rounding
    with np.errstate(all="ignore"):
        ratio: Floats = np.where(gap == 0.0, 0.0, gap / bar)
    return ratio
