"""What a check costs: values of f, counted here and not by gradproof."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.full import check

Function = Callable[[Any], Any]


class Counted:
    """A function that counts its calls."""

    def __init__(self, f: Function) -> None:
        self.f = f
        self.calls = 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        return self.f(x)


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def sines() -> tuple[Function, Any, Function]:
    return lambda x: np.sum(np.sin(x)), draw(0, 300), np.cos


def log_over_decades() -> tuple[Function, Any, Function]:
    x = 10.0 ** np.random.default_rng(1).uniform(-6, 6, 200)
    return lambda x: np.sum(np.log(x)), x, lambda x: 1 / x


def rosenbrock() -> tuple[Function, Any, Function]:
    def f(x: Any) -> Any:
        return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def grad(x: Any) -> Any:
        valley = x[1:] - x[:-1] ** 2
        g = np.zeros_like(x)
        g[1:] = 200 * valley
        g[:-1] -= 400 * x[:-1] * valley + 2 * (1 - x[:-1])
        return g

    return f, draw(2, 100), grad


def logistic_regression(points: int, features: int) -> tuple[Function, Any, Function]:
    data, labels = draw(3, points, features), (draw(4, points) > 0).astype(float)

    def f(p: Any) -> Any:
        score = data @ p["w"] + p["b"]
        return np.mean(np.logaddexp(0, score) - labels * score)

    def grad(p: Any) -> Any:
        gap = (1 / (1 + np.exp(-data @ p["w"] - p["b"])) - labels) / points
        return {"w": data.T @ gap, "b": np.sum(gap)}

    return f, {"w": draw(5, features) / np.sqrt(features), "b": 0.1}, grad


def perceptron() -> tuple[Function, Any, Function]:
    data, target = draw(6, 50, 20), draw(7, 50)

    def forward(p: Any) -> tuple[Any, Any]:
        hidden = np.tanh(data @ p["w1"] + p["b1"])
        return hidden, hidden @ p["w2"] + p["b2"] - target

    def f(p: Any) -> Any:
        return 0.5 * np.mean(forward(p)[1] ** 2)

    def grad(p: Any) -> Any:
        hidden, gap = forward(p)
        gap = gap / len(target)
        back = np.outer(gap, p["w2"]) * (1 - hidden**2)
        return {"w1": data.T @ back, "b1": back.sum(0), "w2": hidden.T @ gap, "b2": gap.sum()}

    x = {"w1": 0.3 * draw(8, 20, 15), "b1": 0.1 * draw(9, 15), "w2": draw(10, 15), "b2": 0.3}
    return f, x, grad


def softmax_regression() -> tuple[Function, Any, Function]:
    data, labels = draw(11, 40, 10), np.random.default_rng(12).integers(0, 5, 40)

    def probability(w: Any) -> Any:
        score = data @ w
        powers = np.exp(score - score.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def f(w: Any) -> Any:
        return -np.sum(np.log(probability(w)[np.arange(40), labels]))

    def grad(w: Any) -> Any:
        return data.T @ (probability(w) - np.eye(5)[labels])

    return f, draw(13, 10, 5), grad


SUBJECTS = {
    "sines": sines(),
    "log-over-decades": log_over_decades(),
    "rosenbrock": rosenbrock(),
    "logistic-regression-of-1000-points": logistic_regression(1000, 20),
    "logistic-regression-of-1000-weights": logistic_regression(50, 1000),
    "perceptron": perceptron(),
    "softmax-regression": softmax_regression(),
    "a-single-sine": (np.sin, 0.3, np.cos),
}
BY_SUBJECT = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)


@BY_SUBJECT
def test_right_smooth_gradient_costs_two_values_an_entry(subject: Any) -> None:
    f, x, grad = subject
    counted = Counted(f)
    report = check(counted, x, grad, coverage="full")
    entries = sum(tensor.size for tensor in report.tensors.values())
    assert report.verdict == "pass"
    assert len(report.entries) == entries
    assert counted.calls <= 2.2 * entries + 100


@BY_SUBJECT
def test_evaluations_are_the_calls_of_f(subject: Any) -> None:
    f, x, grad = subject
    counted = Counted(f)
    assert check(counted, x, grad).evaluations == counted.calls


@pytest.mark.parametrize(
    ("f", "x", "claim"),
    [
        (np.abs, 0.0, np.sign),
        (lambda x: np.sum(np.abs(x)), np.array([0.0, 0.0, 1.0]), np.sign),
        (lambda x: np.sum(np.abs(x)), np.array([0.0, 1e-5, 1.0]), np.sign),
        (lambda x: np.sum(np.sin(x)), np.ones(5), np.sin),
        (lambda x: np.sin(x), np.ones(5), lambda x, cotangent: cotangent * np.cos(x)),
        (lambda x: np.nan, np.ones(5), np.cos),
        (lambda x: np.sum(np.log(x)), np.array([1e-9, 1.0]), lambda x: 1 / x),
        (lambda x: np.float32(np.sum(np.sin(x))), np.ones(5), np.cos),
    ],
    ids=["kink", "kinks", "near-kink", "wrong", "array", "nan", "edge", "float32"],
)
def test_every_value_counts_whatever_is_done_with_it(f: Function, x: Any, claim: Function) -> None:
    counted = Counted(f)
    assert check(counted, x, claim).evaluations == counted.calls


def test_a_call_that_was_refused_counts_too() -> None:
    def f(x: Any) -> Any:
        if x.dtype != np.float32:
            raise TypeError("float32, please")
        return np.sum(np.sin(x))

    counted = Counted(f)
    assert check(counted, np.ones(3, np.float32), np.cos).evaluations == counted.calls


def test_a_batch_counts_its_points() -> None:
    points = 0

    def many(x: Any) -> Any:
        nonlocal points
        points += len(x)
        return np.sum(np.sin(x), axis=1)

    single = Counted(lambda x: np.sum(np.sin(x)))
    x = draw(0, 300)
    report = check(single, x, np.cos, f_batch=many)
    assert report.evaluations == single.calls + points <= 2.2 * 300 + 105


def test_terms_are_counted_with_the_whole() -> None:
    parts = [Counted(lambda x: np.sum(np.sin(x))), Counted(lambda x: np.sum(x * x))]
    whole = Counted(lambda x: np.sum(np.sin(x)) + np.sum(x * x))
    terms: dict[str, Any] = {"sines": parts[0], "squares": (parts[1], lambda x: 2 * x)}
    grads = Counted(lambda x: np.cos(x) + 2 * x)
    report = check(whole, draw(0, 5), grads, terms=terms)
    assert report.verdict == "pass"
    assert report.evaluations == whole.calls + sum(part.calls for part in parts)
    assert report.gradient_evaluations > grads.calls > 12


def test_a_wrong_gradient_costs_no_more_than_some_ladders() -> None:
    counted = Counted(lambda x: np.sum(np.sin(x)))
    report = check(counted, draw(0, 2000), np.sin)
    assert report.entries.counts()["mismatch"] == 2000
    assert counted.calls <= 6 * 2000 + 5000


def test_a_batch_that_a_point_outside_the_domain_spoils_is_counted_twice() -> None:
    points: list[int] = []

    def alone(x: Any) -> Any:
        points.append(1)
        return np.sum(x * np.sqrt(x))

    def many(x: Any) -> Any:
        points.append(len(x))
        if np.any(x < 0.0):
            raise ValueError("outside the domain")
        return (x * np.sqrt(x)).sum(axis=1)

    def claim(x: Any) -> Any:
        return 1.5 * np.sqrt(np.abs(x))

    report = check(alone, np.array([0.0, 1.0, 2.0]), claim, f_batch=many)
    assert report.verdict == "pass"
    assert report.evaluations == sum(points)
