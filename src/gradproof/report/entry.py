"""One checked entry, and what can be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

EntryVerdict = Literal["match", "mismatch", "kink", "unresolved"]
VERDICTS: tuple[str, ...] = get_args(EntryVerdict)


@dataclass(frozen=True)
class Entry:
    """One scalar of a tensor, with its analytic and numeric derivative.

    `error` is the half-width of the bar around `numeric`; `rounding` the analytic side's own
    rounding, which the comparison adds to it.
    """

    tensor: str
    index: tuple[int, ...]
    value: float
    analytic: float
    numeric: float
    error: float
    rounding: float
    difference: float
    same_sign: bool
    relative_error: float
    digits_agree: float
    digits_attainable: float
    verdict: EntryVerdict
    reason: str

    @property
    def name(self) -> str:
        """The entry as one writes it: `conv1.weight[3, 0, 2, 1]`."""
        if not self.index:
            return self.tensor
        return f"{self.tensor}[{', '.join(map(str, self.index))}]"
