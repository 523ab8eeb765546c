"""Where the error of a gradient enters, and which tensors are only its victims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.diagnosis.subjects import Parts, subject_of

from gradproof import InputError
from gradproof.diagnosis.localise import Origin, localise, unexplained, victims
from gradproof.diagnosis.preflight import Claim
from gradproof.explaining import examine_part
from gradproof.outcome.trial import Settings
from gradproof.report.model import Report
from gradproof.subjects.base import Stage, Subject
from gradproof.subjects.budget import Budget

SETTINGS = Settings("probe", 20, 1e-3, 1.0 - 1e-6, 0, (), ())


class Judge:
    """The one that explaining uses, and whom it judged."""

    def __init__(self) -> None:
        self.judged = 0

    def __call__(self, part: Subject, grad: object) -> tuple[Claim, Report] | None:
        self.judged += 1
        return examine_part(part, grad, SETTINGS, np.random.default_rng(0))


def found(
    stages: Sequence[Stage], failing: Sequence[str], judge: Any = None, budget: Budget | None = None
) -> tuple[Origin, ...]:
    rng = np.random.default_rng(0)
    return localise(stages, failing, judge or Judge(), budget or Budget(), rng)


def names(origins: Sequence[Origin]) -> list[str]:
    return [origin.stage.name for origin in origins]


@pytest.fixture
def part() -> Parts:
    return Parts()


def test_the_part_with_the_wrong_backward_is_named_and_no_other(part: Parts) -> None:
    stages = [part("a"), part("b", "x"), part("c")]
    (origin,) = found(stages, ["a.w"])
    assert (origin.stage.name, origin.position, origin.wrong) == ("b", 1, ("x",))
    assert origin.spoils


def test_right_parts_are_no_origins_and_are_not_even_judged(part: Parts) -> None:
    judge = Judge()
    assert found([part("a"), part("b"), part("c")], ["a.w"], judge) == ()
    assert judge.judged == 0


@pytest.mark.parametrize("factor", [-1.0, 0.0, 0.999, 1.001, 2.0, np.nan])
def test_small_and_large_errors_and_nan_make_an_origin(part: Parts, factor: float) -> None:
    stages = [part("a"), part("b", "w", factor=factor)]
    assert names(found(stages, ["b.w"])) == ["b"]


def test_two_wrong_parts_are_both_named_in_forward_order(part: Parts) -> None:
    stages = [part("a", "w"), part("b"), part("c", "x")]
    assert names(found(stages, ["a.w", "b.w"])) == ["a", "c"]


def test_each_quantity_that_is_wrong_is_told(part: Parts) -> None:
    (origin,) = found([part("a", "xw")], ["a.w"])
    assert origin.wrong == ("x", "w")
    assert [origin.whole(name) for name in origin.wrong] == [None, "a.w"]


# -- parts of parts ----------------------------------------------------------------------------


def test_a_part_around_a_wrong_one_is_not_accused(part: Parts) -> None:
    stages = [part("block", "x"), part("leaf", "x", inside="block"), part("head")]
    assert names(found(stages, ["block.w", "leaf.w"])) == ["leaf"]
    assert "block" not in part.opened


def test_a_part_around_others_is_looked_at_where_none_of_these_is_wrong(part: Parts) -> None:
    stages = [part("block", "w"), part("leaf", inside="block")]
    assert names(found(stages, ["block.w"])) == ["block"]
    assert part.opened == ["leaf", "block"]


def test_the_innermost_part_around_the_error_is_named(part: Parts) -> None:
    stages = [
        part("outer", "x"),
        part("inner", "x", inside="outer"),
        part("leaf", inside="inner"),
    ]
    assert names(found(stages, ["outer.w"])) == ["inner"]


def test_no_part_around_others_is_looked_at_once_every_error_is_explained(part: Parts) -> None:
    stages = [part("first"), part("block"), part("leaf", inside="block"), part("last", "x")]
    assert names(found(stages, ["first.w"])) == ["last"]
    assert "block" not in part.opened


def test_what_a_wrong_leaf_does_not_explain_is_looked_for_around_others(part: Parts) -> None:
    stages = [part("first", "w"), part("block", "w"), part("leaf", inside="block")]
    assert names(found(stages, ["first.w", "block.w"])) == ["first", "block"]


def test_equations_come_last(part: Parts) -> None:
    equation = part("stop", "x", kind="equation stop_gradient")
    assert names(found([equation, part("rule", "x")], ["stop.w"])) == ["rule"]
    assert part.opened == ["rule"]
    assert names(found([equation, part("rule")], ["stop.w"])) == ["stop"]


# -- parts that say nothing --------------------------------------------------------------------


def test_a_part_that_cannot_be_called_by_itself_is_passed_over(part: Parts) -> None:
    def refusing() -> tuple[Subject, object]:
        raise InputError("Expected to run by itself")

    stages = [replace(part("a", "x"), open=refusing), part("b", "x")]
    assert names(found(stages, ["a.w"])) == ["b"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_part_without_a_value_is_no_origin(part: Parts, value: float) -> None:
    def opening() -> tuple[Subject, object]:
        return subject_of(lambda x: value * np.sum(x**2), np.ones(3)), np.zeros_like

    assert found([replace(part("a"), open=opening)], ["a.w"]) == ()


def test_parts_in_single_precision_are_not_wrong_by_their_rounding(part: Parts) -> None:
    x = np.random.default_rng(1).normal(size=200).astype(np.float32)

    def opening() -> tuple[Subject, object]:
        subject = subject_of(lambda x: np.sum(np.sin(x), dtype=np.float32), x)
        return subject, lambda x: np.cos(x).astype(np.float32)

    assert found([replace(part("a"), open=opening)], ["a.w"]) == ()


# -- cost and budget ---------------------------------------------------------------------------


def test_a_right_part_costs_less_than_twenty_evaluations(part: Parts) -> None:
    budget = Budget()
    found([part(f"p{i}") for i in range(10)], ["p0.w"], budget=budget)
    assert budget.spent <= 10 * 20


def test_evaluations_of_parts_are_taken_from_the_budget(part: Parts) -> None:
    budget = Budget(evaluations=200)
    found([part(f"p{i}", "x") for i in range(50)], ["p0.w"], budget=budget)
    assert budget.exhausted is not None
    # What it takes to set a part up is not refused, but no more parts are set up.
    assert budget.spent - len(part.opened) <= 200
    assert len(part.opened) < 25


@pytest.mark.parametrize("evaluations", range(0, 120, 7))
def test_no_right_part_is_accused_however_small_the_budget(part: Parts, evaluations: int) -> None:
    stages = [part("a"), part("b", "x"), part("c")]
    assert names(found(stages, ["a.w"], budget=Budget(evaluations=evaluations))) in ([], ["b"])


# -- victims -----------------------------------------------------------------------------------


def test_tensors_before_an_input_gradient_that_is_wrong_are_victims(part: Parts) -> None:
    stages = [part("a"), part("b"), part("c", "x"), part("d")]
    failing = ["a.w", "b.w"]
    origins = found(stages, failing)
    assert victims(failing, origins, stages) == failing
    assert unexplained(failing, origins, stages) == []


def test_tensors_behind_the_error_are_no_victims_and_stay_unexplained(part: Parts) -> None:
    stages = [part("a"), part("b", "x"), part("c")]
    failing = ["a.w", "c.w"]
    origins = found(stages, failing)
    assert victims(failing, origins, stages) == ["a.w"]
    assert unexplained(failing, origins, stages) == ["c.w"]


def test_a_wrong_weight_gradient_has_no_victims(part: Parts) -> None:
    stages = [part("a"), part("b", "w")]
    failing = ["a.w", "b.w"]
    origins = found(stages, failing)
    assert victims(failing, origins, stages) == []
    assert unexplained(failing, origins, stages) == ["a.w"]


def test_what_is_wrong_in_a_part_itself_is_no_victim_of_a_later_one(part: Parts) -> None:
    stages = [part("a", "w"), part("b"), part("c", "x")]
    failing = ["a.w", "b.w"]
    origins = found(stages, failing)
    assert victims(failing, origins, stages) == ["b.w"]
    assert unexplained(failing, origins, stages) == []


def test_a_tensor_used_twice_is_a_victim_if_its_first_use_lies_before(part: Parts) -> None:
    stages = [part("a", weight="shared"), part("b", "x"), part("c", weight="shared")]
    origins = found(stages, ["shared"])
    assert victims(["shared"], origins, stages) == ["shared"]


def test_a_tensor_inside_of_a_part_is_used_where_the_inner_part_is(part: Parts) -> None:
    """The part around both begins before the error, its last weight comes after it."""
    stages = [
        part("block", weight="last.w"),
        part("first", "x", inside="block"),
        part("last", inside="block"),
    ]
    origins = found(stages, ["last.w"])
    assert names(origins) == ["first"]
    assert victims(["last.w"], origins, stages) == []


def test_a_tensor_of_f_that_no_part_has_is_a_victim_of_any_that_spoils(part: Parts) -> None:
    stages = [part("a", "x")]
    assert victims(["input"], found(stages, ["input"]), stages) == ["input"]
