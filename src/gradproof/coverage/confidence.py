"""What probes that agree say about an error that they did not see.

Let e be the error of a claimed gradient (claimed - true), each entry times the size of the move
that a probe makes there, and v a vector of independent standard normal numbers. The probe's gap
between claim and difference is v.e up to the probe's own error, and v.e ~ N(0, |e|^2). A probe
passes when the gap is within its bar b; since the numeric value may itself be off by b, it passes
at most when |v.e| <= 2 b. So k independent probes that pass miss an error of norm |e| with a
probability of at most

    P(miss) <= prod_j P(|N(0, 1)| <= 2 b_j / |e|),

which falls with |e|. The limit is the |e| at which it is alpha: larger errors are caught with a
confidence of 1 - alpha. (Wolfe, Checking the calculation of gradients, ACM TOMS 8 (1982), uses one
direction and no bar.)

It holds for each tensor by itself. With e = (e_T, e_rest) the two parts of v.e are independent
and |e| >= |e_T|: whatever the other tensors' errors are, they only make a miss less likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

_NORMAL = NormalDist()
#: Bisections of the limit on a logarithmic scale: to 1e-12 of it.
_STEPS = 60


def constant(probes: int, alpha: float) -> float:
    """c(k, alpha): errors beyond c tau are caught if k probes agree within tau each.

    From P(|N(0, 1)| <= 1 / c)^k = alpha.

    >>> [round(constant(k, 1e-6), 1) for k in (4, 6, 8)]
    [25.2, 8.0, 4.4]
    """
    inside = alpha ** (1.0 / probes)
    return 1.0 / _NORMAL.inv_cdf(0.5 + 0.5 * inside)


def undetected(bars: Sequence[float], alpha: float) -> float:
    """The norm of an error beyond which probes that agree within `bars` would miss it with alpha.

    Infinite where there is no probe, or one of them has no bar and the others do not suffice.

    >>> bars = [0.5, 0.5, 0.5, 0.5]
    >>> math.isclose(undetected(bars, 1e-6), constant(4, 1e-6))
    True
    >>> undetected([0.5, math.inf], 1e-6) > undetected([0.5], 1e-6) / 1.001
    True
    """
    known = [bar for bar in bars if math.isfinite(bar)]
    largest = max(known, default=0.0)
    if not known:
        return math.inf
    if largest == 0.0:
        return 0.0
    low, high = 0.0, math.log(2.0 * largest * constant(len(known), alpha) * (1.0 + 1e-9))
    low = high - 700.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        if _missed(known, math.exp(middle)) > alpha:
            low = middle
        else:
            high = middle
    return math.exp(high)


def probes_for(alpha: float) -> int:
    """How many probes to make: so many that the limit is a few bars, not dozens.

    >>> probes_for(1e-6), probes_for(1e-2)
    (8, 3)
    """
    return next(k for k in range(1, 1000) if constant(k, alpha) <= 5.0)


def _missed(bars: Sequence[float], norm: float) -> float:
    """Probability that all probes agree though the error has this norm, at most."""
    return math.prod(math.erf(2.0 * bar / norm / math.sqrt(2.0)) for bar in bars)
