"""From a direction along which a gradient is wrong to the entries that are.

The direction is confined to one half of the entries and to the other, and each half along which
claim and difference still disagree is halved again: first along the tree of modules or containers,
then within tensors. A few wrong entries are found for a number of evaluations that grows with the
logarithm of the size. Where too many pieces of a tensor are wrong, much of it is, and no list is
needed.

A half may bend or cross kinks where the whole did not. Its gap counts if it stays as it is on a
step that is eight times shorter: what truncation or a kink does is gone then, or all but.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.directions import SIGMAS, Direction, Line
from gradproof.numerics.sampling import SINGLE, Floats

#: More wrong pieces of one tensor than this at one level: the error is everywhere in it.
DENSE = 6
#: Bytes of directions that are evaluated together.
BATCH_BYTES = 2**27
#: A gap must be this many bars wide for its piece to be followed.
VISIBLE = 1.5
#: Steps on which a gap is looked at again are so much shorter, and there are so many of them.
SHORTER = 0.125
TIMES = 4
#: A gap that changes by less than this part of it is no truncation.
STEADY = 0.5


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
        dense: pieces of tensors that are wrong in many places, several pieces each.
        imprecise: tensors that are off everywhere, but only by what single precision makes of a
            gradient.
        lost: pieces in which the error is, but in neither of whose halves it could be seen.
        unsearched: pieces in which it is, and that the budget did not suffice to search.
    """

    entries: tuple[Piece, ...]
    dense: tuple[Piece, ...]
    imprecise: tuple[int, ...]
    lost: tuple[Piece, ...]
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
    dense: list[Piece] = []
    imprecise: list[int] = []
    while open_:
        pairs = [halves_of(node) for node in open_]
        halves = [half for pair in pairs for half in pair if _size(half)]
        found = dict(zip(halves, gaps(line, halves, direction, step, noise), strict=True))
        if line.subject.exhausted is not None:
            break
        following: list[Node] = []
        for node, pair in zip(open_, pairs, strict=True):
            wrong = [half for half in pair if found.get(half, 0.0) != 0.0]
            following += wrong
            if not wrong and isinstance(node, Piece):
                lost.append(node)
        open_ = []
        for tensor, pieces in _by_tensor(following).items():
            if tensor is None:
                open_ += pieces
            elif len(pieces) <= DENSE:
                entries += [p for p in pieces if len(p) == 1]
                open_ += [p for p in pieces if len(p) > 1]
            elif _is_single_precision(line, pieces, found, direction):
                imprecise.append(tensor)
            else:
                dense += pieces
    unsearched = [p for node in open_ for p in pieces_of(node) if len(p)]
    return Culprits(tuple(entries), tuple(dense), tuple(imprecise), tuple(lost), tuple(unsearched))


def narrow(
    line: Line, piece: Piece, direction: Direction, step: float, noise: float
) -> Piece | None:
    """One wrong entry of a piece that has many; None if it was lost on the way.

    Args:
        line: the function and its claimed gradient.
        piece: one along which claim and difference disagree.
        direction: of which it is a part.
        step: the step along it.
        noise: of f's values.
    """
    while len(piece) > 1:
        halves = [half for half in halves_of(piece) if isinstance(half, Piece)]
        found = gaps(line, halves, direction, step, noise)
        if line.subject.exhausted is not None or not np.any(found):
            return None
        piece = halves[int(np.argmax(np.abs(found)))]
    return piece


def gaps(
    line: Line, nodes: Sequence[Node], direction: Direction, step: float, noise: float
) -> Floats:
    """Claim less difference along the direction, confined to each node; 0 where they agree.

    Args:
        line: the function and its claimed gradient.
        nodes: parts of the direction.
        direction: any.
        step: the first step along it; shorter ones follow where claim and difference disagree.
        noise: of f's values.
    """
    gap, bar = _look(line, nodes, direction, step, noise)
    result, last = np.zeros(len(nodes)), gap.copy()
    open_ = np.flatnonzero(~(np.abs(gap) <= VISIBLE * bar))
    for _ in range(TIMES):
        if len(open_) == 0:
            break
        step *= SHORTER
        shorter, wider = _look(line, [nodes[i] for i in open_.tolist()], direction, step, noise)
        is_same = np.abs(shorter - gap[open_]) <= bar[open_] + wider
        is_visible = ~(np.abs(shorter) <= VISIBLE * wider)
        is_steady = is_visible & (np.abs(shorter - last[open_]) <= STEADY * np.abs(shorter))
        wrong = is_same | is_steady
        result[open_[wrong]] = np.where(is_same, gap[open_], shorter)[wrong]
        last[open_] = shorter
        open_ = open_[~wrong & is_visible]
    return result


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


def halves_of(node: Node) -> tuple[Node, Node]:
    """The first and the second half of a node."""
    if isinstance(node, Piece):
        middle = (node.start + node.stop) // 2
        return Piece(node.tensor, node.start, middle), Piece(node.tensor, middle, node.stop)
    middle = len(node) // 2
    first, second = node[:middle], node[middle:]
    return first[0] if len(first) == 1 else first, second[0] if len(second) == 1 else second


def pieces_of(node: Node) -> Iterator[Piece]:
    """The pieces that a node has, in order."""
    if isinstance(node, Piece):
        yield node
    else:
        for inner in node:
            yield from pieces_of(inner)


def _size(node: Node) -> int:
    return sum(len(piece) for piece in pieces_of(node))


def _by_tensor(nodes: Sequence[Node]) -> dict[int | None, list[Piece]]:
    """Pieces by their tensors; groups of tensors under None."""
    parts: dict[int | None, list[Piece]] = {}
    for node in nodes:
        parts.setdefault(node.tensor if isinstance(node, Piece) else None, []).append(node)  # type: ignore[arg-type]
    return parts


def _is_single_precision(
    line: Line, pieces: list[Piece], found: dict[Node, float], direction: Direction
) -> bool:
    """Whether pieces are off by no more than a gradient in single precision may be."""
    share = line.share(_confined(direction, tuple(pieces)))
    gap = float(np.linalg.norm([found[piece] for piece in pieces]))
    return gap <= SIGMAS * SINGLE * share


def _look(
    line: Line, nodes: Sequence[Node], direction: Direction, step: float, noise: float
) -> tuple[Floats, Floats]:
    size = sum(d.nbytes for d in direction)
    at_once = max(1, BATCH_BYTES // max(size, 1))
    gaps: list[NDArray[np.float64]] = [np.empty(0)]
    bars: list[NDArray[np.float64]] = [np.empty(0)]
    for start in range(0, len(nodes), at_once):
        some = nodes[start : start + at_once]
        slopes = line.pairs([_confined(direction, node) for node in some], step, noise)
        gaps.append(slopes.gap)
        bars.append(slopes.bar)
    return np.concatenate(gaps), np.concatenate(bars)


def _confined(direction: Direction, node: Node) -> list[Floats]:
    result = [np.zeros(len(d)) for d in direction]
    for piece in pieces_of(node):
        where = slice(piece.start, piece.stop)
        result[piece.tensor][where] = direction[piece.tensor][where]
    return result
