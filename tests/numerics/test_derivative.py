"""One derivative at a time: hard functions, hard numbers, and what must not be answered."""

import cmath
import math
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import gradproof.numerics.estimate  # noqa: F401  (the package's name `estimate` is the function)
from gradproof._errors import InputError
from gradproof.numerics import Status, derivative, estimate
from gradproof.numerics.sampling import Lanes

Function = Callable[[float], float]
Floats = NDArray[np.float64]
NAN, INF = math.nan, math.inf


def holds(function: Function, at: float, truth: float, relative: float) -> bool:
    """Whether the truth is in the bar, and the bar at most so wide, relative to the truth."""
    found = derivative(function, at)
    inside = abs(found.value - truth) <= found.error
    return inside and found.error <= relative * abs(truth)


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (math.sin, math.cos),
        (math.exp, math.exp),
        (math.atan, lambda x: 1.0 / (1.0 + x * x)),
        (math.sqrt, lambda x: 0.5 / math.sqrt(x)),
        (math.log, lambda x: 1.0 / x),
        (lambda x: x**7, lambda x: 7.0 * x**6),
        (lambda x: 1.0 / (1.0 + math.exp(-x)), lambda x: 0.25 / math.cosh(0.5 * x) ** 2),
    ],
)
@pytest.mark.parametrize("at", [0.01, 0.7, 1.0, 2.0, 30.0])
def test_smooth_functions_have_twelve_digits(
    function: Function, slope: Function, at: float
) -> None:
    found = derivative(function, at)
    assert found.status is Status.SMOOTH
    assert abs(found.value - slope(at)) <= found.error
    assert found.error <= 1e-11 * max(abs(slope(at)), abs(function(at)) / at)


@given(
    coefficients=st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=6),
    at=st.floats(-8, 8, width=32),
)
def test_polynomials_have_their_exact_derivative_in_the_bar(
    coefficients: list[float], at: float
) -> None:
    exact = [Fraction(c) for c in coefficients]
    x = Fraction(at)
    truth = sum((k * c * x ** (k - 1) for k, c in enumerate(exact) if k), Fraction(0))

    def polynomial(t: float) -> float:
        return math.fsum(c * t**k for k, c in enumerate(coefficients))

    found = derivative(polynomial, at)
    assert abs(Fraction(found.value) - truth) <= Fraction(found.error)


@given(
    slope=st.floats(-1e6, 1e6),
    offset=st.floats(-1e6, 1e6),
    at=st.floats(-1e6, 1e6, allow_subnormal=False),
)
def test_straight_lines(slope: float, offset: float, at: float) -> None:
    found = derivative(lambda x: slope * x + offset, at)
    assert abs(found.value - slope) <= found.error


@pytest.mark.parametrize("at", [0.0, 1.0, -3.0])
def test_zero_has_a_derivative_of_exactly_zero(at: float) -> None:
    found = derivative(lambda x: 0.0, at)
    assert (found.value, found.error, found.noise) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda x: 3.7, 2.0),
        (lambda x: (x - 2.0) ** 2, 2.0),
        (lambda x: 1.0 + (x - 2.0) ** 2, 2.0),
        (math.cos, 0.0),
        (lambda x: x**3, 0.0),
        (lambda x: math.exp(-1.0 / x**2) if x else 0.0, 0.0),
        (math.floor, 0.5),
        (lambda x: x**1.5, 0.0),
    ],
)
def test_a_derivative_of_zero_is_in_a_short_bar(function: Function, at: float) -> None:
    found = derivative(function, at)
    assert abs(found.value) <= found.error < 1e-3


@pytest.mark.parametrize("factor", [1e-300, 1e-100, 1e100, 1e300, -1e-300])
def test_values_of_any_size(factor: float) -> None:
    assert holds(lambda x: factor * math.sin(x), 1.0, factor * math.cos(1.0), 1e-11)


def test_subnormal_values() -> None:
    assert holds(lambda x: 1e-310 * math.sin(x), 1.0, 1e-310 * math.cos(1.0), 1e-9)
    smallest = derivative(lambda x: 5e-324 * math.sin(x), 1.0)
    assert smallest.error > 0


@pytest.mark.parametrize("at", [1e-300, 1e-200, 1e200, 1e300, -1e300, 1.7e308])
def test_points_of_any_size(at: float) -> None:
    assert holds(lambda x: x, at, 1.0, 1e-12)
    found = derivative(lambda x: math.sin(x / at), at)
    # Not math.cos(1.0) / at, which would round once more where it is subnormal.
    assert abs(found.value * at - math.cos(1.0)) <= max(abs(found.error * at), 1e-13) < 1e-11


def test_the_smallest_point_has_no_room_for_steps() -> None:
    assert derivative(lambda x: x, 5e-324).status is Status.UNRESOLVED


