"""A budget is kept, and what is known when it runs out is reported: never a verdict without it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gradproof import InputError, Report, check

torch: Any = pytest.importorskip("torch")

WEIGHTS = np.random.default_rng(0).normal(size=12)
X = np.random.default_rng(1).normal(size=12)
COVERAGES = ("probe", "sample", "full")


def f(x: Any) -> Any:
    return np.sum(np.sin(x) * WEIGHTS) + np.sum(np.abs(x[:3]))


def right(x: Any) -> Any:
    slopes = np.cos(x) * WEIGHTS
    slopes[:3] += np.sign(x[:3])
    return slopes


def one_wrong(x: Any) -> Any:
    slopes = right(x)
    slopes[7] *= 1.01
    return slopes


def all_zero(x: Any) -> Any:
    return np.zeros_like(x)


class Counted:
    """A function that counts the points at which it was called."""

    def __init__(self, f: Callable[[Any], Any]) -> None:
        self.f, self.calls = f, 0

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        return self.f(x)

    def batch(self, x: Any) -> Any:
        self.calls += len(x)
        return np.array([self.f(one) for one in x])


def verdicts(run: Callable[[int | None], Report], allowed: set[str], stride: int) -> set[str]:
    """All verdicts that budgets up to the whole cost lead to; each must be among those allowed."""
    whole = run(None)
    seen: set[str] = {whole.verdict}
    for budget in range(1, whole.evaluations + 1, stride):
        report = run(budget)
        assert report.verdict in allowed, budget
        assert report.verdict == whole.verdict or "the budget ran out" in str(report)
        seen.add(report.verdict)
    return seen


# -- no budget leads to a wrong verdict --------------------------------------------------------


@pytest.mark.parametrize("coverage", COVERAGES)
def test_no_budget_makes_a_right_gradient_fail(coverage: str) -> None:
    def run(budget: int | None) -> Report:
        return check(f, X, right, coverage=coverage, samples=5, max_evaluations=budget)

    assert verdicts(run, {"pass", "inconclusive"}, 3) == {"pass", "inconclusive"}


@pytest.mark.parametrize(("claim", "stride"), [(one_wrong, 7), (all_zero, 29)])
@pytest.mark.parametrize("coverage", COVERAGES)
def test_no_budget_makes_a_wrong_gradient_pass(coverage: str, claim: Any, stride: int) -> None:
    def run(budget: int | None) -> Report:
        return check(f, X, claim, coverage=coverage, samples=12, max_evaluations=budget)

    assert verdicts(run, {"fail", "inconclusive"}, stride) == {"fail", "inconclusive"}


@pytest.mark.parametrize("coverage", COVERAGES)
def test_no_budget_makes_a_right_gradient_at_kinks_fail(coverage: str) -> None:
    # Kinks meet: what is outside of an entry's two slopes is accepted for a slope beside the point.
    def kinked(x: Any) -> Any:
        return -np.maximum(x[0], x[1]) + 2.0 * np.maximum(x[1], x[2]) + np.sin(x[3])

    def claim(x: Any) -> Any:
        return np.array([-1.0, 2.0, 0.0, np.cos(x[3])])

    def run(budget: int | None) -> Report:
        x = np.array([1.0, 1.0, 1.0, 0.3])
        return check(kinked, x, claim, coverage=coverage, samples=4, max_evaluations=budget)

    whole = run(None)
    assert whole.verdict != "fail"
    for budget in range(1, whole.evaluations + 1, 61):
        assert run(budget).verdict != "fail", budget


def test_no_budget_makes_a_right_gradient_of_a_rough_function_fail() -> None:
    def rough(x: Any) -> Any:
        return np.float32(np.sum(np.sin(x)))

    def run(budget: int | None) -> Report:
        return check(rough, X[:4], np.cos, coverage="full", resolution=0.1, max_evaluations=budget)

    whole = run(None)
    for budget in range(1, whole.evaluations + 1, 11):
        assert run(budget).verdict != "fail", budget


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize(("factor", "stride"), [(1.0, 19), (1.01, 53)])
def test_no_budget_makes_autograd_pass_or_fail_wrongly(
    coverage: str, factor: float, stride: int
) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    for i, p in enumerate(model.parameters()):
        torch.nn.init.normal_(p, generator=torch.Generator().manual_seed(i))

    def claim(x: Any) -> Any:
        grads = torch.autograd.grad(model(x).sum(), list(model.parameters()))
        return {n: factor * g for (n, _), g in zip(model.named_parameters(), grads, strict=True)}

    before = [p.detach().clone() for p in model.parameters()]
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    model.double()
    grad = None if factor == 1.0 else claim(x)

    def run(budget: int | None) -> Report:
        return check(
            model,
            x,
            grad,
            loss=torch.sum,
            coverage=coverage,
            samples=3,
            max_evaluations=budget,
        )

    outcome = "pass" if factor == 1.0 else "fail"
    assert verdicts(run, {outcome, "inconclusive"}, stride) == {outcome, "inconclusive"}
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


class Cube(torch.autograd.Function):  # type: ignore[misc]
    """x cubed, whose rule for forward mode is wrong."""

    @staticmethod
    def forward(x: Any) -> Any:
        return x**3

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])
        ctx.save_for_forward(inputs[0])

    @staticmethod
    def backward(ctx: Any, *given: Any) -> Any:
        return 3.0 * ctx.saved_tensors[0] ** 2 * given[0]

    @staticmethod
    def jvp(ctx: Any, *given: Any) -> Any:
        return 2.0 * ctx.saved_tensors[0] ** 2 * given[0]


@pytest.mark.parametrize("coverage", ["probe", "full"])
def test_no_budget_takes_forward_mode_for_right_where_reverse_mode_is(coverage: str) -> None:
    x = torch.tensor([0.4, -1.2, 0.9], dtype=torch.float64)

    def run(budget: int | None) -> Report:
        return check(Cube, x, coverage=coverage, max_evaluations=budget)

    whole = run(None)
    assert "forward-reverse" in {g.kind for g in whole.findings}
    assert whole.verdict == "pass"
    for budget in range(whole.evaluations - 80, whole.evaluations, 3):
        assert run(budget).verdict != "fail", budget


def test_no_budget_makes_a_term_pass_or_fail_wrongly() -> None:
    def run(factor: float) -> Callable[[int | None], Report]:
        terms: dict[str, Any] = {
            "sines": (
                lambda x: np.sum(np.sin(x) * WEIGHTS),
                lambda x: factor * np.cos(x) * WEIGHTS,
            ),
            "kinks": lambda x: np.sum(np.abs(x[:3])),
        }
        return lambda budget: check(
            f, X, right, coverage="sample", samples=2, terms=terms, max_evaluations=budget
        )

    assert verdicts(run(1.0), {"pass", "inconclusive"}, 19) == {"pass", "inconclusive"}
    assert verdicts(run(1.01), {"fail", "inconclusive"}, 41) == {"fail", "inconclusive"}


# -- the budget is kept ------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("has_batch", [False, True])
def test_evaluations_stay_within_the_budget(coverage: str, has_batch: bool) -> None:
    whole = check(f, X, one_wrong, coverage=coverage).evaluations
    for budget in range(5, whole, 13):
        counted = Counted(f)
        report = check(
            counted,
            X,
            one_wrong,
            coverage=coverage,
            f_batch=counted.batch if has_batch else None,
            max_evaluations=budget,
        )
        assert counted.calls == report.evaluations <= budget


def test_batches_that_leave_the_domain_stay_within_the_budget() -> None:
    def edge(x: Any) -> Any:
        if np.any(x < 0.0):
            raise ValueError("outside")
        return np.sum(np.sqrt(x))

    x = np.array([1e-3, 0.5, 1.0, 2.0])
    for budget in range(6, 300, 7):
        counted = Counted(edge)
        report = check(
            counted,
            x,
            lambda x: 0.5 / np.sqrt(x),
            coverage="full",
            f_batch=counted.batch,
            max_evaluations=budget,
        )
        # A batch that raises stops at the point that is outside, but all of it is counted.
        assert counted.calls <= report.evaluations <= budget
        assert report.verdict != "fail"


def test_terms_spend_of_the_same_budget() -> None:
    functions = [Counted(f), Counted(lambda x: np.sum(np.sin(x))), Counted(lambda x: np.sum(x))]
    whole, one, two = functions
    report = check(
        whole,
        X,
        right,
        coverage="full",
        terms={"one": (one, np.cos), "two": (two, np.ones_like)},
        max_evaluations=200,
    )
    assert sum(g.calls for g in functions) == report.evaluations <= 200
    assert report.verdict == "inconclusive"
    assert report.terms["two"].findings[-1].kind == "budget"


def test_threads_stay_within_the_budget() -> None:
    large = np.linspace(0.1, 1.0, 2000)
    with ThreadPoolExecutor(4) as pool:
        for budget in (50, 700, 3000):
            counted = Counted(lambda x: np.sum(np.sin(x)))
            report = check(
                counted,
                large,
                np.cos,
                coverage="full",
                engine=pool.map,
                max_evaluations=budget,
            )
            assert report.verdict == "inconclusive"
            assert report.evaluations <= budget


class Clock:
    """Time that passes only while f is evaluated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def slow(self, x: Any) -> Any:
        self.now += self.seconds
        return f(x)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_seconds_are_kept_to_within_an_evaluation(
    coverage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, 0.5)
    whole = check(clock.slow, X, right, coverage=coverage)
    assert whole.verdict == "pass"
    for seconds in (0.1, 1.0, 5.0, 12.3, 20.0):
        clock = Clock(monkeypatch, 0.5)
        report = check(clock.slow, X, right, coverage=coverage, max_seconds=seconds)
        assert report.verdict == "inconclusive"
        assert clock.now < seconds + 0.6
        assert f"max_seconds={seconds:g}" in report.findings[-1].message
    clock = Clock(monkeypatch, 0.5)
    assert check(clock.slow, X, right, coverage=coverage, max_seconds=1e4).verdict == "pass"


