"""Which units of f sit at a kink, where the branches that f takes can be seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gradproof.numerics.sampling import Floats
from gradproof.report.model import Finding
from gradproof.report.steps_text import step_size
from gradproof.subjects.base import Codes, Places, Subject

#: Entries that are looked at, of those that cross a kink.
ENTRIES = 8
#: How far an entry at a kink is moved to see which branch changes, relative to its scale.
BESIDE = 1e-7


def about_units(
    subject: Subject, places: Places, near: Codes, step: float, at: Codes, scale: Floats
) -> list[Finding]:
    """The places in f whose units change their branch, and how many of them.

    Args:
        subject: the function.
        places: the entries that were checked.
        near: rows of those with a kink between x - step and x + step.
        step: a customary step.
        at: rows of those with a kink right at x.
        scale: the surroundings of all entries.
    """
    findings = []
    where = f"between x - h and x + h, h = {step_size(step)}"
    for rows, offsets, between in (
        (near, np.full(len(near), step), where),
        (at, BESIDE * scale[at], "right at x"),
    ):
        some = np.unique(np.linspace(0, len(rows) - 1, min(ENTRIES, len(rows))).astype(np.intp))
        sites = _sites(subject, places[rows[some]], offsets[some])
        if sites:
            listed = ", ".join(f"{count} of {site}" for site, count in sites.items())
            message = (
                f"kinks {between}: an entry takes up to this many units to another branch: {listed}"
                f" ({len(some)} of {len(rows)} entries looked at)"
            )
            findings.append(Finding("kink-units", message, evidence=dict(sites)))
    return findings


def _sites(subject: Subject, places: Places, offsets: Floats) -> Mapping[str, int]:
    """For each place in f the largest number of units that one entry takes across."""
    most: dict[str, int] = {}
    if len(places) == 0:
        return most
    for sign in (1.0, -1.0):
        for crossings in subject.crossings_at(places, sign * offsets) or ():
            for site, count in crossings.items():
                most[site] = max(count, most.get(site, 0))
    return dict(sorted(most.items(), key=lambda item: -item[1]))
