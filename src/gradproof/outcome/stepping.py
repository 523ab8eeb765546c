"""The step table of an entry or a tensor: chosen, evaluated, and explained."""

from __future__ import annotations

import re

import numpy as np

from gradproof._errors import InputError
from gradproof.coverage.climb import gap_beyond
from gradproof.diagnosis.steps import STEPS, step_table
from gradproof.numerics.noise import floor
from gradproof.outcome.rules import RulesOfThumb
from gradproof.outcome.trial import Settings, Trial
from gradproof.report.entries import VERDICTS
from gradproof.report.model import StepTable
from gradproof.subjects.base import Codes
from gradproof.verdict import Judgement

#: Entries of a tensor that stand for it in a step table.
STEP_ENTRIES = 32


def tabulate(
    trial: Trial,
    settings: Settings,
    judgement: Judgement,
    rules: RulesOfThumb,
) -> tuple[StepTable, ...]:
    """Error against step for the entry or tensor asked for, or for the worst entry."""
    if len(trial.places) == 0:
        return ()
    rows, label = _chosen(trial, settings, judgement, rules)
    subject, request, numeric = trial.subject, trial.request, trial.numeric
    count = len(rows)
    where = trial.places[np.tile(rows, len(STEPS))]
    offsets = np.repeat(np.array(STEPS), count)
    with np.errstate(all="ignore"):
        plus = subject.at_entries(where, offsets).reshape(len(STEPS), count)
        minus = subject.at_entries(where, -offsets).reshape(len(STEPS), count)
        slopes = (0.5 * plus - 0.5 * minus) / np.array(STEPS)[:, None]
        levels = np.fmax(trial.noise, floor(plus, minus))
        table = step_table(
            label,
            request.claim[rows],
            numeric.value[rows],
            numeric.error[rows],
            request.rounding[rows],
            slopes,
            levels,
            at_kink=count == 1 and bool(numeric.half_jump[rows[0]]),
        )
    return (table,)


def _chosen(
    trial: Trial, settings: Settings, judgement: Judgement, rules: RulesOfThumb
) -> tuple[Codes, str]:
    subject, places = trial.subject, trial.places
    if settings.steps is None:
        row = _worst(trial, judgement, rules)
        name = subject.describe(int(places.tensor[row]), int(places.index[row]))
        return np.array([row]), name
    wanted = settings.steps
    if wanted in subject.names:
        rows = np.flatnonzero(places.tensor == subject.names.index(wanted))
        stride = max(1, len(rows) // STEP_ENTRIES)
        return rows[::stride][:STEP_ENTRIES], wanted
    found = re.fullmatch(r"(?P<name>.*)\[(?P<index>[\d, ]*)\]", wanted, flags=re.DOTALL)
    if found and found["name"] in subject.names:
        k = subject.names.index(found["name"])
        index = tuple(int(i) for i in found["index"].split(",") if i.strip())
        try:
            flat = int(np.ravel_multi_index(index, subject.shapes[k]))
        except ValueError as error:
            shape = subject.shapes[k]
            raise InputError(
                f"Expected an entry of shape {shape} but got steps={wanted!r}"
            ) from error
        rows = np.flatnonzero((places.tensor == k) & (places.index == flat))
        if len(rows):
            return rows, wanted
        raise InputError(f"Expected an entry that is checked but got steps={wanted!r}")
    raise InputError(
        f"Expected one of {', '.join(subject.names[:8])}, or an entry of it, "
        f"but got steps={wanted!r}"
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
