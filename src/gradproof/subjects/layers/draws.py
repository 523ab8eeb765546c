"""The global generators of random numbers, the same at every call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class Draws:
    """Where the generators of NumPy and of Python stand.

    Attributes:
        are_used: whether they are drawn from; if not, nothing needs to be done.
    """

    def __init__(self) -> None:
        self.are_used = True
        self._state = _state()

    @contextmanager
    def noticed(self) -> Iterator[None]:
        """See whether they are drawn from, and put them back."""
        try:
            yield
        finally:
            self.are_used = not _are_equal(_state(), self._state)
            _set(self._state)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Begin from here; at the end they stand where they stood before."""
        if not self.are_used:
            yield
            return
        before = _state()
        _set(self._state)
        try:
            yield
        finally:
            _set(before)

    def now(self) -> Draws:
        """Where they stand now."""
        return Draws() if self.are_used else self


def _state() -> tuple[Any, Any]:
    return np.random.get_state(), random.getstate()  # noqa: NPY002 - it is the users' generator


def _are_equal(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
    return one[1] == other[1] and all(map(np.array_equal, one[0], other[0]))


def _set(state: tuple[Any, Any]) -> None:
    np.random.set_state(state[0])  # noqa: NPY002
    random.setstate(state[1])
