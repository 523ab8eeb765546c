"""Claim and difference compared along random directions, one after the other.

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
from gradproof.coverage.directions import Direction, Line, draw
from gradproof.numerics.estimate import Estimates, Status, code
from gradproof.numerics.ladder import REGULAR
from gradproof.numerics.sampling import EPS, Floats

#: The longest step along a direction, in units of the entries' sizes, and the largest of the
#: regular rungs of a ladder for a scale of 1.
LONGEST = 0.25
#: Pairs that do not agree are followed by others, so much shorter.
SHORTER = (0.5, 0.2, 0.07)
#: And one that a first guess may be lengthened to is so much longer.
LONGER = 4.0
#: The steps that tracing tries are a factor of 4 apart: one so much longer is often clear as well.
BETWEEN = 2.0
#: A pair serves in place of a ladder if its bar is no more than this part of the claim.
TELLING = 1e-3
#: Steps of a second ladder, relative to the first.
OTHER_STEPS = 0.61


@dataclass(frozen=True)
class Probe:
    """One direction: claim, difference, and by how much they may differ; infinite: it says nothing.

    `step` is the one at which they were compared, `tensors` those that it was confined
    to, None for all.
    """

    analytic: float
    numeric: float
    bar: float
    step: float
    tensors: tuple[int, ...] | None

    @property
    def agrees(self) -> bool:
        """Whether the claim fits; it fits a probe that says nothing."""
        return np.isinf(self.bar) or abs(self.analytic - self.numeric) <= self.bar


@dataclass(frozen=True)
class Start:
    """What is known before the first probe.

    `step` is one that may serve, NaN where none is known; `noise` that of f's values. `is_reduced`
    says that the moves are too short for a table of noise along them.
    """

    step: float
    noise: float
    is_reduced: bool = False


class Prober:
    """Probes over some tensors; what one finds out serves the next.

    Attributes:
        probes: those that were made.
        noise: of f's values.
        reach: the longest step at which f is known to be smooth.
        variation: how much f changed along ladders.

    Args:
        line: the function and its claimed gradient.
        sizes: how far a direction moves each entry.
        tensors: that are moved.
        rng: for the directions.
        start: what is known; by default the first probe finds it out on a ladder.
        is_part: whether that is less than all that is to be certified.
    """

    def __init__(
        self,
        line: Line,
        sizes: Sequence[Floats],
        tensors: Sequence[int],
        rng: np.random.Generator,
        *,
        start: Start | None = None,
        is_part: bool = False,
    ) -> None:
        self.probes: list[Probe] = []
        self.noise = line.jitter if start is None else start.noise
        self.reach = LONGEST
        self.variation = 0.0
        self._line, self._sizes, self._tensors, self._rng = line, sizes, tensors, rng
        self._start, self._part = start, tuple(tensors) if is_part else None
        self._steps: list[float] = []

    @property
    def step(self) -> float:
        """The one to begin with: the median of those that served, NaN where none is known."""
        if self._steps:
            return sorted(self._steps)[(len(self._steps) - 1) // 2]
        return np.nan if self._start is None else self._start.step

    def go_on(self, count: int) -> Direction | None:
        """Probe until there are so many, or one disagrees; returns its direction.

        There are no more than half of them if none of those said anything.
        """
        while len(self.probes) < count:
            direction = draw(self._sizes, self._rng, self._tensors)
            found = self._probe(direction)
            if self._line.subject.exhausted is not None:  # then this one lacks values
                break
            self.probes.append(found)
            if not found.agrees:
                return direction
            says_nothing = all(np.isinf(p.bar) for p in self.probes)
            if says_nothing and 1 < count // 2 <= len(self.probes):
                break
        return None

    def _probe(self, direction: Direction) -> Probe:
        """A few pairs where a step is known, else, or if they do not agree, ladders."""
        found = self._pairs(direction, self.step)
        if found is not None:
            return found
        clear = self._clear(direction)
        if clear < LONGEST and max(self._line.subject.spacing) <= EPS:
            found = self._within(direction, clear)
            if found is not None:
                return found
        return self._climb(direction, clear)

    def _within(self, direction: Direction, clear: float) -> Probe | None:
        """Pairs where kinks are near and it is known where, so that no ladder is needed."""
        if self._start is None:
            self.noise = max(self.noise, self._line.noise_along(direction))
        found = self._pairs(direction, BETWEEN * clear)
        # At an optimum f's slope says nothing, and a ladder may see what f does farther away.
        if found is None or found.bar > TELLING * self._line.share(direction):
            return None
        self.reach = min(self.reach, clear)
        return found

    def _pairs(self, direction: Direction, longest: float) -> Probe | None:
        """The longest of a few steps at which a pair of values agrees with the claim."""
        if not np.isfinite(longest):
            return None
        best = None
        for step in (longest, *(shorter * longest for shorter in SHORTER)):
            best = self._pair(direction, step)
            if best.agrees:
                break
        else:
            return None
        if not self._steps and best.step == longest:
            # What was known to begin with is a guess, and may be far too short.
            while best.step < LONGEST:
                found = self._pair(direction, min(LONGER * best.step, LONGEST))
                if not found.agrees:
                    break
                best = found
        self._steps.append(best.step)
        return best

    def _pair(self, direction: Direction, step: float) -> Probe:
        slopes = self._line.pairs([direction], step, self.noise)
        return self._judged(slopes.analytic[0], slopes.numeric[0], slopes.bar[0], step)

    def _clear(self, direction: Direction) -> float:
        """The step up to which f takes the same branches, where they can be seen."""
        ways = [d[None] for d in direction]
        return float(clear_along(self._line.subject, ways, np.array([LONGEST]))[0])

    def _climb(self, direction: Direction, clear: float) -> Probe:
        """A ladder; a second one on other steps before a claim is called wrong."""
        analytic, own = self._line.claimed(direction)
        self.reach = min(self.reach, clear)
        margin = MARGIN_IF_COARSE if max(self._line.subject.spacing) > EPS else 1.0
        found = self._judged(analytic, np.nan, np.inf, np.nan)
        for factor in (1.0, OTHER_STEPS):
            is_reduced = self._start is not None and self._start.is_reduced
            noise = self.noise if is_reduced else None
            ladder = self._line.ladder(direction, factor * clear / TOP_RUNG, noise)
            if ladder.status[0] != code(Status.SMOOTH):
                # Along a direction through kinks the slope is a mean of two: it says nothing.
                return self._judged(analytic, float(ladder.value[0]), np.inf, np.nan)
            self.noise = max(self.noise, float(ladder.noise[0]))
            self.variation = max(self.variation, _variation(ladder))
            step = _best_step(ladder)
            bar = margin * float(ladder.error[0]) + own
            found = self._judged(analytic, float(ladder.value[0]), bar, step)
            self._steps.append(step)
            self.reach = min(self.reach, float(ladder.reach[0]))
            if found.agrees:
                break
        return found

    def _judged(self, analytic: float, numeric: float, bar: float, step: float) -> Probe:
        if not np.isfinite(analytic):
            bar = 0.0  # a claim that is no number is wrong whatever the slope
        return Probe(float(analytic), float(numeric), float(bar), float(step), self._part)


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
