"""Forward mode against reverse mode: a second opinion that needs no step.

Along a direction v, forward mode gives J v and reverse mode w J; contracted with the cotangent w
and with v they are one number, w J v. The two come from different rules (a custom function has one
of each), so that where they differ one of them is wrong; the numerical derivative says which.
OpenMDAO's check_partials compares all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradproof.diagnosis.preflight import Claim
from gradproof.numerics.estimate import Estimate, Status, estimate
from gradproof.numerics.sampling import SINGLE, Floats, Lanes
from gradproof.report.model import Finding, Severity
from gradproof.subjects.base import Subject

#: Difference, relative to the sum of the magnitudes that are added up, that is rounding (single
#: precision inside one of the rules is no bug); and the same in spacings of the claim's numbers.
ROUNDING = SINGLE
LAST_DIGITS = 1e3
#: What rounding inside of f may hide, however small its value.
SILENT = 1e-15


@np.errstate(all="ignore")
def compare_modes(
    subject: Subject, claim: Claim, scale: Sequence[Floats], rng: np.random.Generator
) -> list[Finding]:
    """What forward mode says, where it is there and disagrees.

    Args:
        subject: the function.
        claim: automatic differentiation's own gradient, by reverse mode.
        scale: the entries' surroundings, per tensor.
        rng: for the direction.
    """
    direction = [s * rng.choice([-1.0, 1.0], size=len(s)) for s in scale]
    forward = subject.forward_slope(direction)
    products = [g * d for g, d in zip(claim.gradient, direction, strict=True)]
    reverse = float(sum(p.sum() for p in products))
    size = float(sum(np.abs(p).sum() for p in products))
    if forward is None or not np.isfinite(reverse):
        return []
    least = max(ROUNDING, LAST_DIGITS * max(subject.claim_spacing, *subject.spacing))
    own = float(sum(np.abs(d) @ r for d, r in zip(direction, claim.rounding, strict=True)))
    rounding = least * max(size, abs(forward)) + own
    if abs(forward - reverse) <= rounding:
        return []
    numeric = _numeric(subject, direction)
    # Beneath f's own rounding, as where a softmax is saturated.
    if abs(forward - reverse) <= max(numeric.error, SILENT * max(map(np.max, scale), default=0.0)):
        return []
    if subject.exhausted is not None:  # then it lacks values
        numeric = replace(numeric, value=np.nan, error=np.inf, status=Status.UNRESOLVED)
    return [_disagreement(forward, reverse, numeric, rounding)]


def _numeric(subject: Subject, direction: Sequence[Floats]) -> Estimate:
    ways = [d[None] for d in direction]

    def along(lanes: Lanes, offsets: Floats, /) -> Floats:
        return subject.along(ways, lanes, offsets, subject.point)

    return estimate(along, np.ones(1), np.ones(1))[0]


def _disagreement(forward: float, reverse: float, numeric: Estimate, rounding: float) -> Finding:
    bar = numeric.error + rounding
    is_known = numeric.status == Status.SMOOTH
    forward_fits = is_known and abs(forward - numeric.value) <= bar
    reverse_fits = is_known and abs(reverse - numeric.value) <= bar
    message = (
        f"along one direction forward mode (jvp) gives {forward:.10g} and reverse mode (vjp) "
        f"{reverse:.10g}"
    )
    evidence = {
        "forward": forward,
        "reverse": reverse,
        "numeric": numeric.value,
        "error": numeric.error,
    }
    if not is_known or forward_fits == reverse_fits:
        message += "; the numerical derivative cannot tell which of them is right"
        # At a kink the two may well take different sides of it.
        severity: Severity = "info" if numeric.status == Status.KINK else "warning"
        return Finding("forward-reverse", message, severity=severity, evidence=evidence)
    message += f"; f changes by {numeric.value:.10g} to within {bar:.1e}: "
    if reverse_fits:
        # It is the gradient that is judged, and the gradient is right.
        message += "the gradient is right, the rule for forward mode is wrong"
        return Finding("forward-reverse", message, evidence=evidence)
    message += "reverse mode, the gradient, is wrong"
    return Finding("forward-reverse", message, severity="bug", evidence=evidence)
