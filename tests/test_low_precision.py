"""Functions that can be given float32, float16 or bfloat16 only: right gradients never fail."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.full import check

from gradproof.coverage import climb
from gradproof.numerics.sampling import EPS
from gradproof.report.model import Report
from gradproof.subjects.base import Floats
from gradproof.subjects.numpy import ArraySubject

Array = npt.NDArray[Any]
Function = Callable[[Any], Any]
Problem = tuple[Function, Any, Function]
Rng = np.random.Generator

SPACING = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def dtype_of(name: str) -> Any:
    module: Any = pytest.importorskip("ml_dtypes") if name == "bfloat16" else np
    return getattr(module, name)


def leaves(x: Any) -> list[Array]:
    return list(x.values()) if isinstance(x, dict) else [x]


def each(change: Callable[[Array], Any], x: Any) -> Any:
    return {k: change(v) for k, v in x.items()} if isinstance(x, dict) else change(x)


def total(x: Array, axis: int | None = None) -> Any:
    """A sum accumulated in float32, rounded once: what torch makes of half precision."""
    return np.asarray(x).astype(np.float32).sum(axis=axis).astype(x.dtype)


def product(a: Array, b: Array) -> Array:
    result: Array = (a.astype(np.float32) @ b.astype(np.float32)).astype(a.dtype)
    return result


class Rounded(ArraySubject):
    """A subject whose f is given numbers of one dtype, whatever it is, and so is its gradient."""

    def __init__(self, f: Function, x: Any, spacing: float, seed: int) -> None:
        self.dtype = leaves(x)[0].dtype
        super().__init__(
            lambda x: np.asarray(f(self.low(x))).astype(np.float64),
            each(lambda v: v.astype(np.float64), x),
            rng=np.random.default_rng(seed),
        )
        self.spacing = (spacing,) * len(self.names)
        self.value_spacing = spacing

    def low(self, x: Any) -> Any:
        return each(lambda v: np.asarray(v).astype(self.dtype), x)

    def claims(self, grad: Any, *, at: Sequence[Floats] | None = None) -> tuple[Floats, ...]:
        found = super().claims(
            lambda x: each(lambda v: np.asarray(v).astype(np.float64), grad(self.low(x))), at=at
        )
        self.claim_spacing = self.spacing[0]
        return found


def report_on(problem: Problem, name: str, seed: int, *, spacing: float | None = None) -> Report:
    """NumPy's own formats as they are given; others, or another spacing, by `Rounded`."""
    f, x, grad = problem
    if name != "bfloat16" and spacing is None:
        return check(picky(f, x), x, grad, seed=seed, coverage="full")
    subject = Rounded(f, x, SPACING[name] if spacing is None else spacing, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys.modules["gradproof.check"], "maker", lambda *_, **__: lambda *_, **__: subject
        )
        return check(f, subject.point, grad, seed=seed, coverage="full")


def picky(f: Function, x: Any) -> Function:
    """F for arguments of x's dtype only."""
    expected = leaves(x)[0].dtype

    def checked(x: Any) -> Any:
        if any(leaf.dtype != expected for leaf in leaves(x)):
            raise TypeError(f"only {expected}")
        return f(x)

    return checked


def squares(rng: Rng, d: Any) -> Problem:
    return lambda x: total(x * x), rng.normal(size=12).astype(d), lambda x: d(2) * x


def sines(rng: Rng, d: Any) -> Problem:
    return lambda x: total(np.sin(x)), rng.normal(size=12).astype(d), lambda x: np.cos(x)


def logarithms(rng: Rng, d: Any) -> Problem:
    return lambda x: total(np.log(x)), rng.uniform(0.2, 3, 12).astype(d), lambda x: d(1) / x


def mean_square(rng: Rng, d: Any) -> Problem:
    y = rng.normal(size=20).astype(d)
    return (
        lambda x: total((x - y) * (x - y)) / d(20),
        rng.normal(size=20).astype(d),
        lambda x: d(2) * (x - y) / d(20),
    )


def offset(rng: Rng, d: Any) -> Problem:
    return lambda x: total(np.sin(x)) + d(100), rng.normal(size=8).astype(d), lambda x: np.cos(x)


