"""The sentences that a report gives as its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gradproof.report.entries import Entries
from gradproof.report.model import Finding, Severity, TensorReport, Verdict
from gradproof.report.steps_text import step_size

_CONSEQUENCE: Mapping[Severity, Verdict] = {
    "bug": "fail",
    "warning": "inconclusive",
    "info": "pass",
}


def verdict_of(finding: Finding) -> Verdict:
    """What a finding's severity does to the verdict."""
    return _CONSEQUENCE[finding.severity]


def tensor_reason(verdict: Verdict, entries: Entries) -> str:
    """Why a tensor got its verdict, from its entries."""
    counts = entries.counts()
    if len(entries) == 0:
        return "empty: nothing to check"
    if verdict == "fail":
        wrong = entries.filter(verdict="mismatch")
        return f"{len(wrong)} of {len(entries)} entries: {wrong.worst(1)[0].reason}"
    if verdict == "inconclusive":
        open_ = entries.filter(verdict="unresolved")
        return f"{len(open_)} of {len(entries)} entries: {open_.worst(1)[0].reason}"
    kinks = counts.get("kink", 0)
    rest = f", {kinks} of them at a kink, between its one-sided slopes" if kinks else ""
    return f"all {len(entries)} entries agree within their error bars{rest}"


def reason_of(
    verdict: Verdict, tensors: dict[str, TensorReport], findings: Sequence[Finding]
) -> str:
    """Why the whole got its verdict: what a reader of one line needs."""
    if verdict == "pass":
        kinks = {n: t.counts["kink"] for n, t in tensors.items() if t.counts["kink"]}
        rules = {n: t.customary[0] for n, t in tensors.items() if t.customary}
        near = {n: rule.kinks - tensors[n].counts["kink"] for n, rule in rules.items()}
        crossed = {n: count for n, count in near.items() if count > 0}
        sampled = {n: r.checked for n, r in rules.items() if r.checked < tensors[n].checked}
        checked = sum(t.checked for t in tensors.values())
        size = sum(t.size for t in tensors.values())
        who = "every entry agrees" if checked == size else f"all {checked:,} entries drawn agree"
        whose = "its numeric value is" if checked == size else "their numeric values are"
        reason = f"{who} to all the digits that {whose} worth"
        if kinks:
            reason += "; at a kink: " + _listed(kinks)
        if crossed:
            h = next(t.customary[0].step for t in tensors.values() if t.customary)
            reason += f"; kinks within h = {step_size(h)}, stepped around: " + _listed(
                crossed, sampled
            )
        return reason
    concerned = [t for t in tensors.values() if t.verdict == verdict]
    if concerned:
        names = ", ".join(t.name for t in concerned[:4]) + (", ..." if len(concerned) > 4 else "")
        return (
            f"{names}: {concerned[0].reason}"
            if len(concerned) == 1
            else (
                f"{len(concerned)} of {len(tensors)} tensors ({names}); {concerned[0].name}: "
                f"{concerned[0].reason}"
            )
        )
    return next(f.message for f in findings if verdict_of(f) == verdict)


def _listed(counts: dict[str, int], sampled: Mapping[str, int] = MappingProxyType({})) -> str:
    def one(name: str, count: int) -> str:
        of = f" of {sampled[name]:,} looked at" if name in sampled else ""
        return f"{count}{of} in {name}"

    return ", ".join(one(name, count) for name, count in counts.items())
