"""A whole gradient certified by a few random directions, to a stated limit at a stated confidence.

The first direction climbs a ladder, which measures f's noise and finds a step at which neither
truncation nor rounding says much. At that step the others take one pair of evaluations each: claim
and difference come from different code and do not agree by accident. What disagrees climbs a ladder
of its own, twice on different steps, before it counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradproof.coverage.branches import TOP_RUNG, clear_along
from gradproof.coverage.climb import MARGIN_IF_COARSE
from gradproof.coverage.confidence import probes_for, undetected
from gradproof.coverage.directions import Direction, Line, draw, sizes_of
from gradproof.numerics.estimate import Estimates, Status, code
from gradproof.numerics.ladder import REGULAR
from gradproof.numerics.sampling import EPS, Floats

#: The longest step along a direction, in units of the entries' sizes, and the largest of the
#: regular rungs of a ladder for a scale of 1.
LONGEST = 0.25
#: A second and a third pair are so much shorter.
SHORTER = (0.35, 0.1)
#: Steps of a second ladder, relative to the first.
OTHER_STEPS = 0.61
#: A tensor whose every move changes f by less than this part of what the others do has no effect.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Probe:
    """One direction: claim, difference, and by how much they may differ; infinite: it says nothing.

    `step` is the one at which they were compared, `tensor` the one that it was confined to.
    """

    analytic: float
    numeric: float
    bar: float
    step: float
    tensor: int | None

    @property
    def agrees(self) -> bool:
        """Whether the claim fits; it fits a probe that says nothing."""
        return np.isinf(self.bar) or abs(self.analytic - self.numeric) <= self.bar


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


@np.errstate(all="ignore")
def certify(
    line: Line,
    scale: Sequence[Floats],
    *,
    alpha: float,
    resolution: float,
    apart: frozenset[int] = frozenset(),
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
    sizes = tuple(s * (k not in apart) for k, s in enumerate(sizes_of(scale)))
    # A tensor may be judged by all probes or by its own: each has half of the misses.
    count = probes_for(alpha)
    prober = _Prober(line)
    probes, contradiction = prober.several(count, sizes, rng)
    shares = np.array([np.linalg.norm(g * s) for g, s in zip(line.gradient, sizes, strict=True)])
    # At an optimum nothing is large but what f does farther away; a constant has its value.
    effect = max(float(np.linalg.norm(shares)), prober.variation) or abs(line.value)
    least = np.full(len(sizes), undetected([p.bar for p in probes], 0.5 * alpha))
    for k in np.flatnonzero(~(least <= resolution * shares)).tolist():
        if k in apart or len(sizes[k]) == 0:
            continue
        if contradiction is not None or line.subject.exhausted is not None:
            break
        is_small = max(least[k], shares[k]) <= NEGLIGIBLE * effect
        if is_small and _is_still(line, draw(sizes, rng, only=k), prober.noise):
            continue
        own = _Prober(line, k)
        mine, contradiction = own.several(count, sizes, rng)
        if contradiction is not None:
            prober = own
        probes += mine
        least[k] = min(least[k], undetected([p.bar for p in mine], 0.5 * alpha))
    return Certificate(
        probes=tuple(probes),
        limit=np.where(shares > 0.0, least / shares, np.inf),
        negligible=np.fmax(least, shares) <= NEGLIGIBLE * effect,
        contradiction=contradiction,
        step=prober.step,
        noise=prober.noise,
        reach=prober.reach,
    )


class _Prober:
    """Probes one after the other; what the first ladder finds out serves the others."""

    def __init__(self, line: Line, tensor: int | None = None) -> None:
        self.step = np.nan
        self.noise = line.jitter
        self.reach = LONGEST
        self.variation = 0.0
        self._line, self._tensor = line, tensor

    def several(
        self, count: int, sizes: Sequence[Floats], rng: np.random.Generator
    ) -> tuple[list[Probe], Direction | None]:
        """Probes up to the first that disagrees, and its direction.

        There are no more than half of them if none of those said anything.
        """
        probes: list[Probe] = []
        while len(probes) < count:
            direction = draw(sizes, rng, self._tensor)
            probes.append(self.probe(direction))
            if self._line.subject.exhausted is not None:  # then this one lacks values
                return probes[:-1], None
            if not probes[-1].agrees:
                return probes, direction
            if len(probes) >= count // 2 and all(np.isinf(p.bar) for p in probes):
                break
        return probes, None

    def probe(self, direction: Direction) -> Probe:
        """A few pairs where the step is known, else, or if they do not agree, ladders."""
        if np.isnan(self.step) and self._tensor is not None:
            self._trace(direction)
        if np.isfinite(self.step):
            for step in (self.step, *(shorter * self.step for shorter in SHORTER)):
                slopes = self._line.pairs([direction], step, self.noise)
                found = self._probe(slopes.analytic[0], slopes.numeric[0], slopes.bar[0], step)
                if found.agrees:
                    self.step = step
                    return found
        return self._climb(direction)

    def _trace(self, direction: Direction) -> None:
        """Where branches can be seen and kinks are near, they say which step to begin with.

        There may be as many tensors with probes of their own as there are, and a ladder for each
        would be most of the price.
        """
        ways = [d[None] for d in direction]
        clear = float(clear_along(self._line.subject, ways, np.array([LONGEST]))[0])
        if clear < LONGEST:
            self.step = self.reach = clear
            self.noise = max(self.noise, self._line.noise_along(direction))

    def _climb(self, direction: Direction) -> Probe:
        """A ladder; a second one on other steps before a claim is called wrong."""
        analytic, own = self._line.claimed(direction)
        margin = MARGIN_IF_COARSE if max(self._line.subject.spacing) > EPS else 1.0
        ways = [d[None] for d in direction]
        clear = float(clear_along(self._line.subject, ways, np.array([LONGEST]))[0])
        found = self._probe(analytic, np.nan, np.inf, np.nan)
        for factor in (1.0, OTHER_STEPS):
            ladder = self._line.ladder(direction, factor * clear / TOP_RUNG)
            if ladder.status[0] != code(Status.SMOOTH):
                # Along a direction through kinks the slope is a mean of two: it says nothing.
                return self._probe(analytic, float(ladder.value[0]), np.inf, np.nan)
            self.noise = max(self.noise, float(ladder.noise[0]))
            self.variation = max(self.variation, _variation(ladder))
            step = _best_step(ladder)
            bar = margin * float(ladder.error[0]) + own
            found = self._probe(analytic, float(ladder.value[0]), bar, step)
            self.step = float(np.fmin(self.step, step))
            self.reach = min(self.reach, float(ladder.reach[0]))
            if found.agrees:
                return found
        return found

    def _probe(self, analytic: float, numeric: float, bar: float, step: float) -> Probe:
        if not np.isfinite(analytic):
            bar = 0.0  # a claim that is no number is wrong whatever the slope
        return Probe(float(analytic), float(numeric), float(bar), float(step), self._tensor)


def _is_still(line: Line, direction: Direction, noise: float) -> bool:
    """Whether f does not change along a direction, as claimed."""
    slopes = line.pairs([direction], LONGEST, noise)
    largest = np.fmax(np.abs(slopes.analytic), np.abs(slopes.numeric))
    return bool(largest[0] <= slopes.bar[0])


def _variation(ladder: Estimates) -> float:
    """How much f changes along a ladder, in units of its longest regular step."""
    steps = ladder.ladder
    changes = np.abs(np.stack([steps.plus[0], steps.minus[0]])[:, REGULAR] - steps.value[0])
    return float(np.nan_to_num(changes).max() / steps.steps[0, REGULAR.start])


def _best_step(ladder: Estimates) -> float:
    """The longest step at which the plain difference is off by less than its rounding."""
    slopes, steps = ladder.ladder.central()[0], ladder.ladder.steps[0]
    rounding = ladder.ladder.level(ladder.noise)[0] / steps
    fits = np.abs(slopes - ladder.value[0]) <= rounding + ladder.error[0]
    fits &= np.isfinite(slopes)
    return float(steps[fits].max()) if fits.any() else float(ladder.step[0])
