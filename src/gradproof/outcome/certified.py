"""What random directions over all entries add to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradproof.coverage.certify import Certificate
from gradproof.diagnosis.advice import precision
from gradproof.outcome.sentences import reason_of, verdict_of
from gradproof.outcome.trial import Settings
from gradproof.report.model import Finding, ProbeRow, Report, TensorReport, Verdict
from gradproof.verdict import overall

#: Tensors that are named.
NAMED = 4
#: A resolution that is advised is so many times the coarsest limit, which is another one next time,
#: and no coarser than this: less would say little.
MARGIN, COARSEST = 1.5, 0.5


def with_certificate(
    report: Report,
    certificate: Certificate,
    dense: frozenset[int],
    settings: Settings,
    was_wrong: bool,
    is_cut_short: bool,
    unsearched: Sequence[str],
    imprecise: Sequence[str],
) -> Report:
    """The report on some entries, with what probes say of all of them.

    Args:
        report: on the entries that were looked at one by one.
        certificate: the last one, on the gradient without its culprits; with all probes.
        dense: tensors that are wrong all over.
        settings: what the caller asked for.
        was_wrong: whether the gradient as it was claimed contradicts a probe.
        is_cut_short: whether the budget ran out.
        unsearched: names of pieces that are wrong somewhere, and that it did not suffice to search.
        imprecise: names of tensors for which single precision was allowed for in the probes' bars.
    """
    tensors = {
        name: _tensor(
            tensor, _located(report, name), certificate, k, k in dense, settings, is_cut_short
        )
        for k, (name, tensor) in enumerate(report.tensors.items())
    }
    findings = [
        *report.findings,
        *_about_contradiction(tensors, certificate, was_wrong, is_cut_short, unsearched),
        *_about_precision(report, [n for n in imprecise if tensors[n].verdict != "fail"]),
    ]
    verdict = overall([t.verdict for t in tensors.values()] + [verdict_of(f) for f in findings])
    reason = reason_of(verdict, tensors, findings)
    if verdict == "inconclusive" and not is_cut_short:
        findings += _about_resolution(tensors, settings)
    if verdict == "pass":
        reason = _certified(certificate, tensors, settings)
    return replace(
        report,
        verdict=verdict,
        reason=reason,
        tensors=tensors,
        findings=tuple(findings),
        confidence=settings.confidence,
        probes=tuple(
            ProbeRow(
                p.analytic,
                p.numeric,
                p.bar,
                p.step,
                None if p.tensors is None else tuple(list(tensors)[k] for k in p.tensors),
            )
            for p in certificate.probes
        ),
    )


def _located(report: Report, name: str) -> str:
    """How many entries of a tensor are wrong, and which."""
    wrong = report.entries.filter(tensor=name, verdict="mismatch")
    listed = ", ".join(wrong[i].name for i in range(min(len(wrong), 3)))
    size = report.tensors[name].size
    return f"{len(wrong):,} of {size:,} entries ({listed}{', ...' if len(wrong) > 3 else ''})"


def _tensor(
    tensor: TensorReport,
    located: str,
    certificate: Certificate,
    k: int,
    is_dense: bool,
    settings: Settings,
    is_cut_short: bool,
) -> TensorReport:
    limit = float(certificate.limit[k])
    verdict, reason = _judged(tensor, certificate, k, is_dense, settings, is_cut_short)
    if verdict == "fail" and not is_dense:
        reason = f"{located}: {reason.partition(': ')[2]}"
    is_located = tensor.located or (not is_dense and certificate.contradiction is None)
    return replace(
        tensor, verdict=verdict, reason=reason, detection_limit=limit, located=is_located
    )


def _judged(
    tensor: TensorReport,
    certificate: Certificate,
    k: int,
    is_dense: bool,
    settings: Settings,
    is_cut_short: bool,
) -> tuple[Verdict, str]:
    limit = float(certificate.limit[k])
    if tensor.size == 0:
        return "pass", "empty: nothing to check"
    if is_dense:
        wrong = tensor.counts.get("mismatch", 0)
        if is_cut_short and not wrong:
            return "fail", "wrong all over; the budget did not suffice to look at single entries"
        if not wrong:
            # Entries decide: a direction alone may have met what noise or kinks did.
            return "inconclusive", (
                f"along a random direction it seems to be wrong, but none of the {tensor.checked} "
                "entries looked at is"
            )
        return "fail", f"wrong all over: {wrong} of the {tensor.checked} entries looked at differ"
    if tensor.verdict == "fail":
        return "fail", tensor.reason
    if is_cut_short and tensor.counts.get("unresolved", 0):
        return "inconclusive", tensor.reason
    if certificate.negligible[k]:
        return "pass", "no effect on f beyond its noise, as claimed"
    if limit <= settings.resolution:
        return "pass", f"an error of {limit:.1e} of its gradient would have been caught"
    if tensor.checked == tensor.size:
        # Where no direction gave a slope to compare with, all entries were looked at.
        return tensor.verdict, tensor.reason
    if certificate.contradiction is not None:
        return "inconclusive", "the gradient as a whole is wrong, and this part was not cleared"
    if is_cut_short:
        known = sum(np.isfinite(p.bar) for p in certificate.probes if k in (p.tensors or (k,)))
        return "inconclusive", (
            f"not evaluated: the budget ran out after {known} random directions, which agree"
        )
    if np.isfinite(limit):
        return "inconclusive", (
            f"an error of less than {limit:.1e} of its gradient would be lost in the noise, which "
            "is coarser than the resolution asked for"
        )
    return "inconclusive", (
        "no random direction gave a slope to compare with: kinks at the point, or f is too rough"
    )


def _about_precision(report: Report, imprecise: Sequence[str]) -> list[Finding]:
    """Tensors that are right to single precision as a whole, where no entry was seen to be."""
    if not imprecise or any(f.kind == "precision" for f in report.findings):
        return []
    return [precision(", ".join(imprecise), {"tensors": tuple(imprecise)})]


def _about_resolution(tensors: dict[str, TensorReport], settings: Settings) -> list[Finding]:
    """At which resolution the tensors that are too coarse would have been decided, if at any."""
    limits = {n: t.detection_limit for n, t in tensors.items() if t.verdict == "inconclusive"}
    coarsest = max(limits.values(), default=np.inf)
    if not settings.resolution < MARGIN * coarsest < np.inf:
        return []
    otherwise = "in double precision, or with fewer data points, which have fewer kinks"
    if MARGIN * coarsest > COARSEST:
        name = max(limits, key=limits.__getitem__)
        message = (
            f"no resolution would decide {name}, where an error of {coarsest:.1e} of the gradient "
            f"would be lost in the noise of f's values: check it {otherwise}"
        )
        return [Finding("resolution", message, name, evidence={"limit": coarsest})]
    power = 10.0 ** np.floor(np.log10(MARGIN * coarsest))
    enough = float(f"{np.ceil(MARGIN * coarsest / power) * power:.1g}")
    message = (
        f"with resolution={enough:g} this would be decided: an error of {coarsest:.1e} of any "
        f"tensor's gradient would have been caught; finer limits can be had {otherwise}"
    )
    return [Finding("resolution", message, evidence={"resolution": enough, "limit": coarsest})]


def _about_contradiction(
    tensors: dict[str, TensorReport],
    certificate: Certificate,
    was_wrong: bool,
    is_cut_short: bool,
    unsearched: Sequence[str],
) -> list[Finding]:
    """A gradient that is wrong as a whole, though nothing was found that is by itself."""
    if not was_wrong and certificate.contradiction is None:
        return []
    wrong = [p for p in certificate.probes if not p.agrees]
    evidence: dict[str, object] = {
        "analytic": tuple(p.analytic for p in wrong),
        "numeric": tuple(p.numeric for p in wrong),
        "error": tuple(p.bar for p in wrong),
    }
    if any(t.verdict == "fail" for t in tensors.values()):
        return []
    first = wrong[0]
    over = "all entries"
    if first.tensors is not None:
        moved = [list(tensors)[k] for k in first.tensors]
        more = f" and {len(moved) - NAMED} more" if len(moved) > NAMED else ""
        over = f"the entries of {', '.join(moved[:NAMED])}{more}"
        evidence["tensors"] = tuple(moved)
    message = (
        f"along a random direction over {over} the gradient gives {first.analytic:.10g}, and "
        f"f changes by {first.numeric:.10g} to within {first.bar:.1e}; it is wrong, "
    )
    if is_cut_short:
        some = ", ".join(unsearched[:NAMED]) + (", ..." if len(unsearched) > NAMED else "")
        message += "and the budget ran out before it was found where"
        message += f": somewhere in {some}" if some else ""
    else:
        message += "though no entry was found that is by itself: coverage='full' finds it"
    return [Finding("not-found", message, severity="bug", evidence=evidence)]


def _certified(
    certificate: Certificate, tensors: dict[str, TensorReport], settings: Settings
) -> str:
    together = [p for p in certificate.probes if p.tensors is None and np.isfinite(p.bar)]
    seen = [
        t.detection_limit
        for k, t in enumerate(tensors.values())
        if not certificate.negligible[k] and t.detection_limit <= settings.resolution
    ]
    single = [n for n, t in tensors.items() if t.size and t.checked == t.size]
    sentences = []
    if seen:
        over = "all entries" if together else "each tensor's entries"
        number = len(together) or len(certificate.probes)
        sentences.append(
            f"{number} random directions over {over} agree with the gradient; an error "
            f"of {max(seen):.0e} of any tensor's would have been caught, with a probability of "
            f"{settings.confidence:.12g}"
        )
    if single:
        kinks = sum(tensors[n].counts["kink"] for n in single)
        at_kink = f" ({kinks} of them at a kink)" if kinks else ""
        sentences.append(f"every entry of {', '.join(single[:4])} agrees by itself{at_kink}")
    return "; ".join(sentences) or "nothing has an effect on f beyond its noise, as claimed"