@pytest.mark.parametrize(("at", "relative"), [(1e-2, 1e-10), (1e-4, 1e-9), (1e-6, 1e-6)])
def test_oscillation_that_grows_towards_zero(at: float, relative: float) -> None:
    assert holds(
        lambda x: math.sin(1.0 / x) if x else 0.0, at, -math.cos(1.0 / at) / at**2, relative
    )


@pytest.mark.parametrize("frequency", [1e2, 1e4, 1e6, 1e8])
def test_fast_oscillation(frequency: float) -> None:
    truth = frequency * math.cos(frequency)
    assert holds(lambda x: math.sin(frequency * x), 1.0, truth, 1e-4)
    assert holds(
        lambda x: x + math.sin(frequency * x) / frequency, 1.0, 1 + math.cos(frequency), 1e-4
    )


@pytest.mark.parametrize("offset", [1.0, 1e3, 1e6, 1e9])
def test_cancellation_costs_digits_and_the_bar_says_how_many(offset: float) -> None:
    assert holds(lambda x: offset + math.sin(x), 1.0, math.cos(1.0), 1e-13 * offset + 1e-12)


@pytest.mark.parametrize("distance", [1e-2, 1e-5, 1e-9])
def test_a_jump_beside_the_point_is_stepped_around(distance: float) -> None:
    assert holds(lambda x: math.sin(x) + (x > 1.0 + distance), 1.0, math.cos(1.0), 1e-4)


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda x: math.copysign(1.0, x), 0.0),
        (lambda x: float(x > 1.0), 1.0),
        (lambda x: float(x >= 1.0) + x, 1.0),
        (math.floor, 1.0),
        (lambda x: math.sin(1e12 * x), 1.0),
        (lambda x: math.sin(1e15 * x), 1.0),
        (lambda x: sum(0.5**n * math.cos(7.0**n * math.pi * x) for n in range(18)), 0.3),
        (lambda x: float(np.cbrt(x)), 0.0),
        (lambda x: math.nan if x != 1.0 else 0.0, 1.0),
    ],
)
def test_no_confident_number_where_there_is_no_derivative(function: Function, at: float) -> None:
    found = derivative(function, at)
    assert not found.error < 0.5 * abs(found.value)
    assert found.error > 0.1


@pytest.mark.parametrize("seed", range(10))
def test_random_values_are_noise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = derivative(lambda x: rng.standard_normal(), 1.0)
    assert abs(found.value) <= found.error
    assert found.error > 0.5
    half = derivative(lambda x: x + 1e-3 * rng.standard_normal(), 1.0)
    assert abs(half.value - 1.0) <= half.error < 0.5


@pytest.mark.parametrize("mode", ["nan", "inf", "ValueError", "OverflowError", "complex"])
def test_beyond_the_edge_of_the_domain_one_side_is_used(mode: str) -> None:
    def edged(x: float) -> float:
        if x >= 0.0:
            return x + math.exp(x)
        if mode == "ValueError":
            raise ValueError
        if mode == "OverflowError":
            raise OverflowError
        outside: dict[str, complex] = {"nan": NAN, "inf": INF, "complex": cmath.sqrt(x)}
        return outside[mode]  # type: ignore[return-value]

    found = derivative(edged, 0.0)
    assert found.status is Status.ONE_SIDED
    assert abs(found.value - 2.0) <= found.error < 1e-7


@pytest.mark.parametrize("at", [1e-12, 1e-3, 5.0])
def test_near_the_edge_both_sides_are_used(at: float) -> None:
    found = derivative(math.log, at)
    assert found.status is Status.SMOOTH
    assert abs(found.value - 1.0 / at) <= found.error < 1e-10 / at


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_where_the_function_is_not_finite_there_is_no_answer(value: float) -> None:
    found = derivative(lambda x: value if x == 1.0 else x, 1.0)
    assert found.status is Status.UNDEFINED
    assert math.isnan(found.value)
    assert math.isinf(found.error)
    assert derivative(lambda x: 1.0 / x, 0.0).status is Status.UNDEFINED


def test_other_exceptions_are_the_callers() -> None:
    def broken(x: float) -> float:
        raise KeyError(x)

    with pytest.raises(KeyError):
        derivative(broken, 1.0)


@pytest.mark.parametrize("bad", [NAN, INF, "1", None, 1j])
def test_a_point_that_is_no_finite_number_is_refused(bad: object) -> None:
    with pytest.raises(InputError, match="t0="):
        derivative(math.sin, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [NAN, 0.0, -1.0, "1"])
