"""Where the error of a gradient enters: the parts of f whose own backward pass is wrong.

A wrong backward pass spoils what all layers below it get, so that most of the tensors that fail are
only victims. Each part's own vector-Jacobian product is therefore compared with its own values,
around the inputs that it has in f: whatever cotangent reaches it, wrong as it may be, is as good as
any other for that. A part that is linear costs a pair of evaluations of its own and one gradient,
a curved one a few pairs on shorter and shorter steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gradproof.coverage.bisect import gaps, tree_of
from gradproof.coverage.directions import Line, draw, sizes_of
from gradproof.coverage.probe import scales
from gradproof.diagnosis.preflight import Claim
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import EPS, Floats
from gradproof.report.model import Report
from gradproof.subjects.base import Stage, Subject
from gradproof.subjects.budget import Budget

#: The first step along a random direction, in units of the entries' sizes.
STEP = 2.0**-7
#: A part's claim may be off by so many units of its numbers' spacing and still be right: whether it
#: is, is not decided here.
ROUNDING = 64.0
#: How the kinds of parts begin that are calls of one function.
FUNCTIONS = ("autograd.Function", "custom_vjp", "custom_jvp")


@dataclass(frozen=True)
class Origin:
    """A part of f whose own backward pass is wrong.

    Attributes:
        stage: the part.
        position: in the order of the forward pass.
        subject: the part around its inputs.
        claim: its own gradient, as its backward pass makes it.
        report: on the part by itself.
        again: other calls of the same code that are wrong too, with their positions.
    """

    stage: Stage
    position: int
    subject: Subject
    claim: Claim
    report: Report
    again: tuple[tuple[int, Stage], ...] = ()

    @property
    def wrong(self) -> tuple[str, ...]:
        """The part's own tensors whose gradients are wrong."""
        return tuple(n for n, t in self.report.tensors.items() if t.verdict == "fail")

    @property
    def spoils(self) -> bool:
        """Whether what the parts before it get is wrong."""
        return any(name not in self.stage.tensors for name in self.wrong)

    @property
    def calls(self) -> list[Stage]:
        """The part and other calls of its code that are wrong too."""
        return [self.stage, *(stage for _, stage in self.again)]

    @property
    def last(self) -> int:
        """The position of its last call."""
        return max([self.position, *(position for position, _ in self.again)])

    def whole(self, name: str) -> str | None:
        """The name in f of one of the part's tensors; None for an input."""
        return self.stage.tensors.get(name)

    def own(self) -> set[str]:
        """The tensors of f that are wrong by the part itself."""
        return {s.tensors[name] for s in self.calls for name in self.wrong if name in s.tensors}


#: Judges a part that a first look found suspicious: what it claims, and the report on that.
Judge = Callable[[Subject, object], tuple[Claim, Report] | None]


def localise(
    stages: Sequence[Stage],
    failing: Sequence[str],
    judge: Judge,
    budget: Budget,
    rng: np.random.Generator,
) -> tuple[Origin, ...]:
    """The parts where errors enter, in the order of the forward pass.

    Parts that contain others are looked at where none of those is wrong and some tensor's error
    has not been explained.

    Args:
        stages: the parts, in the order of the forward pass.
        failing: names of f's tensors whose gradients are wrong.
        judge: says whether a part is wrong.
        budget: what evaluations of parts are taken from.
        rng: for directions.
    """
    position = {stage.name: i for i, stage in enumerate(stages)}
    origins: list[Origin] = []
    spoken_for: set[str] = set()  # wrong parts, and the parts around them
    for level in _levels(stages):
        if origins and not unexplained(failing, origins, stages):
            break
        # Backwards: what lies nearest to f's value spoils the rest.
        for stage in reversed(level):
            if stage.name in spoken_for:
                continue
            if budget.exhausted is not None:
                break
            here = position[stage.name]
            same = next((o for o in origins if _is_same_code(o.stage, stage)), None)
            found = _look(stage, judge if same is None else None, budget, rng)
            if found is None:
                continue
            outer: str | None = stage.name
            while outer is not None and outer not in spoken_for:
                spoken_for.add(outer)
                outer = stages[position[outer]].inside
            if same is not None:
                again = (*same.again, (here, stage))
                origins[origins.index(same)] = replace(same, again=again)
            else:
                subject, judged = found
                assert judged is not None, "there was a judge"
                origins.append(Origin(stage, here, subject, *judged))
    return tuple(sorted(origins, key=lambda origin: origin.last))


