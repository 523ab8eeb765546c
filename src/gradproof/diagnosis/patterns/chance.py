"""Whether values found elsewhere in the claim may agree with what was found by accident."""

from __future__ import annotations

import numpy as np

from gradproof.diagnosis.patterns.comparison import MOST, Comparison
from gradproof.diagnosis.patterns.field import Bools
from gradproof.numerics.agreement import Floats

#: Of how many entries the digits are counted; of how many others of the claim they are held
#: against.
COUNTED, OTHERS = 512, 100_000


def digits_of_places(seen: Comparison, where: Bools | None = None) -> float:
    """Digits that speak for a hypothesis that finds each wrong value at another place of the claim.

    The chance of one is the share of the claim's entries that lie within its bar, all but the one
    that should, or that of a bar among numbers spread as the claim's are. The share is no less than
    the average over all entries looked at: among a few different numbers any may be found.

    Args:
        seen: claim against numeric.
        where: the entries that count, (k,); all by default.
    """
    is_number = np.abs(seen.numeric) > seen.error  # a 0 may be found anywhere
    wrong = seen.wrong & is_number if where is None else seen.wrong & is_number & where
    lanes = np.flatnonzero(wrong)[:COUNTED]
    claim = seen.field.claim[np.isfinite(seen.field.claim)]
    if len(claim) > OTHERS:
        claim = claim[:: len(claim) // OTHERS]
    if not len(lanes) or not claim.any():
        return 0.0
    every = np.flatnonzero(is_number)
    every = every[:: max(len(every) // COUNTED, 1)]
    average = float(np.mean(_shares(claim, seen.numeric[every], seen.error[every])))
    own = _shares(claim, seen.numeric[lanes], seen.error[lanes])
    spread = float(np.sqrt(np.mean((claim / np.abs(claim).max()) ** 2)) * np.abs(claim).max())
    chance = np.fmax(own, average) + seen.error[lanes] / spread
    return float(np.sum(-np.log10(np.clip(chance, 10.0**-MOST, 1.0))))


def _shares(claim: Floats, numeric: Floats, error: Floats) -> Floats:
    """The share of the claim's entries, all but one, that is inside each bar."""
    ordered = np.sort(claim)
    inside = np.searchsorted(ordered, numeric + error, "right")
    inside = inside - np.searchsorted(ordered, numeric - error, "left")
    return np.asarray(np.maximum(inside - 1, 0) / len(ordered))
