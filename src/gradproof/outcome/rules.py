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


@dataclass(frozen=True)
class RulesOfThumb:
    """Figures at the customary steps, overall and per tensor (position in the subject's names).

    `gap` is each entry's relative error at the first step where a kink lies within it, else -1;
    all are empty where f is smooth out to the customary steps.
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
    found = at_fixed_steps(trial.subject, trial.places, steps, trial.value.value, trial.noise)

    def figures(rows: Codes) -> tuple[Customary, ...]:
        return tuple(
            build.customary(h, request.claim[rows], slopes[rows], crossed[rows])
            for h, slopes, crossed in zip(steps, found.slopes, found.crossed, strict=True)
        )

    count = len(trial.subject.names)
    return RulesOfThumb(
        figures(np.arange(len(trial.places))),
        {k: figures(np.flatnonzero(trial.places.tensor == k)) for k in range(count)},
        np.where(found.crossed[0], agreement.relative_error(request.claim, found.slopes[0]), -1.0),
    )