def unexplained(
    failing: Sequence[str], origins: Sequence[Origin], stages: Sequence[Stage]
) -> list[str]:
    """The failing tensors that no origin accounts for."""
    own = {name for origin in origins for name in origin.own()}
    spoiled = set(victims(failing, origins, stages))
    return [name for name in failing if name not in own and name not in spoiled]


def victims(
    failing: Sequence[str], origins: Sequence[Origin], stages: Sequence[Stage]
) -> list[str]:
    """The failing tensors that are wrong only because of what a later part hands down."""
    own = {name for origin in origins for name in origin.own()}
    latest = max((o.last for o in origins if o.spoils), default=-1)
    first = _first_use(stages)
    return [n for n in failing if n not in own and first.get(n, -1) < latest]


def _first_use(stages: Sequence[Stage]) -> Mapping[str, int]:
    """Per tensor of f, the first part that has it; parts of parts count."""
    outer = {stage.inside for stage in stages}
    uses: dict[str, int] = {}
    for i, stage in enumerate(stages):
        if stage.name not in outer:
            for name in stage.tensors.values():
                uses.setdefault(name, i)
    return uses


def _levels(stages: Sequence[Stage]) -> Iterator[list[Stage]]:
    """Parts without parts first, then those around them, the innermost first.

    Single equations without a rule of their own come last.
    """
    outer = {stage.inside for stage in stages}
    named = {stage.name: stage for stage in stages}

    def depth(stage: Stage) -> int:
        return 0 if stage.inside is None else 1 + depth(named[stage.inside])

    plain = [stage for stage in stages if stage.kind.startswith("equation")]
    parts = [stage for stage in stages if not stage.kind.startswith("equation")]
    yield [stage for stage in parts if stage.name not in outer]
    around = [stage for stage in parts if stage.name in outer]
    for level in sorted({depth(stage) for stage in around}, reverse=True):
        yield [stage for stage in around if depth(stage) == level]
    yield plain


def _is_same_code(one: Stage, other: Stage) -> bool:
    """Whether two parts are calls of one function that somebody wrote a backward pass for."""
    return one.kind == other.kind and one.kind.startswith(FUNCTIONS)


def _look(
    stage: Stage, judge: Judge | None, budget: Budget, rng: np.random.Generator
) -> tuple[Subject, tuple[Claim, Report] | None] | None:
    """A pair of evaluations; where they contradict the claim the part is judged, and fails.

    Without a judge that is enough.
    """
    try:
        subject, grad = stage.open()
        budget.include(subject)
        with subject.session():
            if not _is_suspicious(subject, grad, rng):
                return None
            judged = None if judge is None else judge(subject, grad)
    except Exception:
        # A part of f's own code is called by itself here, and may raise whatever it likes: then it
        # is left out. A verdict has been given without it.
        return None
    if judge is not None and (judged is None or judged[1].verdict != "fail"):
        return None
    return subject, judged


@np.errstate(all="ignore")
def _is_suspicious(subject: Subject, grad: object, rng: np.random.Generator) -> bool:
    """Whether claim and values disagree along a random direction over all of a part's tensors."""
    sizes = [len(x) for x in subject.point]
    value = subject.value()
    if not any(sizes) or not np.isfinite(value):
        return False
    gradient = subject.claims(grad)
    if not all(np.isfinite(g).all() for g in gradient):
        return True
    unit = ROUNDING * max(EPS, subject.claim_spacing, *subject.spacing)
    rounding: list[Floats] = [unit * np.abs(g) for g in gradient]
    line = Line(subject, gradient, rounding, value)
    direction = draw(sizes_of(scales(subject.point)), rng)
    noise = float(floor(np.array([value]), unit=subject.value_spacing)[0])
    return bool(gaps(line, [tree_of(subject.names, sizes)], direction, STEP, noise)[0] != 0.0)
