"""Numeric derivatives of many entries, each with as many evaluations as it takes.

Most entries of a right gradient are settled by one pair of evaluations: claim and difference come
from different code, and agree to the last digit that the difference is worth. What is left climbs:
a second, shorter pair tells truncation from a wrong claim, a whole ladder tells the rest, and a
claim is only called wrong after a second ladder, on other steps with noise measured anew, has said
so too: among 10^5 entries an accident of one in 10^4 happens ten times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.estimate import Estimates, Status, code, estimate
from gradproof.numerics.extrapolation import SIGMAS
from gradproof.numerics.ladder import REGULAR
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import Floats, Lanes, Sampler, representable

#: Entries that go ahead of the others, the factors by which they stretch their steps, and how many
#: entries it takes for that to pay.
PILOTS = 24
STRETCHES = (1.0, 4.0, 16.0)
WORTHWHILE = 200
#: The second pair's step, relative to the first's.
SHORTER = 0.2
#: The longest step of a pair, relative to the scale: for entries of little effect or none.
LONGEST = 0.05
#: Ladders climbed at once: what bounds memory.
BLOCK = 2048
#: Entries of one tensor for which the second look is taken when many are wrong.
SECOND_LOOKS = 48
#: A pair's evidence against a claim is enough when the gap is this many bars.
CLEAR = 10.0


@dataclass(frozen=True)
class Request:
    """Entries to be found; every array has shape (entries,).

    `center` is the entry's value and `scale` the size of its surroundings; `wide` the tensor's size
    where that is larger (an entry that is nearly 0 may be tiny by nature or by rounding); `claim`
    the derivative that is claimed and `rounding` the claim's own rounding; `typical` the
    derivative that would move f as much as the entries of the same tensor do; `group` the tensor's
    number.
    """

    center: Floats
    scale: Floats
    wide: Floats
    claim: Floats
    rounding: Floats
    typical: Floats
    group: NDArray[np.intp]

    def take(self, where: NDArray[np.intp]) -> Request:
        """Some of the entries."""
        return replace(self, **{name: getattr(self, name)[where] for name in self.__annotations__})


@dataclass
class Numeric:
    """Numeric derivatives; every array has shape (entries,), `status` as in `STATUSES`.

    `confirmed` says of a claim beyond the bar that a second look found the same. `variation` is how
    much f was seen to change when the entry was moved, `scale` the one on which it was found.
    """

    value: Floats
    error: Floats
    half_jump: Floats
    status: NDArray[np.uint8]
    confirmed: NDArray[np.bool_]
    variation: Floats
    scale: Floats

    def put(
        self, where: NDArray[np.intp], found: Estimates, rows: NDArray[np.intp] | None = None
    ) -> None:
        """Replace some by what a ladder found (in these of its rows)."""
        if rows is None:
            rows = np.arange(len(where))
        self.value[where], self.error[where] = found.value[rows], found.error[rows]
        self.half_jump[where], self.status[where] = found.half_jump[rows], found.status[rows]
        ladder, regular = found.ladder, np.ix_(rows, np.asarray(REGULAR))
        for values in (ladder.plus, ladder.minus):
            changes = np.nan_to_num(np.abs(values[regular] - ladder.value[rows, None]))
            self.variation[where] = np.fmax(self.variation[where], changes.max(axis=1))


def climb(
    sampler: Sampler, request: Request, *, value: float, noise: float, resolution: float
) -> Numeric:
    """Find every entry's derivative; a lane is an entry.

    Args:
        sampler: values with the lane's entry moved.
        request: the entries and what is claimed for them.
        value: f at the point.
        noise: standard deviation of f's own jitter.
        resolution: the relative bar that is asked for.
    """
    with np.errstate(all="ignore"):
        numeric, bent, blunt = _pairs(sampler, request, value, noise, resolution)
        # A blunt entry may be quieter than the function is elsewhere: its noise is measured anew.
        for lanes, level in ((bent, noise), (blunt, None)):
            for start in range(0, len(lanes), BLOCK):
                block = lanes[start : start + BLOCK]
                numeric.put(block, ladders(sampler, request, block, value, level))
        _widen(sampler, request, numeric, blunt, value, resolution)
        look_again(sampler, request, numeric, value)
    return numeric


def gap_beyond(request: Request, numeric: Numeric) -> Floats:
    """|claim - numeric| in units of the bar; at a kink the distance from the interval of slopes.

    NaN where the claim or the numeric value is; 0 where the two are equal.
    """
    gap = np.abs(request.claim - numeric.value) - np.abs(numeric.half_jump)
    gap = np.where(np.isnan(gap), np.nan, np.maximum(gap, 0.0))
    bar = numeric.error + request.rounding
    with np.errstate(all="ignore"):
        ratio: Floats = np.where(gap == 0.0, 0.0, gap / bar)
    return ratio


def _pairs(
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
    dead = np.flatnonzero(first.is_flat & (request.claim == 0.0))
    if len(dead):
        settled[dead] = _confirm_dead(sampler, request, dead, value, noise, numeric)
    rest = np.flatnonzero(~settled & np.isfinite(first.slope) & sharp)
    if len(rest):
        second = _Pair.evaluate(sampler, request, rest, SHORTER * first.step[rest], value, noise)
        settled[rest] = _weigh_pairs(request.take(rest), first.take(rest), second, numeric, rest)
    blunt = ~settled & ~sharp & np.isfinite(first.slope)
    return numeric, np.flatnonzero(~settled & ~blunt), np.flatnonzero(blunt)


def _widen(
    sampler: Sampler,
    request: Request,
    numeric: Numeric,
    lanes: Lanes,
    value: float,
    resolution: float,
) -> None:
    """Climb on the tensor's scale where an entry's own was too small to see anything."""
    size = np.fmax(np.abs(request.claim[lanes]), np.abs(numeric.value[lanes]))
    is_flat = numeric.variation[lanes] == 0.0
    still = ~(numeric.error[lanes] <= resolution * size) | is_flat
    small = lanes[still & (request.scale[lanes] < request.wide[lanes])]
    for start in range(0, len(small), BLOCK):
        block = small[start : start + BLOCK]
        wider = replace(request, scale=request.wide)
        found = ladders(sampler, wider, block, value, None)
        was_flat = numeric.variation[block] == 0.0
        better = np.flatnonzero((found.error < numeric.error[block]) | was_flat)
        numeric.put(block[better], found, better)
        numeric.scale[block[better]] = request.wide[block[better]]


def _first_pairs(sampler: Sampler, request: Request, value: float, noise: float) -> _Pair:
    """A pair for every entry; some go ahead, and what they meet sets the step of the others.

    The pilots take steps of different lengths, for the guess of `_first_step` is a careful one:
    the others take the longest at which truncation stayed below rounding, or a shorter one if
    none did.
    """
    step = _first_step(request, noise)
    count = len(step)
    ahead = np.unique(np.linspace(0, count - 1, min(PILOTS, count)).astype(np.intp))
    behind = np.setdiff1d(np.arange(count), ahead)
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
    order = np.argsort(np.concatenate([ahead, behind]))
    return _Pair.join(leading, trailing).take(order)


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


def _confirm_dead(
    sampler: Sampler,
    request: Request,
    lanes: Lanes,
    value: float,
    noise: float,
    numeric: Numeric,
) -> NDArray[np.bool_]:
    """Where nothing moved at all and nothing is claimed: one long pair; writes what it found."""
    long = _Pair.evaluate(sampler, request, lanes, LONGEST * request.wide[lanes], value, noise)
    numeric.value[lanes[long.is_flat]] = 0.0
    numeric.error[lanes[long.is_flat]] = long.error[long.is_flat]
    return long.is_flat


def _weigh_pairs(
    request: Request,
    first: _Pair,
    second: _Pair,
    numeric: Numeric,
    where: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Which entries two pairs settle; writes their values."""
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
    settled: NDArray[np.bool_] = refined | smooth
    return settled


