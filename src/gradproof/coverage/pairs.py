"""One pair of evaluations for an entry, or two: what settles most of a right gradient.

Claim and difference come from different code, and agree to the last digit that the difference is
worth. A second, shorter pair tells truncation from a wrong claim.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.request import Numeric, Request
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.extrapolation import SIGMAS
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import (
    EPS,
    Floats,
    Lanes,
    Sampler,
    offset_on_grid,
    parabola,
    representable,
)

#: Entries that go ahead of the others, the factors by which they stretch their steps, and how many
#: entries it takes for that to pay.
PILOTS = 24
STRETCHES = (1.0, 4.0, 16.0)
WORTHWHILE = 200
#: A shorter pair's step, relative to the one before, and how often a pair is shortened: beside a
#: kink a few pairs settle what a whole ladder would.
SHORTER = 0.2
SHORTENED = 4
#: The relative bar that a pair needs to settle by itself what a longer one did not.
FINE = 1e-6
#: The longest step of a pair, relative to the scale: for entries of little effect or none.
LONGEST = 0.05
#: A pair's evidence against a claim is enough when the gap is this many bars.
CLEAR = 10.0
#: The shortest step of a first pair, in units of the spacing of numbers coarser than doubles.
SHORTEST = 4.0


def settle_by_pairs(
    sampler: Sampler, request: Request, value: float, noise: float, resolution: float
) -> tuple[Numeric, NDArray[np.intp], NDArray[np.intp]]:
    """One pair of evaluations for every entry, a second for those that need it.

    Returns what was found, the entries that remain open since the pairs do not fit the claim or
    each other, and those whose pairs are too blunt.
    """
    everything = np.arange(len(request.center))
    first = _first_pairs(sampler, request, value, noise)
    numeric = Numeric(
        first.slope.copy(),
        first.error.copy(),
        np.zeros_like(first.slope),
        np.full(len(everything), code(Status.SMOOTH), dtype=np.uint8),
        np.zeros(len(everything), dtype=np.bool_),
        np.nan_to_num(np.abs(first.slope * first.step)),
        request.scale.copy(),
    )
    settled, sharp = first.settles(request, resolution)
    # A claim that is no number needs no better numeric value to be wrong.
    settled |= ~np.isfinite(request.claim) & np.isfinite(first.slope)
    long = np.flatnonzero(~sharp & ~settled & (request.claim != 0.0) & np.isfinite(first.slope))
    if len(long):
        settled[long] = _lengthen(sampler, request, first, long, value, noise, resolution, numeric)
    settled |= _is_dead(first, request, resolution)
    blunt = ~settled & ~sharp & np.isfinite(first.slope)
    rest = np.flatnonzero(~settled & np.isfinite(first.slope) & sharp)
    before = first.take(rest)
    for _ in range(SHORTENED):
        if len(rest) == 0:
            break
        numeric.value[rest], numeric.error[rest] = before.slope, before.error
        after = _Pair.evaluate(sampler, request, rest, SHORTER * before.step, value, noise)
        some = request.take(rest)
        settled[rest], moved = _weigh_pairs(some, before, after, numeric, rest)
        # Still shorter steps tell more where something is left behind at each.
        tells = (moved | after.is_bent(some)) & after.settles(some, resolution)[1]
        go_on = np.flatnonzero(~settled[rest] & np.isfinite(after.slope) & tells)
        rest, before = rest[go_on], after.take(go_on)
    return numeric, np.flatnonzero(~settled & ~blunt), np.flatnonzero(blunt)


def _first_pairs(sampler: Sampler, request: Request, value: float, noise: float) -> _Pair:
    """A pair for every entry; some go ahead, and what they meet sets the step of the others.

    The pilots take steps of different lengths, for the guess of `_first_step` is a careful one:
    the others take the longest at which truncation stayed below rounding, or a shorter one if
    none did. Entries for which nothing is claimed, and that do nothing at a long step, are dead (a
    ReLU's units behind its kink), and that is all there is to see of them.
    """
    step = _first_step(request, noise)
    zero = np.flatnonzero(request.claim == 0.0)
    long = _Pair.evaluate(sampler, request, zero, LONGEST * request.wide[zero], value, noise)
    dead, long = zero[long.is_flat], long.take(np.flatnonzero(long.is_flat))
    is_left = np.ones(len(step), dtype=np.bool_)
    is_left[dead] = False
    alive = np.flatnonzero(is_left)
    count = len(alive)
    if count == 0:
        return long
    ahead = alive[np.unique(np.linspace(0, count - 1, min(PILOTS, count)).astype(np.intp))]
    is_left[ahead] = False
    behind = np.flatnonzero(is_left)
    stretch = np.ones(len(ahead))
    if count >= WORTHWHILE:
        stretch = np.resize(STRETCHES, len(ahead))
    limit = np.fmax(LONGEST * request.scale, step)
    leading = _Pair.evaluate(
        sampler, request, ahead, np.fmin(stretch * step[ahead], limit[ahead]), value, noise
    )
    gap, bar = np.abs(request.claim[ahead] - leading.slope), leading.error
    # Gaps as large as this are no truncation but a wrong claim or a kink.
    close = gap <= 1e-2 * np.abs(leading.slope)
    settled, _ = leading.settles(request.take(ahead), 1.0)
    failed = np.flatnonzero((stretch > 1.0) & ~settled)
    if len(failed):
        # What a long step did not settle gets the step it would have had.
        again = _Pair.evaluate(sampler, request, ahead[failed], step[ahead[failed]], value, noise)
        leading = leading.replace(failed, again)
    step = np.fmin(step * _best_stretch(gap / bar, stretch, close), limit)
    trailing = _Pair.evaluate(sampler, request, behind, step[behind], value, noise)
    order = np.empty(len(step), dtype=np.intp)
    order[np.concatenate([ahead, behind, dead])] = np.arange(len(step))
    return _Pair.join(_Pair.join(leading, trailing), long).take(order)


def _best_stretch(excess: Floats, stretch: Floats, close: NDArray[np.bool_]) -> float:
    """The factor for the steps, from the pilots' gaps in units of their rounding bars."""
    for factor in sorted(set(stretch.tolist()), reverse=True):
        mine = (stretch == factor) & close
        if factor > 1.0 and mine.sum() >= 4 and np.quantile(excess[mine], 0.75) < 0.3:
            return float(factor)
    mine = (stretch == 1.0) & close
    if not mine.any():
        return 1.0
    typical = max(float(np.median(excess[mine])), 1e-3)
    return float(np.clip(np.cbrt(0.2 / typical), 1e-3, 1.0))


def _lengthen(
    sampler: Sampler,
    request: Request,
    first: _Pair,
    lanes: Lanes,
    value: float,
    noise: float,
    resolution: float,
    numeric: Numeric,
) -> NDArray[np.bool_]:
    """A pair as long as resolving a small derivative takes; writes what it settles."""
    wanted = first.error[lanes] / (0.25 * resolution * np.abs(request.claim[lanes]))
    step = np.fmin(wanted * first.step[lanes], LONGEST * request.scale[lanes])
    some = request.take(lanes)
    longer = _Pair.evaluate(sampler, request, lanes, step, value, noise)
    settled, _ = longer.settles(some, resolution)
    numeric.value[lanes[settled]] = longer.slope[settled]
    numeric.error[lanes[settled]] = longer.error[settled]
    return settled


def _is_dead(pair: _Pair, request: Request, resolution: float) -> NDArray[np.bool_]:
    """Entries without effect at a long step for which none is claimed."""
    is_long = pair.step >= 0.5 * LONGEST * request.wide
    # That no coarse value changed says little if others would not either.
    tells = (request.unit <= EPS) | (pair.error <= resolution * request.typical)
    dead: NDArray[np.bool_] = pair.is_flat & (request.claim == 0.0) & is_long & tells
    return dead


def _weigh_pairs(
    request: Request,
    first: _Pair,
    second: _Pair,
    numeric: Numeric,
    where: NDArray[np.intp],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which entries two pairs settle, and where they differ; writes the values of the former."""
    ratio = (first.step / second.step) ** 2
    # Smooth: the even part falls as t^2. A kink at the point: as t.
    kinked = (np.abs(second.even) > 30.0 * second.level) & (
        np.abs(second.even) > np.abs(first.even) / ratio**0.75
    )
    change = np.abs(second.slope - first.slope)
    better = second.slope + (second.slope - first.slope) / (ratio - 1.0)
    gap_before = np.abs(request.claim - first.slope)
    gap = np.abs(request.claim - better)
    bar = 1.1 * second.error
    # The second pair is noisier: it only explains the first one's gap where the slope has moved by
    # more than both bars. (Where it has not, the gap is constant, which is no truncation.)
    moved = change > first.error + second.error
    truncated = (gap <= bar + request.rounding) & moved & ~kinked
    smooth = (gap_before <= first.error + request.rounding) & ~kinked
    wrong = (gap > CLEAR * (change + bar + request.rounding)) & ~kinked
    refined = truncated | wrong
    numeric.value[where[refined]] = better[refined]
    numeric.error[where[refined]] = (bar + np.where(wrong, change, 0.0))[refined]
    # Kinks that the first pair crossed and the second one does not leave nothing to refine.
    clear = second.settles(request, FINE)[0] & moved & ~kinked & ~refined & ~smooth
    numeric.value[where[clear]] = second.slope[clear]
    numeric.error[where[clear]] = second.error[clear]
    return refined | smooth | clear, moved


def _first_step(request: Request, noise: float) -> Floats:
    """The step at which rounding and truncation are about equal, and then somewhat shorter.

    Rounding is noise/t and truncation t^2 f'''/6; f''' is taken for the derivative's size over the
    square of the entry's scale, which is a guess that only costs evaluations when it is wrong.
    """
    claim = np.where(np.isfinite(request.claim), np.abs(request.claim), 0.0)
    size = np.fmax(claim, request.typical) * request.scale
    size = np.where(np.isfinite(size), size, 0.0)
    balanced = np.cbrt(6.0 * SIGMAS * noise / np.maximum(size, 1e-300))
    shortest = np.where(request.unit > EPS, np.fmax(1e-7, SHORTEST * request.unit), 1e-7)
    return request.scale * np.clip(0.3 * balanced, shortest, 3e-2)


@dataclass(frozen=True)
class _Pair:
    """f at x - t and x + t: the slope with its rounding bar, and the even part."""

    step: Floats
    slope: Floats
    error: Floats
    even: Floats
    level: Floats
    is_flat: NDArray[np.bool_]

    @classmethod
    def evaluate(
        cls,
        sampler: Sampler,
        request: Request,
        lanes: Lanes,
        step: Floats,
        value: float,
        noise: float,
    ) -> _Pair:
        center, unit = request.center[lanes], request.unit[lanes]
        step = representable(center, step, unit)
        right, left = (offset_on_grid(center, t, unit) for t in (step, -step))
        values = sampler(np.tile(lanes, 2), np.concatenate([right, left]))
        plus, minus = values[: len(lanes)], values[len(lanes) :]
        unit_of_f = request.value_unit
        level = np.fmax(noise, floor(plus, minus, np.full(len(lanes), value), unit=unit_of_f))
        slope = (0.5 * plus - 0.5 * minus) / step
        even = (0.5 * plus - 0.5 * value) + (0.5 * minus - 0.5 * value)
        if (is_coarse := unit > EPS).any():
            there, bend = parabola(value, plus, minus, right, -left)
            slope = np.where(is_coarse, there, slope)
            even = np.where(is_coarse, bend * step**2, even)
        return cls(
            step,
            slope,
            SIGMAS * level / (np.sqrt(2.0) * step),
            even,
            level,
            (plus == value) & (minus == value),
        )

    def settles(
        self, request: Request, resolution: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which claims the pair settles (it agrees, nothing looks bent), and where it is sharp."""
        size = np.fmax(np.abs(request.claim), np.abs(self.slope))
        agrees = np.abs(request.claim - self.slope) <= self.error + request.rounding
        bent = self.is_bent(request)
        # Where nothing moves though something is claimed, the step may be too short to tell.
        sharp = (self.error <= resolution * size) & (~self.is_flat | (request.claim == 0.0))
        return agrees & ~bent & sharp, sharp

    def is_bent(self, request: Request) -> NDArray[np.bool_]:
        """Whether the even part is more than curvature would make it, as beside a kink."""
        size = np.fmax(np.abs(request.claim), np.abs(self.slope))
        even = np.abs(self.even)
        bent: NDArray[np.bool_] = (even > 50.0 * self.level) & (even > 1e-2 * self.step * size)
        return bent

    @classmethod
    def join(cls, one: _Pair, other: _Pair) -> _Pair:
        names = cls.__annotations__
        return cls(**{n: np.concatenate([getattr(one, n), getattr(other, n)]) for n in names})

    def replace(self, where: NDArray[np.intp], other: _Pair) -> _Pair:
        """These entries taken from another pair."""
        both, rows = self.join(self, other), np.arange(len(self.step))
        rows[where] = len(rows) + np.arange(len(where))
        return both.take(rows)

    def take(self, where: NDArray[np.intp]) -> _Pair:
        return replace(self, **{name: getattr(self, name)[where] for name in self.__annotations__})
