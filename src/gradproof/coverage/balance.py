"""How far each tensor is moved, so that none swamps another in a direction over all of them.

A tensor's share in f's change along a direction is the norm of its gradient, each entry times its
move. An error in a tensor with a small share must be seen beside all the others, and where these
bend f or take it across kinks, they shorten the step for all. Moved by less, they leave room for a
longer one.

How far that goes is a guess, and serves only to choose: f is taken to be smooth, to within noise,
as long as it changes by no more than it did at a step that was short enough.
"""

from __future__ import annotations

import math

import numpy as np

from gradproof.coverage.directions import SIGMAS
from gradproof.numerics.sampling import Floats

#: Tensors are made alike down to a share that is so many times smaller than the largest: 2^60.
HALVINGS = 60


def balanced(shares: Floats, change: float, noise: float, longest: float, goal: float) -> Floats:
    """Factors for the moves of tensors: powers of two, 1 where a tensor moves as far as it did.

    They bring as many tensors as may be to the goal, and of these the worst as far as may be.

    Args:
        shares: (tensors,), in f's change per unit of step; 0 for what has no effect.
        change: by how much f may change.
        noise: of f's values.
        longest: the longest step to take.
        goal: how large the bar of a pair of values may be, relative to a tensor's share.

    >>> balanced(np.array([100.0, 1.0, 0.0]), 1e-4, 1e-13, 0.25, 1e-7).tolist()
    [0.0078125, 1.0, 1.0]
    >>> balanced(np.array([100.0, 1.0, 0.0]), 1.0, 1e-7, 0.25, 1e-7).tolist()
    [1.0, 1.0, 1.0]
    """
    result = np.ones(len(shares))
    seen = shares > 0.0
    if not seen.any():
        return result
    moves = shares[seen]

    def rank(factors: Floats) -> tuple[int, float]:
        """How many tensors miss the goal, and the worst bar of the others."""
        reduced = moves * factors
        bars = pair_bar(noise, step_for(reduced, change, longest)) / reduced
        fine = bars <= goal
        return int(np.sum(~fine)), float(bars[fine].max(initial=0.0))

    targets = moves.max() * 0.5 ** np.arange(HALVINGS)
    choices = [np.fmin(1.0, np.exp2(np.round(np.log2(t / moves)))) for t in targets]
    result[seen] = min(choices, key=rank)
    return result


def step_for(shares: Floats, change: float, longest: float) -> float:
    """The step at which f changes by so much; NaN where that is not known."""
    size = float(np.linalg.norm(shares))
    return min(change / size, longest) if size > 0.0 else longest


def pair_bar(noise: float, step: float) -> float:
    """What noise makes of a central difference (see `Line.pairs`)."""
    return SIGMAS * noise / (math.sqrt(2.0) * step)
