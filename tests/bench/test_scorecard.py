"""What gradproof says of the whole scorecard: nobody accused, nothing missed."""

import pytest
from bench.scorecard import MOST_INCONCLUSIVE, Outcome, available_tools, score


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return score({"gradproof": available_tools()["gradproof"]})


def named(outcomes: list[Outcome], mistake: str) -> list[str]:
    return [f"{o.case}: {o.reason}" for o in outcomes if o.mistake == mistake]


def test_every_case_is_scored(outcomes: list[Outcome]) -> None:
    assert len({outcome.case for outcome in outcomes}) == len(outcomes) >= 190
    assert {outcome.correct for outcome in outcomes} == {True, False}


def test_no_right_gradient_is_accused(outcomes: list[Outcome]) -> None:
    assert named(outcomes, "false alarm") == []


def test_no_wrong_gradient_passes(outcomes: list[Outcome]) -> None:
    assert named(outcomes, "miss") == []


def test_few_cases_are_left_open(outcomes: list[Outcome]) -> None:
    assert len(named(outcomes, "inconclusive")) <= MOST_INCONCLUSIVE
