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
    that should; where there is none, that of a bar among numbers spread as the claim's are.

    Args:
        seen: claim against numeric.
        where: the entries that count, (k,); all by default.
    """
    # A 0 may be found anywhere.
    wrong = seen.wrong & (np.abs(seen.numeric) > seen.error)
    wrong = wrong if where is None else wrong & where
    lanes = np.flatnonzero(wrong)[:COUNTED]
    claim = seen.field.claim[np.isfinite(seen.field.claim)]
    if len(claim) > OTHERS:
        claim = claim[:: len(claim) // OTHERS]
    if not len(lanes) or not len(claim):
        return 0.0
    return float(np.sum(-np.log10(_shares(claim, seen.numeric[lanes], seen.error[lanes]))))


def _shares(claim: Floats, numeric: Floats, error: Floats) -> Floats:
    ordered = np.sort(claim)
    inside = np.searchsorted(ordered, numeric + error, "right")
    inside = inside - np.searchsorted(ordered, numeric - error, "left")
    largest = float(np.abs(ordered[[0, -1]]).max())
    spread = largest * float(np.sqrt(np.mean((ordered / largest) ** 2))) if largest else 0.0
    narrow = np.where(spread > 0.0, error / spread, 1.0)
    share = np.maximum(inside - 1, 0) / len(ordered) + narrow
    return np.asarray(np.clip(share, 10.0**-MOST, 1.0))
