"""Chunks of evaluations through an engine, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.base import Codes, Floats

#: Positions of some evaluations, and their offsets.
Chunk = tuple[Codes, Floats]


class Evaluator:
    """Counts evaluations and runs chunks of them."""

    def __init__(self, engine: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]):
        self.evaluations = 0
        self.on_progress: Callable[[int], None] = lambda done: None
        self.again: list[int] = []  # appended to by whatever thread the engine uses
        self._engine = engine

    def run(self, function: Callable[[Chunk], Floats], offsets: Floats, length: int) -> Floats:
        """Apply to chunks of at most `length` offsets; what it adds to `again` is counted too."""
        results = []
        done = self.evaluations
        for result in self._engine(function, _chunks(offsets, length)):
            results.append(result)
            done += len(result)
            self.on_progress(done)
        self.evaluations = done + sum(self.again)
        self.again.clear()
        values = np.concatenate(results) if results else np.empty(0)
        if len(values) != len(offsets):
            raise InputError(
                f"Expected engine to return a result for each chunk, {len(offsets)} values in all, "
                f"but got {len(values)}"
            )
        return values


def _chunks(offsets: Floats, length: int) -> Iterator[Chunk]:
    for start in range(0, len(offsets), length):
        which = np.arange(start, min(start + length, len(offsets)))
        yield which, offsets[which]
