"""What a check will cost, foreseen from the sizes and one timed evaluation.

Memory is that of the points that are held at once and of what is kept for the entries; what f
itself takes comes on top.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradproof.outcome.trial import Settings
from gradproof.report.model import Finding, Plan
from gradproof.subjects.base import Subject

#: Evaluations of an entry whose gradient is right: a pair.
PAIR = 2
#: Evaluations beside those of the entries: pre-flight, probes, second looks, the table of steps.
AROUND = 100
#: Evaluations that each entry of a term takes whose claim is what the others leave: a ladder.
LADDER = 50
#: Seconds from which a check of all entries is advised against, where no budget is kept.
LONG = 3600.0
#: Points that are held at once where directions are probed: one ladder of them, or two with their
#: displacements. Measured.
HELD_BY_PROBES, HELD_OTHERWISE = 64, 128
#: Bytes kept for every entry that is compared.
BYTES_OF_ENTRY = 100
#: Bytes of a batch of points at most, and points in it; it is stacked and then reshaped.
BATCH_BYTES = 2**26
BATCH_POINTS = 256
COPIES = 1.5


def plan_of(
    subject: Subject,
    settings: Settings,
    terms: Mapping[str, object],
    seconds: float,
    *,
    is_batched: bool,
) -> Plan:
    """What the check of a function and of its terms will cost.

    Args:
        subject: the function.
        settings: what the caller asked for.
        terms: the parts of the function that are checked by themselves.
        seconds: what one evaluation takes.
        is_batched: whether the function is evaluated at many points at once.
    """
    alone = sum(not isinstance(term, tuple) for term in terms.values())
    entries = entries_of(subject, settings)
    evaluations = (1 + len(terms)) * (PAIR * entries + AROUND)
    if alone:
        each = entries or sum(len(x) for x in subject.point)
        evaluations += alone * (len(terms) - 1) * LADDER * each
    size = sum(x.nbytes for x in subject.point)
    held = HELD_BY_PROBES if settings.coverage == "probe" else HELD_OTHERWISE
    memory = BYTES_OF_ENTRY * entries + held * size
    if is_batched:
        memory += int(COPIES * min(BATCH_BYTES, BATCH_POINTS * size))
    return Plan(evaluations, evaluations * seconds, memory)


def entries_of(subject: Subject, settings: Settings) -> int:
    """Entries that are compared one by one even if the gradient is right."""
    sizes = [len(x) for x in subject.point]
    if settings.coverage == "probe":
        return 0
    if settings.coverage == "full":
        return sum(sizes)
    return sum(min(size, settings.samples) for size in sizes)


def advice_on(plan: Plan, settings: Settings, *, has_budget: bool) -> list[Finding]:
    """What to do instead of a check that takes too long."""
    if settings.coverage == "probe" or has_budget or not plan.seconds > LONG:
        return []
    message = (
        f"coverage={settings.coverage!r} was expected to take {plan.seconds / 3600.0:,.1f} h; "
        f"coverage='probe' takes about {AROUND} evaluations whatever the size, and "
        "max_evaluations or max_seconds set a limit"
    )
    return [Finding("long-run", message, evidence={"seconds": plan.seconds})]
