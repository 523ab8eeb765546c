"""Ways in which the entries of an array get into one another's places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product

import numpy as np

from gradproof.diagnosis.patterns.field import Codes
from gradproof.diagnosis.patterns.wording import axes_of

#: Up to how many axes all their orders are tried, and all subsets reversed.
MOST_AXES = 5
#: Ways to split an axis in two that are tried.
MOST_SPLITS = 24

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Map:
    """A mix-up of places.

    Attributes:
        kind: of mistake.
        message: completes "the claim ...".
        cost: see `Match`.
        source: takes row-major indices of the right gradient to those of the claim where the values
            are that belong there; -1 where they are lost.
    """

    kind: str
    message: str
    cost: float
    source: Callable[[Codes], Codes]


def maps(shape: Shape) -> Iterator[Map]:
    """All mix-ups of an array of this shape; some may be the same.

    Args:
        shape: of the tensor.
    """
    axes = tuple(a for a, n in enumerate(shape) if n > 1)
    yield from _reversed(shape, axes)
    yield from _permuted(shape, axes)
    yield from _turned(shape, axes)
    yield from _laid_out(shape, axes)
    yield from _shifted(shape, axes)
    yield from _in_windows(shape, axes)
    yield from _split(shape, axes)


def _by_coordinates(
    shape: Shape, move: Callable[[list[Codes]], list[Codes]]
) -> Callable[..., Codes]:
    def source(index: Codes) -> Codes:
        moved = move([c.copy() for c in np.unravel_index(index, shape)])
        inside = np.logical_and.reduce(
            [(c >= 0) & (c < n) for c, n in zip(moved, shape, strict=True)]
        )
        clipped = [np.clip(c, 0, n - 1) for c, n in zip(moved, shape, strict=True)]
        return np.where(inside, np.ravel_multi_index(clipped, shape), -1)

    return source


def _reversed(shape: Shape, axes: Shape) -> Iterator[Map]:
    for count in range(1, min(len(axes), MOST_AXES) + 1):
        for some in combinations(axes, count):

            def move(c: list[Codes], some: Shape = some) -> list[Codes]:
                for a in some:
                    c[a] = shape[a] - 1 - c[a]
                return c

            is_kernel = some == tuple(range(len(shape) - count, len(shape))) and count <= 3
            what = "is flipped" if is_kernel and count > 1 else "is reversed"
            yield Map(
                "flipped-kernel",
                f"{what} along {axes_of(some)}",
                1.9 + 0.05 * count + (0.0 if is_kernel else 0.3),
                _by_coordinates(shape, move),
            )


def _permuted(shape: Shape, axes: Shape) -> Iterator[Map]:
    for order in _orders(axes):
        new = _order_of_all(len(shape), axes, order)
        if any(shape[a] != shape[b] for a, b in enumerate(new)):
            continue

        def move(c: list[Codes], new: Shape = new) -> list[Codes]:
            return [c[a] for a in new]

        moved = tuple(a for a, b in enumerate(new) if a != b)
        if len(moved) == 2:
            message, kind, cost = f"has {axes_of(moved)} exchanged", "transposed", 1.9
        else:
            message, kind, cost = f"has its axes in the order {new}", "permuted-axes", 2.4
        yield Map(kind, message, cost, _by_coordinates(shape, move))


def _turned(shape: Shape, axes: Shape) -> Iterator[Map]:
    for a, b in combinations(axes, 2):
        if shape[a] != shape[b]:
            continue
        turns = {
            (True, False): f"is turned by a quarter in {axes_of((a, b))}",
            (False, True): f"is turned by a quarter, the other way, in {axes_of((a, b))}",
            (True, True): f"is mirrored at the other diagonal of {axes_of((a, b))}",
        }
        for (first, second), message in turns.items():

            def move(
                c: list[Codes], a: int = a, b: int = b, first: bool = first, second: bool = second
            ) -> list[Codes]:
                c[a], c[b] = c[b], c[a]
                if first:
                    c[a] = shape[a] - 1 - c[a]
                if second:
                    c[b] = shape[b] - 1 - c[b]
                return c

            yield Map("permuted-axes", message, 2.8, _by_coordinates(shape, move))


def _laid_out(shape: Shape, axes: Shape) -> Iterator[Map]:
    """Numbers in the memory order of other axes, taken for row-major ones of this shape."""
    if len(axes) > MOST_AXES:
        return
    small = tuple(shape[a] for a in axes)
    for order in permutations(range(len(small))):
        other = tuple(small[a] for a in order)
        inverse = tuple(np.argsort(order))
        if other == small:
            continue
        moved = sum(a != b for a, b in enumerate(order))
        kind = "transposed" if moved == 2 else "permuted-axes"
        cost = 2.5 if moved == 2 or order == tuple(reversed(range(len(small)))) else 2.8

        def stored(index: Codes, order: Shape = order, other: Shape = other) -> Codes:
            c = np.unravel_index(index, small)
            return np.ravel_multi_index([c[a] for a in order], other)

        def read(index: Codes, inverse: Shape = inverse, other: Shape = other) -> Codes:
            c = np.unravel_index(index, other)
            return np.ravel_multi_index([c[a] for a in inverse], small)

        yield Map(
            kind,
            f"holds the numbers of an array of shape {_of_shape(other)}, reshaped to "
            f"{_of_shape(small)} where its axes should have been permuted",
            cost,
            stored,
        )
        yield Map(
            kind,
            f"was reshaped to {_of_shape(other)} and its axes were permuted back to "
            f"{_of_shape(small)}, where its numbers were in order",
            cost + 0.01,
            read,
        )


def _shifted(shape: Shape, axes: Shape) -> Iterator[Map]:
    size = int(np.prod(shape))
    steps: list[dict[int, int]] = [{a: s} for a in axes for s in (1, -1)]
    steps += [{a: s, b: t} for a, b in combinations(axes, 2) for s, t in product((1, -1), repeat=2)]
    for step in steps:
        for around in (True, False):

            def move(
                c: list[Codes], step: dict[int, int] = step, around: bool = around
            ) -> list[Codes]:
                for a, s in step.items():
                    c[a] = (c[a] + s) % shape[a] if around else c[a] + s
                return c

            by = " and ".join(f"{s:+d} along axis {a}" for a, s in step.items())
            yield Map(
                "shifted",
                f"is shifted by {by}" + (", around the end" if around else ""),
                2.0 + 0.5 * len(step) + (0.0 if around else 0.4),
                _by_coordinates(shape, move),
            )
    if len(axes) > 1:
        for s in (1, -1):

            def flat(index: Codes, s: int = s) -> Codes:
                return (index + s) % size

            yield Map("shifted", f"is shifted by {s:+d} in row-major order", 2.7, flat)


def _in_windows(shape: Shape, axes: Shape) -> Iterator[Map]:
    """Rows taken for columns inside the windows of a pool."""
    for a, b in combinations(axes, 2):
        for width in (2, 3):
            if shape[a] % width or shape[b] % width or max(shape[a], shape[b]) == width:
                continue

            def move(c: list[Codes], a: int = a, b: int = b, width: int = width) -> list[Codes]:
                row, column = c[a] % width, c[b] % width
                c[a], c[b] = c[a] - row + column, c[b] - column + row
                return c

            yield Map(
                "transposed",
                f"has {axes_of((a, b))} exchanged inside each window of {width} x {width}",
                3.0,
                _by_coordinates(shape, move),
            )


def _split(shape: Shape, axes: Shape) -> Iterator[Map]:
    """An axis that is two in one, such as heads and their features, and one of them exchanged."""
    splits = [(a, f) for a in axes for f in range(2, shape[a] // 2 + 1) if shape[a] % f == 0]
    for axis, outer in splits[:MOST_SPLITS]:
        inner = shape[axis] // outer
        full = (*shape[:axis], outer, inner, *shape[axis + 1 :])
        for a, b in combinations([k for k, n in enumerate(full) if n > 1], 2):
            if not {a, b} & {axis, axis + 1}:
                continue
            order = list(range(len(full)))
            order[a], order[b] = b, a
            other = tuple(full[k] for k in order)

            def stored(
                index: Codes, full: Shape = full, order: list[int] = order, other: Shape = other
            ) -> Codes:
                c = np.unravel_index(index, full)
                return np.ravel_multi_index([c[k] for k in order], other)

            def read(
                index: Codes, full: Shape = full, order: list[int] = order, other: Shape = other
            ) -> Codes:
                c = np.unravel_index(index, other)
                return np.ravel_multi_index([c[k] for k in order], full)

            for source in (stored, read) if other != full else (stored,):
                yield Map(
                    "transposed",
                    f"has axis {axis} split into {outer} x {inner}, which makes it "
                    f"{_of_shape(full)}, and then its axes {a} and {b} exchanged",
                    3.2,
                    source,
                )


def _orders(axes: Shape) -> Iterator[Shape]:
    """All orders of a few axes; of many, those with two exchanged."""
    if len(axes) <= MOST_AXES:
        yield from (order for order in permutations(axes) if order != axes)
        return
    for i, j in combinations(range(len(axes)), 2):
        order = list(axes)
        order[i], order[j] = order[j], order[i]
        yield tuple(order)


def _order_of_all(count: int, axes: Shape, order: Shape) -> Shape:
    new = list(range(count))
    for a, b in zip(axes, order, strict=True):
        new[a] = b
    return tuple(new)


def _of_shape(shape: Shape) -> str:
    return " x ".join(str(n) for n in shape)
