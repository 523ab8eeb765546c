"""Whether a claim is the derivative of f with what f computes without a graph held constant.

`detach`, `no_grad` and `stop_gradient` make automatic differentiation take a quantity for a
constant that f's value does depend on. The gradient is not f's derivative then, and whether it is
the one that was meant (a target, a running estimate) only its author knows.
"""

from __future__ import annotations

import numpy as np

from gradproof.coverage.directions import Line, draw, sizes_of
from gradproof.coverage.probe import scales
from gradproof.diagnosis.patterns.explain import Explanation
from gradproof.diagnosis.reasons import Case
from gradproof.numerics.estimate import Status, code

#: Random directions along which the claim has to fit.
DIRECTIONS = 3
#: Places in f's code that are named.
NAMED = 3


@np.errstate(all="ignore")
def held_constant(case: Case, name: str, rng: np.random.Generator) -> Explanation | None:
    """That the claim for a tensor would be right if what has no graph were constant.

    Args:
        case: the function and its wrong gradient.
        name: of the tensor.
        rng: for directions.
    """
    subject = case.subject
    k = subject.names.index(name)
    line = Line(subject, case.gradient, case.rounding, case.report.value)
    sizes = sizes_of(scales(subject.point))
    with subject.cuts_held() as places:
        if not places:
            return None
        for _ in range(DIRECTIONS):
            direction = draw(sizes, rng, only=k)
            found = line.ladder(direction, 1.0)
            claimed, own = line.claimed(direction)
            if found.status[0] != code(Status.SMOOTH):
                return None
            if not abs(claimed - found.value[0]) <= found.error[0] + own:
                return None
    listed = "; ".join(places[:NAMED])
    more = f"; and {len(places) - NAMED} more" if len(places) > NAMED else ""
    message = (
        "it is the derivative with what is computed without a graph held constant, though f's "
        f"value depends on it: {listed}{more}; if that is meant, compute it before and give it to "
        "f as a constant"
    )
    return Explanation("detached", message, {"computed without a graph": places}, None)
