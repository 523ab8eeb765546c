"""A small part of the blindness benchmark; the whole of it is run by hand."""

from __future__ import annotations

import pytest
from bench.blindness import CLAIMS, FUNCTIONS, main, measure


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_claim_is_judged_rightly(function: str, claim: str) -> None:
    for size, repeats in ((10, 5), (1000, 3)):
        row = measure(function, size, claim, repeats)
        assert row.correct == repeats


@pytest.mark.parametrize("claim", ["right", "all zero", "one 5 % off"])
def test_length_does_not_blind(claim: str) -> None:
    assert measure("mean square", 100_000, claim, 1).correct == 1


def test_the_exit_code_says_whether_all_was_judged_rightly(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--repeats", "1", "--right", "1", "--sizes", "10"]
    assert main(arguments) == 0
    assert "1 of 1" in capsys.readouterr().out
    # A claim that is called wrong and is not: the benchmark must notice.
    monkeypatch.setitem(CLAIMS, "one 5 % off", CLAIMS["right"])
    assert main(arguments) == 1
    assert "0 of 1" in capsys.readouterr().out
