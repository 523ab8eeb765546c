"""Parts of an array that a loop, an index or a border may have left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import lgamma, log

import numpy as np

from gradproof.diagnosis.patterns.field import Bools, Codes
from gradproof.diagnosis.patterns.wording import axes_of, several

Shape = tuple[int, ...]
Coordinates = Sequence[Codes]

#: Indices of one axis that are listed, and entries.
MOST_LISTED, MOST_ENTRIES = 6, 3


@dataclass(frozen=True)
class Region:
    """A part of an array.

    Attributes:
        text: completes "wrong only ...": "in [3, :, :, :]".
        cost: what had to be chosen, see `Match`.
        rivals: log10 of the number of regions of this sort that there are.
        holds: takes coordinates to whether they are inside.
        shape: of the part, if it is an array with the same axes; None if it is not.
    """

    text: str
    cost: float
    rivals: float
    holds: Callable[[Coordinates], Bools]
    shape: Shape | None = None

    def everywhere(self, shape: Shape) -> Bools:
        """Whether each entry of the array is inside, (size,)."""
        size = int(np.prod(shape, dtype=int))
        return self.holds(np.unravel_index(np.arange(size), shape))


@dataclass(frozen=True)
class _Choice:
    """Indices of one axis."""

    text: str
    cost: float
    rivals: float
    chosen: Bools


def regions(shape: Shape, wrong: Coordinates, right: Coordinates) -> list[Region]:
    """Regions that hold all wrong entries and no right one, the simplest first.

    Args:
        shape: of the array.
        wrong: coordinates of the wrong entries, one at least.
        right: coordinates of the right ones.
    """
    candidates = [*_boxes(shape, wrong, right), *_borders(shape, wrong), *_of_pairs(shape, wrong)]
    candidates.append(_range(shape, wrong))
    found = [r for r in candidates if r.holds(wrong).all() and not r.holds(right).any()]
    return sorted(found, key=lambda region: region.cost)


def entries(shape: Shape, wrong: Coordinates) -> Region | None:
    """The wrong entries one by one, if they are few."""
    count = len(wrong[0]) if wrong else 1
    if count > MOST_ENTRIES:
        return None
    index = np.ravel_multi_index(tuple(wrong), shape) if wrong else np.zeros(1, int)

    def holds(c: Coordinates) -> Bools:
        return np.isin(np.ravel_multi_index(tuple(c), shape), index)

    places = ["[" + ", ".join(str(int(c[i])) for c in wrong) + "]" for i in range(count)]
    return Region("at " + several(places), 1.0 + count, 0.0, holds)


def coincidence(wrong: int, right: int) -> float:
    """Log10 of the number of ways to choose the wrong entries among all."""
    n = wrong + right
    return (lgamma(n + 1) - lgamma(wrong + 1) - lgamma(right + 1)) / log(10.0)


def _boxes(shape: Shape, wrong: Coordinates, right: Coordinates) -> Iterator[Region]:
    options = [_choices(n, np.unique(c)) for n, c in zip(shape, wrong, strict=True)]
    restricted = [a for a, choices in enumerate(options) if choices]
    inside = {
        (a, i): choice.chosen[right[a]] for a in restricted for i, choice in enumerate(options[a])
    }
    tightest = [min(options[a], key=lambda c: int(c.chosen.sum())).chosen for a in restricted]
    shut = [chosen[right[a]] for a, chosen in zip(restricted, tightest, strict=True)]
    if not shut or np.logical_and.reduce(shut).any():
        return
    for count in range(1, len(restricted) + 1):
        is_found = False
        for axes in combinations(restricted, count):
            for picked in product(*(range(len(options[a])) for a in axes)):
                held = [inside[a, i] for a, i in zip(axes, picked, strict=True)]
                if not np.logical_and.reduce(held).any():
                    is_found = True
                    yield _box(shape, {a: options[a][i] for a, i in zip(axes, picked, strict=True)})
        if is_found:  # more restrictions say no more
            return


def _choices(n: int, indices: Codes) -> list[_Choice]:
    """Ways to say which indices of an axis of length n are meant."""
    count, low, high = len(indices), int(indices[0]), int(indices[-1])
    if count == n or n == 1:
        return []
    found = []
    if count == 1:
        found.append(_chosen(str(low), 0.5, np.log10(n), n, indices))
    elif high - low + 1 < n:
        start, stop = "" if low == 0 else str(low), "" if high == n - 1 else str(high + 1)
        cost = 0.8 if not start or not stop else 1.0
        all_between = np.arange(low, high + 1)
        found.append(_chosen(f"{start}:{stop}", cost, np.log10(n * (n - 1) / 2), n, all_between))
    if count > 1 and n >= 4 and len(np.unique(indices % 2)) == 1:
        every_second = np.arange(low % 2, n, 2)
        found.append(_chosen(f"{low % 2}::2", 0.7, np.log10(2), n, every_second))
    if 1 < count <= MOST_LISTED and high - low + 1 > count:
        rivals = coincidence(count, n - count)
        listed = "[" + ", ".join(str(int(i)) for i in indices) + "]"
        found.append(_chosen(listed, 0.7 + 0.3 * count, rivals, n, indices))
    return found


def _chosen(text: str, cost: float, rivals: float, n: int, indices: Codes) -> _Choice:
    chosen = np.zeros(n, bool)
    chosen[indices] = True
    return _Choice(text, cost, float(rivals), chosen)


def _box(shape: Shape, picked: dict[int, _Choice]) -> Region:
    def holds(c: Coordinates) -> Bools:
        return np.asarray(np.logical_and.reduce([p.chosen[c[a]] for a, p in picked.items()]))

    text = ", ".join(picked[a].text if a in picked else ":" for a in range(len(shape)))
    return Region(
        f"in [{text}]",
        sum(p.cost for p in picked.values()),
        float(np.log10(len(shape))) + sum(p.rivals for p in picked.values()),
        holds,
        tuple(int(picked[a].chosen.sum()) if a in picked else n for a, n in enumerate(shape)),
    )


def _borders(shape: Shape, wrong: Coordinates) -> Iterator[Region]:
    axes = [a for a, n in enumerate(shape) if n >= 3]
    sets = [(a,) for a in axes] + list(combinations(axes, 2)) + [tuple(axes[-3:])]
    for some in dict.fromkeys(sets):
        if not some:
            continue

        def depth(c: Coordinates, some: Shape = some) -> Codes:
            sides = [np.minimum(c[a], shape[a] - 1 - c[a]) for a in some]
            return np.asarray(np.min(sides, axis=0))

        deepest, shallowest = int(depth(wrong).max()), int(depth(wrong).min())
        cost = 1.0 + 0.1 * deepest + 0.1 * len(some)
        rivals = float(np.log10(len(sets) * max(shape)))
        if 2 * (deepest + 1) < min(shape[a] for a in some):
            width = deepest + 1

            def near(c: Coordinates, depth: Callable[..., Codes] = depth, p: int = width) -> Bools:
                return np.asarray(depth(c) < p)

            text = f"on the border of width {width} along {axes_of(some)}"
            yield Region(text, cost, rivals, near)
        if shallowest > 0:

            def far(
                c: Coordinates, depth: Callable[..., Codes] = depth, p: int = shallowest
            ) -> Bools:
                return np.asarray(depth(c) >= p)

            text = f"inside of the border of width {shallowest} along {axes_of(some)}"
            yield Region(text, cost + 0.1, rivals, far)


def _of_pairs(shape: Shape, wrong: Coordinates) -> Iterator[Region]:
    """Triangles of square matrices, and checkerboards."""
    pairs = list(combinations([a for a, n in enumerate(shape) if n > 1], 2))
    rivals = float(np.log10(6 * max(len(pairs), 1)))
    tests: dict[str, Callable[[Codes, Codes], Bools]] = {
        "above the diagonal of {}": lambda i, j: np.asarray(i < j),
        "below the diagonal of {}": lambda i, j: np.asarray(i > j),
        "on the diagonal of {}": lambda i, j: np.asarray(i == j),
        "off the diagonal of {}": lambda i, j: np.asarray(i != j),
    }
    for a, b in pairs:
        if shape[a] == shape[b]:
            for words, test in tests.items():

                def holds(
                    c: Coordinates,
                    a: int = a,
                    b: int = b,
                    test: Callable[[Codes, Codes], Bools] = test,
                ) -> Bools:
                    return test(c[a], c[b])

                yield Region(words.format(axes_of((a, b))), 1.0, rivals, holds)
        for odd in (0, 1):

            def is_on(c: Coordinates, a: int = a, b: int = b, odd: int = odd) -> Bools:
                return np.asarray((c[a] + c[b]) % 2 == odd)

            what = "odd" if odd else "even"
            text = f"where the indices of {axes_of((a, b))} add up to an {what} number"
            yield Region(text, 1.2, rivals, is_on)


def _range(shape: Shape, wrong: Coordinates) -> Region:
    index = np.ravel_multi_index(tuple(wrong), shape)
    low, high = int(index.min()), int(index.max())
    size = int(np.prod(shape, dtype=int))

    def holds(c: Coordinates) -> Bools:
        here = np.ravel_multi_index(tuple(c), shape)
        return np.asarray((here >= low) & (here <= high))

    is_edge = low == 0 or high == size - 1
    text = f"at row-major positions {low} to {high} of {size}"
    return Region(text, 1.3 if is_edge else 1.6, float(2.0 * np.log10(size)), holds)