def _first_step(request: Request, noise: float) -> Floats:
    """The step at which rounding and truncation are about equal, and then somewhat shorter.

    Rounding is noise/t and truncation t^2 f'''/6; f''' is taken for the derivative's size over the
    square of the entry's scale, which is a guess that only costs evaluations when it is wrong.
    """
    claim = np.where(np.isfinite(request.claim), np.abs(request.claim), 0.0)
    size = np.fmax(claim, request.typical) * request.scale
    size = np.where(np.isfinite(size), size, 0.0)
    balanced = np.cbrt(6.0 * SIGMAS * noise / np.maximum(size, 1e-300))
    return request.scale * np.clip(0.3 * balanced, 1e-7, 3e-2)


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
        step = representable(request.center[lanes], step)
        values = sampler(np.tile(lanes, 2), np.concatenate([step, -step]))
        plus, minus = values[: len(lanes)], values[len(lanes) :]
        level = np.fmax(noise, floor(plus, minus, np.full(len(lanes), value)))
        return cls(
            step,
            (0.5 * plus - 0.5 * minus) / step,
            SIGMAS * level / (np.sqrt(2.0) * step),
            (0.5 * plus - 0.5 * value) + (0.5 * minus - 0.5 * value),
            level,
            (plus == value) & (minus == value),
        )

    def settles(
        self, request: Request, resolution: float
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which claims the pair settles (it agrees, nothing looks bent), and where it is sharp."""
        size = np.fmax(np.abs(request.claim), np.abs(self.slope))
        agrees = np.abs(request.claim - self.slope) <= self.error + request.rounding
        even = np.abs(self.even)
        bent = (even > 50.0 * self.level) & (even > 1e-2 * self.step * size)
        # Where nothing moves though something is claimed, the step may be too short to tell.
        sharp = (self.error <= resolution * size) & (~self.is_flat | (request.claim == 0.0))
        return agrees & ~bent & sharp, sharp

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


def ladders(
    sampler: Sampler,
    request: Request,
    lanes: Lanes,
    value: float,
    noise: float | None,
) -> Estimates:
    """A whole ladder for some of the entries; noise=None has it measured at each of them."""

    def of_lanes(which: Lanes, offsets: Floats, /) -> Floats:
        return sampler(lanes[which], offsets)

    return estimate(
        of_lanes,
        request.center[lanes],
        request.scale[lanes],
        value=np.full(len(lanes), value),
        noise=None if noise is None else np.full(len(lanes), noise),
    )


def look_again(sampler: Sampler, request: Request, numeric: Numeric, value: float) -> None:
    """Climb once more where a claim lies beyond its bar, on other steps and with noise anew.

    With many wrong entries in a tensor only some are looked at again, the least clear first; the
    others are wrong by more than those.
    """
    ratio = gap_beyond(request, numeric)
    beyond = np.flatnonzero(ratio > 1.0)
    if len(beyond) == 0:
        return
    beyond = beyond[np.argsort(ratio[beyond], kind="stable")]
    rank = _rank_within_group(request.group[beyond])
    # Nothing may be called wrong unseen unless it is so by far.
    chosen = beyond[(rank < SECOND_LOOKS) | (ratio[beyond] <= CLEAR)]
    numeric.confirmed[beyond] = True
    for start in range(0, len(chosen), BLOCK):
        block = chosen[start : start + BLOCK]
        others = replace(request, scale=0.61 * numeric.scale)
        again = ladders(sampler, others, block, value, None)
        now = Numeric(
            again.value,
            again.error,
            again.half_jump,
            again.status,
            numeric.confirmed[block],
            numeric.variation[block],
            numeric.scale[block],
        )
        repeated = gap_beyond(request.take(block), now) > 1.0
        numeric.confirmed[block] = repeated
        # The second look knows more (its noise is measured right there): it is what is reported
        # where the two looks differ about the claim, and where it is the sharper one.
        better = ~repeated | (again.error < numeric.error[block])
        better &= again.status != code(Status.UNRESOLVED)
        numeric.put(block[better], again, np.flatnonzero(better))


def _rank_within_group(group: NDArray[np.intp]) -> NDArray[np.intp]:
    """Position of each element among those of its group, in the order given."""
    order = np.argsort(group, kind="stable")
    rank = np.empty_like(group)
    counts = np.bincount(group)
    starts = np.cumsum(counts) - counts
    rank[order] = np.arange(len(group)) - starts[group[order]]
    return rank
