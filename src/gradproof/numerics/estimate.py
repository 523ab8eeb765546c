"""From a ladder to a derivative with its error bar, for many lanes at once."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.extrapolation import MOST_EXCESS, SIGMAS, Extrapolation, extrapolate
from gradproof.numerics.kinks import Jump, find_jump, hidden_jump, stays
from gradproof.numerics.ladder import REGULAR, STEPS, Ladder
from gradproof.numerics.noise import COST as TABLE_COST
from gradproof.numerics.noise import FLOOR_IN_ULPS, floor, measure_noise
from gradproof.numerics.sampling import EPS, TINY, Floats, Lanes, Sampler
from gradproof.numerics.stalls import look_for_staircase

#: A relative bar below which no more evaluations are spent.
SHARP = 1e-12
#: A relative bar above which steps between the rungs are taken as well.
BLUNT = 1e-10
ABOVE, BELOW = 2, 12
#: Rungs a Richardson tableau needs before its own differences mean something.
ENOUGH = 4


class Status(enum.StrEnum):
    """What kind of point the derivative was taken at; the value is the sentence to show."""

    SMOOTH = "smooth: central differences on both sides"
    ONE_SIDED = "at the edge of the domain: differences on one side only"
    KINK = "kink at the point: the slopes on the two sides differ"
    UNRESOLVED = "no two steps agree: the function is too rough here for a derivative"
    UNDEFINED = "the function is not finite at the point"


STATUSES = tuple(Status)


def code(status: Status) -> int:
    """Position of a status in `STATUSES`, as the arrays of `Estimates` hold it."""
    return STATUSES.index(status)


@dataclass(frozen=True)
class Rung:
    """One step: the plain difference there, its Cauchy remainder and its rounding part."""

    step: float
    difference: float
    truncation: float
    rounding: float


@dataclass(frozen=True)
class Estimate:
    """A derivative: the true one lies in value ± error.

    `error` is `truncation` + `rounding`; `noise` the jitter of the function's values (a standard
    deviation); `step` the finest step used. At a kink `left` and `right` are the two one-sided
    slopes and `value` their mean; elsewhere both equal `value`. `ladder` has a row per step that
    was evaluated, from coarse to fine.
    """

    value: float
    error: float
    status: Status
    noise: float
    step: float
    evaluations: int
    truncation: float
    rounding: float
    left: float
    right: float
    ladder: tuple[Rung, ...]


@dataclass(frozen=True)
class Estimates:
    """Many derivatives; every array has shape (lanes,) but those of `ladder`.

    `status` holds positions in `STATUSES`; `reach` is the longest step used, up to which the lane
    was smooth.
    """

    value: Floats
    error: Floats
    status: NDArray[np.uint8]
    noise: Floats
    step: Floats
    evaluations: NDArray[np.intp]
    truncation: Floats
    rounding: Floats
    half_jump: Floats
    reach: Floats
    ladder: Ladder

    def __getitem__(self, lane: int) -> Estimate:
        value, half = float(self.value[lane]), float(self.half_jump[lane])
        return Estimate(
            value=value,
            error=float(self.error[lane]),
            status=STATUSES[self.status[lane]],
            noise=float(self.noise[lane]),
            step=float(self.step[lane]),
            evaluations=int(self.evaluations[lane]),
            truncation=float(self.truncation[lane]),
            rounding=float(self.rounding[lane]),
            left=value - half,
            right=value + half,
            ladder=self._rungs(lane),
        )

    def _rungs(self, lane: int) -> tuple[Rung, ...]:
        ladder = self.ladder
        slopes = ladder.central()[lane]
        taken = np.flatnonzero(np.isfinite(slopes))
        slopes, steps = slopes[taken], ladder.steps[lane, taken]
        # Cauchy's remainder, t^2 f'''/6, from two neighbours: D(t) - D(s) is 1 - (s/t)^2 of it.
        truncation = np.full(len(taken), np.nan)
        truncation[:-1] = np.abs(np.diff(slopes)) / (1.0 - (steps[1:] / steps[:-1]) ** 2)
        rounding = SIGMAS * ladder.level(self.noise)[lane, taken] / (np.sqrt(2.0) * steps)
        columns = (column.tolist() for column in (steps, slopes, truncation, rounding))
        return tuple(Rung(*row) for row in zip(*columns, strict=True))


def estimate(
    sampler: Sampler,
    center: Floats,
    scale: Floats,
    *,
    value: Floats | None = None,
    noise: Floats | None = None,
    unit: Floats | float = EPS,
    value_unit: float = EPS,
    is_clear: bool = False,
) -> Estimates:
    """The derivative of each lane at offset 0, with its bar.

    Args:
        sampler: the lanes' values.
        center: (lanes,), the coordinate x that the offsets are added to (0 for directions).
        scale: (lanes,), positive: the size of the surroundings in which steps are taken.
        value: (lanes,), f at the centre, where known (saves an evaluation).
        noise: (lanes,), the noise of the values, where known; otherwise it is measured, and a
            staircase is looked for where the ladder shows signs of one.
        unit: scalar or (lanes,), relative spacing of the numbers that x can be.
        value_unit: relative spacing of the numbers that f returns.
        is_clear: whether the scale ends where the lane's kinks and stairs begin: no longer steps
            are taken then.
    """
    lanes = np.arange(len(center))
    spent = np.zeros(len(center), dtype=np.intp)
    if value is None:
        value = sampler(lanes, np.zeros(len(center)))
        spent += 1
    value = np.where(np.isfinite(value), value, np.nan)
    unit = np.broadcast_to(unit, center.shape)
    ladder = Ladder.start(sampler, center, scale, value, unit, value_unit)
    if noise is None:
        local = measure_noise(sampler, center, scale, value, unit, value_unit)
        noise, cost = look_for_staircase(ladder, local, scale, unit)
        spent += cost + TABLE_COST
    noise = np.fmax(noise, floor(value, unit=value_unit))
    noise = np.fmax(noise, FLOOR_IN_ULPS * ladder.quantum())
    best = _solve(ladder, noise)
    if not is_clear:
        best = _climb_up(ladder, noise, best)
    best = _climb_down(ladder, noise, best)
    best = _fill_in(ladder, noise, best)
    jump = find_jump(ladder, noise, best.excess)
    if jump.is_kink.any():
        # It may yet lie beside the point, where shorter steps see a smooth function.
        ladder.climb(np.flatnonzero(jump.is_kink), range(REGULAR.stop, len(STEPS), 2))
        best = _solve(ladder, noise)
        jump = find_jump(ladder, noise, best.excess)
    hidden = np.zeros(len(value)) if is_clear else hidden_jump(ladder, noise, best, jump)
    return _conclude(ladder, noise, best, jump, hidden, spent)


def _solve(ladder: Ladder, noise: Floats) -> Extrapolation:
    jitter = ladder.level(noise) / (np.sqrt(2.0) * ladder.steps)
    return extrapolate(ladder.central(), ladder.steps, jitter, power=2, is_coarse=ladder.is_coarse)


def _climb_up(ladder: Ladder, noise: Floats, best: Extrapolation) -> Extrapolation:
    """Take longer steps where the top rung is still ruled by rounding."""
    for column in range(REGULAR.start - 2, -1, -2):
        blunt = best.rounding > SHARP * np.abs(best.value)
        wanted = (best.first == column + 2) & (best.rounding > best.truncation) & blunt
        if not wanted.any():
            break
        ladder.climb(np.flatnonzero(wanted), [column])
        best = _solve(ladder, noise)
    return best


def _climb_down(ladder: Ladder, noise: Floats, best: Extrapolation) -> Extrapolation:
    """Take shorter steps where few rungs lie in the domain or beside a kink."""
    bottom = REGULAR.stop
    slopes = ladder.central()[:, :bottom]
    few = np.isfinite(slopes).sum(axis=1) < ENOUGH
    cramped = best.first >= bottom - 2 * ENOUGH
    rough = ~(best.truncation + best.rounding <= 1e-3 * np.abs(best.value))
    strange = best.excess > MOST_EXCESS
    wanted = np.flatnonzero((few | cramped | rough | strange) & np.isfinite(ladder.value))
    wanted = wanted[~_is_flat(ladder, wanted)]
    if len(wanted) == 0:
        return best
    ladder.climb(wanted, range(bottom, len(STEPS), 2))
    return _solve(ladder, noise)


def _fill_in(ladder: Ladder, noise: Floats, best: Extrapolation) -> Extrapolation:
    """Take steps between the rungs around the best ones where noise rules."""
    blunt = best.truncation + best.rounding > BLUNT * np.abs(best.value)
    lanes = np.flatnonzero(blunt & (best.first >= 0))
    lanes = lanes[~_is_flat(ladder, lanes)]
    if len(lanes) == 0:
        return best
    column = np.arange(len(STEPS))
    top = best.first[lanes, None]
    between = (column % 2 == 1) & (column > top - ABOVE) & (column < top + BELOW)
    ladder.fill(lanes, between)
    return _solve(ladder, noise)


def _is_flat(ladder: Ladder, lanes: Lanes) -> NDArray[np.bool_]:
    """Whether every value met equals the one at the centre."""
    center = ladder.value[lanes, None]
    plus, minus = ladder.plus[lanes], ladder.minus[lanes]
    same = ((plus == center) & (minus == center)) | np.isnan(plus) | np.isnan(minus)
    flat: NDArray[np.bool_] = same.all(axis=1)
    return flat


def _diverges(ladder: Ladder, noise: Floats, status: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the slopes go on changing as the steps shrink, as where f is vertical."""
    slopes = ladder.central()
    for side in (1, -1):
        alone = (status == code(Status.ONE_SIDED)) & np.isfinite(ladder.one_sided(side)).any(axis=1)
        slopes[alone] = ladder.one_sided(side)[alone]
    jitter = np.sqrt(2.0) * ladder.level(noise) / ladder.steps
    # The rungs only: changes are compared over like ratios of steps.
    return stays(np.diff(slopes[:, ::2], axis=1), jitter[:, 2::2])


