"""What kind of mistake made a tensor's gradient wrong: evidence, hypotheses, and their test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.diagnosis.subjects import subject_of

import gradproof
from gradproof.diagnosis import reasons
from gradproof.diagnosis.patterns.explain import Explanation
from gradproof.diagnosis.reasons import Case, reason
from gradproof.numerics.sampling import Floats
from gradproof.subjects.base import Subject

RNG = np.random.default_rng(0)
LARGE = RNG.normal(size=5000)
MATRIX = {"w": RNG.normal(size=(5, 5)), "x": RNG.normal(size=(7, 5))}


def case_of(
    f: Any,
    x: Any,
    grad: Any,
    *,
    subject: Subject | None = None,
    arrays: Mapping[str, list[Floats]] | None = None,
    constants: Mapping[str, float] | None = None,
) -> Case:
    """f with a wrong claim, as explaining hands it on."""
    subject = subject or subject_of(f, x)
    gradient = subject.claims(grad)
    rounding: list[Floats] = [1e-15 * np.abs(g) for g in gradient]
    report = gradproof.check(f, x, grad)
    return Case(subject, gradient, rounding, report, arrays or {}, constants or {})


def reason_of(case: Case, name: str = "x", entries: int = 128) -> Explanation:
    return reason(case, name, entries, np.random.default_rng(1))


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


# -- evidence ----------------------------------------------------------------------------------


def test_an_explanation_rests_on_some_entries_of_a_large_tensor() -> None:
    case = case_of(sines, LARGE, lambda x: 2.0 * np.cos(x))
    before = case.subject.evaluations
    found = reason_of(case)
    assert found.kind == "factor"
    assert found.evidence["ratio"] == pytest.approx(2.0, abs=1e-6)
    looked_at = found.evidence["looked_at"]
    assert isinstance(looked_at, int)
    assert looked_at >= 128
    assert case.subject.evaluations - before <= 4 * 128 + 200


def test_all_entries_that_the_report_located_are_evidence() -> None:
    def grad(x: Any) -> Any:
        claim = np.cos(x)
        claim[[7, 4000]] *= 1.5
        return claim

    case = case_of(sines, LARGE, grad)
    before = case.subject.evaluations
    assert reason_of(case).kind == "block"
    assert case.subject.evaluations == before  # the report says which entries are wrong


@pytest.mark.parametrize("name", ["the batch size", "the number of rows"])
def test_known_numbers_are_told_by_name(name: str) -> None:
    case = case_of(sines, LARGE[:30], lambda x: 37.0 * np.cos(x), constants={name: 37.0})
    found = reason_of(case)
    assert found.kind == "factor"
    assert name in found.message


def test_known_arrays_explain_a_term() -> None:
    other = RNG.normal(size=60)
    arrays = {"the gradient before": [other]}
    case = case_of(sines, LARGE[:60], lambda x: np.cos(x) + 0.9 * other, arrays=arrays)
    found = reason_of(case)
    assert (found.kind, found.evidence["array"]) == ("extra-term", "the gradient before")
    assert reason_of(case_of(sines, LARGE[:60], lambda x: np.cos(x) + 0.9 * other)).kind == (
        "unexplained"
    )


def test_the_parameter_itself_explains_weight_decay() -> None:
    def f(x: Any) -> Any:
        return sines(x) + 0.005 * np.sum(x**2)

    found = reason_of(case_of(f, LARGE[:60], np.cos))
    assert found.kind == "missing-term"
    assert found.evidence["coefficient"] == pytest.approx(-0.01, rel=1e-6)


def of_rows(x: Any) -> Any:
    return x - x.mean(-1, keepdims=True)


@pytest.mark.parametrize(
    ("claim", "kind", "named"),
    [
        (lambda c, y: c, "identity", "the incoming gradient"),
        (lambda c, y: of_rows(c) + 3.0 * y, "extra-term", "the output"),
    ],
    ids=["passed on", "with its output"],
)
def test_what_comes_in_and_what_is_returned_explain_a_layer(
    claim: Any, kind: str, named: str
) -> None:
    x = RNG.normal(size=(6, 4))
    subject = subject_of(of_rows, x)
    cotangent = np.asarray(subject.cotangent)

    def contracted(x: Any) -> Any:
        return np.sum(of_rows(x) * cotangent)

    def grad(x: Any) -> Any:
        return claim(cotangent, of_rows(x))

    def with_cotangent(x: Any, _: Any) -> Any:
        return grad(x)

    gradient = subject.claims(with_cotangent)
    report = gradproof.check(contracted, x, grad)
    case = Case(subject, gradient, [1e-15 * np.abs(g) for g in gradient], report, {}, {})
    found = reason_of(case)
    assert (found.kind, found.evidence["array"]) == (kind, named)


# -- the test of an explanation ----------------------------------------------------------------


def twice_with_two_exceptions(x: Any) -> Any:
    """A factor of two nearly everywhere."""
    claim = 2.0 * np.cos(x)
    claim[[13, 4321]] *= 1.25
    return claim


def test_a_hypothesis_that_the_entries_looked_at_support_is_refuted_by_directions() -> None:
    found = reason_of(case_of(sines, LARGE, twice_with_two_exceptions))
    assert found.kind == "unexplained"
    assert "factor" in str(found.evidence["refuted"])
    assert found.corrected is None


def test_without_directions_the_wrong_hypothesis_would_be_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reasons, "DIRECTIONS", 0)
    assert reason_of(case_of(sines, LARGE, twice_with_two_exceptions)).kind == "factor"


def test_fitted_numbers_need_not_be_exact() -> None:
    """A few entries say less of each factor than a direction does; that does not refute them."""
    slopes = np.random.default_rng(2).normal(size=(20, 250))
    factors = np.random.default_rng(3).uniform(2.0, 3.0, (20, 1))
    x = LARGE.reshape(20, 250)
    found = reason_of(case_of(lambda x: np.sum(slopes * x), x, lambda _: factors * slopes))
    assert found.kind == "factor"
    assert found.corrected is not None
    np.testing.assert_allclose(found.corrected, slopes.ravel(), rtol=1e-6)


def test_an_explanation_stands_where_directions_cross_kinks() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.maximum(x, 0.0)) + np.sum(np.sin(x))

    x = LARGE.copy()
    x[:5] = 1e-9
    found = reason_of(case_of(f, x, lambda x: -((x > 0.0) + np.cos(x))))
    assert found.kind == "sign-flip"


def test_entries_at_kinks_are_no_evidence() -> None:
    """At 0 a claim of 0 is no more right or wrong than one of 1."""

    def f(x: Any) -> Any:
        return np.sum(np.maximum(x, 0.0)) + np.sum(np.sin(x))

    x = LARGE[:60].copy()
    x[::3] = 0.0
    found = reason_of(case_of(f, x, lambda x: 3.0 * ((x > 0.0) + np.cos(x))))
    assert found.evidence["ratio"] == pytest.approx(3.0, abs=1e-6)


# -- mistakes that a gradient alone does not show ----------------------------------------------


def product(p: Any) -> Any:
    return np.sum(np.tanh(p["x"] @ p["w"]))


def product_gradient(p: Any, w: Any = None) -> Any:
    back = 1.0 - np.tanh(p["x"] @ p["w"]) ** 2
    return {"w": p["x"].T @ back, "x": back @ (p["w"].T if w is None else w)}


def test_a_weight_that_was_taken_for_its_transpose_is_found_by_trying() -> None:
    """Of a linear map, in which the cotangent does not depend on the weight."""
    weights = RNG.normal(size=(7, 5))

    def linear(p: Any) -> Any:
        return np.sum(weights * (p["x"] @ p["w"]))

    def grad(p: Any) -> Any:
        return {"w": p["x"].T @ weights, "x": weights @ p["w"]}

    found = reason_of(case_of(linear, MATRIX, grad))
    assert found.kind == "transposed"
    assert "w" in found.message


def test_nothing_is_tried_in_a_function_of_many_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reasons, "TENSORS", 1)
    weights = RNG.normal(size=(7, 5))

    def linear(p: Any) -> Any:
        return np.sum(weights * (p["x"] @ p["w"]))

    def grad(p: Any) -> Any:
        return {"w": p["x"].T @ weights, "x": weights @ p["w"]}

    assert reason_of(case_of(linear, MATRIX, grad)).kind == "unexplained"


def test_what_no_mistake_explains_is_said_to_be_unexplained_with_its_worst_entries() -> None:
    def grad(p: Any) -> Any:
        right = product_gradient(p)
        return right | {"w": right["w"] * np.random.default_rng(3).uniform(0.5, 2.0, (5, 5))}

    found = reason_of(case_of(product, MATRIX, grad), "w")
    assert found.kind == "unexplained"
    assert found.evidence["worst"]
    assert found.corrected is None
