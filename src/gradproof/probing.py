"""One function against one claim by probes: certified as a whole, bisected where it is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.asking import request_of, sampler_of
from gradproof.coverage.bisect import DENSE, Culprits, Piece, bisect, narrow
from gradproof.coverage.certify import Certificate, certify
from gradproof.coverage.climb import climb
from gradproof.coverage.directions import SIGMAS, Line, sizes_of
from gradproof.coverage.request import Numeric, Request
from gradproof.diagnosis.preflight import Claim, Value, least_noise
from gradproof.numerics.sampling import EPS, SINGLE, Floats
from gradproof.outcome.asked import rows_of, with_asked
from gradproof.outcome.assemble import make_report
from gradproof.outcome.certified import with_certificate
from gradproof.outcome.trial import Settings, Trial
from gradproof.report.model import Report
from gradproof.subjects.base import Places, Subject
from gradproof.verdict import IMPRECISE

#: Entries that are looked at one by one in a tensor that is wrong all over, in all such tensors
#: together, and in pieces in which an error was lost: each takes whole ladders.
LOOKED_AT, LOOKED_AT_IN_ALL = 8, 24
#: Tensors of so many entries at most are looked at entry by entry where no direction gives a slope.
SMALL = 256
#: How often what was found is corrected, or left out, to look for more.
ROUNDS = 6


@dataclass
class _Found:
    """Culprits so far, and the gradient without them.

    `dense` has the pieces of tensors that are wrong in many places, by tensor; `imprecise` those
    that are right to single precision only.
    """

    gradient: list[Floats]
    rounding: list[Floats]
    entries: list[Piece] = field(default_factory=list)
    dense: dict[int, list[Piece]] = field(default_factory=dict)
    lost: list[Piece] = field(default_factory=list)
    unsearched: list[Piece] = field(default_factory=list)
    imprecise: set[int] = field(default_factory=set)


def examine_by_probes(
    subject: Subject,
    value: Value,
    claim: Claim,
    scale: Sequence[Floats],
    settings: Settings,
    rng: np.random.Generator,
) -> Report:
    """Certify the claim, or find what is wrong with it (see `certify` and `bisect`)."""
    search = _Search(subject, value, claim, scale, settings)
    found = search.found
    with_asked(_at([]), settings.steps, subject)  # a wrong name is refused before the work
    search.leave_out_what_is_no_number()
    certificates = []
    for _ in range(ROUNDS):
        line = Line(subject, found.gradient, found.rounding, value.value, value.jitter)
        certificate = certify(
            line,
            scale,
            alpha=1.0 - settings.confidence,
            resolution=settings.resolution,
            apart=frozenset(found.dense),
            rng=rng,
        )
        certificates.append(certificate)
        wrong = certificate.contradiction
        if wrong is None:
            break
        culprits = bisect(line, subject.names, wrong, certificate.step, certificate.noise)
        if not search.take(culprits, line, certificate) or subject.exhausted is not None:
            break
    first, last = certificates[0], certificates[-1]
    places = _places(found, rng)
    if last.contradiction is None:
        places = _with_small_ones(subject, places, last, found, settings)
    places = with_asked(places, settings.steps, subject)
    noise = max(first.noise, least_noise(subject, value))
    request, numeric, lacking = search.look_at(places, noise)
    trial = Trial(
        subject,
        value,
        claim,
        places,
        request,
        numeric,
        noise,
        first.reach,
        tuple(rows_of(label, subject, places) for label in settings.steps),
        (),
        lacking,
    )
    probes = tuple(p for certificate in certificates for p in certificate.probes)
    report = make_report(trial, settings, rng)
    limit = last.limit + _accepted(report, claim, scale)
    return with_certificate(
        report,
        replace(last, probes=probes, limit=limit),
        frozenset(found.dense),
        settings,
        last.contradiction is not None,
        subject.exhausted is not None,
        tuple(_named(subject, found.unsearched)),
        tuple(subject.names[k] for k in sorted(found.imprecise)),
    )


@np.errstate(all="ignore")
def _accepted(report: Report, claim: Claim, scale: Sequence[Floats]) -> Floats:
    """By how much the entries that are right to single precision are off, relative to their tensor.

    They have been put right before the last certificate was made, which does not count them.
    """
    entries = report.entries.filter(where=report.entries.reason_code == IMPRECISE)
    off = np.zeros(len(scale))
    for k, (gradient, size) in enumerate(zip(claim.gradient, sizes_of(scale), strict=True)):
        own = entries.filter(where=entries.tensor_code == k)
        if len(own):
            gap = (own["analytic"] - own["numeric"]) * size[own.flat_index]
            off[k] = np.linalg.norm(gap) / np.linalg.norm(gradient * size)
    return off


def _with_small_ones(
    subject: Subject, places: Places, certificate: Certificate, found: _Found, settings: Settings
) -> Places:
    """Every entry of small tensors that directions leave in the dark, as where x lies on kinks.

    Entries of numbers coarser than doubles show no more than the directions did.
    """
    dark = ~certificate.negligible & ~(certificate.limit <= settings.resolution)
    dark &= np.isinf(certificate.limit) | (np.array(subject.spacing) <= EPS)
    small = [
        Piece(k, i, i + 1)
        for k in np.flatnonzero(dark).tolist()
        for i in range(len(subject.point[k]))
        if len(subject.point[k]) <= SMALL and k not in found.dense
    ]
    if not small:
        return places
    known = zip(places.tensor.tolist(), places.index.tolist(), strict=True)
    entries = {*known, *((p.tensor, p.start) for p in small)}
    return _at([Piece(k, i, i + 1) for k, i in sorted(entries)])


class _Search:
    """What is known of the culprits, and what is to be found out about them."""

    def __init__(
        self,
        subject: Subject,
        value: Value,
        claim: Claim,
        scale: Sequence[Floats],
        settings: Settings,
    ) -> None:
        self.found = _Found([*claim.gradient], [*claim.rounding])
        self._subject, self._value, self._claim = subject, value, claim
        self._scale, self._settings = scale, settings
        self._known: dict[tuple[int, int], tuple[Any, ...]] = {}

    def leave_out_what_is_no_number(self) -> None:
        """NaN and infinity are wrong whatever f does; they would spoil every direction."""
        for k, claimed in enumerate(self._claim.gradient):
            bad = np.flatnonzero(~np.isfinite(claimed))
            if len(bad) == 0:
                continue
            pieces = [Piece(k, i, i + 1) for i in bad[:LOOKED_AT].tolist()]
            if len(bad) > DENSE:
                self.found.dense[k] = pieces
            else:
                self._correct(pieces, 0.0)

    def take(self, culprits: Culprits, line: Line, certificate: Certificate) -> bool:
        """Add culprits, and correct what is claimed for them; whether there is anything new."""
        found = self.found
        found.unsearched += culprits.unsearched
        dense: dict[int, list[Piece]] = {}
        for piece in culprits.dense:
            dense.setdefault(piece.tensor, []).append(piece)
        for pieces in dense.values():
            # One entry that is wrong for certain, however few there are in the pieces.
            assert certificate.contradiction is not None
            one = narrow(
                line, pieces[0], certificate.contradiction, certificate.step, certificate.noise
            )
            pieces[:0] = [] if one is None else [one]
        self._allow_for_single_precision(culprits.imprecise)
        new = [p for p in culprits.entries if p not in found.entries and p.tensor not in dense]
        found.lost += culprits.lost
        found.dense |= dense
        self._correct(new, certificate.noise)
        return bool(new or dense or culprits.imprecise) or self._loosen(line, certificate)

    def _loosen(self, line: Line, certificate: Certificate) -> bool:
        """Allow for single precision where the whole is off by no more, and no part visibly so."""
        found, wrong = self.found, certificate.probes[-1]
        assert certificate.contradiction is not None
        least = SIGMAS * SINGLE * line.share(certificate.contradiction)
        is_close = abs(wrong.analytic - wrong.numeric) <= least
        every = range(len(found.gradient))
        if found.imprecise.issuperset(every) or not is_close:
            return False
        self._allow_for_single_precision(every)
        return True

    def _allow_for_single_precision(self, tensors: Iterable[int]) -> None:
        found = self.found
        for k in tensors:
            found.imprecise.add(k)
            found.rounding[k] = np.fmax(found.rounding[k], SINGLE * np.abs(found.gradient[k]))

    def look_at(self, places: Places, noise: float) -> tuple[Request, Numeric, NDArray[np.bool_]]:
        """Compare entries one by one; also which of them the budget did not suffice for."""
        subject, claim = self._subject, self._claim
        keys = list(zip(places.tensor.tolist(), places.index.tolist(), strict=True))
        new = np.array([i for i, key in enumerate(keys) if key not in self._known], dtype=np.intp)
        request = request_of(subject, places, self._scale, claim.gradient, claim.rounding)
        sampler = sampler_of(subject, places[new])
        numeric = climb(
            sampler,
            request.take(new),
            value=self._value.value,
            noise=noise,
            resolution=self._settings.resolution,
        )
        columns = [getattr(numeric, column.name) for column in fields(Numeric)]
        rows = zip(*columns, sampler.lacking, strict=True)
        self._known |= dict(zip([keys[i] for i in new], rows, strict=True))
        if len(new) == len(keys):
            return request, numeric, sampler.lacking
        *known, lacking = (
            np.array(column) for column in zip(*(self._known[key] for key in keys), strict=True)
        )
        return request, Numeric(*known), lacking

    def _correct(self, pieces: list[Piece], noise: float) -> None:
        """Put the numeric value, and its error, in place of what is claimed for some entries."""
        if not pieces:
            return
        found = self.found
        found.entries += pieces
        for k in {p.tensor for p in pieces}:
            if found.gradient[k] is self._claim.gradient[k]:
                found.gradient[k] = found.gradient[k].copy()
                found.rounding[k] = found.rounding[k].copy()
        _, numeric, _ = self.look_at(_at(pieces), noise)
        for piece, slope, error in zip(pieces, numeric.value, numeric.error, strict=True):
            # Where f has no slope a direction would have none either: the tensor is left out.
            if not np.isfinite(slope + error):
                found.dense.setdefault(piece.tensor, []).append(piece)
                slope, error = 0.0, 0.0
            found.gradient[piece.tensor][piece.start] = slope
            found.rounding[piece.tensor][piece.start] = error


def _named(subject: Subject, pieces: Sequence[Piece]) -> Iterator[str]:
    """Pieces of tensors as one writes them."""
    for piece in pieces:
        if len(piece) == len(subject.point[piece.tensor]):
            yield subject.names[piece.tensor]
        else:
            first, last = piece.start, piece.stop - 1
            ends = [subject.describe(piece.tensor, i) for i in sorted({first, last})]
            yield " to ".join(ends)


def _places(found: _Found, rng: np.random.Generator) -> Places:
    """Entries to look at one by one: the culprits, and some of where much is wrong."""
    entries = {(p.tensor, p.start) for p in found.entries}
    parts = [*found.dense.values(), *([piece] for piece in found.lost)]
    each = min(LOOKED_AT, max(1, LOOKED_AT_IN_ALL // max(len(parts), 1)))
    for pieces in parts:
        some = {(p.tensor, p.start) for p in pieces if len(p) == 1}
        for piece in rng.choice(len(pieces), size=LOOKED_AT).tolist():
            if len(some) >= each:
                break
            chosen = pieces[piece]
            some.add((chosen.tensor, int(rng.integers(chosen.start, chosen.stop))))
        entries |= some
    return _at([Piece(k, i, i + 1) for k, i in sorted(entries)])


def _at(pieces: Sequence[Piece]) -> Places:
    return Places(
        np.array([p.tensor for p in pieces], dtype=np.intp),
        np.array([p.start for p in pieces], dtype=np.intp),
    )