def test_a_scale_that_is_no_positive_number_is_refused(bad: object) -> None:
    with pytest.raises(InputError, match="scale="):
        derivative(math.sin, 1.0, scale=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", ["1.0", None, [1.0], np.zeros(2)])
def test_values_that_are_no_numbers_are_refused(returned: object) -> None:
    with pytest.raises(InputError, match="real number"):
        derivative(lambda x: returned, 1.0)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "wrap",
    [np.float64, np.float32, np.array, lambda v: np.array([v]), lambda v: np.array([[v]])],
)
def test_numbers_of_any_kind_will_do(wrap: Callable[[float], float]) -> None:
    found = derivative(lambda x: wrap(2.0 * x), 1.0)
    assert abs(found.value - 2.0) <= found.error < 1e-5


def test_evaluations_are_counted() -> None:
    for function in (
        math.sin,
        abs,
        math.floor,
        lambda x: float(np.float32(math.sin(x))),
        math.sqrt,
    ):
        count = 0

        def counted(x: float, function: Function = function) -> float:
            nonlocal count
            count += 1
            return function(x)

        found = derivative(counted, 1.0)
        # A staircase's points are asked for once more where a second trend is tried.
        assert found.evaluations <= count <= found.evaluations + 36


def test_the_ladder_shows_the_steps_from_coarse_to_fine() -> None:
    found = derivative(math.exp, 1.0)
    steps = [rung.step for rung in found.ladder]
    assert steps == sorted(steps, reverse=True)
    assert len(steps) >= 15
    for rung in found.ladder[:8]:
        t = rung.step
        assert rung.difference == pytest.approx(math.e * math.sinh(t) / t, rel=1e-9)
    assert found.ladder[0].truncation > found.ladder[4].truncation > found.ladder[8].truncation
    assert found.ladder[-1].rounding > found.ladder[0].rounding
    assert found.step in steps


def test_the_error_is_truncation_and_rounding() -> None:
    found = derivative(math.exp, 1.0)
    assert found.error == pytest.approx(found.truncation + found.rounding)


def test_a_scale_given_is_where_steps_begin() -> None:
    # Smooth over 1e-4 only, at 1: the default takes longer steps in vain.
    def narrow(x: float) -> float:
        return math.sin(1e4 * (x - 1.0))

    assert holds(narrow, 1.0, 1e4, 1e-8)
    asked: list[float] = []
    derivative(lambda x: asked.append(x) or narrow(x), 1.0, scale=1e-4)  # type: ignore[func-returns-value]
    assert max(abs(x - 1.0) for x in asked) < 2e-3


def test_steps_between_the_rungs_shorten_bars_that_noise_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def noisy(seed: int) -> Function:
        rng = np.random.default_rng(seed)
        return lambda x: math.exp(x) + 1e-7 * rng.uniform(-1, 1)

    filled = np.median([derivative(noisy(seed), 1.0).error for seed in range(40)])
    module = sys.modules["gradproof.numerics.estimate"]
    monkeypatch.setattr(module, "_fill_in", lambda ladder, noise, best: best)
    plain = np.median([derivative(noisy(seed), 1.0).error for seed in range(40)])
    assert filled < 0.7 * plain


def test_lanes_at_once_are_the_same_as_one_by_one() -> None:
    functions: list[Function] = [
        math.sin,
        abs,
        lambda x: max(x - 1.0, 0.0),
        lambda x: float(np.float32(math.sin(x))),
        lambda x: math.sqrt(x - 0.9999) if x > 0.9999 else NAN,
        lambda x: 0.0,
        lambda x: math.copysign(math.sqrt(abs(x - 1.0)), x - 1.0),
        lambda x: NAN,
    ]

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return np.array([functions[j](1.0 + float(t)) for j, t in zip(lanes, offsets, strict=True)])

    ones = np.ones(len(functions))
    together = estimate(sampler, ones, ones)
    for j, function in enumerate(functions):
        alone, lane = derivative(function, 1.0), together[j]
        assert lane.status is alone.status
        assert lane.evaluations == alone.evaluations
        # The fits of one lane and of eight are rounded differently, by a few ulps of the slope.
        np.testing.assert_allclose(lane.error, alone.error, rtol=1e-3, atol=1e-13)
        if math.isfinite(alone.error):
            assert abs(lane.value - alone.value) <= 0.01 * alone.error + 1e-14


def test_a_known_noise_is_not_measured_again() -> None:
    asked: list[int] = []

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        asked.append(len(lanes))
        return np.sin(1.0 + offsets)

    one = np.ones(1)
    found = estimate(sampler, one, one, value=np.sin(one), noise=np.array([1e-16]))
    assert sum(asked) == found.evaluations[0] == 30
    assert abs(found.value[0] - math.cos(1.0)) <= found.error[0] < 1e-11
    # Too little noise shows in the residuals; too much widens the bar.
    loud = estimate(sampler, one, one, value=np.sin(one), noise=np.array([1e-6]))
    assert abs(loud.value[0] - math.cos(1.0)) <= loud.error[0]
    assert loud.error[0] > 1e-6
