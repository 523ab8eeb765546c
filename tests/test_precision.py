"""Claims that are right to single precision: how fine the limits are, and what is said of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradproof import check
from gradproof.coverage.certify import Certificate
from gradproof.coverage.prober import Probe
from gradproof.examples.layers import Array
from gradproof.explaining import _with_precision_last
from gradproof.outcome.certified import _about_contradiction
from gradproof.report.model import Finding, TensorReport

X = np.random.default_rng(0).normal(size=50)


def sine(x: Array) -> Any:
    return np.sum(np.sin(x))


def rounded(count: int) -> Array:
    gradient = np.cos(X)
    gradient[:count] = gradient[:count].astype(np.float32)
    return gradient


def error_of(claim: Array) -> float:
    return float(np.linalg.norm(claim - np.cos(X)) / np.linalg.norm(np.cos(X)))


@pytest.mark.parametrize("coverage", ["probe", "full"])
@pytest.mark.parametrize("count", [1, 3, 5, 50])
def test_the_limit_is_no_finer_than_the_error_that_was_let_pass(count: int, coverage: str) -> None:
    claim = rounded(count)
    report = check(sine, X, claim, coverage=coverage)
    assert report.verdict == "pass"
    assert [f.kind for f in report.findings] == ["precision"]
    assert report.tensors["x"].detection_limit >= error_of(claim)


def test_in_a_right_claim_nothing_is_let_pass() -> None:
    report = check(sine, X, np.cos)
    assert report.findings == ()
    assert report.tensors["x"].detection_limit < 1e-7


class _Tensor:
    """What of a tensor's report is looked at."""

    verdict = "pass"


def not_found(tensors: tuple[int, ...] | None) -> str:
    names: dict[str, Any] = {name: _Tensor() for name in "abcdef"}
    reports: dict[str, TensorReport] = names
    probe = Probe(2.0, 1.0, 1e-3, 1e-2, tensors)
    limits, small = np.zeros(6), np.zeros(6, dtype=np.bool_)
    certificate = Certificate((probe,), limits, small, None, 1e-2, 1e-16, 1.0)
    (finding,) = _about_contradiction(reports, certificate, True, False, ())
    assert finding.kind == "not-found"
    return finding.message


def test_a_contradiction_says_which_entries_were_moved() -> None:
    assert "over all entries the gradient" in not_found(None)
    assert "over the entries of b, c the gradient" in not_found((1, 2))
    assert "over the entries of a, b, c, d and 1 more the gradient" in not_found((0, 1, 2, 3, 4))


def found(kind: str, **evidence: object) -> Finding:
    return Finding(kind, f"the error enters in {kind}", None, "bug", evidence)


def test_single_precision_in_one_layer_is_a_warning_beside_a_mistake_in_another() -> None:
    single, mistake = found("precision", format="float32"), found("factor", ratio=2.0)
    first, last = _with_precision_last([single, mistake])
    assert first == mistake
    assert (last.kind, last.severity) == ("precision", "warning")


@pytest.mark.parametrize("format_", ["float16", "bfloat16"])
def test_half_precision_stays_a_bug_where_it_is(format_: str) -> None:
    findings = [found("precision", format=format_), found("factor", ratio=2.0)]
    assert _with_precision_last(findings) == findings


def test_what_the_verdict_rests_on_alone_is_no_warning() -> None:
    assert _with_precision_last([found("precision", format="float32")])[0].severity == "bug"
