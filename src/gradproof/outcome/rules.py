"""What the rules of thumb would have said: fixed steps, for all tensors and for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from gradproof.coverage.customary import at_fixed_steps
from gradproof.numerics import agreement
from gradproof.numerics.sampling import Floats
from gradproof.outcome.trial import Settings, Trial
from gradproof.report import build
from gradproof.report.entries import VERDICTS
from gradproof.report.model import Customary
from gradproof.subjects.base import Codes
from gradproof.verdict import Judgement

#: A tensor of more entries than this is looked at in so many of them, evenly spread.
LARGE, LOOKED_AT = 2048, 512


@dataclass(frozen=True)
class RulesOfThumb:
    """Figures at the customary steps, overall and per tensor (position in the subject's names).

    `gap` is each entry's relative error at the first step where a kink lies within it, else, and
    where it was not looked at, -1; all are empty where f is smooth out to the customary steps.
    """

    overall: tuple[Customary, ...] = ()
    of_tensor: Mapping[int, tuple[Customary, ...]] = field(default_factory=dict)
    gap: Floats | None = None


def rules_of_thumb(trial: Trial, settings: Settings, judgement: Judgement) -> RulesOfThumb:
    """Evaluated only where f has kinks: elsewhere gradproof's own figures are the better ones."""
    steps = settings.customary
    request = trial.request
    if not steps or len(trial.places) == 0:
        return RulesOfThumb()
    reach = trial.reach * float(np.median(request.scale))
    if reach >= max(steps) and not (judgement.verdict == VERDICTS.index("kink")).any():
        return RulesOfThumb()
    count = len(trial.subject.names)
    rows = np.concatenate([_spread(np.flatnonzero(trial.places.tensor == k)) for k in range(count)])
    places, claim = trial.places[rows], request.claim[rows]
    found = at_fixed_steps(trial.subject, places, steps, trial.value.value, trial.noise)
    if trial.subject.exhausted is not None:
        return RulesOfThumb()

    def figures(some: Codes) -> tuple[Customary, ...]:
        return tuple(
            build.customary(h, claim[some], slopes[some], crossed[some])
            for h, slopes, crossed in zip(steps, found.slopes, found.crossed, strict=True)
        )

    gap = np.full(len(trial.places), -1.0)
    off = agreement.relative_error(claim, found.slopes[0])
    gap[rows] = np.where(found.crossed[0], off, -1.0)
    return RulesOfThumb(
        figures(np.arange(len(rows))),
        {k: figures(np.flatnonzero(places.tensor == k)) for k in np.unique(places.tensor).tolist()},
        gap,
    )


def _spread(rows: Codes) -> Codes:
    return rows if len(rows) <= LARGE else rows[:: -(-len(rows) // LOOKED_AT)]
