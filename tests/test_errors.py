import copy
import pickle

import pytest

from gradproof._errors import GradientMismatch, GradproofError, Inconclusive, InputError

ASSERTIONS = [GradientMismatch, Inconclusive]


@pytest.mark.parametrize("kind", [InputError, *ASSERTIONS])
def test_one_except_clause_catches_everything_gradproof_raises(kind: type[Exception]) -> None:
    assert issubclass(kind, GradproofError)


def test_a_bad_argument_is_a_value_error_and_no_assertion() -> None:
    assert issubclass(InputError, ValueError)
    assert not issubclass(InputError, AssertionError)


@pytest.mark.parametrize("kind", ASSERTIONS)
def test_a_failed_assertion_is_an_assertion_error_and_no_value_error(kind: type[Exception]) -> None:
    assert issubclass(kind, AssertionError)
    assert not issubclass(kind, ValueError)


def test_inconclusive_is_not_taken_for_a_mismatch() -> None:
    assert not issubclass(Inconclusive, GradientMismatch)
    assert not issubclass(GradientMismatch, Inconclusive)


@pytest.mark.parametrize("kind", ASSERTIONS)
def test_an_assertion_shows_its_message_and_carries_its_report(
    kind: type[GradientMismatch] | type[Inconclusive],
) -> None:
    report = {"verdict": "fail"}
    raised = kind("conv1.weight is wrong", report)
    assert str(raised) == "conv1.weight is wrong"
    assert raised.report is report


@pytest.mark.parametrize("kind", ASSERTIONS)
@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy])
def test_an_assertion_survives_the_way_back_from_a_worker(
    kind: type[GradientMismatch] | type[Inconclusive], duplicate: type
) -> None:
    back = duplicate(kind("conv1.weight is wrong", {"verdict": "fail"}))
    assert type(back) is kind
    assert str(back) == "conv1.weight is wrong"
    assert back.report == {"verdict": "fail"}
