"""One function against one claim by probes: certified as a whole, bisected where it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gradproof.coverage.asking import request_of, sampler_of
from gradproof.coverage.bisect import Culprits, Piece, bisect
from gradproof.coverage.certify import Certificate, certify
from gradproof.coverage.climb import climb
from gradproof.coverage.directions import Line
from gradproof.diagnosis.preflight import Claim, Value
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import Floats
from gradproof.outcome.assemble import make_report
from gradproof.outcome.certified import with_certificate
from gradproof.outcome.trial import Settings, Trial
from gradproof.report.model import Report
from gradproof.subjects.base import Places, Subject

#: Entries that are looked at one by one in a tensor, or a piece of one, that is wrong all over.
LOOKED_AT = 8
#: How often what was found is corrected, or left out, to look for more.
ROUNDS = 6


@dataclass
class _Found:
    """Culprits so far, and the gradient without them."""

    gradient: list[Floats]
    entries: list[Piece] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    dense: set[int] = field(default_factory=set)
    unsearched: list[Piece] = field(default_factory=list)


def examine_by_probes(
    subject: Subject,
    value: Value,
    claim: Claim,
    scale: Sequence[Floats],
    settings: Settings,
    rng: np.random.Generator,
) -> Report:
    """Certify the claim, or find what is wrong with it (see `certify` and `bisect`)."""
    found = _Found([g.copy() for g in claim.gradient])
    certificates = []
    for _ in range(ROUNDS):
        line = Line(subject, found.gradient, claim.rounding, value.value)
        certificate = certify(
            line,
            scale,
            alpha=1.0 - settings.confidence,
            resolution=settings.resolution,
            apart=frozenset(found.dense),
            rng=rng,
        )
        certificates.append(certificate)
        if certificate.contradiction is None:
            break
        culprits = bisect(
            line,
            subject.names,
            certificate.contradiction,
            certificate.step,
            certificate.noise,
        )
        is_new = _take(subject, value, claim, scale, culprits, certificate, settings, found)
        if not is_new or subject.exhausted is not None:
            break
    first, last = certificates[0], certificates[-1]
    places = _places(subject, found, rng)
    noise = max(first.noise, value.jitter, float(floor(np.array([value.value]))[0]))
    request = request_of(subject, places, scale, claim.gradient, claim.rounding)
    sampler = sampler_of(subject, places)
    numeric = climb(
        sampler,
        request,
        value=value.value,
        noise=noise,
        resolution=settings.resolution,
    )
    trial = Trial(
        subject,
        value,
        claim,
        places,
        request,
        numeric,
        noise,
        first.reach,
        None,
        (),
        sampler.lacking,
    )
    probes = tuple(p for certificate in certificates for p in certificate.probes)
    whole = replace(last, probes=probes)
    report = make_report(trial, settings, rng)
    return with_certificate(
        report,
        whole,
        frozenset(found.dense),
        settings,
        len(certificates) > 1,
        subject.exhausted is not None,
        tuple(_named(subject, found.unsearched)),
    )


def _take(
    subject: Subject,
    value: Value,
    claim: Claim,
    scale: Sequence[Floats],
    culprits: Culprits,
    certificate: Certificate,
    settings: Settings,
    found: _Found,
) -> bool:
    """Add culprits, and correct what is claimed for them; whether there is anything new."""
    new = [p for p in culprits.entries if p not in found.entries]
    dense = set(culprits.dense) | {p.tensor for p in culprits.pieces}
    found.unsearched += culprits.unsearched
    if not new and dense <= found.dense:
        return False
    found.entries += new
    found.pieces += culprits.pieces
    found.dense |= dense
    if new:
        places = _at(new)
        request = request_of(subject, places, scale, claim.gradient, claim.rounding)
        numeric = climb(
            sampler_of(subject, places),
            request,
            value=value.value,
            noise=certificate.noise,
            resolution=settings.resolution,
        )
        for piece, slope in zip(new, numeric.value.tolist(), strict=True):
            found.gradient[piece.tensor][piece.start] = slope
    return True


def _named(subject: Subject, pieces: Sequence[Piece]) -> Iterator[str]:
    """Pieces of tensors as one writes them."""
    for piece in pieces:
        if len(piece) == len(subject.point[piece.tensor]):
            yield subject.names[piece.tensor]
        else:
            first, last = piece.start, piece.stop - 1
            ends = [subject.describe(piece.tensor, i) for i in sorted({first, last})]
            yield " to ".join(ends)


def _places(subject: Subject, found: _Found, rng: np.random.Generator) -> Places:
    """Entries to look at one by one: the culprits, and some of where all is wrong."""
    entries = {(p.tensor, p.start) for p in found.entries}
    wide = [Piece(k, 0, len(subject.point[k])) for k in sorted(found.dense)]
    for piece in [*wide, *found.pieces]:
        count = min(LOOKED_AT, len(piece))
        some = piece.start + rng.choice(len(piece), size=count, replace=False)
        entries |= {(piece.tensor, int(i)) for i in some}
    return _at([Piece(k, i, i + 1) for k, i in sorted(entries)])


def _at(pieces: Sequence[Piece]) -> Places:
    return Places(
        np.array([p.tensor for p in pieces], dtype=np.intp),
        np.array([p.start for p in pieces], dtype=np.intp),
    )
