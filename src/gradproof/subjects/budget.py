"""What a check may spend: evaluations, seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Protocol

import numpy as np


class Spender(Protocol):
    """What makes evaluations and counts them."""

    evaluations: int
    budget: Budget
    on_progress: Callable[[int], None]


class Budget:
    """What may be spent on a check and what has been, by all of its subjects together.

    Once something has been refused, everything is: what is computed from values is then either
    complete or known to lack some.

    Args:
        evaluations: how many may be made.
        seconds: for how long, from now.

    Attributes:
        exhausted: which budget ran out, in a sentence; None as long as nothing was refused.
        refused: evaluations that were asked for in vain.
        pace: seconds that an evaluation took lately; NaN where none has been timed.
        on_progress: called with the evaluations made so far.
    """

    def __init__(self, evaluations: int | None = None, seconds: float | None = None) -> None:
        self.exhausted: str | None = None
        self.refused = 0
        self.pace = np.nan
        self.on_progress: Callable[[int], None] = lambda done: None
        self._evaluations, self._seconds = evaluations, seconds
        self._spenders: list[Spender] = []
        self._started = time.monotonic()
        self._lock = Lock()

    def include(self, spender: Spender) -> None:
        """Let a subject spend of this budget; what it has spent already counts."""
        spender.budget = self
        spender.on_progress = lambda done: self.on_progress(self.spent)
        self._spenders.append(spender)

    @property
    def spent(self) -> int:
        """Evaluations made so far."""
        return sum(one.evaluations for one in self._spenders)

    def grant(self, spender: Spender, count: int) -> int:
        """How many of `count` evaluations may be made; they are counted."""
        with self._lock:
            granted = count if self.exhausted is None else 0
            if granted and self._seconds_left() <= 0.0:
                self.exhausted = f"max_seconds={self._seconds:g} have passed"
                granted = 0
            left = self._evaluations_left()
            if granted > left:
                self.exhausted = f"max_evaluations={self._evaluations:,} have been made"
                granted = int(left)
            spender.evaluations += granted
            self.refused += count - granted
            return granted

    def suffices(self, count: int) -> bool:
        """Whether there is enough left for `count` evaluations, as far as can be foreseen."""
        if self.exhausted is not None or self._evaluations_left() < count:
            return False
        wanted = np.nan_to_num(self.pace * count)
        return self._seconds is None or self._seconds_left() > wanted

    def at_once(self, length: int) -> int:
        """How many of `length` evaluations to make before the clock is looked at again."""
        if self._seconds is None or not self.pace > 0.0:
            return length
        return int(np.clip(self._seconds_left() / self.pace, 1, length))

    def _evaluations_left(self) -> float:
        return np.inf if self._evaluations is None else max(self._evaluations - self.spent, 0)

    def _seconds_left(self) -> float:
        if self._seconds is None:
            return np.inf
        return self._seconds - (time.monotonic() - self._started)
