"""Which entries are checked one by one: all of them, or some drawn from every tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gradproof.subjects.base import Places


def full(sizes: Sequence[int]) -> Places:
    """Every entry of every tensor.

    >>> full([2, 1]).index.tolist()
    [0, 1, 0]
    """
    index = [np.arange(size) for size in sizes]
    return _places(sizes, index)


def sample(sizes: Sequence[int], samples: int, rng: np.random.Generator) -> Places:
    """`samples` different entries drawn at random from every tensor, or all of a smaller one.

    >>> len(sample([100, 3], 5, np.random.default_rng(0)))
    8
    """
    index = [
        np.sort(rng.choice(size, size=min(samples, size), replace=False)) if size else np.arange(0)
        for size in sizes
    ]
    return _places(sizes, index)


def _places(
    sizes: Sequence[int], index: Sequence[np.ndarray[tuple[int], np.dtype[np.intp]]]
) -> Places:
    tensor = np.repeat(np.arange(len(sizes)), [len(i) for i in index])
    return Places(tensor, np.concatenate([*index, np.arange(0)]).astype(np.intp))
