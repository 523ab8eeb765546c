"""A whole gradient certified by a few random directions, to a stated limit at a stated confidence.

All tensors are moved together. Where that leaves some of them with a coarse limit, those that hide
them are moved by less (`balance`); where some are so near to kinks that the step must be short, or
some so sensitive that f is noisy, halves of f are probed by themselves, down the tree of modules or
containers; and what is still coarser than was asked for gets probes of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradproof.coverage.balance import balanced, pair_bar, step_for
from gradproof.coverage.bisect import Node, halves_of, pieces_of, tree_of
from gradproof.coverage.confidence import probes_for, undetected
from gradproof.coverage.directions import Direction, Line, draw, sizes_of
from gradproof.coverage.prober import LONGEST, Probe, Prober, Start
from gradproof.numerics.sampling import Floats

#: A tensor whose every move changes f by less than this part of what the others do has no effect.
NEGLIGIBLE = 1e-6
#: Limits are brought to this part of the resolution as long as that is cheap.
FINE = 1e-2
#: Probes of parts of f: more than of the whole, where the first ladder is most of the price.
MANY = 16
#: Probes of a tensor by itself whose limit is still too coarse: the limit of so many that agree
#: within a bar is about two bars, that of the first few is nine.
PATIENT = 64
#: The part of a tensor's own misses that is left to those.
PATIENTLY = 0.1
#: By how much the others may turn out coarser than the first of them.
LUCK = 2.0
#: What a part costs, in evaluations: its probes, a table of noise, the search for a step.
PRICE = 2 * MANY + 10
#: What all of that may cost: so many evaluations, and so many for each tensor.
MOST, MOST_PER_TENSOR = 96, 2


@dataclass(frozen=True)
class Certificate:
    """What random directions say of a gradient.

    Attributes:
        probes: all of them.
        limit: per tensor, the smallest relative error of its gradient (Euclidean norm, entries
            times their sizes) that would have been missed with a probability of alpha.
        negligible: per tensor, whether it has no effect on f to speak of, as claimed.
        contradiction: a direction along which the claim is wrong, None if there is none.
        step: the step at which that was seen.
        noise: of f's values.
        reach: the longest step at which f is known to be smooth.
    """

    probes: tuple[Probe, ...]
    limit: Floats
    negligible: np.ndarray[tuple[int], np.dtype[np.bool_]]
    contradiction: Direction | None
    step: float
    noise: float
    reach: float


def certify(
    line: Line,
    scale: Sequence[Floats],
    *,
    alpha: float,
    resolution: float,
    apart: frozenset[int],
    rng: np.random.Generator,
) -> Certificate:
    """Probe all tensors together, and by themselves those that the others hide.

    Args:
        line: the function and its claimed gradient.
        scale: the entries' surroundings, per tensor.
        alpha: the probability with which an error beyond the limit may be missed.
        resolution: the relative limit to be reached for every tensor.
        apart: tensors that are known to be wrong, and are left out.
        rng: for the directions.
    """
    work = _Work(line, sizes_of(scale), alpha, resolution, apart, rng)
    if not work.is_empty:
        work.probe_all()
        work.probe_hidden()
    return work.certificate()


class _Work:
    """A certificate in the making.

    A tensor may be judged by probes of all tensors as they are, by one of a chain of parts of f,
    each half of the one before, or by its own. These are chosen by what bars were met before, so
    the misses are shared out beforehand: a quarter for the first, 1/4, 1/8, ... for the parts, and
    a quarter for the last, a tenth of it for the many that a coarse one gets.
    """

    def __init__(
        self,
        line: Line,
        sizes: tuple[Floats, ...],
        alpha: float,
        resolution: float,
        apart: frozenset[int],
        rng: np.random.Generator,
    ) -> None:
        self._line, self._sizes, self._rng = line, sizes, rng
        self._alpha, self._resolution = alpha, resolution
        self._moved = [k for k, s in enumerate(sizes) if len(s) and k not in apart]
        self._shares = np.zeros(len(sizes))
        for k in self._moved:
            self._shares[k] = np.linalg.norm(line.gradient[k] * sizes[k])
        #: Norms of errors that may be missed.
        self._least = np.full(len(sizes), np.inf)
        self._probers: list[Prober] = []
        self._contradiction: Direction | None = None
        #: By how much f may change along a direction: for certain, and at best.
        self._near = self._far = np.nan
        self._until = line.subject.evaluations + MOST + MOST_PER_TENSOR * len(sizes)

    @property
    def is_empty(self) -> bool:
        """Whether no tensor is moved."""
        return not self._moved

    def probe_all(self) -> None:
        """All tensors as they are where that will do, else balanced, in parts if need be."""
        first = Prober(self._line, self._sizes, self._moved, self._rng)
        if not self._goes_on(first, 1):
            return
        count, share = probes_for(self._alpha), 0.25 * self._alpha
        if self._is_better_balanced(first, undetected([1.0] * count, share)):
            self._probe_parts(first.noise)
        else:
            self._goes_on(first, count)
            self._judge(first, self._moved, np.ones(len(self._sizes)), share)

    def probe_hidden(self) -> None:
        """Tensors that are still coarser than the resolution, each by itself."""
        for k in self._moved:
            if self._least[k] <= self._resolution * self._shares[k]:
                continue
            if self._is_over:
                break
            if self._is_small(k) and self._is_still(k):
                continue
            start = Start(self._step_for(self._shares[[k]]), self._noise_of([k]))
            own = Prober(self._line, self._sizes, [k], self._rng, start=start, is_part=True)
            share, ones = 0.25 * self._alpha, np.ones(len(self._sizes))
            self._goes_on(own, probes_for(self._alpha))
            self._judge(own, [k], ones, (1.0 - PATIENTLY) * share)
            is_coarse = self._resolution * self._shares[k] < self._least[k] < np.inf
            if is_coarse and not self._is_over:
                self._goes_on(own, PATIENT)
                self._judge(own, [k], ones, PATIENTLY * share)

    def certificate(self) -> Certificate:
        """What is known by now."""
        first = (
            self._probers[0] if self._probers else Prober(self._line, self._sizes, [], self._rng)
        )
        last = first if self._contradiction is None else self._probers[-1]
        seen = self._shares > 0.0
        limit = np.full(len(seen), np.inf)
        limit[seen] = self._least[seen] / self._shares[seen]
        return Certificate(
            probes=tuple(probe for prober in self._probers for probe in prober.probes),
            limit=limit,
            negligible=np.array([self._is_small(k) for k in range(len(seen))], dtype=np.bool_),
            contradiction=self._contradiction,
            step=last.step,
            noise=last.noise,
            reach=first.reach,
        )

    @property
    def _is_over(self) -> bool:
        return self._contradiction is not None or self._line.subject.exhausted is not None

    def _goes_on(self, prober: Prober, count: int) -> bool:
        """Have so many probes made; whether there is more to be found out."""
        if prober not in self._probers:
            self._probers.append(prober)
        self._contradiction = prober.go_on(count)
        return not self._is_over

    def _judge(self, prober: Prober, tensors: Sequence[int], factors: Floats, alpha: float) -> None:
        least = undetected([p.bar for p in prober.probes], alpha) / factors[tensors]
        self._least[tensors] = np.fmin(self._least[tensors], least)

    def _noise_of(self, tensors: Sequence[int]) -> float:
        """Noise of f's values where these tensors move."""
        table = self._line.noise_along(draw(self._sizes, self._rng, tensors))
        return max(self._line.jitter, table)

    # -- parts of f --------------------------------------------------------------------------

    def _is_better_balanced(self, first: Prober, constant: float) -> bool:
        """Whether more tensors will reach a fine limit so, going by the first probe of all."""
        if np.isnan(first.step) and first.reach == LONGEST:
            return False  # nothing is known of any step
        size = float(np.linalg.norm(self._shares))
        self._far = first.reach * size
        self._near = self._far if np.isnan(first.step) else first.step * size
        moves = self._shares * self._balanced(self._moved, first.noise, constant)
        foreseen = pair_bar(first.noise, step_for(moves, self._far, LONGEST))
        so_far = np.inf if np.isnan(first.step) else pair_bar(first.noise, first.step)
        goal, seen = FINE * self._resolution / constant, self._shares > 0.0
        fine = np.sum(foreseen <= goal * moves[seen]), np.sum(so_far <= goal * self._shares[seen])
        return bool(np.any(moves < self._shares) and fine[0] > fine[1])

    def _probe_parts(self, noise: float) -> None:
        """Parts of f, balanced: one whose limits would be coarse is left to its halves.

        Args:
            noise: along directions over all tensors.
        """
        goal = FINE * self._resolution
        whole = tree_of(self._line.subject.names, [len(s) for s in self._sizes])
        open_: list[tuple[Node, float]] = [(whole, 0.25 * self._alpha)]
        while open_ and not self._is_over:
            node, alpha = open_.pop(0)
            tensors = [p.tensor for p in pieces_of(node) if p.tensor in self._moved]
            if not tensors:
                continue
            noise = noise if node is whole else self._noise_of(tensors)
            # Half of the misses for so many probes, half for twice as many.
            constant = undetected([1.0] * MANY, 0.5 * alpha)
            factors = self._balanced(tensors, noise, constant)
            moves = self._shares[tensors] * factors[tensors]
            sizes = [s if f == 1.0 else f * s for f, s in zip(factors, self._sizes, strict=True)]
            start = Start(self._step_for(moves), noise, is_reduced=True)
            is_part = node is not whole
            prober = Prober(self._line, sizes, tensors, self._rng, start=start, is_part=is_part)
            if not self._goes_on(prober, 1):
                break
            attainable = constant * pair_bar(noise, LONGEST) <= goal * self._shares[tensors]
            expected = LUCK * constant * prober.probes[0].bar > goal * moves
            can_split = len(tensors) > 1 and self._left >= (len(open_) + 2) * PRICE
            if can_split and np.any(attainable & expected):
                open_ += [(half, 0.5 * alpha) for half in halves_of(node)]
                continue
            self._goes_on(prober, MANY)
            self._judge(prober, tensors, factors, 0.5 * alpha)
            is_coarse = attainable & (self._least[tensors] > goal * self._shares[tensors])
            can_go_on = not self._is_over and self._left >= len(open_) * PRICE + 2 * MANY
            if can_go_on and np.any(is_coarse):
                self._goes_on(prober, 2 * MANY)
                self._judge(prober, tensors, factors, 0.5 * alpha)

    @property
    def _left(self) -> int:
        """Evaluations that may still be spent on finer limits."""
        return self._until - self._line.subject.evaluations

    def _balanced(self, tensors: Sequence[int], noise: float, constant: float) -> Floats:
        """Factors for the moves of some tensors, so that pairs see all of them well enough."""
        factors = np.ones(len(self._sizes))
        goal = FINE * self._resolution / constant
        factors[tensors] = balanced(self._shares[tensors], self._far, noise, LONGEST, goal)
        return factors

    def _step_for(self, shares: Floats) -> float:
        return step_for(shares, self._near, LONGEST)

    # -- tensors without effect --------------------------------------------------------------

    def _is_small(self, k: int) -> bool:
        """Whether a tensor does next to nothing beside the others.

        At an optimum nothing is large but what f does farther away; a constant has its value.
        """
        farther = max((prober.variation for prober in self._probers[:1]), default=0.0)
        together = max(float(np.linalg.norm(self._shares)), farther)
        effect = together or abs(self._line.value)
        return bool(max(self._least[k], self._shares[k]) <= NEGLIGIBLE * effect)

    def _is_still(self, k: int) -> bool:
        """Whether f does not change as a tensor moves, as claimed."""
        direction = draw(self._sizes, self._rng, [k])
        slopes = self._line.pairs([direction], LONGEST, self._probers[0].noise)
        largest = np.fmax(np.abs(slopes.analytic), np.abs(slopes.numeric))
        return bool(largest[0] <= slopes.bar[0])
