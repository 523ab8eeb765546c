"""The step table of an entry or a tensor: chosen, evaluated, and explained."""

from __future__ import annotations

import numpy as np

from gradproof.coverage.request import gap_beyond
from gradproof.diagnosis.steps import STEPS, step_table
from gradproof.numerics.noise import floor
from gradproof.outcome.rules import RulesOfThumb
from gradproof.outcome.trial import Settings, Trial
from gradproof.report.entries import VERDICTS
from gradproof.report.model import StepTable
from gradproof.subjects.base import Codes
from gradproof.verdict import Judgement


def tabulate(
    trial: Trial,
    settings: Settings,
    judgement: Judgement,
    rules: RulesOfThumb,
) -> tuple[StepTable, ...]:
    """Error against step for the entries and tensors asked for, or for the worst entry."""
    if len(trial.places) == 0:
        return ()
    chosen = [pair for pair in zip(settings.steps, trial.steps, strict=True) if len(pair[1])]
    if not settings.steps:
        row = _worst(trial, judgement, rules)
        place = int(trial.places.tensor[row]), int(trial.places.index[row])
        chosen = [(trial.subject.describe(*place), np.array([row]))]
    tables = []
    for label, rows in chosen:
        table = _table(label, rows, trial)
        if trial.subject.exhausted is not None:
            break
        tables.append(table)
    return tuple(tables)


def _table(label: str, rows: Codes, trial: Trial) -> StepTable:
    """The table of the entries in these rows; of no use where the budget ran out on the way."""
    subject, request, numeric = trial.subject, trial.request, trial.numeric
    count = len(rows)
    where = trial.places[np.tile(rows, len(STEPS))]
    offsets = np.repeat(np.array(STEPS), count)
    with np.errstate(all="ignore"):
        plus = subject.at_entries(where, offsets).reshape(len(STEPS), count)
        minus = subject.at_entries(where, -offsets).reshape(len(STEPS), count)
        slopes = (0.5 * plus - 0.5 * minus) / np.array(STEPS)[:, None]
        levels = np.fmax(trial.noise, floor(plus, minus, unit=subject.value_spacing))
        return step_table(
            label,
            request.claim[rows],
            numeric.value[rows],
            numeric.error[rows],
            request.rounding[rows],
            slopes,
            levels,
            at_kink=count == 1 and bool(numeric.half_jump[rows[0]]),
        )


def _worst(trial: Trial, judgement: Judgement, rules: RulesOfThumb) -> int:
    """A mismatch if there is one, else the entry that a fixed step does least justice."""
    ratio = np.nan_to_num(gap_beyond(trial.request, trial.numeric), nan=np.inf)
    wrong = judgement.verdict == VERDICTS.index("mismatch")
    if wrong.any():
        return int(np.argmax(np.where(wrong, ratio, -1.0)))
    if rules.gap is not None and (rules.gap > 0.0).any():
        smooth = np.where(judgement.verdict == VERDICTS.index("match"), rules.gap, -1.0)
        return int(np.argmax(smooth if (smooth > 0.0).any() else rules.gap))
    return int(np.argmax(ratio))
