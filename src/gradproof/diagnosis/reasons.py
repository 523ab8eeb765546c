"""What kind of mistake made one tensor's gradient wrong: evidence, hypotheses, and their test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradproof.coverage.bisect import Piece, gaps
from gradproof.coverage.directions import Line, draw, sizes_of
from gradproof.coverage.probe import scales
from gradproof.diagnosis.alternatives import Entries, alternatives
from gradproof.diagnosis.evidence import drawn, slopes_at
from gradproof.diagnosis.patterns.explain import Explanation, explain
from gradproof.diagnosis.patterns.field import INCOMING, ITSELF, RETURNED, Field
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import Floats
from gradproof.report.model import Report
from gradproof.subjects.base import Codes, Places, Subject
from gradproof.verdict import at_kinks

#: Explanations that are put to the test, and random directions that each has to stand.
TRIED, DIRECTIONS = 4, 2
#: The first step along them, in units of the entries' sizes.
STEP = 2.0**-7
#: What numbers that were fitted, such as a factor, may be off by, relative.
FITTED = 1e-7
#: Entries at which a gradient is compared with that of f changed by a mistake, and tensors that a
#: function has at most for that: one operation, a layer; a whole network would take too long.
ELSEWHERE, TENSORS = 24, 6
#: Their entries, all together: each point that is looked at holds all of them.
SIZE = 2**19


@dataclass(frozen=True)
class Case:
    """A function, the gradient claimed for it, and the report that says where that is wrong.

    Attributes:
        subject: the function around its point.
        gradient: the claim, per tensor.
        rounding: its own rounding.
        report: on its entries.
        arrays: what errors may be made of, by what it is, in the sizes of the tensors.
        constants: the same with numbers.
    """

    subject: Subject
    gradient: Sequence[Floats]
    rounding: Sequence[Floats]
    report: Report
    arrays: Mapping[str, Sequence[Floats]]
    constants: Mapping[str, float]


@np.errstate(all="ignore")
def reason(case: Case, name: str, entries: int, rng: np.random.Generator) -> Explanation:
    """The simplest explanation of a tensor's error under which its gradient would have passed.

    Args:
        case: the function and its wrong gradient.
        name: of the tensor.
        entries: how many may be looked at besides those in the report.
        rng: for the entries, and for directions.
    """
    field = _field(case, name, entries, rng)
    if not np.isfinite(field.error).any():
        message = (
            "what is wrong lies at kinks, where f has two slopes and the claim is none of them"
        )
        return Explanation("unexplained", message, {}, None)
    found = _accepted(case, field, explain(field), rng)
    fitted = found.evidence.get("fitted", 0)
    # What took several numbers to describe may have a simpler cause.
    is_clear = found.kind != "unexplained" and not (isinstance(fitted, int) and fitted > 1)
    size = sum(len(x) for x in case.subject.point)
    if is_clear or len(case.subject.names) > TENSORS or size > SIZE:
        return found
    return _by_alternatives(case, _first(field, ELSEWHERE)) or found


def _by_alternatives(case: Case, few: Field) -> Explanation | None:
    """What the claim would be where f had been changed by a mistake, if that is what it is."""
    k = case.subject.names.index(few.name)
    claim, rounding = case.gradient[k][few.index], case.rounding[k][few.index]
    order = np.argsort(-np.abs(claim - few.numeric) / few.error, kind="stable")
    back = np.argsort(order)
    places = Places(np.full(len(order), k), few.index[order])
    entries = Entries(places, claim[order], rounding[order])
    for other in alternatives(case.subject, k, entries, case.report.noise):
        there = replace(other, numeric=other.numeric[back], error=other.error[back] + rounding)
        better = explain(replace(few, alternatives=[there]))[0]
        if better.kind == other.kind:
            return better
    return None


def _field(case: Case, name: str, entries: int, rng: np.random.Generator) -> Field:
    """What is known of one tensor: the entries in the report, and some more."""
    subject, report = case.subject, case.report
    k = subject.names.index(name)
    rows = report.entries.filter(tensor=name)
    index, numeric = rows.flat_index, rows.numeric
    error = rows.error + rows.rounding
    # At a kink f has no one slope, and what was not resolved may be a slope from afar.
    error[at_kinks(rows) | (rows["verdict"] == "unresolved")] = np.inf
    is_complete = report.tensors[name].located
    if not is_complete:
        more = drawn(index, len(case.gradient[k]), entries, rng)
        places = Places(np.full(len(more), k), more)
        slopes, bars = slopes_at(subject, places, scales(subject.point), report.value, report.noise)
        index = np.concatenate([index, more])
        numeric = np.concatenate([numeric, slopes])
        error = np.concatenate([error, bars + case.rounding[k][more]])
        is_complete = len(index) == len(case.gradient[k])
    order = np.argsort(index)
    return Field(
        name=name,
        shape=subject.shapes[k],
        claim=case.gradient[k],
        index=index[order],
        numeric=numeric[order],
        error=error[order],
        is_complete=is_complete,
        arrays=_arrays(case, k),
        constants=case.constants,
    )


def _arrays(case: Case, k: int) -> dict[str, Floats]:
    subject = case.subject
    arrays = {f"{subject.names[k]}{ITSELF}": subject.point[k]}
    size = len(subject.point[k])
    if len(subject.weights) == 1 and subject.weights[0].size == size > 1:
        arrays[INCOMING] = subject.weights[0].ravel()
        arrays[RETURNED] = subject.outputs[0].ravel()
    return arrays | {what: parts[k] for what, parts in case.arrays.items()}


def _accepted(
    case: Case, field: Field, candidates: Sequence[Explanation], rng: np.random.Generator
) -> Explanation:
    """The first under which the gradient would have passed along random directions too."""
    for candidate in candidates[:TRIED]:
        if candidate.corrected is None or _would_pass(case, field, candidate.corrected, rng):
            return candidate
    tried = [candidate.kind for candidate in candidates[:TRIED]]
    bare = explain(replace(field, arrays={}, constants={}))[-1]
    if bare.kind == "unexplained":
        return bare
    message = f"no known mistake explains it; tried and refuted: {', '.join(tried)}"
    return Explanation("unexplained", message, {"refuted": tuple(tried)}, None)


def _would_pass(case: Case, field: Field, corrected: Floats, rng: np.random.Generator) -> bool:
    subject = case.subject
    k = subject.names.index(field.name)
    gradient, rounding = [*case.gradient], [*case.rounding]
    gradient[k] = corrected
    rounding[k] = np.fmax(rounding[k], FITTED * np.abs(corrected))
    line = Line(subject, gradient, rounding, case.report.value)
    sizes = sizes_of(scales(subject.point))
    whole = [Piece(k, 0, len(corrected))]
    for _ in range(DIRECTIONS if not field.is_complete else 0):
        direction = draw(sizes, rng, only=k)
        if gaps(line, whole, direction, STEP, case.report.noise)[0] == 0.0:
            continue
        ladder = line.ladder(direction, STEP)
        # Along a direction through kinks nothing can be refuted.
        if ladder.status[0] == code(Status.SMOOTH):
            claimed, own = line.claimed(direction)
            if not abs(claimed - ladder.value[0]) <= ladder.error[0] + own:
                return False
    return True


def _first(field: Field, count: int) -> Field:
    """The field at the entries, of those looked at, that say most."""
    best: Codes = np.sort(np.argsort(field.error, kind="stable")[:count])
    return replace(
        field,
        index=field.index[best],
        numeric=field.numeric[best],
        error=field.error[best],
        is_complete=False,
    )
