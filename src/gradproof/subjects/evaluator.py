"""Chunks of evaluations through an engine, counted, as long as the budget lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.base import Codes, Floats, Stage
from gradproof.subjects.budget import Budget

#: Positions of some evaluations, and their offsets.
Chunk = tuple[Codes, Floats]


class Evaluator:
    """Counts evaluations, and makes chunks of them as long as the budget lasts.

    Attributes:
        evaluations: made so far.
        budget: what they are taken from; unlimited at first.
        on_progress: called with the evaluations made so far.
        again: evaluations that a chunk took beyond its own, appended to in whatever thread the
            engine uses.
        constants: numbers that a gradient is often wrong by (see `Subject`).
    """

    def __init__(self, engine: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]):
        self.evaluations = 0
        self.on_progress: Callable[[int], None] = lambda done: None
        self.again: list[int] = []
        self.budget = Budget()
        self.constants: Mapping[str, float] = {}
        self._engine = engine

    @property
    def exhausted(self) -> str | None:
        """Which budget ran out (see `Budget`)."""
        return self.budget.exhausted

    @property
    def refused(self) -> int:
        """Evaluations that were asked for in vain (see `Budget`)."""
        return self.budget.refused

    def stages(self, grad: object) -> Sequence[Stage]:
        """Parts of f with a backward of their own: none are known (see `Subject`)."""
        return ()

    def cuts_held(self) -> AbstractContextManager[tuple[str, ...]]:
        """Nothing is known to be computed without a graph (see `Subject`)."""
        return nullcontext(())

    def can_afford(self, count: int) -> bool:
        """Whether the budget suffices for `count` more evaluations."""
        return self.budget.suffices(count)

    def take(self, count: int) -> int:
        """How many of `count` evaluations may be made; they are counted."""
        return self.budget.grant(self, count)

    def run(self, function: Callable[[Chunk], Floats], offsets: Floats, length: int) -> Floats:
        """Apply to chunks of at most `length` offsets; what it adds to `again` is counted too.

        What the budget does not suffice for is NaN.
        """
        if self.exhausted is not None:
            self.take(len(offsets))
            return np.full(len(offsets), np.nan)

        def within_budget(chunk: Chunk) -> Floats:
            which, steps = chunk
            granted = self.take(len(which))
            values = np.full(len(which), np.nan)
            if granted:
                started = time.monotonic()
                values[:granted] = function((which[:granted], steps[:granted]))
                self.budget.pace = (time.monotonic() - started) / granted
            return values

        results = []
        for result in self._engine(within_budget, self._chunks(offsets, length)):
            results.append(result)
            self.on_progress(self.evaluations)
        if self.again:
            self.evaluations += sum(self.again)
            self.again.clear()
            self.on_progress(self.evaluations)
        values = np.concatenate(results) if results else np.empty(0)
        if len(values) != len(offsets):
            raise InputError(
                f"Expected engine to return a result for each chunk, {len(offsets)} values in all, "
                f"but got {len(values)}"
            )
        return values

    def _chunks(self, offsets: Floats, length: int) -> Iterator[Chunk]:
        start = 0
        while start < len(offsets):
            which = np.arange(start, min(start + self.budget.at_once(length), len(offsets)))
            yield which, offsets[which]
            start += len(which)
