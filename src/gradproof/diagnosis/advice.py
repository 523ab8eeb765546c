"""Advice: what about the point or the function makes checking harder than it need be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gradproof.report.model import Customary, Finding
from gradproof.report.steps_text import step_size
from gradproof.subjects.base import Floats

#: Fraction of entries at or near a kink from which fewer data points are advised.
MANY = 0.02


def about_precision(counts: Mapping[str, int], sizes: Mapping[str, int]) -> list[Finding]:
    """Entries right to single precision where the numeric value is worth more."""
    some = {name: n for name, n in counts.items() if n}
    if not some:
        return []
    listed = ", ".join(f"{n} of {sizes[name]} in {name}" for name, n in some.items())
    return [precision(listed, some)]


def precision(listed: str, evidence: Mapping[str, object]) -> Finding:
    """What is right to single precision, where the numeric value is worth more."""
    message = (
        f"right to about 7 digits but no further: {listed}; the gradient, or f, is computed in "
        "single precision or to a solver's tolerance somewhere"
    )
    return Finding("precision", message, evidence=evidence)


def about_kinks(
    counts: Mapping[str, int], sizes: Mapping[str, int], customary: Sequence[Customary]
) -> list[Finding]:
    """Which tensors have kinks at the point, and how many entries cross one at customary steps.

    Args:
        counts: entries judged `kink`, per tensor.
        sizes: entries checked, per tensor.
        customary: over all tensors, one per step.
    """
    findings = []
    at = {name: n for name, n in counts.items() if n}
    if at:
        listed = ", ".join(f"{n} of {sizes[name]} in {name}" for name, n in at.items())
        message = (
            f"entries exactly at a kink (a ReLU or max at its corner): {listed}; their analytic "
            "values lie between the two one-sided slopes"
        )
        findings.append(Finding("kink", message, evidence=dict(at)))
    total = max((c.checked for c in customary), default=sum(sizes.values()))
    crossed = max((c.kinks for c in customary), default=0)
    if total and max(crossed, sum(at.values())) > MANY * total:
        message = f"{sum(at.values())} of {total} entries lie at a kink"
        if crossed:
            h = step_size(max(c.step for c in customary))
            message = f"{crossed} of {total} entries have a kink between x - h and x + h, h = {h}"
        message += ": fewer data points have fewer kinks"
        findings.append(Finding("many-kinks", message, evidence={"crossed": crossed, "of": total}))
    return findings


def about_start(
    names: Sequence[str], point: Sequence[Floats], numeric: Mapping[str, Floats]
) -> list[Finding]:
    """Whether the point looks like the very start of a training, where a check sees little."""
    biases = [k for k, name in enumerate(names) if name.lower().rsplit(".", 1)[-1] in BIASES]
    zero = [names[k] for k in biases if point[k].size and not np.any(point[k])]
    findings = []
    if biases and len(zero) == len(biases):
        message = (
            "all biases are zero, as at the very start of a training: units lie exactly on their "
            "kinks and mistakes can hide behind the symmetry; train a few dozen steps first "
            "(burn in)"
        )
        findings.append(Finding("burn-in", message, evidence={"zero": tuple(zero)}))
    dead = [name for name, values in numeric.items() if values.size > 1 and not np.any(values)]
    if dead and len(dead) < len(numeric):
        message = (
            f"f does not depend on {', '.join(dead[:4])} at this point (dead units, a zero "
            "factor?): a wrong gradient there could not show"
        )
        findings.append(Finding("no-effect", message, evidence={"tensors": tuple(dead)}))
    return findings


#: Last parts of names under which biases go.
BIASES = frozenset({"b", "bias", "biases", "intercept", *(f"b{i}" for i in range(10))})
