"""What kind of mistake made one tensor's gradient wrong: evidence, hypotheses, and their test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradproof.coverage.bisect import Piece, gaps
from gradproof.coverage.directions import Line, draw, sizes_of
from gradproof.coverage.probe import scales
from gradproof.diagnosis.evidence import drawn, slopes_at, slopes_elsewhere
from gradproof.diagnosis.patterns.explain import Explanation, explain
from gradproof.diagnosis.patterns.field import Alternative, Field
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import Floats
from gradproof.report.model import Report
from gradproof.subjects.base import Codes, Places, Subject

#: Explanations that are put to the test, and random directions that each has to stand.
TRIED, DIRECTIONS = 4, 2
#: The first step along them, in units of the entries' sizes.
STEP = 2.0**-7
#: What numbers that were fitted, such as a factor, may be off by, relative.
FITTED = 1e-7
#: Entries at which a gradient is compared with that of f at another point.
ELSEWHERE = 24


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
    found = _accepted(case, field, explain(field), rng)
    if found.kind != "unexplained":
        return found
    others = [other for other in _alternatives(case, name, field) if np.isfinite(other.error).any()]
    if not others:
        return found
    few = _first(field, ELSEWHERE)
    better = explain(replace(few, alternatives=others))[0]
    return better if any(better.kind == other.kind for other in others) else found


def _field(case: Case, name: str, entries: int, rng: np.random.Generator) -> Field:
    """What is known of one tensor: the entries in the report, and some more."""
    subject, report = case.subject, case.report
    k = subject.names.index(name)
    rows = report.entries.filter(tensor=name)
    index, numeric = rows.flat_index, rows.numeric
    error = rows.error + rows.rounding
    # At a kink f has no one slope.
    error = np.where(rows["verdict"] == "kink", np.inf, error)
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
    arrays = {f"{subject.names[k]} itself": subject.point[k]}
    weights = [w for w in subject.weights if len(w) == len(subject.point[k])]
    if len(weights) == 1 and len(weights[0]) > 1:
        arrays["the incoming gradient"] = weights[0]
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
        # Along a direction through kinks nothing can be refuted.
        if line.ladder(direction, STEP).status[0] == code(Status.SMOOTH):
            return False
    return True


def _alternatives(case: Case, name: str, field: Field) -> Iterator[Alternative]:
    """What the claim would be if another tensor of f had been taken the wrong way round."""
    subject = case.subject
    k = subject.names.index(name)
    few = _first(field, ELSEWHERE)
    places = Places(np.full(len(few.index), k), few.index)
    for other, shape in enumerate(subject.shapes):
        if other == k:
            continue
        for kind, message, turned in _turned(subject.names[other], subject.point[other], shape):
            base = [*subject.point]
            base[other] = turned
            slopes, bars = slopes_elsewhere(subject, places, base, scales(subject.point))
            yield Alternative(kind, message, slopes, bars + case.rounding[k][few.index])


def _turned(name: str, flat: Floats, shape: tuple[int, ...]) -> Iterator[tuple[str, str, Floats]]:
    """Ways in which a weight is taken the wrong way round in a backward pass."""
    array = flat.reshape(shape)
    if len(shape) >= 3 and max(shape[2:]) > 1:
        axes = tuple(range(2, len(shape)))
        flipped = np.flip(array, axes)
        yield "flipped-kernel", f"the kernels of {name} are turned by half a turn", flipped.ravel()
    if len(shape) >= 2 and shape[-1] == shape[-2] > 1:
        exchanged = np.swapaxes(array, -1, -2)
        yield "transposed", f"the last two axes of {name} are exchanged", exchanged.ravel()
    if len(shape) >= 3 and shape[0] == shape[1] > 1:
        exchanged = np.swapaxes(array, 0, 1)
        yield "transposed", f"the first two axes of {name} are exchanged", exchanged.ravel()


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
