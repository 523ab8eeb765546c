import tracemalloc
from typing import Any

import numpy as np
import pytest

from gradproof import check
from gradproof.outcome.trial import Settings
from gradproof.planning import LONG, advice_on
from gradproof.report.model import Plan


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


def settings(coverage: str) -> Settings:
    return Settings(coverage, 20, 1e-3, 1.0 - 1e-6, 0, (), ())


def planned(n: int, **options: Any) -> Plan:
    plan = check(sines, np.linspace(0.1, 1.0, n), np.cos, **options).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize(("coverage", "n"), [("probe", 5000), ("sample", 5000), ("full", 5000)])
def test_evaluations_are_foreseen(coverage: str, n: int) -> None:
    report = check(sines, np.linspace(0.1, 1.0, n), np.cos, coverage=coverage)
    assert report.plan is not None
    assert report
    assert 0.5 * report.plan.evaluations <= report.evaluations <= 1.2 * report.plan.evaluations


def test_evaluations_grow_with_the_entries_that_are_compared() -> None:
    assert planned(400, coverage="full").evaluations == 900
    assert planned(400, coverage="sample", samples=30).evaluations == 160
    assert planned(400, coverage="probe").evaluations == 100


def test_terms_are_foreseen() -> None:
    x = np.linspace(0.1, 1.0, 300)
    pairs = {"one": (lambda x: np.sum(np.sin(x[:9])), lambda x: np.cos(x) * (np.arange(300) < 9))}
    pairs["two"] = (lambda x: np.sum(np.sin(x[9:])), lambda x: np.cos(x) * (np.arange(300) >= 9))
    report = check(sines, x, np.cos, coverage="full", terms=pairs)
    assert report.plan is not None
    assert report.plan.evaluations == 3 * 700
    assert 0.5 * report.plan.evaluations <= report.evaluations <= 1.5 * report.plan.evaluations
    alone = {name: term[0] for name, term in pairs.items()}
    report = check(sines, x, np.cos, coverage="full", terms=alone)
    assert report.plan is not None
    assert 0.5 * report.plan.evaluations <= report.evaluations <= 1.5 * report.plan.evaluations


def test_seconds_are_those_of_an_evaluation_times_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]  # of its own: a busy machine's would stop now and then
    for name in ("monotonic", "perf_counter"):
        monkeypatch.setattr(f"time.{name}", lambda: clock[0])

    def slow(x: Any) -> Any:
        clock[0] += 0.25
        return np.sum(np.sin(x))

    report = check(slow, np.linspace(0.1, 1.0, 100), np.cos, coverage="full")
    assert report.plan is not None
    assert report.plan.seconds == 0.25 * report.plan.evaluations
    assert report.seconds >= 0.25 * report.evaluations


@pytest.mark.parametrize(
    ("coverage", "n", "has_batch"),
    [
        ("probe", 30_000, False),
        ("sample", 30_000, False),
        ("full", 5000, False),
        ("full", 3000, True),
    ],
)
def test_memory_is_foreseen_to_a_factor(coverage: str, n: int, has_batch: bool) -> None:
    x = np.linspace(0.1, 1.0, n)
    f_batch = (lambda x: np.sum(np.sin(x), axis=1)) if has_batch else None
    check(sines, x[:10], np.cos, coverage=coverage)  # what is imported late
    tracemalloc.start()
    try:
        report = check(sines, x, np.cos, coverage=coverage, f_batch=f_batch)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.plan is not None
    assert 0.5 < report.plan.memory / peak < 2.0


def test_a_plan_reads_as_a_line() -> None:
    assert str(Plan(123_512, 12.3, 34_000_000)) == "about 123,512 evaluations, 12 s, 34 MB"


def test_a_long_check_is_advised_against() -> None:
    long = Plan(10**7, 5.0 * LONG, 10**9)
    (finding,) = advice_on(long, settings("full"), has_budget=False)
    assert (finding.kind, finding.severity) == ("long-run", "info")
    assert "5.0 h" in finding.message
    assert "coverage='probe'" in finding.message
    assert advice_on(long, settings("full"), has_budget=True) == []
    assert advice_on(long, settings("probe"), has_budget=False) == []
    assert advice_on(Plan(10, 1.0, 1), settings("full"), has_budget=False) == []
    assert advice_on(Plan(10, np.nan, 1), settings("full"), has_budget=False) == []


def test_the_advice_is_in_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.planning.LONG", 0.0)
    x = np.linspace(0.1, 1.0, 50)
    report = check(sines, x, np.cos, coverage="full")
    assert report
    assert [g.kind for g in report.findings].count("long-run") == 1
    held = check(sines, x, np.cos, coverage="full", max_seconds=60.0)
    assert "long-run" not in {g.kind for g in held.findings}


def test_where_f_has_no_value_the_time_is_unknown() -> None:
    report = check(lambda x: np.nan, np.ones(3), np.cos, coverage="full")
    assert report.plan is not None
    assert np.isnan(report.plan.seconds)
    assert "time unknown" in str(report.plan)


def test_progress_counts_the_evaluations_of_terms_too() -> None:
    seen: list[tuple[int, int]] = []
    x = np.linspace(0.1, 1.0, 300)
    report = check(
        lambda x: 2.0 * sines(x),
        x,
        lambda x: 2.0 * np.cos(x),
        coverage="full",
        terms={"one": (sines, np.cos), "other": (sines, np.cos)},
        progress=lambda done, expected: seen.append((done, expected)),
    )
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert done[-1] == report.evaluations
    assert {expected for _, expected in seen} == {3 * 700}
