"""Numeric ± error against the claim: the verdict of an entry, of a tensor, of all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.request import Numeric, Request, gap_beyond
from gradproof.numerics.estimate import STATUSES, Status, code
from gradproof.numerics.sampling import EPS, SINGLE, Floats
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.model import Verdict

#: An entry whose bar, times its own size, is this small against what f does has no effect, if none
#: is claimed either.
NEGLIGIBLE = 1e-6
#: Fraction of a tensor's entries beyond their bars from which its formula is in single precision,
#: and how many entries it takes to tell.
MANY = 0.1
FEWEST = 4
#: Units of single precision that a few such sums add up to.
SUMMED = 4.0
#: What rounding inside may hide of a function that is exactly 0 at the point and around it.
SILENT = 64.0 * EPS

#: The same where f is given numbers coarser than doubles: so many of their spacings, but not more
#: than the resolution asked for.
NEGLIGIBLE_SPACINGS = 64.0
#: Formats coarser than doubles, by the relative spacing of their numbers.
FORMATS = {2.0**-23: "float32", 2.0**-10: "float16", 2.0**-7: "bfloat16"}

#: Why an entry got its verdict.
_SENTENCES = (
    "",
    "differs from the numeric value by more than its error bar; found twice, on different steps",
    "the analytic value is not a finite number",
    "outside the interval between the two one-sided slopes",
    "a kink at the point: the analytic value lies between the two one-sided slopes",
    "the error bar is wider than the resolution asked for",
    "differs by more than the error bar on some steps and not on others",
    *(f"{status.value}" for status in STATUSES),
    "no effect on f beyond its noise, as claimed",
    "agrees to single precision; the numeric value is worth more digits than that",
    "kinks meet at the point: the analytic value is a slope of f right beside it",
    "acceptable by itself, but not together with the other entries at this kink",
    "not evaluated: the budget ran out",
)
(MATCHES, DIFFERS, NOT_FINITE, OUTSIDE, BETWEEN, BLUNT, DISPUTED) = range(7)
UNSEEN, IMPRECISE, BESIDE, JOINTLY_WRONG, LACKING = range(len(_SENTENCES) - 5, len(_SENTENCES))
#: Reasons that coarse numbers may be to blame for; their format is named then.
_LIMITED = (BLUNT, DISPUTED, _SENTENCES.index(Status.UNRESOLVED.value))
#: The sentences; positions are the reason codes.
REASONS = (
    *_SENTENCES,
    *(f"{name} inputs: {_SENTENCES[r]}" for name in FORMATS.values() for r in _LIMITED),
)
#: Where f has two slopes, or more.
_AT_KINKS = tuple(REASONS[reason] for reason in (OUTSIDE, BETWEEN, BESIDE, JOINTLY_WRONG))
_MATCH, _MISMATCH, _KINK, _UNRESOLVED = (
    VERDICTS.index(v) for v in ("match", "mismatch", "kink", "unresolved")
)


def at_kinks(entries: Entries) -> NDArray[np.bool_]:
    """Which entries lie at a kink, whether their claims were accepted or not."""
    says_so = np.array([reason.startswith(_AT_KINKS) for reason in entries.reasons], dtype=np.bool_)
    return says_so[entries.reason_code]


@dataclass(frozen=True)
class Judgement:
    """Per entry: position in `VERDICTS` and in `REASONS`."""

    verdict: NDArray[np.uint8]
    reason: NDArray[np.intp]


def judge(
    request: Request,
    numeric: Numeric,
    *,
    value: float,
    resolution: float,
    lacking: NDArray[np.bool_] | None = None,
) -> Judgement:
    """Compare every claim with its numeric value.

    A claim beyond the bar is a mismatch however wide the bar: being unresolved hides nothing. A
    bar is measured against the larger of the two values and against the tensor's typical value: an
    entry near 0 in a tensor of ones need not have three digits of its own. What the budget did not
    suffice for, `lacking`, is unresolved whatever is known.
    """
    beyond = gap_beyond(request, numeric)
    bar = numeric.error + request.rounding
    own = np.fmax(np.abs(request.claim), np.abs(numeric.value))
    size = np.fmax(own, _typical(numeric, request.group))
    at_kink = numeric.status == code(Status.KINK)
    with np.errstate(invalid="ignore"):
        blunt = ~(bar <= resolution * size)
        coarsest = np.fmax(request.unit, request.value_unit)
        little = np.fmax(NEGLIGIBLE, np.fmin(NEGLIGIBLE_SPACINGS * coarsest, resolution))
        unseen = (own <= bar) & (bar * request.wide <= little * _effect(request, numeric, value))
        # Where f is exactly 0 there is no unit but 1: log(1 + exp(-40)) is 0 by rounding.
        is_silent = (numeric.value == 0.0) & (value == 0.0)
        unseen |= is_silent & (np.abs(request.claim) * request.wide <= SILENT)
        gap = np.abs(request.claim - numeric.value)
        # So close a claim is right in its formula: what is left is single precision or a solver's
        # tolerance inside. It is reported, but it is no bug.
        imprecise = (gap <= SINGLE * own) | _is_single(request, gap, beyond)
    verdict = np.full(len(bar), _MATCH, dtype=np.uint8)
    reason = np.full(len(bar), MATCHES, dtype=np.intp)

    def rule(where: NDArray[np.bool_], outcome: int, why: int) -> None:
        verdict[where], reason[where] = outcome, why

    rule(unseen, _MATCH, UNSEEN)
    rule(at_kink, _KINK, BETWEEN)
    rule(blunt & ~unseen, _UNRESOLVED, BLUNT)
    for status in (Status.UNRESOLVED, Status.UNDEFINED):
        rule(numeric.status == code(status), _UNRESOLVED, REASONS.index(status.value))
    rule((beyond > 1.0) & ~numeric.confirmed, _UNRESOLVED, DISPUTED)
    rule((beyond > 1.0) & numeric.confirmed, _MISMATCH, DIFFERS)
    rule((beyond > 1.0) & numeric.confirmed & at_kink, _MISMATCH, OUTSIDE)
    rule((beyond > 1.0) & imprecise, _MATCH, IMPRECISE)
    rule(is_silent & unseen, _MATCH, UNSEEN)
    if lacking is not None:
        rule(lacking, _UNRESOLVED, LACKING)
    rule(~np.isfinite(request.claim), _MISMATCH, NOT_FINITE)
    return Judgement(verdict, _with_format(reason, request.unit))


def _is_single(request: Request, gap: Floats, beyond: Floats) -> NDArray[np.bool_]:
    """Entries right to 7 digits of their tensor, where the whole tensor is right to no more.

    A sum in single precision is right to 7 digits of its terms, which may be more than what is left
    of them. One entry that is off among others that are exact is another matter.
    """
    # By how much the tensor's entries move f as they move by the tensor's size.
    with np.errstate(all="ignore"):
        typical = np.nan_to_num(request.typical * (request.scale / request.wide), posinf=0.0)
    near = gap <= SUMMED * SINGLE * np.fmax(typical, np.abs(request.claim))
    off = beyond > 1.0
    counts = np.maximum(np.bincount(request.group, off), 1.0)
    size = np.maximum(np.bincount(request.group), 1)
    is_all = np.bincount(request.group, off & near) == counts
    is_many = (counts >= MANY * size) & (size >= FEWEST)
    single: NDArray[np.bool_] = (is_all & is_many)[request.group] & off & near
    return single


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """A single failure fails all; a single doubt leaves all in doubt.

    >>> overall(["pass", "inconclusive"])
    'inconclusive'
    """
    found = set(verdicts)
    return "fail" if "fail" in found else "inconclusive" if "inconclusive" in found else "pass"


def of_tensor(verdict: NDArray[np.uint8]) -> Verdict:
    """The verdict of a tensor from those of its entries."""
    if (verdict == _MISMATCH).any():
        return "fail"
    return "inconclusive" if (verdict == _UNRESOLVED).any() else "pass"


def _with_format(reason: NDArray[np.intp], unit: NDArray[np.float64]) -> NDArray[np.intp]:
    """Reason codes that name the format which sets the limit."""
    named = reason.copy()
    for spacing, name in FORMATS.items():
        for limited in _LIMITED:
            of_format = REASONS.index(f"{name} inputs: {_SENTENCES[limited]}")
            named[(reason == limited) & (unit == spacing)] = of_format
    return named


def _effect(request: Request, numeric: Numeric, value: float) -> NDArray[np.float64]:
    """How much f changes when an entry moves by its own size: this entry, or the strongest one.

    A function that does not change at all is measured by its value.
    """
    moved = np.nan_to_num(np.abs(numeric.value) * request.scale, posinf=0.0)
    effect: NDArray[np.float64] = np.fmax(numeric.variation, moved.max(initial=0.0))
    return np.where(effect > 0.0, effect, abs(value))


def _typical(numeric: Numeric, group: NDArray[np.intp]) -> NDArray[np.float64]:
    """Root mean square of the numeric values of each entry's tensor."""
    known = np.where(np.isfinite(numeric.value), numeric.value, 0.0)
    largest = max(float(np.abs(known).max(initial=0.0)), 1e-300)
    squares = np.bincount(group, weights=(known / largest) ** 2)
    counts = np.maximum(np.bincount(group, weights=np.isfinite(numeric.value)), 1.0)
    rms: NDArray[np.float64] = largest * np.sqrt(squares / counts)[group]
    return rms
