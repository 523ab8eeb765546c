"""An engine is a map-like callable, as in SciPy: it applies a function to each of some chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Engine(Protocol):
    """`engine(function, chunks)` yields function(chunk) for each chunk, in order.

    The built-in `map` is one, so are the `map` methods of pools of threads.
    """

    def __call__(self, function: Callable[[Any], Any], chunks: Iterable[Any], /) -> Iterable[Any]:
        """Results in the order of the chunks."""
        ...


def serial(function: Callable[[Any], Any], chunks: Iterable[Any], /) -> Iterator[Any]:
    """One chunk after the other, in this thread.

    >>> list(serial(abs, [-1, 2]))
    [1, 2]
    """
    return map(function, chunks)
