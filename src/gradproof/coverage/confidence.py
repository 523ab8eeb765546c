"""What probes that agree say about an error that they did not see.

Let e be the error of a claimed gradient (claimed - true), each entry times the size of the move
that a probe makes there, and v a vector of independent standard normal numbers: then v.e has the
distribution of |e| N(0, 1). A probe agrees when claim and difference are no farther apart than its
bar b. The difference may be off by b itself, so a probe that agrees has |v.e| <= 2 b.

Bars are not chosen beforehand: where a short look does not fit, a longer one with a wider bar may,
and what follows from a product of probabilities would then be wrong (as it is for p-values that
were picked). So the limit rests on the m-th smallest bar b_(m) of k alone. If an error e is missed
though it lies beyond it, at least m of k independent products are small against |e|:

    P(at least m of k have |v.e| <= 2 b_(m), and 2 b_(m) < z |e|) <= P(Bin(k, p) >= m),
    p = P(|N(0, 1)| <= z),

whatever the bars depend on, since the event on the left lies in {at least m have |v.e| < z |e|}.
With z such that the right hand side is a share alpha / 2^(k-m+1) of alpha, the limit is the least
of 2 b_(m) / z over m: the shares add up to less than alpha. A probe that says nothing (its bar is
infinite) may have been one that would have disagreed: it counts among the k.

It holds for each tensor by itself. With e = (e_T, e_rest) the two parts of v.e are independent,
and |e| >= |e_T|: whatever the other tensors' errors are, they only make a miss less likely.

(Wolfe, Checking the calculation of gradients, ACM TOMS 8 (1982), uses one direction and no bar.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
#: Bisections of a probability: to the last digit.
_STEPS = 60
#: c(k, alpha) that is good enough.
_FEW_BARS = 5.0


def constant(probes: int, alpha: float) -> float:
    """c(k, alpha): errors beyond c tau are caught if k probes agree within tau each.

    From P(|N(0, 1)| <= 1 / c)^k = alpha.

    >>> [round(constant(k, 1e-6), 1) for k in (4, 6, 8)]
    [25.2, 8.0, 4.4]
    """
    return 1.0 / _quantile(alpha ** (1.0 / probes))


def undetected(bars: Sequence[float], alpha: float) -> float:
    """The norm of an error beyond which probes that agree within `bars` miss it with alpha at most.

    Infinite where too few probes have a finite bar.

    Args:
        bars: of all probes that were made; infinite for one that said nothing.
        alpha: the probability of a miss.

    >>> round(undetected([0.5] * 8, 1e-6) / constant(8, 1e-6), 2)
    1.09
    >>> undetected([0.5] * 7 + [math.inf], 1e-6) < 2.0 * undetected([0.5] * 8, 1e-6)
    True
    >>> undetected([math.inf], 1e-6)
    inf
    """
    count = len(bars)
    limit = math.inf
    for enough, bar in enumerate(sorted(bars), start=1):
        share = alpha * 0.5 ** (count - enough + 1)
        size = _quantile(_success(count, enough, share))
        if size > 0.0:
            limit = min(limit, 2.0 * bar / size)
    return limit


@lru_cache(maxsize=256)
def probes_for(alpha: float) -> int:
    """How many probes to make: so many that the limit is a few bars, not dozens.

    >>> probes_for(1e-6), probes_for(1e-2)
    (8, 3)
    """
    return next(k for k in range(1, 1000) if constant(k, alpha) <= _FEW_BARS)


def _quantile(inside: float) -> float:
    """The z for which P(|N(0, 1)| <= z) = inside."""
    return _NORMAL.inv_cdf(0.5 + 0.5 * inside) if inside > 0.0 else 0.0


# Few arguments come again and again, and 60 sums of powers take long.
@lru_cache(maxsize=4096)
def _success(count: int, enough: int, alpha: float) -> float:
    """The p for which P(Bin(count, p) >= enough) = alpha, from below."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        p = 0.5 * (low + high)
        tail = math.fsum(
            math.comb(count, m) * p**m * (1.0 - p) ** (count - m) for m in range(enough, count + 1)
        )
        low, high = (low, p) if tail > alpha else (p, high)
    return low