def _conclude(
    ladder: Ladder,
    noise: Floats,
    best: Extrapolation,
    jump: Jump,
    hidden: Floats,
    spent: NDArray[np.intp],
) -> Estimates:
    value, truncation, rounding = best.value.copy(), best.truncation.copy(), best.rounding.copy()
    last, excess = best.last.copy(), best.excess.copy()
    status = np.full(len(value), code(Status.SMOOTH), dtype=np.uint8)
    central = np.isfinite(ladder.central()).sum(axis=1)
    for side in (1, -1):
        slopes = ladder.one_sided(side)
        edge = np.flatnonzero((central < 2) & (np.isfinite(slopes).sum(axis=1) >= 2))
        if len(edge) == 0:
            continue
        steps = ladder.steps[edge]
        jitter, shared = ladder.level(noise)[edge] / steps, noise[edge, None] / steps
        there = extrapolate(slopes[edge], steps, jitter, power=1, shared=shared)
        better = there.truncation + there.rounding < truncation[edge] + rounding[edge]
        at = edge[better]
        status[at] = code(Status.ONE_SIDED)
        value[at], truncation[at] = there.value[better], there.truncation[better]
        rounding[at], last[at] = there.rounding[better], there.last[better]
        excess[at] = there.excess[better]
    truncation += hidden
    kink = jump.is_kink & np.isfinite(value)
    status[kink] = code(Status.KINK)
    if kink.any():
        # The two sides may bend differently: the central difference is off by t then, not by t^2.
        jitter = ladder.level(noise)[kink] / (np.sqrt(2.0) * ladder.steps[kink])
        mean = extrapolate(ladder.central()[kink], ladder.steps[kink], jitter, power=1)
        value[kink], rounding[kink], last[kink] = mean.value, mean.rounding, mean.last
        truncation[kink] = mean.truncation + jump.error[kink]
        excess[kink] = mean.excess
    endless = jump.is_cusp | (~kink & _diverges(ladder, noise * excess, status))
    value[endless], truncation[endless] = np.nan, np.inf
    status[~np.isfinite(value)] = code(Status.UNRESOLVED)
    status[np.isnan(ladder.value)] = code(Status.UNDEFINED)
    undefined = np.isnan(ladder.value)
    value[undefined], truncation[undefined] = np.nan, np.inf
    # The value is a rounded number itself.
    rounding = rounding + EPS * np.abs(np.nan_to_num(value, posinf=0.0, neginf=0.0))
    rounding = np.fmax(rounding, np.where(noise > 0, TINY, 0.0))
    rows = np.arange(len(value))
    return Estimates(
        value=value,
        error=truncation + rounding,
        status=status,
        noise=noise * excess,
        step=np.where(last >= 0, ladder.steps[rows, last], np.nan),
        evaluations=spent + ladder.evaluations,
        truncation=truncation,
        rounding=rounding,
        half_jump=np.where(kink, jump.half, 0.0),
        reach=np.where(best.first >= 0, ladder.steps[rows, best.first], np.nan),
        ladder=ladder,
    )
