import numpy as np
import pytest

from gradproof.coverage.entries import full, sample


def pairs(places: object) -> list[tuple[int, int]]:
    tensor, index = places.tensor.tolist(), places.index.tolist()  # type: ignore[attr-defined]
    return list(zip(tensor, index, strict=True))


def test_full_is_every_entry_in_order() -> None:
    assert pairs(full([2, 0, 3])) == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]
    assert pairs(full([])) == []


@pytest.mark.parametrize("seed", range(5))
def test_sample_takes_so_many_different_entries_of_every_tensor(seed: int) -> None:
    places = sample([100, 3, 0, 10], 10, np.random.default_rng(seed))
    drawn = pairs(places)
    assert len(set(drawn)) == len(drawn)
    assert drawn == sorted(drawn)
    assert np.bincount(places.tensor, minlength=4).tolist() == [10, 3, 0, 10]
    assert places.index.max() < 100
    assert [index for tensor, index in drawn if tensor == 1] == [0, 1, 2]


def test_every_entry_is_drawn_sooner_or_later() -> None:
    rng = np.random.default_rng(0)
    drawn = {index for _ in range(40) for _, index in pairs(sample([20], 5, rng))}
    assert drawn == set(range(20))


def test_places_are_picked_by_mask_and_by_number() -> None:
    places = full([2, 3])
    assert pairs(places[places.tensor == 1]) == [(1, 0), (1, 1), (1, 2)]
    assert pairs(places[np.array([4, 0])]) == [(1, 2), (0, 0)]
    assert len(places) == 5
