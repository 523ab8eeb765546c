"""Advice about the point and the function."""

from typing import Any

import numpy as np
import pytest
from tests.full import check

from gradproof import Finding
from gradproof.diagnosis.advice import about_kinks, about_precision, about_start
from gradproof.report.build import customary


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def crossing(step: float, kinks: int, of: int) -> Any:
    return customary(step, np.ones(of), np.ones(of), np.arange(of) < kinks)


def test_precision_is_counted_by_tensor() -> None:
    assert about_precision({"w": 0, "b": 0}, {"w": 5, "b": 2}) == []
    (finding,) = about_precision({"w": 3, "b": 0, "c": 1}, {"w": 5, "b": 2, "c": 1})
    assert finding.evidence == {"w": 3, "c": 1}
    assert "3 of 5 in w, 1 of 1 in c" in finding.message


def test_entries_at_a_kink_are_counted_by_tensor() -> None:
    assert about_kinks({"w": 0}, {"w": 100}, ()) == []
    (finding,) = about_kinks({"w": 1, "b": 0}, {"w": 100, "b": 3}, ())
    assert finding.kind == "kink"
    assert finding.evidence == {"w": 1}
    assert "1 of 100 in w" in finding.message


def test_many_kinks_are_a_reason_to_take_fewer_data_points() -> None:
    few = about_kinks({"w": 0}, {"w": 100}, (crossing(1e-4, 2, 100), crossing(1e-5, 0, 100)))
    many = about_kinks({"w": 0}, {"w": 100}, (crossing(1e-4, 3, 100), crossing(1e-5, 0, 100)))
    assert kinds(few) == []
    assert kinds(many) == ["many-kinks"]
    assert "3 of 100 entries" in many[0].message
    assert "fewer data points have fewer kinks" in many[0].message
    at = about_kinks({"w": 5}, {"w": 100}, ())
    assert kinds(at) == ["kink", "many-kinks"]


@pytest.mark.parametrize("name", ["b", "bias", "conv1.bias", "layers.0.b", "b1", "intercept"])
def test_biases_that_are_all_zero_are_a_reason_to_burn_in(name: str) -> None:
    values = {"w": np.ones(3), name: np.ones(2)}
    (finding,) = about_start(["w", name], [np.ones(3), np.zeros(2)], values)
    assert finding.kind == "burn-in"
    assert "burn in" in finding.message
    assert finding.evidence == {"zero": (name,)}


@pytest.mark.parametrize(
    ("names", "point"),
    [
        (["w", "b"], [np.ones(3), np.array([0.0, 0.1])]),
        (["b1", "b2"], [np.zeros(2), np.ones(2)]),
        (["w", "v"], [np.ones(2), np.zeros(2)]),
        (["w", "b"], [np.ones(2), np.zeros(0)]),
        (["ab", "blob"], [np.zeros(2), np.zeros(2)]),
    ],
    ids=["trained", "one-trained", "no-biases", "empty", "other-names"],
)
def test_trained_or_absent_biases_are_not(names: list[str], point: Any) -> None:
    assert about_start(names, point, {name: np.ones(2) for name in names}) == []


def test_a_tensor_without_effect_is_named() -> None:
    (finding,) = about_start(
        ["w", "v"], [np.ones(2), np.ones(2)], {"w": np.ones(2), "v": np.zeros(2)}
    )
    assert finding.kind == "no-effect"
    assert finding.evidence == {"tensors": ("v",)}


def test_where_nothing_has_an_effect_no_tensor_is_singled_out() -> None:
    assert about_start(["w", "v"], [np.ones(2)] * 2, dict.fromkeys("wv", np.zeros(2))) == []


# -- through the whole of a check --------------------------------------------------------------

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(8, 3))
WEIGHTS = {"w": RNG.normal(size=(3, 5)), "v": RNG.normal(size=5)}


def network(p: Any) -> Any:
    return np.sum(np.maximum(DATA @ p["w"] + p["b"], 0.0) @ p["v"])


def network_grad(p: Any) -> Any:
    score = DATA @ p["w"] + p["b"]
    back = np.outer(np.ones(8), p["v"]) * (score > 0)
    return {"w": DATA.T @ back, "b": back.sum(0), "v": np.maximum(score, 0.0).sum(0)}


def test_zero_biases_are_mentioned_beside_the_verdict() -> None:
    report = check(network, {**WEIGHTS, "b": np.zeros(5)}, network_grad)
    assert report.verdict == "pass"
    assert "burn-in" in kinds(list(report.findings))
    report = check(network, {**WEIGHTS, "b": 0.1 * np.ones(5)}, network_grad)
    assert report.verdict == "pass"
    assert "burn-in" not in kinds(list(report.findings))


def test_dead_units_are_mentioned() -> None:
    weights = {**WEIGHTS, "v": np.zeros(5), "b": np.full(5, 0.1)}
    report = check(network, weights, network_grad)
    assert report.verdict == "pass"
    (finding,) = [f for f in report.findings if f.kind == "no-effect"]
    assert finding.evidence == {"tensors": ("w", "b")}


def test_advice_decides_nothing() -> None:
    report = check(network, {**WEIGHTS, "b": np.zeros(5)}, network_grad)
    assert {finding.severity for finding in report.findings} == {"info"}
    assert report
