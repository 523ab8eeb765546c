"""What random directions over all entries add to a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gradproof.coverage.certify import Certificate
from gradproof.outcome.sentences import reason_of, verdict_of
from gradproof.outcome.trial import Settings
from gradproof.report.model import Finding, ProbeRow, Report, TensorReport, Verdict
from gradproof.verdict import overall


def with_certificate(
    report: Report,
    certificate: Certificate,
    dense: frozenset[int],
    settings: Settings,
    was_wrong: bool,
    is_cut_short: bool,
    unsearched: Sequence[str],
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
    ]
    verdict = overall([t.verdict for t in tensors.values()] + [verdict_of(f) for f in findings])
    reason = reason_of(verdict, tensors, findings)
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
    evidence = {
        "analytic": tuple(p.analytic for p in wrong),
        "numeric": tuple(p.numeric for p in wrong),
        "error": tuple(p.bar for p in wrong),
    }
    if any(t.verdict == "fail" for t in tensors.values()):
        return []
    first = wrong[0]
    message = (
        f"along a random direction over all entries the gradient gives {first.analytic:.10g}, and "
        f"f changes by {first.numeric:.10g} to within {first.bar:.1e}; it is wrong, "
    )
    if is_cut_short:
        some = ", ".join(unsearched[:4]) + (", ..." if len(unsearched) > 4 else "")
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
