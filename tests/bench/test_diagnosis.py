"""The planted bugs, and what is said of some of them and of right gradients."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from bench import diagnosis, diagnosis_cost
from bench.cases import correct_cases
from bench.diagnosis import all_bugs, diagnose, false_accusations, main
from bench.diagnosis_case import Bug, Diagnosis, accused, diagnosis_of, is_cause

import gradproof
from gradproof.report.model import Finding, Report

BUGS = all_bugs()
#: Bugs that are found in a moment, from every family but JAX's, which compiles.
QUICK = [bug for bug in BUGS if bug.family in ("numpy", "layers")] + [
    bug for bug in BUGS if bug.family == "torch"
][::4]


def named(bug: Bug) -> str:
    return f"{bug.family}-{bug.name}"


# -- the bench itself --------------------------------------------------------------------------


def test_there_are_enough_bugs_of_every_family() -> None:
    counts = Counter(bug.family for bug in BUGS)
    assert sum(counts.values()) >= 75
    assert counts["demo"] == 18
    assert counts["torch"] >= 25
    assert counts["jax"] >= 15
    assert counts["numpy"] >= 8
    assert counts["layers"] >= 5


def test_no_two_bugs_have_one_name_and_each_has_a_kind() -> None:
    assert len({named(bug) for bug in BUGS}) == len(BUGS)
    assert all(0 < len(bug.kinds) <= 3 for bug in BUGS)


def test_most_kinds_of_mistake_are_planted() -> None:
    planted = {kind for bug in BUGS for kind in bug.kinds}
    assert planted >= {
        *("sign-flip", "factor", "permuted-axes", "transposed", "flipped-kernel", "not-summed"),
        *("missing-term", "extra-term", "zero", "stale", "accumulated", "block", "mask"),
        *("conjugate", "precision", "nan", "kink-inconsistent", "shifted"),
    }


def finding(kind: str, layer: str | None = None, tensor: str = "w", **evidence: Any) -> Finding:
    if layer is not None:
        evidence["layer"] = layer
    return Finding(kind, "", tensor, "bug", evidence)


@pytest.fixture(scope="module")
def report() -> Report:
    return gradproof.check(lambda x: x**2, 3.0, lambda x: 2 * x)


BUG = Bug("some", "torch", "fc2", ("factor", "block"), lambda f: f, None, None)


def test_the_accused_is_a_layer_or_a_term_or_a_tensor() -> None:
    assert accused(finding("factor", "fc2")) == "fc2"
    assert accused(finding("factor", "cell (call 3) > Lstm")) == "cell > Lstm"
    assert accused(finding("zero", "stop_gradient at net.py:12")) == "stop_gradient"
    assert accused(finding("factor", term="l2")) == "l2"
    assert accused(finding("factor")) == "w"


def test_what_is_only_an_effect_accuses_nobody() -> None:
    assert is_cause(finding("factor", "fc2"))
    assert is_cause(finding("factor", tensors=("w",)))
    assert not is_cause(finding("nan"))
    assert not is_cause(finding("kink-inconsistent", tensors=("w",)))


@pytest.mark.parametrize(
    ("findings", "is_first", "innocents", "is_right"),
    [
        ([("factor", "fc2")], True, (), True),
        ([("block", "fc2"), ("factor", "fc2")], True, (), True),
        ([("mask", "fc2")], True, (), False),
        ([("factor", "fc2"), ("mask", "fc2")], True, (), False),
        ([("factor", "fc1"), ("factor", "fc2")], False, ("fc1",), True),
        ([("factor", "fc2"), ("factor", "fc1")], True, ("fc1",), True),
        ([("factor", "fc1")], False, ("fc1",), False),
        ([], False, (), False),
    ],
)
def test_a_report_is_judged_by_who_is_accused_of_what(
    report: Report,
    findings: list[tuple[str, str]],
    is_first: bool,
    innocents: tuple[str, ...],
    is_right: bool,
) -> None:
    said = tuple(finding(kind, layer) for kind, layer in findings)
    found = diagnosis_of(BUG, replace(report, findings=said), 0.0)
    assert (found.is_first, found.innocents, found.is_right) == (is_first, innocents, is_right)


def test_an_effect_before_the_cause_means_that_the_culprit_is_not_first(report: Report) -> None:
    said = (finding("nan", tensor="fc1.weight"), finding("factor", "fc2"))
    found = diagnosis_of(BUG, replace(report, findings=said), 0.0)
    assert not found.is_first
    assert found.innocents == ()


def test_a_check_that_raises_is_neither_first_nor_right() -> None:
    def check(_: Any) -> Report:
        raise ZeroDivisionError("a message")

    found = diagnose(replace(BUG, check=check))
    assert (found.verdict, found.is_first, found.is_right) == ("raised", False, False)
    assert found.message == "ZeroDivisionError: a message"


@pytest.mark.parametrize(
    ("kinds", "where", "status"),
    [(("factor",), "w", 0), (("factor",), "b", 1), (("mask",), "w", 1)],
    ids=["right", "not named", "wrong kind"],
)
def test_the_exit_status_tells_whether_the_bars_are_met(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], where: str, status: int
) -> None:
    (bug,) = [bug for bug in BUGS if named(bug) == "numpy-weights-not-averaged"]
    bug = replace(bug, kinds=kinds, where=where)
    monkeypatch.setattr(diagnosis, "all_bugs", lambda: [bug])
    monkeypatch.setattr(diagnosis, "correct_cases", lambda: correct_cases()[:2])
    assert main([]) == status


# -- what is said ------------------------------------------------------------------------------


@cache
def said_of(name: str) -> Diagnosis:
    return diagnose(next(bug for bug in QUICK if named(bug) == name))


@pytest.mark.parametrize("name", [named(bug) for bug in QUICK])
def test_the_culprit_is_named_first_and_nobody_else(name: str) -> None:
    found = said_of(name)
    assert found.is_first, found.message
    assert found.innocents == ()


def test_the_kinds_are_right() -> None:
    wrong = [bug.name for bug in QUICK if not said_of(named(bug)).is_right]
    assert len(wrong) <= len(QUICK) * 5 / 60, wrong


@pytest.mark.parametrize("bug", QUICK[::2], ids=named)
def test_of_the_right_twin_nothing_is_said(bug: Bug) -> None:
    found = diagnose(bug, of_twin=True)
    assert found.verdict == "pass", found.message
    assert (found.first, found.innocents) == ("", ())


@pytest.mark.parametrize("coverage", ["probe", "full"])
def test_no_right_gradient_is_accused(coverage: str) -> None:
    assert false_accusations(correct_cases()[::3], coverage) == []


def test_a_wrong_gradient_would_be_accused() -> None:
    case = replace(correct_cases()[0], grad=lambda x: 2.0 * x)
    assert false_accusations([case], "probe")


# -- what it costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["torch, Functions", "torch, modules", "by hand"])
def test_one_of_fifty_layers_is_found_at_the_cost_of_twenty_passes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis_cost, "WIDTH", 8)
    monkeypatch.setattr(diagnosis_cost, "BATCH", 4)
    cost = diagnosis_cost.cost_of(diagnosis_cost.NETWORKS[name]())
    assert len(cost.named) == 1
    assert cost.passes <= diagnosis_cost.MOST
