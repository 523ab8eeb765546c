"""The claim is right to the digits of single or half precision, and to no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison
from gradproof.diagnosis.patterns.field import Explanation, Match
from gradproof.numerics.agreement import Floats


@dataclass(frozen=True)
class Precision:
    """A format: its name, significant bits, and digits in words."""

    name: str
    bits: int
    digits: str

    @property
    def rounding(self) -> float:
        """The largest relative error of a number that is rounded to nearest."""
        return 2.0**-self.bits


FORMATS = (
    Precision("bfloat16", 8, "2 to 3"),
    Precision("float16", 11, "3"),
    Precision("float32", 24, "7"),
)
#: Entries that have to be wrong before they are called rounded.
FEWEST = 4
#: Errors of sums, in units of one rounding of the largest entry: a walk of 10^4 roundings.
SUMS = 100.0


def match_precision(seen: Comparison) -> Iterator[Match]:
    """Errors like those of rounding: small everywhere, of both signs, of no fixed ratio."""
    error = (seen.claim - seen.numeric)[seen.wrong]
    if len(error) < FEWEST or np.all(error > 0.0) or np.all(error < 0.0):
        return
    for precision in FORMATS:
        found = _cast(seen, precision) or _inside(seen, precision)
        if found is not None:
            message, evidence = found
            count = int(np.count_nonzero(seen.wrong))
            evidence |= {"wrong": count, "looked_at": seen.looked, "format": precision.name}
            yield Match(2.2, Explanation("precision", message, evidence, None))
            return


def _cast(seen: Comparison, precision: Precision) -> tuple[str, dict[str, object]] | None:
    """All numbers of the claim have few bits, and are off by no more than one rounding."""
    if not np.all(_has_bits(seen.field.claim, precision)):
        return None
    relative = _relative(seen, np.abs(seen.numeric))
    if not _is_rounding(relative, precision.rounding, 1.01):
        return None
    message = (
        f"every number of the claim is one of {precision.name}, and off by no more than rounding "
        f"to it: right to {precision.digits} digits"
    )
    return message, {"largest_relative": float(relative.max())}


def _inside(seen: Comparison, precision: Precision) -> tuple[str, dict[str, object]] | None:
    relative = _relative(seen, np.abs(seen.numeric))
    message = (
        f"the claim is right to about {precision.digits} digits everywhere, like something "
        f"computed in {precision.name} (largest relative difference {relative.max():.1e}, its "
        f"rounding {precision.rounding:.1e})"
    )
    evidence: dict[str, object] = {"largest_relative": float(relative.max())}
    if _is_rounding(relative, precision.rounding, 2.0):
        return message, evidence
    if precision.bits < 24:
        return None  # errors of some per mille have many causes
    largest = float(np.max(np.abs(seen.numeric)))
    of_largest = _relative(seen, np.full_like(seen.numeric, largest))
    if 0.05 * precision.rounding <= of_largest.max() <= SUMS * precision.rounding:
        message = (
            f"the claim is right to about {precision.digits} digits of its largest entry "
            f"everywhere, like a sum in {precision.name} (largest difference "
            f"{of_largest.max():.1e} of it, {precision.name} rounds by {precision.rounding:.1e})"
        )
        return message, {"largest_relative": float(of_largest.max())}
    return None


def _relative(seen: Comparison, scale: Floats) -> Floats:
    """Differences beyond the bars, relative to a scale, of the entries that are not mute."""
    use = ~seen.mute & (scale > 0.0)
    return np.asarray((np.abs(seen.claim - seen.numeric) / scale)[use])


def _is_rounding(relative: Floats, unit: float, most: float) -> bool:
    """Whether errors are spread as rounding spreads them: up to one unit, and over all of it."""
    size = float(np.sqrt(np.mean(relative**2)))
    return bool(relative.max() <= most * unit and 0.15 * unit <= size)


def _has_bits(values: Floats, precision: Precision) -> Floats:
    mantissa, _ = np.frexp(values)
    scaled = np.ldexp(mantissa, precision.bits)
    return np.asarray(scaled == np.round(scaled))
