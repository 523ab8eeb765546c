"""Claims that are one number everywhere: means and sums, taken where none is due or of too much."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.patterns.fields import field, normal

from gradproof import check
from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import INCOMING
from gradproof.examples.layers import Array


@pytest.mark.parametrize("size", [3, 40, 1000])
@pytest.mark.parametrize(
    ("of", "words"), [(np.mean, "the mean of"), (np.sum, "the sum of"), (None, "minus the mean")]
)
def test_a_claim_made_of_the_incoming_gradient_says_so(size: int, of: object, words: str) -> None:
    def claim(x: Array, cotangent: Array) -> Array:
        value = of(cotangent) if callable(of) else -cotangent.mean()
        return np.full_like(x, value)

    report = check(lambda x: 1.0 * x, normal(size), claim)
    assert report.verdict == "fail"
    assert report.findings[0].kind == "not-summed"
    assert f"{words} of the incoming gradient".replace("of of", "of") in report.findings[0].message


def test_a_number_that_is_no_mean_of_it_is_not_called_one() -> None:
    incoming = normal(40, seed=1)
    claim = np.full(40, 1.001 * incoming.mean())
    found = explain(field(normal(40), claim, arrays={INCOMING: incoming}))[0]
    assert "of the incoming gradient at all" not in found.message


@pytest.mark.parametrize("size", [40, 1000, 100_000])
def test_a_mean_whose_backward_pass_forgot_to_divide(size: int) -> None:
    report = check(lambda x: np.mean(x), normal(size), lambda x: np.ones_like(x))
    assert report.findings[0].kind == "factor"
    assert f"{size} is the length of axis 0" in report.reason


def test_one_number_everywhere_shows_no_factor_without_a_name() -> None:
    right, claim = np.full(1000, 1.0), np.full(1000, 1.2345)
    assert explain(field(right, claim, count=50))[0].kind != "factor"
