"""Before anything is compared: is f a function, and does the claim repeat itself?"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.full import check

import gradproof
from gradproof import InputError
from gradproof.coverage.probe import scales
from gradproof.diagnosis.preflight import Claim, Value, look_at_claim, look_at_value
from gradproof.subjects.numpy import ArraySubject

Function = Callable[[Any], Any]

X = np.array([0.3, -1.2, 2.0, 0.8])


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


def subject(f: Function = sines, x: Any = X) -> ArraySubject:
    return ArraySubject(f, x, rng=np.random.default_rng(0))


def value(f: Function, x: Any = X) -> Value:
    return look_at_value(subject(f, x))


def claim(grad: Any, f: Function = sines, x: Any = X) -> Claim:
    one = subject(f, x)
    return look_at_claim(one, grad, scales(one.point), np.random.default_rng(0))


def kinds(found: Value | Claim) -> list[str]:
    return [finding.kind for finding in found.findings]


# -- f -----------------------------------------------------------------------------------------


def test_a_function_has_one_value_at_a_point() -> None:
    found = value(sines)
    assert found.value == np.sum(np.sin(X))
    assert found.jitter == 0.0
    assert found.is_usable
    assert found.findings == ()


@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0])
def test_a_random_function_is_found_out(size: float) -> None:
    rng = np.random.default_rng(0)
    found = value(lambda x: sines(x) + size * rng.normal())
    assert not found.is_usable
    assert kinds(found) == ["nondeterministic"]
    (finding,) = found.findings
    assert finding.severity == "warning"
    assert "dropout" in finding.message
    assert size / 10 < found.jitter < 10 * size


def test_a_random_function_is_inconclusive_and_no_entry_is_accused() -> None:
    rng = np.random.default_rng(0)
    for grad in (np.cos, np.sin):
        report = check(lambda x: sines(x) + 1e-3 * rng.normal(), X, grad)
        assert report.verdict == "inconclusive"
        assert len(report.entries) == 0
        assert report.reason == report.findings[0].message


def test_dropout_is_found_out() -> None:
    rng = np.random.default_rng(0)
    found = value(lambda x: np.sum(np.sin(x) * (rng.random(4) > 0.5)))
    assert kinds(found) == ["nondeterministic"]


def test_a_counter_in_f_is_found_out() -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return sines(x) + calls

    assert not value(f).is_usable


@pytest.mark.parametrize("size", [1e-15, 1e-13])
def test_jitter_in_the_last_digits_is_noise(size: float) -> None:
    rng = np.random.default_rng(0)

    def f(x: Any) -> Any:
        return sines(x) + size * rng.normal()

    found = value(f)
    assert found.is_usable
    assert [finding.severity for finding in found.findings] == ["info"]
    report = check(f, X, np.cos)
    assert report.verdict == "pass"
    assert report.noise > size / 10
    assert check(f, X, np.sin).verdict == "fail"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_no_place_for_a_derivative(bad: float) -> None:
    found = value(lambda x: bad)
    assert not found.is_usable
    assert kinds(found) == ["not-finite"]
    assert str(bad) in found.findings[0].message


# -- the claim ---------------------------------------------------------------------------------


def test_a_claim_given_as_an_array_is_not_called() -> None:
    found = claim(np.cos(X))
    assert found.calls == 0
    assert found.gradient[0].tolist() == np.cos(X).tolist()
    assert np.all(found.rounding[0] == 4 * np.finfo(float).eps * np.abs(np.cos(X)))


def test_calls_of_the_gradient_are_counted() -> None:
    calls = 0

    def grad(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.cos(x)

    assert claim(grad).calls == calls


def test_an_accurate_gradient_has_little_rounding() -> None:
    found = claim(np.cos)
    assert np.all(found.rounding[0] < 1e-13)


def test_a_gradient_with_cancellation_has_much() -> None:
    """1 - cos(x) near 0 loses digits that 2 sin(x/2)^2 does not."""
    x = np.array([1e-3, 2e-3, 3e-3])
    lossy = claim(lambda x: 1 - np.cos(x), lambda x: np.sum(x - np.sin(x)), x)
    exact = claim(lambda x: 2 * np.sin(x / 2) ** 2, lambda x: np.sum(x - np.sin(x)), x)
    true = 2 * np.sin(x / 2) ** 2
    assert np.all(np.abs(lossy.gradient[0] - true) <= lossy.rounding[0])
    assert np.all(exact.rounding[0] < 1e-3 * lossy.rounding[0])
    assert np.all(lossy.rounding[0] < 1e-4 * true)


def test_a_gradient_in_single_precision_has_its_rounding() -> None:
    found = claim(lambda x: np.cos(x.astype(np.float32)))
    assert np.all(np.abs(found.gradient[0] - np.cos(X)) <= found.rounding[0])
    assert np.all(found.rounding[0] < 1e-5)


def test_a_jump_of_the_gradient_at_x_is_no_rounding() -> None:
    found = claim(np.sign, lambda x: np.sum(np.abs(x)), np.zeros(3))
    assert np.all(found.rounding[0] < 1e-12)


def test_a_gradient_of_pure_noise_is_not_excused_by_it() -> None:
    def grad(x: Any) -> Any:
        bits = np.frombuffer(np.ascontiguousarray(x).tobytes(), np.uint64)
        return np.cos(x) * (1 + 0.5 * ((bits % 1009) / 1009.0 - 0.5))

    assert claim(grad).rounding[0].max() < 0.01
    assert check(sines, X, grad).verdict == "fail"


@pytest.mark.parametrize(
    ("x", "f", "grad"),
    [
        (0.0, lambda x: math.sqrt(x) ** 5, lambda x: 2.5 * math.sqrt(x) ** 3),
        (np.zeros(2), lambda x: np.sum(x**2.5), lambda x: 2.5 * x**1.5),
        (1.0, lambda x: math.acosh(x) ** 4, lambda x: 0.0 * math.acosh(x)),
    ],
)
def test_a_gradient_at_the_edge_of_its_domain_is_taken_there(
    x: Any, f: Function, grad: Function
) -> None:
    found = claim(grad, f, x)
    assert found.findings == ()
    assert np.all(found.rounding[0] == 0.0)


def test_a_gradient_that_changes_its_shape_is_refused() -> None:
    calls = 0

    def grad(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return np.cos(x[: 4 - calls // 5])

    with pytest.raises(InputError, match=r"Expected shape \(4,\) but got grad of shape \(3,\)"):
        claim(grad)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_a_bug_and_counted(bad: float) -> None:
    x = {"w": np.ones((2, 3)), "b": 0.5}
    wrong = np.ones((2, 3))
    wrong[1, 1:] = bad
    found = claim(lambda p: {"w": wrong, "b": 1.0}, lambda p: np.sum(p["w"]) + p["b"], x)
    (finding,) = found.findings
    assert finding.kind == "nan"
    assert finding.severity == "bug"
    assert finding.tensor == "w"
    assert finding.evidence == {"count": 2, "first": "w[1, 1]"}
    assert "2 of 6 analytic values" in finding.message


def test_a_gradient_added_to_the_last_one_is_found_out() -> None:
    total = np.zeros(4)

    def grad(x: Any) -> Any:
        total[:] += np.cos(x)
        return total

    (finding,) = claim(grad).findings
    assert finding.kind == "accumulated"
    assert finding.severity == "bug"
    assert finding.evidence["ratio"] == pytest.approx(2.0)
    assert "added to what an earlier call left" in finding.message


def test_a_random_gradient_is_found_out() -> None:
    rng = np.random.default_rng(0)
    (finding,) = claim(lambda x: np.cos(x) * rng.uniform(0.9, 1.1)).findings
    assert finding.kind == "gradient-changes"
    assert "added to" not in finding.message


def test_a_gradient_that_differs_in_its_last_digits_is_named_and_that_is_its_rounding() -> None:
    rng = np.random.default_rng(0)
    found = claim(lambda x: np.cos(x) * (1 + 1e-14 * rng.normal(size=4)))
    (finding,) = found.findings
    assert (finding.kind, finding.severity) == ("gradient-changes", "info")
    assert "atomic" in finding.message
    largest = finding.evidence["largest difference"]
    assert found.rounding[0].max() >= 2.0 * float(str(largest))


def test_rounding_of_entries_without_effect_hides_no_error_of_the_others() -> None:
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(4, 2)), rng.normal(size=4)

    def outputs(p: Any) -> Any:
        h = x + p["b"]
        # A shift of the first column has no effect: its mean is taken off.
        return h, np.stack([h[:, 0] - h[:, 0].mean(), np.tanh(h[:, 1])], axis=1)

    def f(p: Any) -> float:
        return float(np.sum((outputs(p)[1].sum(axis=1) - t) ** 2))

    def gradient(p: Any, factor: float) -> Any:
        _, y = outputs(p)
        d = 2.0 * (y.sum(axis=1) - t)
        second = factor * np.sum(d * (1.0 - y[:, 1] ** 2))
        return {"b": np.array([np.sum(d - d.mean()), second])}

    point = {"b": np.array([0.1, 0.2])}
    for coverage in ("probe", "full"):
        for factor, verdict in ((1.0, "pass"), (1.3, "fail"), (2.0, "fail")):

            def claim(p: Any, factor: float = factor) -> Any:
                return gradient(p, factor)

            report = gradproof.check(f, point, claim, coverage=coverage)
            assert report.verdict == verdict, (coverage, factor, report.reason)
