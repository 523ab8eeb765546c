"""The claim is right to the digits of single or half precision, and to no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradproof.diagnosis.patterns.comparison import Comparison
from gradproof.diagnosis.patterns.field import Bools, Explanation, Match
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
#: Entries that have to be wrong before they are called rounded, and more where they are not seen
#: to be numbers of the format.
FEWEST, MANY = 4, 8
#: Errors of sums, in units of one rounding of the largest entry: a walk of 10^4 roundings.
SUMS = 100.0
#: The same where the claim's numbers are seen to be of the format, so that little else explains it.
INSIDE = 16.0


def match_precision(seen: Comparison) -> Iterator[Match]:
    """Errors like those of rounding: small everywhere, of both signs, of no fixed ratio."""
    error = ((seen.claim - seen.numeric) * np.sign(seen.numeric))[seen.wrong]
    if len(error) < FEWEST or np.all(error > 0.0) or np.all(error < 0.0):
        return
    for precision in FORMATS:
        found = _cast(seen, precision) or _inside(seen, precision)
        if found is not None:
            message, cost, largest = found
            evidence: dict[str, object] = {
                "format": precision.name,
                "largest_relative": largest,
                "wrong": int(np.count_nonzero(seen.wrong)),
                "looked_at": seen.looked,
            }
            yield Match(cost, Explanation("precision", message, evidence, None))
            return


def _cast(seen: Comparison, precision: Precision) -> tuple[str, float, float] | None:
    """All numbers of the claim have few bits, and are off by what rounding explains."""
    claim = seen.field.claim
    if not np.all(_has_bits(claim, precision.bits)) or np.all(_has_bits(claim, precision.bits - 3)):
        return None  # round numbers have few bits in any format
    relative = _relative(seen, np.abs(seen.numeric))
    start = f"the claim holds only {precision.name} numbers, off by"
    if _is_rounding(relative, precision):
        message = f"{start} no more than rounding to that: right to {precision.digits} digits"
        return message, 2.2, float(relative.max())
    largest = float(np.max(np.abs(seen.numeric)))
    worst = float(_relative(seen, np.full_like(seen.numeric, largest)).max(initial=0.0))
    if worst > INSIDE * precision.rounding:
        return None
    message = (
        f"{start} {worst:.1e} of the largest at most: it was computed in {precision.name}, which "
        f"rounds by {precision.rounding:.1e}"
    )
    return message, 4.2, worst


def _inside(seen: Comparison, precision: Precision) -> tuple[str, float, float] | None:
    """Rounded somewhere on the way."""
    if np.count_nonzero(seen.wrong) < MANY:
        return None
    relative = _relative(seen, np.abs(seen.numeric))
    if _is_rounding(relative, precision):
        message = (
            f"the claim is right to about {precision.digits} digits everywhere, like something "
            f"rounded to {precision.name} (largest relative difference {relative.max():.1e}, "
            f"{precision.name} rounds by {precision.rounding:.1e})"
        )
        return message, 4.2, float(relative.max())
    if precision.bits < 24:
        return None  # errors of some per mille have many causes
    largest = float(np.max(np.abs(seen.numeric)))
    worst = float(_relative(seen, np.full_like(seen.numeric, largest)).max(initial=0.0))
    if not 0.05 * precision.rounding <= worst <= SUMS * precision.rounding:
        return None
    message = (
        f"the claim is right to about {precision.digits} digits of its largest entry everywhere, "
        f"like a sum in {precision.name} (largest difference {worst:.1e} of it, {precision.name} "
        f"rounds by {precision.rounding:.1e})"
    )
    return message, 4.2, worst


def _relative(seen: Comparison, scale: Floats) -> Floats:
    """Differences relative to a scale, of the entries that are not mute."""
    use = ~seen.mute & (scale > 0.0)
    return np.asarray((np.abs(seen.claim - seen.numeric) / scale)[use])


def _is_rounding(relative: Floats, precision: Precision) -> bool:
    """Whether errors are spread as rounding to nearest spreads them, evenly up to one half ulp.

    Relative to numbers of all mantissas that is a root mean square of 0.41 units.
    """
    if len(relative) < MANY:
        return False
    size = float(np.sqrt(np.mean(relative**2))) / precision.rounding
    return bool(relative.max() <= 1.01 * precision.rounding and 0.2 <= size <= 0.6)


def _has_bits(values: Floats, bits: int) -> Bools:
    """Whether values are numbers of so many significant bits."""
    mantissa, _ = np.frexp(values)
    scaled = np.ldexp(mantissa, bits)
    return np.asarray(scaled == np.round(scaled))