def hidden_offset(rng: Rng, d: Any) -> Problem:
    """Adding 100 leaves stairs as wide as a spacing at 100; taking it away hides them."""
    return (
        lambda x: (total(np.sin(x)) + d(100)) - d(100),
        rng.normal(size=8).astype(d),
        lambda x: np.cos(x),
    )


def cancelling(rng: Rng, d: Any) -> Problem:
    return (
        lambda x: total((x + d(10)) * (x + d(10)) - x * x),
        rng.normal(size=8).astype(d),
        lambda x: d(20) * np.ones_like(x),
    )


def cross_entropy(rng: Rng, d: Any) -> Problem:
    x, y, rows = (2 * rng.normal(size=(4, 5))).astype(d), rng.integers(5, size=4), np.arange(4)

    def logs(z: Array) -> Array:
        z = z - z.max(axis=1, keepdims=True)
        shifted: Array = z - np.log(total(np.exp(z), 1))[:, None]
        return shifted

    def grad(x: Array) -> Array:
        p = np.exp(logs(x))
        p[rows, y] -= d(1)
        mean: Array = p / d(4)
        return mean

    return lambda x: -total(logs(x)[rows, y]) / d(4), x, grad


def network(rng: Rng, d: Any, *, batch: int = 6, relu: bool = False) -> Problem:
    data, target = rng.normal(size=(batch, 4)).astype(d), rng.normal(size=(batch, 3)).astype(d)
    x = {
        "w": (rng.normal(size=(4, 5)) / 2).astype(d),
        "b": (rng.normal(size=5) / 10).astype(d),
        "v": (rng.normal(size=(5, 3)) / 2).astype(d),
    }

    def bend(z: Array) -> Any:
        return np.maximum(z, d(0)) if relu else np.tanh(z)

    def slope(z: Array) -> Any:
        return (z > 0).astype(d) if relu else d(1) - np.tanh(z) * np.tanh(z)

    def parts(x: dict[str, Array]) -> tuple[Array, Array]:
        z = product(data, x["w"]) + x["b"]
        return z, product(bend(z), x["v"]) - target

    def f(x: dict[str, Array]) -> Any:
        gap = parts(x)[1]
        return total(gap * gap) / d(3 * batch)

    def grad(x: dict[str, Array]) -> dict[str, Array]:
        z, gap = parts(x)
        gap = d(2) * gap / d(3 * batch)
        inner = product(gap, x["v"].T) * slope(z)
        return {"w": product(data.T, inner), "b": total(inner, 0), "v": product(bend(z).T, gap)}

    return f, x, grad


def relu_network(rng: Rng, d: Any) -> Problem:
    return network(rng, d, relu=True)


def dense_kinks(rng: Rng, d: Any) -> Problem:
    """A kink for every unit and image: the nearest is nearer than the steps that tell anything."""
    return network(rng, d, batch=300, relu=True)


def chain(rng: Rng, d: Any) -> Problem:
    x = {k: rng.normal(size=(3, 3)).astype(d) for k in "abc"}
    weights = rng.normal(size=(3, 3)).astype(d)

    def grad(x: dict[str, Array]) -> dict[str, Array]:
        a, b, c = x["a"], x["b"], x["c"]
        return {
            "a": product(weights, product(b, c).T),
            "b": product(product(a.T, weights), c.T),
            "c": product(product(a, b).T, weights),
        }

    return lambda x: total(product(product(x["a"], x["b"]), x["c"]) * weights), x, grad


def near_zero(rng: Rng, d: Any) -> Problem:
    """Among the entries some at the point where |x| has its kink, and some beside it."""
    x = np.concatenate([np.zeros(3), [1e-3, -0.03], rng.normal(size=8)]).astype(d)
    return lambda x: total(np.abs(x)) + total(x * x), x, lambda x: np.sign(x) + d(2) * x


PROBLEMS = (
    squares,
    sines,
    logarithms,
    mean_square,
    offset,
    hidden_offset,
    cancelling,
    cross_entropy,
    network,
    relu_network,
    chain,
    near_zero,
    dense_kinks,
)
KINKED = (relu_network, near_zero, dense_kinks)


