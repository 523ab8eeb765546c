"""Before anything is compared: is f a function, is it finite, does the claim repeat itself?"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gradproof._errors import InputError
from gradproof.numerics.noise import difference_weights, floor
from gradproof.numerics.sampling import EPS, offset_on_grid
from gradproof.report.model import Finding, Severity
from gradproof.subjects.base import Floats, Subject

#: Two values at one point may differ by this much, relative, and still be rounding (sums in another
#: order on several threads); a random function differs by more.
JITTER = 1e-10
REPEATS = 3
#: Two claims at one point may differ by this many units of their numbers' spacing and still be
#: rounding.
LAST_DIGITS = 64.0
#: Points very near x at which the analytic gradient is evaluated to see its rounding, in units of
#: `NEAR` times the entries' scales: near enough to be the same gradient, far enough that inner
#: results are rounded anew (a few ulps of x may leave 1 - cos(x) as it was).
NEIGHBOURS = np.array([0.87, 1.43, 2.21, 3.12, 3.94])
NEAR = 1.37e-11
#: They are at least so many spacings of f's numbers away where these are coarser than doubles.
UNITS = 4.0
#: Scatter among the neighbours, relative, that may still be rounding. Where numbers are coarse a
#: cancellation may leave no digit at all.
MOST_ROUNDING = 1e-2
#: What moves f by less than this part of what the strongest entry does is rounding.
NOTHING = 1e-13
#: Standard deviations of the claim's rounding that are allowed for.
SIGMAS = 6.0


@dataclass(frozen=True)
class Value:
    """f at the point: its value, the jitter between calls, and findings about it.

    `seconds` is what a call took, the first one left out.
    """

    value: float
    jitter: float
    findings: tuple[Finding, ...]
    is_usable: bool
    seconds: float = np.nan


@dataclass(frozen=True)
class Claim:
    """The claimed gradient per tensor, its own rounding, calls made, and findings about it."""

    gradient: tuple[Floats, ...]
    rounding: tuple[Floats, ...]
    calls: int
    findings: tuple[Finding, ...]


def look_at_value(subject: Subject) -> Value:
    """Evaluate f a few times at the point."""
    values = [subject.value()]
    started = time.monotonic()
    values.append(subject.value())
    seconds = time.monotonic() - started
    findings = []
    if subject.exhausted is not None:
        return Value(values[0], 0.0, (), is_usable=False)
    if not np.isfinite(values[0]):
        message = f"f(x) is {values[0]} at the point itself: there is no derivative to compare with"
        findings.append(Finding("not-finite", message, severity="warning"))
        return Value(values[0], 0.0, tuple(findings), is_usable=False)
    jitter = abs(values[1] - values[0])
    if jitter > 0.0:
        values += [subject.value() for _ in range(REPEATS)]
        if subject.exhausted is not None:
            return Value(values[0], 0.0, (), is_usable=False)
        jitter = float(np.ptp(values))
        size = float(np.max(np.abs(values)))
        is_random = not jitter <= max(JITTER, LAST_DIGITS * subject.value_spacing) * size
        message = (
            _about_randomness(subject, values)
            if is_random
            else f"calls of f at the same point differ in the last digits (by {jitter:.1e}); taken "
            "as noise"
        )
        evidence = {"values": tuple(values), "spread": jitter}
        severity: Severity = "warning" if is_random else "info"
        findings.append(Finding("nondeterministic", message, None, severity, evidence))
        return Value(values[0], jitter, tuple(findings), not is_random, seconds)
    return Value(values[0], 0.0, tuple(findings), True, seconds)


def least_noise(subject: Subject, value: Value) -> float:
    """The noise that f has at least: what calls differ by, and half a spacing of its numbers."""
    return max(value.jitter, float(floor(np.array([value.value]), unit=subject.value_spacing)[0]))


def _about_randomness(subject: Subject, values: Sequence[float]) -> str:
    differ = f"two calls of f at the same point differ ({values[0]!r}, {values[1]!r})"
    rest = "Fix the seed or switch it off; nothing can be compared as it is"
    parts = subject.random_parts()
    if parts:
        return f"{differ}: what differs first comes from {', '.join(parts[:8])}. {rest}"
    return f"{differ}: is dropout on, data drawn anew, a cache or counter kept? {rest}"


def look_at_claim(
    subject: Subject, grad: object, scale: Sequence[Floats], rng: np.random.Generator
) -> Claim:
    """The claimed gradient; where it can be called, called again, and at points very near x."""
    gradient = subject.claims(grad)
    # Its rounding serves to judge values of f: without them it is not needed.
    can_go_on = subject.can_afford(1)
    eps = subject.claim_spacing
    # What was computed with f's numbers may have been converted since.
    units = [max(eps, unit) for unit in subject.spacing]
    floor = [4.0 * unit * np.abs(g) for unit, g in zip(units, gradient, strict=True)]
    findings: list[Finding] = []
    calls = 0
    if subject.is_repeatable(grad) and can_go_on:
        again = subject.claims(grad)
        near = [NEAR if unit <= EPS else max(NEAR, UNITS * unit) for unit in subject.spacing]
        way = [s * rng.choice([-n, n], size=s.shape) for n, s in zip(near, scale, strict=True)]
        scatter = [_Scatter(np.abs(g)) for g in gradient]
        for sign in (1.0, -1.0):
            points = (_beside(subject, sign * t, way) for t in NEIGHBOURS)
            _add_side(scatter, (_claims_near(subject, grad, at) for at in points))
        calls = 2 + 2 * len(NEIGHBOURS)
        findings += _about_repeats(subject, gradient, again)
        jitter = [_jitter(a, b, eps) for a, b in zip(gradient, again, strict=True)]
        floor = [np.fmax(f, j) for f, j in zip(floor, jitter, strict=True)]
        with np.errstate(all="ignore"):
            moves = [np.abs(g * s).max(initial=0.0) for g, s in zip(gradient, scale, strict=True)]
            tiny = [NOTHING * np.fmax.reduce(moves) / s for s in scale]
        for k, (g, least) in enumerate(zip(gradient, tiny, strict=True)):
            most = MOST_ROUNDING if subject.spacing[k] <= EPS else np.inf
            floor[k] = np.fmax(floor[k], _own_rounding(g, scatter[k], least, most))
    for name, g in zip(subject.names, gradient, strict=True):
        bad = np.flatnonzero(~np.isfinite(g))
        if len(bad):
            k = subject.names.index(name)
            first = subject.describe(k, int(bad[0]))
            message = (
                f"{len(bad)} of {len(g)} analytic values are NaN or infinite, the first {first}"
            )
            findings.append(
                Finding("nan", message, name, "bug", {"count": len(bad), "first": first})
            )
    return Claim(gradient, tuple(floor), calls, tuple(findings))


@np.errstate(all="ignore")
def _jitter(first: Floats, second: Floats, eps: float) -> Floats:
    """Sums in another order each time (atomic additions) are rounding like any other."""
    gap, size = np.abs(second - first), np.abs(first).max(initial=0.0)
    return np.where(gap <= LAST_DIGITS * eps * size, 2.0 * gap, 0.0)


def _beside(subject: Subject, t: float, way: Sequence[Floats]) -> list[Floats]:
    """The point moved by t along a way, to numbers that f can be given."""
    parts = zip(subject.point, way, subject.spacing, strict=True)
    return [x + offset_on_grid(x, t * w, unit) for x, w, unit in parts]


def _claims_near(subject: Subject, grad: object, at: Sequence[Floats]) -> tuple[Floats, ...]:
    """The gradient beside x; NaN, which tells nothing of its rounding, outside of its domain."""
    try:
        if not subject.can_afford(1):  # the time is over
            return tuple(np.full(len(x), np.nan) for x in at)
        with np.errstate(all="ignore"):
            return subject.claims(grad, at=at)
    except InputError:
        raise
    except (ArithmeticError, ValueError):
        return tuple(np.full(len(x), np.nan) for x in at)


@np.errstate(all="ignore")
def _about_repeats(
    subject: Subject, first: Sequence[Floats], second: Sequence[Floats]
) -> list[Finding]:
    """A gradient that differs from call to call: accumulated, random, or kept somewhere."""
    findings = []
    for name, a, b in zip(subject.names, first, second, strict=True):
        size = np.abs(a).max(initial=0.0)
        gap = np.abs(b - a)
        if not np.any(gap > 0.0):
            continue
        largest = float(gap.max())
        if largest <= max(1e-9, LAST_DIGITS * subject.claim_spacing) * size:
            message = (
                f"two calls of grad at the same point differ in the last digits (by {largest:.1e} "
                f"where values are up to {size:.1e}): sums in another order each time, as atomic "
                "additions make them"
            )
            evidence = {"largest difference": largest}
            findings.append(Finding("gradient-changes", message, name, "info", evidence))
            continue
        known = np.abs(a) > 1e-6 * size
        ratio = float(np.median(b[known] / a[known])) if known.any() else float("nan")
        message = f"two calls of grad at the same point differ (second / first = {ratio:.6g})"
        evidence = {"ratio": ratio, "largest difference": largest}
        kind: str = "gradient-changes"
        severity: Severity = "warning"
        if ratio > 1.5 and np.all(np.abs(b - round(ratio) * a) <= 1e-6 * size):
            # Whatever the first call was, the next ones are wrong.
            kind, severity = "accumulated", "bug"
            message += ": the gradient is added to what an earlier call left; set it to zero first"
        findings.append(Finding(kind, message, name, severity, evidence))
    return findings


@dataclass
class _Scatter:
    """A tensor's claims beside x, as they come: there may be 10^8 entries, and ten claims.

    `largest` is the largest size of each entry, here and there; `square` the sum of its squared
    second differences on each side of x, and `rows` how many they are.
    """

    largest: Floats
    square: Floats | float = 0.0
    rows: int = 0


@np.errstate(all="ignore")
def _add_side(scatter: Sequence[_Scatter], claims: Iterable[Sequence[Floats]]) -> None:
    """Add the claims at `NEIGHBOURS` on one side of x.

    Each side is taken by itself: at a kink right at x the gradient jumps between them, which is no
    rounding.
    """
    weights = difference_weights(NEIGHBOURS, 2)
    moves = [[np.zeros(len(s.largest)) for _ in weights] for s in scatter]
    for there, column in zip(claims, weights.T, strict=True):
        for one, rows, found in zip(there, moves, scatter, strict=True):
            for row, weight in zip(rows, column, strict=True):
                if weight != 0.0:
                    row += weight * one
            found.largest = np.maximum(found.largest, np.abs(one))
    for found, rows in zip(scatter, moves, strict=True):
        for row in rows:
            found.square = found.square + np.square(row, out=row)
        found.rows += len(rows)


def _own_rounding(gradient: Floats, scatter: _Scatter, tiny: Floats, most: float) -> Floats:
    """The claim's own rounding, from its second differences on each side of x.

    One formula serves a tensor, so an entry's relative rounding is at least the tensor's median;
    scatter of more than `most`, relative, is no rounding either, unless it is `tiny`: of a gradient
    that is nothing but rounding (that of attention's key bias, which has no effect).
    """
    with np.errstate(all="ignore"):
        sigma = np.sqrt(scatter.square / scatter.rows)
        # At an optimum the claim itself is 0, but not its terms nor its neighbours.
        size = np.fmax(np.abs(gradient), scatter.largest)
        is_rounding = sigma <= most * size
        # What is nothing but rounding says nothing of the others.
        relative = np.where(is_rounding & (size > 0.0), sigma / size, np.nan)
        sigma = np.where(is_rounding | (sigma <= tiny), sigma, 0.0)
    typical = float(np.nanmedian(relative)) if np.isfinite(relative).any() else 0.0
    return np.nan_to_num(SIGMAS * np.fmax(sigma, typical * np.abs(gradient)))
