"""Many entries, each with as many evaluations as it takes."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.full import check

from gradproof.coverage.climb import SECOND_LOOKS, climb, ladders
from gradproof.coverage.request import Numeric, Request, gap_beyond
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import Floats, Lanes, Sampler
from gradproof.verdict import DIFFERS, REASONS

Vector = npt.NDArray[np.float64]
EPS = float(np.finfo(float).eps)


class Lane:
    """Independent functions of one variable each, added up; counts the values taken of each."""

    def __init__(self, f: Callable[[Any], Any], x: Vector) -> None:
        self.f, self.x = f, x
        self.parts = f(x)
        self.value = float(np.sum(self.parts))
        self.spent = np.zeros(len(x), dtype=int)

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        np.add.at(self.spent, lanes, 1)
        moved = self.f(self.x[lanes] + offsets)
        values: Floats = self.value + (moved - self.parts[lanes])
        return values


def request(x: Vector, claim: Vector, **fields: Any) -> Request:
    size = np.sqrt(np.mean(x**2))
    values: dict[str, Any] = {
        "center": x,
        "scale": np.maximum(np.abs(x), size),
        "wide": np.maximum(np.abs(x), size),
        "claim": claim,
        "rounding": np.zeros(len(x)),
        "typical": np.full(len(x), np.sqrt(np.mean(claim[np.isfinite(claim)] ** 2))),
        "group": np.zeros(len(x), dtype=np.intp),
        "unit": np.full(len(x), EPS),
    }
    return Request(**(values | fields))


def found(sampler: Sampler, asked: Request, value: float, noise: float = 0.0) -> Numeric:
    noise = noise or EPS * abs(value)
    return climb(sampler, asked, value=value, noise=noise, resolution=1e-3)


X = np.random.default_rng(0).normal(size=200)


def test_right_claims_are_settled_by_one_pair_each() -> None:
    lane = Lane(np.sin, X)
    numeric = found(lane, request(X, np.cos(X)), lane.value)
    assert np.all(np.abs(numeric.value - np.cos(X)) <= numeric.error)
    assert np.median(lane.spent) == 2
    assert lane.spent.sum() <= 2.2 * len(X)
    assert not numeric.confirmed.any()
    assert np.all(numeric.status == code(Status.SMOOTH))


@pytest.mark.parametrize("factor", [-1.0, 0.0, 2.0, 1.01, 1 + 1e-5])
def test_wrong_claims_are_confirmed_by_a_second_look(factor: float) -> None:
    lane = Lane(np.sin, X)
    claim = np.cos(X)
    claim[::20] *= factor
    numeric = found(lane, request(X, claim), lane.value)
    wrong = np.arange(len(X)) % 20 == 0
    assert numeric.confirmed.tolist() == wrong.tolist()
    assert np.all((gap_beyond(request(X, claim), numeric) > 1.0) == wrong)
    assert np.all(np.abs(numeric.value - np.cos(X)) <= numeric.error)
    assert lane.spent[wrong].min() > 20 > 4 >= np.median(lane.spent[~wrong])


def test_many_wrong_claims_of_a_tensor_are_not_all_looked_at_twice() -> None:
    lane = Lane(np.sin, X)
    numeric = found(lane, request(X, -np.cos(X)), lane.value)
    assert numeric.confirmed.all()
    assert (lane.spent > 20).sum() == SECOND_LOOKS
    groups = np.arange(len(X)) % 2
    lane = Lane(np.sin, X)
    found(lane, request(X, -np.cos(X), group=groups.astype(np.intp)), lane.value)
    assert (lane.spent > 20).sum() == 2 * SECOND_LOOKS


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_claims_that_are_no_numbers_have_numeric_values_all_the_same(bad: float) -> None:
    lane = Lane(np.sin, X)
    claim = np.cos(X)
    claim[3] = bad
    numeric = found(lane, request(X, claim), lane.value)
    assert np.all(np.abs(numeric.value - np.cos(X)) <= numeric.error)
    assert np.median(lane.spent) == 2


def test_flat_entries_of_no_claim_take_one_long_pair() -> None:
    lane = Lane(lambda x: 0.0 * x + 1.0, X)
    numeric = found(lane, request(X, 0 * X), lane.value)
    assert np.all(numeric.value == 0.0)
    assert np.all(lane.spent == 2)


def test_a_derivative_that_short_steps_cannot_see_is_found() -> None:
    """Beside an offset of 1e8 a short step changes nothing."""
    slope = np.full(len(X), 1e-3)
    lane = Lane(lambda x: 1e8 / len(X) + 1e-3 * x, X)
    numeric = found(lane, request(X, slope), lane.value)
    assert np.all(np.abs(numeric.value - slope) <= numeric.error)
    dropped = found(lane, request(X, 0 * X), lane.value)
    assert np.all(np.abs(dropped.value - slope) <= dropped.error)


def test_kinks_at_the_point_keep_both_slopes() -> None:
    lane = Lane(lambda x: np.where(x > X[0], 3.0, 1.0) * (x - X[0]), X[:1])
    numeric = found(lane, request(X[:1], np.array([2.5])), 0.0, noise=1e-16)
    assert numeric.status[0] == code(Status.KINK)
    assert numeric.value[0] == pytest.approx(2.0)
    assert numeric.half_jump[0] == pytest.approx(1.0)
    assert not numeric.confirmed[0]


def test_kinks_near_the_point_are_stepped_around() -> None:
    x = np.linspace(0.5, 1.5, 50)
    distance = np.geomspace(1e-7, 1e-1, 50)
    for place, edge in zip(x.tolist(), (x + distance).tolist(), strict=True):

        def f(y: Any, edge: float = edge) -> Any:
            return np.abs(y - edge) + np.sin(y)

        lane = Lane(f, np.array([place]))
        asked = request(lane.x, np.array([np.cos(place) - 1.0]))
        numeric = found(lane, asked, lane.value)
        assert gap_beyond(asked, numeric)[0] <= 1.0
        assert numeric.error[0] < 1e-3


class Kinked:
    """sin(x) and a kink beside each entry, within its first step."""

    def __init__(self, distance: Vector) -> None:
        self.edge = X + distance
        self.slope = np.cos(X) - 0.3
        self.value = float(np.sum(self.parts(np.arange(len(X)), np.zeros(len(X)))))
        self.spent = np.zeros(len(X), dtype=int)

    def parts(self, lanes: Lanes, offsets: Floats) -> Floats:
        moved: Floats = X[lanes] + offsets
        return np.sin(moved) + 0.3 * np.abs(moved - self.edge[lanes])

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        np.add.at(self.spent, lanes, 1)
        before = self.parts(lanes, np.zeros(len(lanes)))
        values: Floats = self.value + (self.parts(lanes, offsets) - before)
        return values


NEAR = np.geomspace(3e-5, 3e-4, len(X))


def test_shorter_pairs_settle_what_lies_beside_a_kink() -> None:
    lane = Kinked(NEAR)
    asked = request(X, lane.slope)
    numeric = found(lane, asked, lane.value)
    assert np.all(np.abs(numeric.value - lane.slope) <= numeric.error)
    assert np.all(numeric.error <= 1e-6 * np.fmax(np.abs(lane.slope), np.abs(numeric.value)))
    crossed = lane.spent > 2
    assert crossed.sum() > 10
    assert np.median(lane.spent[crossed]) <= 8


@pytest.mark.parametrize("factor", [1.0 + 1e-5, 1.01, -1.0, 0.0])
def test_shorter_pairs_excuse_no_wrong_claim_beside_a_kink(factor: float) -> None:
    lane = Kinked(NEAR)
    asked = request(X, factor * lane.slope)
    numeric = found(lane, asked, lane.value)
    visible = np.abs(asked.claim - lane.slope) > 1e-7
    assert visible.sum() > 190
    assert np.all(gap_beyond(asked, numeric)[visible] > 1.0)
    assert numeric.confirmed[visible].all()


def test_noise_widens_the_bars_and_accuses_nobody() -> None:
    rng = np.random.default_rng(1)
    quiet = Lane(np.sin, X)

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return quiet(lanes, offsets) + 1e-8 * rng.normal(size=len(lanes))

    asked = request(X, np.cos(X))
    numeric = found(sampler, asked, quiet.value, noise=1e-8)
    assert np.all(gap_beyond(asked, numeric) <= 1.0)
    assert np.median(numeric.error) > 1e-8


# -- the second look ---------------------------------------------------------------------------


def glitching(quiet: Lane, lane: int, calls: range) -> Sampler:
    """Off by something smooth at some of the calls, in one lane only."""

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        before = quiet.spent[lane]
        values = quiet(lanes, offsets)
        if before in calls:
            values += np.where(lanes == lane, 0.5 * offsets, 0.0)
        return values

    return sampler


def believe(
    sampler: Sampler, request: Request, numeric: Numeric, value: float, clear: object = None
) -> None:
    """What `look_again` would be without looking again."""
    numeric.confirmed[:] = gap_beyond(request, numeric) > 1.0


def test_an_accident_of_the_first_look_is_no_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(X, np.cos(X))
    quiet = Lane(np.sin, X)
    numeric = found(glitching(quiet, 7, range(4)), asked, quiet.value)
    assert gap_beyond(asked, numeric).max() <= 1.0
    assert not numeric.confirmed.any()
    assert quiet.spent[7] > 30

    # Without it, a right gradient would be accused.
    monkeypatch.setattr("gradproof.coverage.climb.look_again", believe)
    quiet = Lane(np.sin, X)
    numeric = found(glitching(quiet, 7, range(4)), asked, quiet.value)
    assert numeric.confirmed.tolist() == [lane == 7 for lane in range(len(X))]


@pytest.mark.parametrize("period", [3e-7, 1e-7, 3e-8])
def test_fast_wiggles_would_be_accused_without_a_second_look(
    period: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verdict(seed: int) -> str:
        return check(
            lambda x: np.sum(np.sin(x) + period * np.sin(x / period)),
            np.random.default_rng(seed).normal(size=40),
            lambda x: np.cos(x) + np.cos(x / period),
        ).verdict

    assert [verdict(seed) for seed in range(3)] == 3 * ["pass"]
    monkeypatch.setattr("gradproof.coverage.climb.look_again", believe)
    assert "fail" in [verdict(seed) for seed in range(3)]


def test_a_wrong_claim_stays_wrong_whatever_the_second_look_meets() -> None:
    claim = np.cos(X)
    claim[7] *= 1.5
    asked = request(X, claim)
    quiet = Lane(np.sin, X)
    numeric = found(glitching(quiet, 7, range(4)), asked, quiet.value)
    assert numeric.confirmed[7]
    assert numeric.value[7] == pytest.approx(np.cos(X[7]), abs=1e-9)


# -- gaps --------------------------------------------------------------------------------------


def numbers(**fields: Any) -> Numeric:
    count = len(fields["value"])
    values: dict[str, Any] = {
        "error": np.full(count, 0.1),
        "half_jump": np.zeros(count),
        "status": np.full(count, code(Status.SMOOTH), dtype=np.uint8),
        "confirmed": np.zeros(count, dtype=np.bool_),
        "variation": np.ones(count),
        "scale": np.ones(count),
    }
    return Numeric(**(values | {k: np.array(v, dtype=float) for k, v in fields.items()}))


def test_gap_is_counted_in_bars() -> None:
    asked = request(np.ones(4), np.array([1.0, 1.05, 1.4, 0.6]))
    numeric = numbers(value=[1.0, 1.0, 1.0, 1.0])
    assert gap_beyond(asked, numeric) == pytest.approx([0.0, 0.5, 4.0, 4.0])
    rough = dataclasses.replace(asked, rounding=np.full(4, 0.1))
    assert gap_beyond(rough, numeric) == pytest.approx([0.0, 0.25, 2.0, 2.0])


def test_gap_at_a_kink_is_the_distance_from_the_interval_of_slopes() -> None:
    asked = request(np.ones(4), np.array([0.0, -1.0, 1.0, 1.3]))
    numeric = numbers(value=np.zeros(4), half_jump=[1.0, -1.0, 1.0, 1.0])
    assert gap_beyond(asked, numeric) == pytest.approx([0.0, 0.0, 0.0, 3.0])


def test_gap_of_no_number_is_no_number() -> None:
    asked = request(np.ones(3), np.array([np.nan, 1.0, np.inf]))
    ratio = gap_beyond(asked, numbers(value=[1.0, np.nan, 1.0]))
    assert np.isnan(ratio[:2]).all()
    assert ratio[2] == np.inf
    exact = numbers(value=np.array([1.0, 2.0, 3.0]), error=np.zeros(3))
    ratio = gap_beyond(request(np.ones(3), np.array([1.0, 2.5, 3.0])), exact)
    assert ratio.tolist() == [0.0, np.inf, 0.0]


def test_ladders_measure_the_noise_where_none_is_given() -> None:
    rng = np.random.default_rng(2)
    quiet = Lane(np.sin, X)

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return quiet(lanes, offsets) + 1e-7 * rng.normal(size=len(lanes))

    asked = request(X, np.cos(X))
    which = np.arange(5, 15)
    with np.errstate(all="ignore"):
        estimates = ladders(sampler, asked, which, quiet.value, None)
    assert len(estimates.value) == 10
    assert 3e-8 < np.median(estimates.noise) < 1e-6
    assert np.all(np.abs(estimates.value - np.cos(X[which])) <= estimates.error)


def test_the_second_look_matters_to_a_whole_check(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gradproof.coverage.climb")
    looks = []
    look_again = module.look_again

    def watched(*arguments: Any) -> None:
        looks.append(arguments)
        look_again(*arguments)

    monkeypatch.setattr(module, "look_again", watched)
    report = check(lambda x: np.sum(np.sin(x)), X[:5], np.sin)
    assert report.verdict == "fail"
    assert len(looks) == 1
    assert report.entries[0].reason == REASONS[DIFFERS]
