"""Pairs, second looks, probes and joint kinks where f is given numbers coarser than doubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gradproof.coverage import climb as climbing
from gradproof.coverage import probe as probing
from gradproof.coverage.climb import climb, look_again
from gradproof.coverage.customary import at_fixed_steps
from gradproof.coverage.entries import full
from gradproof.coverage.kinks import try_together
from gradproof.coverage.pairs import _Pair
from gradproof.coverage.probe import Probes, probe, scales
from gradproof.coverage.request import Numeric, Request
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import EPS, Lanes, on_grid, spacing
from gradproof.subjects.numpy import ArraySubject

Floats = NDArray[np.float64]
Function = Callable[[Any], Any]

FLOAT32, FLOAT16, BFLOAT16 = 2.0**-23, 2.0**-10, 2.0**-7
UNITS = (FLOAT32, FLOAT16, BFLOAT16)


class Lane:
    """Independent functions of one rounded variable each; keeps the points that it was asked."""

    def __init__(self, f: Function, x: Floats, unit: float, value_unit: float) -> None:
        self.f, self.x, self.unit, self.value_unit = f, x, unit, value_unit
        self.asked: list[float] = []

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        self.asked += (self.x[lanes] + offsets).tolist()
        values: Floats = self.f(on_grid(self.x[lanes] + offsets, self.unit)) + 0.0 * offsets
        return values if self.value_unit == EPS else on_grid(values, self.value_unit)


def request(x: Floats, claim: Floats, unit: float, value_unit: float) -> Request:
    return Request(
        center=x,
        scale=np.abs(x),
        wide=np.abs(x),
        claim=claim,
        rounding=unit * np.abs(claim),
        typical=np.abs(claim),
        group=np.zeros(len(x), dtype=np.intp),
        unit=np.full(len(x), unit),
        value_unit=value_unit,
    )


def points(unit: float, count: int = 60) -> Floats:
    rng = np.random.default_rng(0)
    return on_grid(rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 2.0, count), unit)


class Shifted(Lane):
    """Every lane is 1 + t + t^2 around its centre: slope 1, and one value for all."""

    def __call__(self, lanes: Lanes, offsets: Floats, /) -> Floats:
        self.asked += (self.x[lanes] + offsets).tolist()
        t = on_grid(self.x[lanes] + offsets, self.unit) - self.x[lanes]
        values = 1.0 + t + t * t
        return values if self.value_unit == EPS else on_grid(values, self.value_unit)


def climbed(claim: float, unit: float, value_unit: float) -> tuple[Numeric, Lane]:
    x = points(unit)
    lane = Shifted(np.sin, x, unit, value_unit)
    asked = request(x, np.full(len(x), claim), unit, value_unit)
    return climb(lane, asked, value=1.0, noise=0.0, resolution=1e-3), lane


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("inside", ["coarse", "double"])
def test_right_claims_lie_in_the_bars(unit: float, inside: str) -> None:
    numeric, lane = climbed(1.0, unit, unit if inside == "coarse" else EPS)
    assert not numeric.confirmed.any()
    assert np.all(np.abs(numeric.value - 1.0) <= numeric.error)
    there = np.array(lane.asked)
    assert on_grid(there, unit).tolist() == there.tolist()


@pytest.mark.parametrize("unit", UNITS)
def test_a_pair_is_worth_what_the_spacing_of_its_values_allows(unit: float) -> None:
    x = points(unit)
    asked = request(x, np.ones(len(x)), unit, unit)
    lanes = np.arange(len(x))
    pair = _Pair.evaluate(Shifted(np.sin, x, unit, unit), asked, lanes, 0.02 * np.abs(x), 1.0, 0.0)
    np.testing.assert_allclose(pair.level, 0.5 * spacing(np.ones(1), unit)[0])
    assert np.all(np.abs(pair.slope - 1.0) <= pair.error)


@pytest.mark.parametrize("unit", UNITS)
def test_a_pair_of_uneven_steps_is_exact_for_a_parabola(unit: float) -> None:
    """Near 0 there is no number as far to the left as there is to the right."""
    x = 0.01 * points(unit)
    x = on_grid(x, unit)
    asked = request(x, np.ones(len(x)), unit, EPS)
    lanes = np.arange(len(x))
    pair = _Pair.evaluate(
        Shifted(np.sin, x, unit, EPS), asked, lanes, np.full(len(x), 0.3), 1.0, 0.0
    )
    np.testing.assert_allclose(pair.slope, 1.0, rtol=1e-9)
    np.testing.assert_allclose(pair.even, pair.step**2, rtol=1e-9)


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("factor", [-1.0, 0.0, 2.0])
def test_grossly_wrong_claims_are_confirmed(unit: float, factor: float) -> None:
    numeric, _ = climbed(factor, unit, unit)
    assert numeric.confirmed.all()


def test_a_claim_is_wrong_only_clearly_beyond_the_bar_of_coarse_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = points(FLOAT32, 4)

    def seen(claim: float) -> bool:
        lane = Lane(lambda x: 3.0 * x, x, FLOAT32, FLOAT32)
        asked = request(x, np.full(4, claim), FLOAT32, FLOAT32)
        first = Numeric(
            np.full(4, 3.0),
            np.full(4, 1e-9),
            np.zeros(4),
            np.full(4, code(Status.SMOOTH), dtype=np.uint8),
            np.zeros(4, dtype=np.bool_),
            np.ones(4),
            np.abs(x),
        )
        look_again(lane, asked, first, 3.0 * float(x[0]))
        return bool(first.confirmed.any())

    asked = request(x, np.full(4, 3.0), FLOAT32, FLOAT32)
    lane = Lane(lambda x: 3.0 * x, x, FLOAT32, FLOAT32)
    again = replaced_scale(asked)
    found = climbing.ladders(lane, again, np.arange(4), 3.0 * float(x[0]), None)
    bar = float(found.error.min()) + FLOAT32 * 3.0
    value = float(found.value[np.argmin(found.error)])
    assert not seen(value + 1.4 * bar)
    assert seen(value + 20.0 * bar)
    monkeypatch.setattr(climbing, "MARGIN_IF_COARSE", 1.0)
    assert seen(value + 1.4 * bar)


def replaced_scale(asked: Request) -> Request:
    """The steps of a second look."""
    return Request(**{**asked.__dict__, "scale": 0.61 * asked.scale})


# -- probes ------------------------------------------------------------------------------------


class Half(ArraySubject):
    """F of float16 numbers, computed in double precision."""

    def __init__(self, f: Function, x: Floats) -> None:
        super().__init__(lambda x: f(np.float64(np.float16(x))), x, rng=np.random.default_rng(0))
        self.spacing = (FLOAT16,)


def probes(f: Function, x: Floats, claim: Floats, seed: int) -> Probes:
    subject = Half(f, x)
    return probe(
        subject,
        scales(subject.point),
        [claim],
        [np.zeros(len(x))],
        subject.value(),
        4,
        np.random.default_rng(seed),
    )


def halves(seed: int) -> Floats:
    """Entries just below powers of two: moved beyond these, they are rounded."""
    rng = np.random.default_rng(seed)
    return on_grid(2.0 ** rng.integers(-3, 2, 100) * rng.uniform(0.9, 1.0, 100), FLOAT16)


def test_rounding_of_the_displacements_is_in_the_probes_bar() -> None:
    for seed in range(10):
        x = halves(seed)
        found = probes(lambda x: np.sum(np.sin(x)), x, np.cos(x), seed)
        assert not found.contradict.any()
        assert np.all(found.rounding > 1e-4 * np.abs(np.cos(x) @ x) / len(x))


def test_doubles_are_displaced_exactly() -> None:
    products = [np.ones((2, 5)), np.full((2, 3), 2.0)]
    assert probing._displacement_rounding(products, (EPS, EPS)) == 0.0
    rounding = probing._displacement_rounding(products, (FLOAT16, EPS))
    assert rounding == pytest.approx(np.full(2, FLOAT16 * np.sqrt(5.0 / 12.0)))


def test_probes_of_coarse_numbers_see_gross_errors() -> None:
    for seed in range(10):
        x = halves(seed)
        assert probes(lambda x: np.sum(np.sin(x)), x, -np.cos(x), seed).contradict.all()


# -- kinks -------------------------------------------------------------------------------------


class Single(ArraySubject):
    """F of float32 numbers, computed in them."""

    def __init__(self, f: Function, x: Floats) -> None:
        super().__init__(lambda x: np.float64(f(np.float32(x))), x, rng=np.random.default_rng(0))
        self.spacing, self.value_spacing = (FLOAT32,), FLOAT32


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("claim", "fits"), [((1, 0), True), ((0.4, 0.6), True), ((0, 0), False), ((1, 1), False)]
)
def test_claims_at_a_tie_are_told_apart_in_single_precision(
    claim: tuple[float, float], fits: bool, seed: int
) -> None:
    found = try_together(
        Single(lambda x: np.float32(30.0) + np.maximum(x[0], x[1]), np.array([1.1, 1.1])),
        full([2]),
        np.array(claim, dtype=float),
        np.full(2, 0.5),
        np.full(2, 0.5),
        np.full(2, 1.1),
        FLOAT32 * 16.0,
        np.random.default_rng(seed),
        np.empty((0, 2)),
    )
    assert found.fits is fits


def test_fixed_steps_below_the_spacing_cross_no_kinks() -> None:
    """At such steps f does not change at all, or by a whole spacing."""
    x = on_grid(np.random.default_rng(0).normal(size=40), FLOAT32)
    subject = Single(lambda x: np.sum(np.sin(x)), x)
    found = at_fixed_steps(subject, full([40]), (1e-4, 1e-8), subject.value(), 0.0)
    assert not found.crossed.any()