def test_an_expensive_gradient_is_not_computed_over_and_over_once_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, calls = Clock(monkeypatch, 0.0), []

    def claim(x: Any) -> Any:
        clock.now += 1.0
        calls.append(1)
        return right(x)

    assert check(clock.slow, X, claim, max_seconds=2.5).verdict == "inconclusive"
    assert len(calls) == 3


# -- what is known is reported -----------------------------------------------------------------


def test_entries_that_were_compared_are_reported_and_the_others_named() -> None:
    x = {"a": np.linspace(0.1, 1.0, 50), "b": np.linspace(1.0, 2.0, 50)}

    def sines(p: Any) -> Any:
        return np.sum(np.sin(p["a"])) + np.sum(np.sin(p["b"]))

    def cosines(p: Any) -> Any:
        return {name: np.cos(value) for name, value in p.items()}

    report = check(sines, x, cosines, coverage="full", max_evaluations=200)
    assert report.verdict == "inconclusive"
    counts = {name: t.counts for name, t in report.tensors.items()}
    assert counts["a"]["match"] == 50
    assert report.tensors["a"].verdict == "pass"
    assert 0 < counts["b"]["unresolved"] < 50
    assert "not evaluated: the budget ran out" in report.tensors["b"].reason
    open_ = report.entries.filter(verdict="unresolved")
    assert {entry.reason for entry in open_} == {"not evaluated: the budget ran out"}
    finding = next(g for g in report.findings if g.kind == "budget")
    assert finding.severity == "warning"
    assert "max_evaluations=200 have been made" in finding.message
    assert f"left out: {counts['b']['unresolved']} of b" in finding.message


