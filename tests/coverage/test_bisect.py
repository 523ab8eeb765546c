"""From a direction that contradicts a claim to the entries that are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gradproof.coverage.bisect import Culprits, Piece, bisect, narrow, tree_of
from gradproof.coverage.directions import Line, draw
from gradproof.subjects.numpy import ArraySubject

Vector = npt.NDArray[np.float64]
SIZES = {"a": 64, "b": 1, "c": 1000, "d": 0, "e": 300}
X = {name: np.random.default_rng(k).normal(size=n) for k, (name, n) in enumerate(SIZES.items())}
NAMES = ["net.one.weight", "net.one.bias", "net.two.weight", "net.two.bias", "scale"]


def sines(t: Any) -> Any:
    return sum(np.sum(np.sin(v)) for v in t.values())


def search(
    bend: Callable[[list[Vector]], None], f: Callable[[Any], Any] = sines, step: float = 1e-5
) -> tuple[Culprits, ArraySubject, Line]:
    subject = ArraySubject(f, X, rng=np.random.default_rng(1))
    claim = [np.cos(v) for v in X.values()]
    bend(claim)
    line = Line(subject, claim, [np.zeros(len(c)) for c in claim], subject.value())
    return bisect(line, NAMES, direction(), step, 1e-13), subject, line


def direction() -> tuple[Vector, ...]:
    return draw([np.ones(n) for n in SIZES.values()], np.random.default_rng(2))


@pytest.mark.parametrize(("tensor", "entry"), [(0, 0), (0, 63), (1, 0), (2, 517), (4, 299)])
def test_a_lone_wrong_entry_is_found(tensor: int, entry: int) -> None:
    def bend(claim: list[Vector]) -> None:
        claim[tensor][entry] += 0.5

    found, subject, _ = search(bend)
    assert found.entries == (Piece(tensor, entry, entry + 1),)
    assert found.dense == found.lost == found.unsearched == ()
    assert subject.evaluations <= 100


def test_five_wrong_entries_in_several_tensors_are_found() -> None:
    wrong = [(0, 3), (1, 0), (2, 10), (2, 900), (4, 150)]

    def bend(claim: list[Vector]) -> None:
        for k, i in wrong:
            claim[k][i] *= -1.0

    found, _, _ = search(bend)
    assert sorted((p.tensor, p.start) for p in found.entries) == wrong


def test_an_error_everywhere_is_recognised_early() -> None:
    def bend(claim: list[Vector]) -> None:
        claim[2] *= 1.001

    found, subject, _ = search(bend)
    assert {p.tensor for p in found.dense} == {2}
    assert found.entries == ()
    assert subject.evaluations <= 120


def test_pieces_of_a_dense_error_lie_where_it_is() -> None:
    def bend(claim: list[Vector]) -> None:
        claim[2][600:700] += 1.0

    found, _, _ = search(bend)
    assert found.dense
    assert all(p.tensor == 2 and p.start < 700 and p.stop > 600 for p in found.dense)


def test_one_of_many_wrong_entries_is_found_in_a_piece() -> None:
    def bend(claim: list[Vector]) -> None:
        claim[2][::97] += 1.0

    found, _, line = search(bend)
    one = narrow(line, Piece(2, 0, 1000), direction(), 1e-5, 1e-13)
    assert {p.tensor for p in found.dense} == {2}
    assert one is not None
    assert one.start % 97 == 0


def test_a_gradient_in_single_precision_is_imprecise_and_not_wrong() -> None:
    def bend(claim: list[Vector]) -> None:
        claim[2][:] = claim[2].astype(np.float32)

    found, _, _ = search(bend, step=2e-4)
    assert found.dense == ()
    assert found.entries == ()


def test_halves_that_bend_are_not_accused() -> None:
    """At this long step truncation is far beyond the bar everywhere."""

    def bend(claim: list[Vector]) -> None:
        claim[0][5] *= -1.0

    found, _, _ = search(bend, step=1e-2)
    assert found.entries == (Piece(0, 5, 6),)
    assert found.dense == ()


def test_halves_that_cross_kinks_are_not_accused() -> None:
    def kinky(t: Any) -> Any:
        return sines(t) + np.sum(np.abs(t["c"] - X["c"] - 2e-6)) + np.sum(t["c"] - X["c"])

    def bend(claim: list[Vector]) -> None:
        claim[4][5] *= -1.0

    found, _, _ = search(bend, kinky)
    assert found.entries == (Piece(4, 5, 6),)
    assert found.dense == ()


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    found, subject, _ = search(lambda claim: None)
    assert found == Culprits((), (), (), ())
    assert subject.evaluations < 30


def test_tensors_named_like_groups_beside_them_are_kept_apart() -> None:
    assert tree_of(["a", "a.b", "a.c"], [1, 2, 3]) == (
        Piece(0, 0, 1),
        (Piece(1, 0, 2), Piece(2, 0, 3)),
    )
