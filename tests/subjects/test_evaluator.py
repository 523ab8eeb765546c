import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from gradproof import InputError
from gradproof.subjects.budget import Budget
from gradproof.subjects.evaluator import Chunk, Evaluator

Floats = Any


def within(budget: Budget, engine: Callable[..., Iterable[Any]] = map) -> Evaluator:
    one = Evaluator(engine)
    budget.include(one)
    return one


def double(chunk: Chunk) -> Floats:
    return 2.0 * chunk[1]


def test_values_come_in_the_order_of_the_offsets() -> None:
    offsets = np.arange(10.0)
    one = Evaluator(map)
    assert np.array_equal(one.run(double, offsets, 3), 2.0 * offsets)
    assert one.evaluations == 10
    assert one.exhausted is None


def test_chunks_are_cut_to_what_is_left() -> None:
    one = within(Budget(evaluations=7))
    sizes: list[int] = []

    def function(chunk: Chunk) -> Floats:
        sizes.append(len(chunk[0]))
        return double(chunk)

    values = one.run(function, np.arange(10.0), 3)
    assert sizes == [3, 3, 1]
    assert np.array_equal(values[:7], 2.0 * np.arange(7.0))
    assert np.isnan(values[7:]).all()
    assert (one.evaluations, one.refused) == (7, 3)
    assert one.exhausted == "max_evaluations=7 have been made"


def test_nothing_is_evaluated_once_something_was_refused() -> None:
    one = within(Budget(evaluations=4))
    one.run(double, np.arange(4.0), 2)
    assert one.exhausted is None
    assert one.take(1) == 0
    assert np.isnan(one.run(double, np.arange(2.0), 2)).all()
    assert (one.evaluations, one.refused) == (4, 3)


def test_several_spend_of_one_budget() -> None:
    budget = Budget(evaluations=10)
    first, second = within(budget), within(budget)
    first.run(double, np.arange(6.0), 2)
    assert np.isnan(second.run(double, np.arange(6.0), 4)).sum() == 2
    assert (first.evaluations, second.evaluations, budget.spent) == (6, 4, 10)
    assert first.exhausted == second.exhausted is not None


def test_what_was_spent_before_counts() -> None:
    one, budget = Evaluator(map), Budget(evaluations=5)
    one.evaluations = 4
    budget.include(one)
    assert one.take(3) == 1


def test_what_a_chunk_took_beyond_its_own_counts() -> None:
    one = within(Budget(evaluations=10))

    def function(chunk: Chunk) -> Floats:
        one.again.append(2)
        return double(chunk)

    one.run(function, np.arange(4.0), 2)
    assert one.evaluations == 8
    assert one.take(5) == 2


def test_whether_something_can_be_afforded_spends_nothing() -> None:
    one = within(Budget(evaluations=5))
    assert one.can_afford(5)
    assert not one.can_afford(6)
    assert (one.evaluations, one.refused, one.exhausted) == (0, 0, None)


def test_a_chunk_is_no_longer_than_the_time_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    one = within(Budget(seconds=10.0))
    sizes: list[int] = []

    def slow(chunk: Chunk) -> Floats:
        sizes.append(len(chunk[0]))
        now[0] += float(len(chunk[0]))
        return double(chunk)

    one.budget.pace = 2.0  # it turns out to be faster
    values = one.run(slow, np.arange(30.0), 8)
    assert sizes == [5, 5]
    assert now[0] == 10.0
    assert np.isnan(values[10:]).all()
    assert one.exhausted == "max_seconds=10 have passed"


def test_without_a_limit_of_time_chunks_have_their_length() -> None:
    one = Evaluator(map)
    one.budget.pace = 1e9
    sizes: list[int] = []

    def function(chunk: Chunk) -> Floats:
        sizes.append(len(chunk[0]))
        return double(chunk)

    one.run(function, np.arange(10.0), 4)
    assert sizes == [4, 4, 2]


def test_threads_spend_no_more_than_there_is() -> None:
    with ThreadPoolExecutor(4) as pool:
        one = within(Budget(evaluations=101), pool.map)
        values = one.run(double, np.arange(1000.0), 2)
    assert np.isfinite(values).sum() == one.evaluations == 101
    known = np.flatnonzero(np.isfinite(values))
    assert np.array_equal(values[known], 2.0 * known)


def test_progress_is_that_of_all_who_spend() -> None:
    budget = Budget()
    seen: list[int] = []
    first, second = within(budget), within(budget)
    budget.on_progress = seen.append
    first.run(double, np.arange(4.0), 2)
    second.run(double, np.arange(3.0), 2)
    assert seen == [2, 4, 6, 7]


def test_an_engine_that_loses_a_chunk_is_named() -> None:
    one = Evaluator(lambda function, chunks: [function(c) for c in list(chunks)[1:]])
    with pytest.raises(InputError, match="Expected engine to return a result for each chunk, 4"):
        one.run(double, np.arange(4.0), 2)