def test_a_mismatch_that_was_confirmed_stays_one() -> None:
    whole = check(f, X, one_wrong, coverage="full")
    report = check(f, X, one_wrong, coverage="full", max_evaluations=whole.evaluations - 2)
    assert report.verdict == "fail"
    assert report.entries.worst(1)[0].index == (7,)


def test_probes_that_were_made_are_reported() -> None:
    whole = check(f, X, right, coverage="probe")
    report = check(f, X, right, coverage="probe", max_evaluations=whole.evaluations - 3)
    assert report.verdict == "inconclusive"
    assert 0 < len(report.probes) < len(whole.probes)
    made = [p.numeric for p in report.probes]
    assert made == [p.numeric for p in whole.probes][: len(made)]


def test_a_gradient_that_is_wrong_somewhere_fails_before_it_is_known_where() -> None:
    found = set()
    whole = check(f, X, one_wrong, coverage="probe")
    assert whole.tensors["x"].verdict != "pass"
    for budget in range(20, whole.evaluations, 3):
        report = check(f, X, one_wrong, coverage="probe", max_evaluations=budget)
        for finding in report.findings:
            if finding.kind == "not-found":
                assert report.verdict == "fail"
                found.add(finding.message.rpartition("somewhere in ")[2])
    # The search had got to halves of x, and each of them holds the entry at fault.
    assert "x" in found
    assert any(piece.startswith("x[6] to ") for piece in found)


def test_a_budget_that_suffices_changes_nothing() -> None:
    for coverage in COVERAGES:
        free = check(f, X, right, coverage=coverage)
        held = check(
            f, X, right, coverage=coverage, max_evaluations=free.evaluations, max_seconds=1e6
        )
        assert held.verdict == free.verdict == "pass"
        assert held.evaluations == free.evaluations
        assert held.findings == free.findings
        assert np.array_equal(held.entries["numeric"], free.entries["numeric"])


def test_what_the_verdict_does_not_rest_on_may_be_left_out() -> None:
    whole = check(f, X, right, coverage="full")
    report = check(f, X, right, coverage="full", max_evaluations=whole.evaluations - 1)
    assert report.verdict == "pass"
    assert report.steps == ()
    finding = next(g for g in report.findings if g.kind == "budget")
    assert finding.severity == "info"


def test_a_budget_too_small_for_anything_says_so() -> None:
    report = check(f, X, right, max_evaluations=1)
    assert report.verdict == "inconclusive"
    assert report.reason == (
        "the budget ran out: max_evaluations=1 have been made before anything could be compared"
    )
    assert report.evaluations == 1


# -- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "many"])
def test_a_number_of_evaluations_is_a_positive_integer(value: Any) -> None:
    with pytest.raises(InputError, match="Expected a positive integer or None but got max_eval"):
        check(f, X, right, max_evaluations=value)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), True, "long"])
def test_seconds_are_a_positive_number(value: Any) -> None:
    with pytest.raises(InputError, match="Expected a positive number or None but got max_seconds"):
        check(f, X, right, max_seconds=value)
