"""From columns of numbers to the figures of a report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics import agreement
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.model import Customary, Spread, TensorReport, Verdict

Floats = NDArray[np.float64]


def spread(digits: Floats) -> Spread:
    """Minimum, median and maximum; NaN of nothing.

    >>> spread(np.array([3.0, 9.0, 12.0]))
    Spread(minimum=3.0, median=9.0, maximum=12.0)
    """
    if digits.size == 0:
        return Spread(np.nan, np.nan, np.nan)
    return Spread(float(digits.min()), float(np.median(digits)), float(digits.max()))


def detection_limit(entries: Entries) -> float:
    """Relative error, in the norm over the entries, above which some entry would not match.

    An error e of the gradient stays unseen at most while every |e_i| is within twice entry i's bar
    (the numeric value may be off by one bar to one side), so in norm within twice the bars'. An
    entry that was let pass beyond its bar (single precision) may be off by what was seen, and a
    bar.
    """
    if len(entries) == 0:
        return float("nan")
    bars = entries["error"] + entries["rounding"]
    gaps = np.abs(entries["analytic"] - entries["numeric"])
    seen = np.where(entries["verdict"] == "match", np.fmax(gaps, bars), bars)
    return _ratio_of_norms(bars + seen, entries["numeric"])


def smooth_part(entries: Entries) -> Entries:
    """The entries not at a kink, whose figures compare two derivatives of the same kind."""
    return entries.filter(where=entries["verdict"] != "kink")


def digits(entries: Entries) -> tuple[Spread, Spread]:
    """Digits that agree and digits attainable; entries that are 0 on both sides have none."""
    some = entries.filter(where=(entries["analytic"] != 0.0) | (entries["numeric"] != 0.0))
    return spread(some["digits_agree"]), spread(some["digits_attainable"])


def tensor_report(
    name: str,
    shape: tuple[int, ...],
    entries: Entries,
    verdict: Verdict,
    reason: str,
    customary: Sequence[Customary],
) -> TensorReport:
    """The figures of one tensor. Entries at a kink count in `counts` only."""
    smooth = smooth_part(entries)
    analytic, numeric = smooth["analytic"], smooth["numeric"]
    counts = entries.counts()
    agree, attainable = digits(smooth)
    return TensorReport(
        name=name,
        shape=shape,
        size=int(np.prod(shape, dtype=np.intp)),
        checked=len(entries),
        verdict=verdict,
        reason=reason,
        counts={v: counts.get(v, 0) for v in VERDICTS},
        digits_agree=agree,
        digits_attainable=attainable,
        detection_limit=detection_limit(smooth),
        norm_ratio=agreement.norm_ratio(analytic, numeric),
        max_relative_error=agreement.max_relative_error(analytic, numeric),
        sign_mismatches=agreement.sign_mismatches(analytic, numeric),
        worst=smooth.worst(1)[0] if len(smooth) else None,
        customary=tuple(customary),
        located=len(entries) == int(np.prod(shape, dtype=np.intp)),
    )


def customary(
    step: float, analytic: Floats, slopes: Floats, crossed: NDArray[np.bool_]
) -> Customary:
    """The rules of thumb at one fixed step, with and without the entries that cross a kink."""
    return Customary(
        step=step,
        checked=len(analytic),
        kinks=int(crossed.sum()),
        digits_agree=spread(agreement.digits_agree(analytic, slopes)),
        sign_mismatches=agreement.sign_mismatches(analytic, slopes),
        norm_ratio=agreement.norm_ratio(analytic, slopes),
        max_relative_error=agreement.max_relative_error(analytic, slopes),
        max_relative_error_without_kinks=agreement.max_relative_error(
            analytic[~crossed], slopes[~crossed]
        ),
    )


def _ratio_of_norms(a: Floats, b: Floats) -> float:
    largest = float(np.abs(b).max(initial=0.0))
    if not largest > 0.0:
        return float("inf")
    with np.errstate(all="ignore"):
        above, below = (np.sum(np.square(x / largest)) for x in (a, b))
        return float(np.sqrt(above) / np.sqrt(below))
