"""What gradproof says of the whole scorecard: nobody accused, nothing missed."""

import pytest
from bench import scorecard
from bench.cases import Case, correct_cases
from bench.customary import Judgement
from bench.scorecard import MOST_INCONCLUSIVE, Outcome, gradproof_tools, score

# One of 17 entries is doubled, which changes the gradient by 1e-16 of its norm: far beneath the
# detection limit that the report states, and above it only where every entry is looked at.
BENEATH_THE_LIMIT = {"scales-around-zero/smallest"}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return score({"gradproof": gradproof_tools()["gradproof"]})


@pytest.fixture(scope="module")
def probed() -> list[Outcome]:
    return score({"probe": gradproof_tools()["probe"]})


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


def test_the_default_coverage_accuses_nobody(probed: list[Outcome]) -> None:
    assert named(probed, "false alarm") == []


def test_the_default_coverage_misses_only_what_is_beneath_its_detection_limit(
    probed: list[Outcome],
) -> None:
    assert {o.case for o in probed if o.mistake == "miss"} <= BENEATH_THE_LIMIT
    assert len(named(probed, "inconclusive")) <= MOST_INCONCLUSIVE


def broken(case: Case) -> Judgement:
    raise RuntimeError(case.name)


def test_a_tool_that_raises_is_counted_and_blamed() -> None:
    (right,) = score({"broken": broken}, [correct_cases()[-1]])
    assert (right.verdict, right.mistake) == ("raised", "false alarm")


def test_the_columns_are_the_rules_the_checkers_and_gradproof(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rules, checkers = ["scipy", "cs231n", "UFLDL", "gradcheck"], ["torch", "torch fast", "jax"]
    columns = [*rules, *checkers, "autograd", "probe", "gradproof"]
    assert list(scorecard.available_tools()) == columns
    easy = [case for case in correct_cases() if case.name == "cross-entropy"]
    tools = {**gradproof_tools(), "broken": broken}
    monkeypatch.setattr(scorecard, "available_tools", lambda: tools)
    monkeypatch.setattr(scorecard, "correct_cases", lambda: easy)
    monkeypatch.setattr(scorecard, "wrong_cases", list)
    assert scorecard.main(["--markdown"]) == 0
    rows = {
        cells[0]: cells[1:]
        for line in capsys.readouterr().out.splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) > 1
    }
    assert rows["all"] == ["1", "0", "0/0/0", "0/0/0", "1/0/0"]
    assert rows["raised"] == ["", "", "0", "0", "1"]