@pytest.mark.parametrize("name", list(SPACING))
@pytest.mark.parametrize("make", PROBLEMS)
def test_a_right_gradient_never_fails(make: Callable[..., Problem], name: str) -> None:
    d = dtype_of(name)
    reports = [report_on(make(np.random.default_rng(seed), d), name, seed) for seed in range(4)]
    verdicts = Counter(report.verdict for report in reports)
    assert verdicts["fail"] == 0
    if name == "float32" and make not in KINKED:
        assert verdicts["pass"] == len(reports)
    for report in reports:
        if report.verdict == "inconclusive":
            # The limit is named: it is not gradproof's, nor the gradient's.
            assert f"{name} inputs: " in report.reason


WRONG: dict[str, Callable[[Array], Array]] = {
    "sign": lambda g: -g,
    "factor 2": lambda g: g + g,
    "zero": lambda g: 0 * g,
}


def bent(problem: Problem, bend: Callable[[Array], Array]) -> Problem:
    f, x, grad = problem
    return f, x, lambda x: each(bend, grad(x))


@pytest.mark.parametrize("name", list(SPACING))
@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("make", [p for p in PROBLEMS if p not in (offset, hidden_offset)])
def test_a_grossly_wrong_gradient_fails(
    make: Callable[..., Problem], wrong: str, name: str
) -> None:
    problem = bent(make(np.random.default_rng(1), dtype_of(name)), WRONG[wrong])
    report = report_on(problem, name, 1)
    if name == "bfloat16" and make in (mean_square, cancelling):
        # Each of many entries changes f by little more than its spacing.
        assert report.verdict != "pass"
    else:
        assert report.verdict == "fail"


@pytest.mark.parametrize("make", PROBLEMS)
def test_a_tenth_too_much_fails_in_single_precision(make: Callable[..., Problem]) -> None:
    problem = bent(make(np.random.default_rng(0), np.float32), lambda g: g * g.dtype.type(1.1))
    assert report_on(problem, "float32", 0).verdict == "fail"


@pytest.mark.parametrize("name", ["float32", "float16"])
def test_one_wrong_entry_of_twelve_is_found(name: str) -> None:
    f, x, grad = squares(np.random.default_rng(0), dtype_of(name))

    def one(x: Array) -> Array:
        g: Array = grad(x).copy()
        g[np.argmax(np.abs(g))] *= -1
        return g

    report = report_on((f, x, one), name, 0)
    assert report.verdict == "fail"
    assert sum(entry.verdict == "mismatch" for entry in report.entries) == 1


def test_a_kink_at_the_point_is_seen_in_single_precision() -> None:
    f, x, grad = near_zero(np.random.default_rng(1), np.float32)
    report = report_on((f, x, grad), "float32", 1)
    assert report.tensors["x"].counts["kink"] == 3


def test_a_double_inside_makes_half_precision_inputs_sharp() -> None:
    """Only the point is coarse: what f does with it is known to many digits."""
    for seed in range(6):
        x = np.random.default_rng(seed).normal(size=6).astype(np.float16)
        f = picky(lambda x: np.sum(np.sin(x.astype(np.float64))), x)
        report = check(f, x, lambda x: np.cos(x.astype(np.float64)), coverage="full")
        assert report.verdict != "fail"
        assert max(entry.error for entry in report.entries) < 1e-3


# -- what it takes -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(SPACING))
def test_taken_for_doubles_right_gradients_would_fail(name: str) -> None:
    d = dtype_of(name)
    verdicts = {
        report_on(mean_square(np.random.default_rng(seed), d), name, seed, spacing=EPS).verdict
        for seed in range(4)
    }
    assert "fail" in verdicts


def test_kinks_lost_in_the_noise_would_be_taken_for_wrong_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    estimates = sys.modules["gradproof.numerics.estimate"]
    monkeypatch.setattr(estimates, "hidden_jump", lambda ladder, noise, *_: 0.0 * noise)
    extrapolation = sys.modules["gradproof.numerics.extrapolation"]
    monkeypatch.setattr(extrapolation, "MOST_EXCESS_IF_COARSE", 100.0)
    monkeypatch.setattr(extrapolation, "ROUGH", 1.0)
    monkeypatch.setattr(climb, "MARGIN_IF_COARSE", 1.0)
    reports = [
        report_on(dense_kinks(np.random.default_rng(seed), np.float32), "float32", seed)
        for seed in range(6)
    ]
    assert any(report.verdict == "fail" for report in reports)
