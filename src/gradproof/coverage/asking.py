"""What is asked of a subject at some entries: a request, and a sampler that answers it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradproof.coverage.probe import root_mean_square
from gradproof.coverage.request import Request
from gradproof.numerics.sampling import Floats, Lanes
from gradproof.subjects.base import Places, Subject


def request_of(
    subject: Subject,
    places: Places,
    scale: Sequence[Floats],
    gradient: Sequence[Floats],
    rounding: Sequence[Floats],
) -> Request:
    """What is to be found at these places, and what is claimed there (arrays per tensor)."""

    def pick(tensors: Sequence[Floats]) -> Floats:
        chosen = np.empty(len(places))
        for k, tensor in enumerate(tensors):
            here = places.tensor == k
            chosen[here] = tensor[places.index[here]]
        return chosen

    moves = [g * s for g, s in zip(gradient, scale, strict=True)]
    typical = [root_mean_square(m[np.isfinite(m)]) / s for m, s in zip(moves, scale, strict=True)]
    wide = [np.fmax(s, root_mean_square(x)) for s, x in zip(scale, subject.point, strict=True)]
    return Request(
        center=pick(subject.point),
        scale=pick(scale),
        wide=pick(wide),
        claim=pick(gradient),
        rounding=pick(rounding),
        typical=pick(typical),
        group=places.tensor,
        unit=np.array(subject.spacing)[places.tensor],
        value_unit=subject.value_spacing,
    )


class EntrySampler:
    """Values of f with the entry at a lane's place moved (see `Sampler`).

    Attributes:
        lacking: of which places the budget left values out; shape (places,).
    """

    def __init__(self, subject: Subject, places: Places) -> None:
        self.lacking = np.zeros(len(places), dtype=np.bool_)
        self._subject, self._places = subject, places

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        """One value per lane and offset."""
        subject, places = self._subject, self._places
        if subject.can_afford(len(lanes)):
            order = np.arange(len(lanes))
        else:
            # One lane after the other, so that what is left suffices for some of them.
            order = np.argsort(lanes, kind="stable")
        refused, values = subject.refused, np.empty(len(lanes))
        values[order] = subject.at_entries(places[lanes[order]], offsets[order])
        if subject.refused > refused:
            self.lacking[lanes[np.isnan(values)]] = True
        return values


def sampler_of(subject: Subject, places: Places) -> EntrySampler:
    """Values of f with the entry at a lane's place moved."""
    return EntrySampler(subject, places)
