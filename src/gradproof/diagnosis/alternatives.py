"""What a claim would be if a certain mistake had been made: f's own slopes with that mistake in it.

Some mistakes cannot be seen in a gradient alone: a kernel that was not turned, the activation of
the sample before, a sum over the first sample only. But f's values are right, so that its slopes at
another point, or contracted with another cotangent, say what such a mistake would have claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from gradproof.coverage.probe import scales
from gradproof.diagnosis.evidence import slopes_at, slopes_elsewhere
from gradproof.diagnosis.patterns.field import Alternative
from gradproof.numerics.sampling import Floats
from gradproof.subjects.base import Places, Subject

#: Axes of inputs and outputs along which a mistake is supposed.
AXES = 4
#: Entries that may refute a mistake before the others are looked at.
FIRST = 3

#: Slopes at some entries, and their bars.
Slopes = tuple[Floats, Floats]


@dataclass(frozen=True)
class Entries:
    """Entries of one tensor that a mistake has to explain, the most telling first.

    Attributes:
        places: where they are.
        claim: what is claimed for them.
        rounding: by how much the claim may be off there.
    """

    places: Places
    claim: Floats
    rounding: Floats

    def explained(self, slopes_at: Callable[[Places], Slopes]) -> Slopes | None:
        """Slopes and bars at all of them, None if they are not what is claimed.

        Most mistakes were not made: a few entries say so.
        """
        every = np.arange(len(self.claim))
        slopes, bars = slopes_at(self.places[every[:FIRST]])
        gap = np.abs(self.claim[:FIRST] - slopes)
        if np.any(gap > bars + self.rounding[:FIRST]):
            return None
        if len(every) <= FIRST:
            return slopes, bars
        more, their_bars = slopes_at(self.places[every[FIRST:]])
        return np.concatenate([slopes, more]), np.concatenate([bars, their_bars])


def alternatives(subject: Subject, k: int, entries: Entries, noise: float) -> Iterator[Alternative]:
    """One after the other; each takes four or five evaluations of f for an entry.

    Those that the first entries refute are left out.

    Args:
        subject: the function.
        k: the tensor whose gradient is wrong.
        entries: those at which slopes are wanted.
        noise: of f's values.
    """
    scale = scales(subject.point)
    for kind, message, other, array in _changed(subject, k):
        base = [*subject.point]
        base[other] = array.ravel()
        found = entries.explained(
            lambda places, base=base: slopes_elsewhere(subject, places, base, scale)  # type: ignore[misc]
        )
        if subject.exhausted is not None:
            return
        if found is not None:
            yield Alternative(kind, message, *found)
    yield from _cut(subject, entries, noise)


def _changed(subject: Subject, k: int) -> Iterator[tuple[str, str, int, Floats]]:
    """Other tensors of f, changed as they are by mistake in a backward pass."""
    for other, (name, shape) in enumerate(zip(subject.names, subject.shapes, strict=True)):
        if other != k and len(shape) > 0:
            array = subject.point[other].reshape(shape)
            for kind, message, changed in (*_turned(name, array), *_stale(name, array)):
                yield kind, message, other, changed


def _turned(name: str, array: Floats) -> Iterator[tuple[str, str, Floats]]:
    shape = array.shape
    if len(shape) >= 3 and max(shape[2:]) > 1:
        flipped = np.flip(array, tuple(range(2, len(shape))))
        yield "flipped-kernel", f"the kernels of {name} are turned by half a turn", flipped
    if len(shape) >= 2 and shape[-1] == shape[-2] > 1:
        exchanged = np.swapaxes(array, -1, -2)
        yield "transposed", f"the last two axes of {name} are exchanged", exchanged
    if len(shape) >= 3 and shape[0] == shape[1] > 1:
        exchanged = np.swapaxes(array, 0, 1)
        yield "transposed", f"the first two axes of {name} are exchanged", exchanged
    if shape[-1] == 2:
        conjugate = array * np.array([1.0, -1.0])
        yield "conjugate", f"{name} is replaced by its complex conjugate", conjugate


def _stale(name: str, array: Floats) -> Iterator[tuple[str, str, Floats]]:
    for axis in range(min(array.ndim, AXES)):
        if array.shape[axis] < 2:
            continue
        for by, which in ((1, "before"), (-1, "after")):
            rolled = np.roll(array, by, axis)
            message = f"{name} is shifted by one along axis {axis} (each index has the one {which})"
            yield "stale", message, rolled
            edge = [slice(None)] * array.ndim
            edge[axis] = slice(0, 1) if by == 1 else slice(-1, None)
            filled = rolled.copy()
            filled[tuple(edge)] = 0.0
            yield "stale", f"{message}, with zeros at its edge", filled


def _cut(subject: Subject, entries: Entries, noise: float) -> Iterator[Alternative]:
    """Of the gradient that comes in, one index along an axis counts alone."""
    weights = subject.weights
    if len(weights) != 1:
        return
    (whole,) = weights
    for axis in range(min(whole.ndim, AXES)):
        for at in (0, -1) if whole.shape[axis] > 1 else ():
            alone = np.zeros_like(whole)
            one = [slice(None)] * whole.ndim
            one[axis] = slice(0, 1) if at == 0 else slice(-1, None)
            alone[tuple(one)] = whole[tuple(one)]
            if not alone.any():
                continue
            # Put back before anything is yielded: the caller may not come back.
            subject.weights = (alone,)
            try:
                value, scale = subject.value(), scales(subject.point)
                found = entries.explained(
                    lambda places, value=value, scale=scale: slopes_at(  # type: ignore[misc]
                        subject, places, scale, value, noise
                    )
                )
            finally:
                subject.weights = weights
            if subject.exhausted is not None:
                return
            if found is None:
                continue
            which = "first" if at == 0 else "last"
            message = f"only the {which} index along axis {axis} of the incoming gradient counts"
            yield Alternative("not-summed", message, *found)
