"""What is said where the budget ran out."""

from __future__ import annotations

import enum

from gradproof.report.entries import Entries
from gradproof.report.model import Finding
from gradproof.subjects.base import Subject
from gradproof.verdict import LACKING

#: Tensors that are named.
NAMED = 8


class Lack(enum.Enum):
    """What the budget did not suffice for.

    Extras are what a verdict does not rest on: figures at fixed steps, the table of steps.
    """

    OF_EVERYTHING = enum.auto()
    OF_EVIDENCE = enum.auto()
    OF_EXTRAS = enum.auto()


def about_budget(subject: Subject, lack: Lack, entries: Entries | None = None) -> Finding:
    """Which budget ran out, what had been looked at and what had not.

    Args:
        subject: the function, whose budget is exhausted.
        lack: what is missing.
        entries: those that were to be compared one by one.
    """
    message = f"the budget ran out: {subject.exhausted}"
    evidence: dict[str, object] = {"evaluations": subject.evaluations, "refused": subject.refused}
    if lack is Lack.OF_EXTRAS:
        message += "; all that the verdict rests on had been evaluated"
        return Finding("budget", message, evidence=evidence)
    if lack is Lack.OF_EVERYTHING:
        message += " before anything could be compared"
    elif entries is not None and len(entries):
        open_ = entries.filter(where=entries.reason_code == LACKING)
        left = {name: n for name in subject.names if (n := len(open_.filter(tensor=name)))}
        message += f"; {len(entries) - len(open_):,} of {len(entries):,} entries had been compared"
        if left:
            named = [f"{n:,} of {name}" for name, n in list(left.items())[:NAMED]]
            more = f" and of {len(left) - NAMED} more tensors" if len(left) > NAMED else ""
            message += f"; left out: {', '.join(named)}{more}"
        evidence |= {"compared": len(entries) - len(open_), "left out": left}
    else:
        message += "; what is not said to be right or wrong was not looked at"
    return Finding("budget", message, severity="warning", evidence=evidence)
