"""The step table of an entry or a tensor: chosen, evaluated, and explained."""

from __future__ import annotations

import re

import numpy as np

from gradproof._errors import InputError
from gradproof.coverage.request import gap_beyond
from gradproof.diagnosis.steps import STEPS, step_table
from gradproof.numerics.noise import floor
from gradproof.outcome.rules import RulesOfThumb
from gradproof.outcome.trial import Settings, Trial
from gradproof.report.entries import VERDICTS
from gradproof.report.model import StepTable
from gradproof.subjects.base import Codes, Places, Subject
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
    subject, request, numeric = trial.subject, trial.request, trial.numeric
    rows, label = trial.steps, settings.steps
    if rows is None or label is None:
        row = _worst(trial, judgement, rules)
        rows = np.array([row])
        label = subject.describe(int(trial.places.tensor[row]), int(trial.places.index[row]))
    count = len(rows)
    where = trial.places[np.tile(rows, len(STEPS))]
    offsets = np.repeat(np.array(STEPS), count)
    with np.errstate(all="ignore"):
        plus = subject.at_entries(where, offsets).reshape(len(STEPS), count)
        minus = subject.at_entries(where, -offsets).reshape(len(STEPS), count)
        slopes = (0.5 * plus - 0.5 * minus) / np.array(STEPS)[:, None]
        levels = np.fmax(trial.noise, floor(plus, minus, unit=subject.value_spacing))
        if subject.exhausted is not None:
            return ()
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


def rows_of(steps: str | None, subject: Subject, places: Places) -> Codes | None:
    """Rows of the entries that are meant by a name such as `w` or `w[2, 1]`; None for no name.

    Raises:
        InputError: there is no such tensor or entry, or it is not checked.
    """
    if steps is None:
        return None
    if steps in subject.names:
        rows = np.flatnonzero(places.tensor == subject.names.index(steps))
        stride = max(1, len(rows) // STEP_ENTRIES)
        return rows[::stride][:STEP_ENTRIES]
    found = re.fullmatch(r"(?P<name>.*)\[(?P<index>[\d, ]*)\]", steps, flags=re.DOTALL)
    if not found or found["name"] not in subject.names:
        names = ", ".join(subject.names[:8])
        raise InputError(f"Expected one of {names}, or an entry of it, but got steps={steps!r}")
    k = subject.names.index(found["name"])
    index = tuple(int(i) for i in found["index"].split(",") if i.strip())
    try:
        flat = int(np.ravel_multi_index(index, subject.shapes[k]))
    except ValueError as error:
        shape = subject.shapes[k]
        raise InputError(f"Expected an entry of shape {shape} but got steps={steps!r}") from error
    rows = np.flatnonzero((places.tensor == k) & (places.index == flat))
    if len(rows) == 0:
        raise InputError(f"Expected an entry that is checked but got steps={steps!r}")
    return rows


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
