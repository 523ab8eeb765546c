"""Ties: a gradient belongs to one of the entries that are the largest, or is shared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.diagnosis.subjects import line_of, subject_of

import gradproof
from gradproof.coverage.probe import scales
from gradproof.diagnosis.ties import with_shared_kinks
from gradproof.report.model import Report

TIED = np.array([0.7, 0.7, 0.1, 0.7])


def judged(f: Any, x: Any, grad: Any, right: Any = None) -> Report:
    """A report in which no single entry's claim is wrong, and what comes of it."""
    subject = subject_of(f, x)
    report = gradproof.check(f, x, right or grad, coverage="full")
    report = replace(report, verdict="inconclusive", findings=())
    return with_shared_kinks(report, line_of(subject, grad), scales(subject.point))


def largest(x: Any) -> Any:
    return np.sin(np.max(x))


def to_winners(*shares: float) -> Any:
    """The gradient of `largest`, given to entries in these shares."""
    return lambda x: np.cos(np.max(x)) * np.array(shares)


@pytest.mark.parametrize(
    "shares",
    [(1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0), (0.5, 0.5, 0.0, 0.0), (0.2, 0.3, 0.0, 0.5)],
)
def test_a_gradient_given_to_one_or_shared_is_right(shares: tuple[float, ...]) -> None:
    report = judged(largest, TIED, to_winners(*shares))
    assert report.verdict == "inconclusive"
    assert report.findings == ()


def test_a_gradient_given_to_every_entry_that_ties_is_wrong() -> None:
    report = judged(largest, TIED, to_winners(1.0, 1.0, 0.0, 1.0), to_winners(1.0, 0.0, 0.0, 0.0))
    (finding,) = report.findings
    assert report.verdict == report.tensors["x"].verdict == "fail"
    assert (finding.kind, finding.severity, finding.tensor) == ("kink-inconsistent", "bug", "x")
    slope = np.cos(0.7)
    assert finding.evidence["analytic"] == pytest.approx(3.0 * slope)
    assert finding.evidence["numeric"] == pytest.approx(slope, rel=1e-6)


def test_only_the_tensor_that_is_wrong_fails() -> None:
    slope = np.cos(0.7)

    def f(x: Any) -> Any:
        return largest(x["a"]) + largest(x["b"])

    def grad(x: Any) -> Any:
        return {"a": slope * np.array([1, 0, 0, 0]), "b": slope * np.array([1, 1, 0, 1])}

    def right(x: Any) -> Any:
        return {"a": slope * np.array([1, 0, 0, 0]), "b": slope * np.array([0, 1, 0, 0])}

    report = judged(f, {"a": TIED, "b": TIED}, grad, right)
    assert [finding.tensor for finding in report.findings] == ["b"]
    assert report.tensors["a"].verdict == "pass"
    assert report.tensors["b"].verdict == "fail"


def test_a_smooth_function_with_a_right_gradient_stays_as_it_is() -> None:
    x = np.random.default_rng(0).normal(size=6)
    report = judged(lambda x: np.sum(np.sin(x)), x, np.cos)
    assert (report.verdict, report.findings) == ("inconclusive", ())


def test_a_kink_on_the_common_direction_refutes_nothing() -> None:
    """All entries lie at 0, where the ReLU is no smoother along their common move."""
    x = np.zeros(4)
    report = judged(lambda x: np.sum(np.maximum(x, 0.0)), x, np.ones_like)
    assert (report.verdict, report.findings) == ("inconclusive", ())


def test_a_tensor_of_one_entry_has_no_ties() -> None:
    subject = subject_of(lambda x: np.sin(x[0]), np.array([0.3]))
    report = gradproof.check(lambda x: np.sin(x[0]), np.array([0.3]), np.cos)
    before = subject.evaluations
    with_shared_kinks(report, line_of(subject, np.cos), scales(subject.point))
    assert subject.evaluations - before <= 1  # f at the point
