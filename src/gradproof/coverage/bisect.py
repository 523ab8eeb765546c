"""From a direction along which a gradient is wrong to the entries that are.

The direction is confined to one half of the entries and to the other, and each half along which
claim and difference still disagree is halved again: first along the tree of modules or containers,
then within tensors. A few wrong entries are found for a number of evaluations that grows with the
logarithm of the size. Where too many pieces of a tensor are wrong, all of it is, and no list is
needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gradproof.coverage.directions import Direction, Line
from gradproof.numerics.sampling import Floats

#: More wrong pieces of one tensor than this at one level: the error is everywhere in it.
DENSE = 6
#: Bytes of directions that are evaluated together.
BATCH_BYTES = 2**27
#: A gap must be this many bars wide for its piece to be followed.
VISIBLE = 1.5


@dataclass(frozen=True)
class Piece:
    """Entries start to stop of a tensor, row-major."""

    tensor: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Culprits:
    """Where a gradient is wrong.

    Attributes:
        entries: single entries.
        dense: tensors that are wrong all over.
        pieces: pieces in which the error is, but in neither of whose halves it could be seen.
        unsearched: pieces in which it is, and that the budget did not suffice to search.
    """

    entries: tuple[Piece, ...]
    dense: tuple[int, ...]
    pieces: tuple[Piece, ...]
    unsearched: tuple[Piece, ...] = ()


#: A node of the tree: a piece of a tensor, or several nodes in order.
Node = Piece | tuple["Node", ...]


def bisect(
    line: Line, names: Sequence[str], direction: Direction, step: float, noise: float
) -> Culprits:
    """Find the entries that make the claim wrong along `direction`.

    Args:
        line: the function and its claimed gradient.
        names: of the tensors; dots in them are the tree that is descended.
        direction: one along which claim and difference disagree.
        step: the step along it.
        noise: of f's values.
    """
    open_: list[Node] = [tree_of(names, [len(d) for d in direction])]
    entries: list[Piece] = []
    lost: list[Piece] = []
    dense: set[int] = set()
    while open_:
        halves = [half for node in open_ for half in _halves(node)]
        wrong = iter(_is_wrong(line, halves, direction, step, noise))
        if line.subject.exhausted is not None:
            break
        following: list[Node] = []
        for node in open_:
            found = [half for half in _halves(node) if next(wrong)]
            if not found:
                lost += _pieces(node)
            following += found
        single = [n for n in following if isinstance(n, Piece) and len(n) == 1]
        entries += single
        open_ = [n for n in following if n not in single]
        counts = np.bincount([n.tensor for n in following if isinstance(n, Piece)] or [0])
        dense |= {int(k) for k in np.flatnonzero(counts > DENSE)}
        open_ = [n for n in open_ if not (isinstance(n, Piece) and n.tensor in dense)]
    outside = [p for p in entries if p.tensor not in dense]
    return Culprits(
        tuple(outside),
        tuple(sorted(dense)),
        tuple(p for p in lost if p.tensor not in dense and len(p)),
        tuple(p for node in open_ for p in _pieces(node) if len(p)),
    )


def tree_of(names: Sequence[str], sizes: Sequence[int]) -> Node:
    """The tensors, grouped as the dots in their names say.

    >>> tree_of(["conv.weight", "conv.bias", "gain"], [4, 2, 1])
    ((Piece(tensor=0, start=0, stop=4), Piece(tensor=1, start=0, stop=2)), \
Piece(tensor=2, start=0, stop=1))
    """
    return _grouped([(name.split("."), Piece(k, 0, sizes[k])) for k, name in enumerate(names)])


def _grouped(parts: Sequence[tuple[list[str], Piece]]) -> Node:
    groups: dict[str, list[tuple[list[str], Piece]]] = {}
    leaves: dict[str, Piece] = {}
    for path, piece in parts:
        if len(path) == 1:
            # A tensor may be named like a group beside it.
            leaves[f"{path[0]} {piece.tensor}"] = piece
            groups.setdefault(f"{path[0]} {piece.tensor}", [])
        else:
            groups.setdefault(path[0], []).append((path[1:], piece))
    nodes = [_grouped(inner) if inner else leaves[name] for name, inner in groups.items()]
    return nodes[0] if len(nodes) == 1 else tuple(nodes)


def _halves(node: Node) -> tuple[Node, Node]:
    if isinstance(node, Piece):
        middle = (node.start + node.stop) // 2
        return Piece(node.tensor, node.start, middle), Piece(node.tensor, middle, node.stop)
    middle = len(node) // 2
    first, second = node[:middle], node[middle:]
    return first[0] if len(first) == 1 else first, second[0] if len(second) == 1 else second


def _pieces(node: Node) -> Iterator[Piece]:
    if isinstance(node, Piece):
        yield node
    else:
        for inner in node:
            yield from _pieces(inner)


def _is_wrong(
    line: Line, nodes: Sequence[Node], direction: Direction, step: float, noise: float
) -> list[bool]:
    """Whether claim and difference disagree along the direction, confined to each node."""
    size = sum(d.nbytes for d in direction)
    at_once = max(2, BATCH_BYTES // max(size, 1))
    wrong: list[bool] = []
    for start in range(0, len(nodes), at_once):
        some = nodes[start : start + at_once]
        slopes = line.pairs([_confined(direction, node) for node in some], step, noise)
        wrong += (~(np.abs(slopes.gap) <= VISIBLE * slopes.bar)).tolist()
    return wrong


def _confined(direction: Direction, node: Node) -> list[Floats]:
    result = [np.zeros(len(d)) for d in direction]
    for piece in _pieces(node):
        where = slice(piece.start, piece.stop)
        result[piece.tensor][where] = direction[piece.tensor][where]
    return result
