"""Where an error enters and what it is, from `check` to the findings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from bench import diagnosis_cases_numpy as by_hand
from bench import diagnosis_jax_networks as of_jax
from bench import diagnosis_torch_functions as functions
from bench.diagnosis_case import accused, bug_findings, is_cause
from bench.diagnosis_torch_functions import Layer, bent, normal
from torch import nn

import gradproof
from gradproof.explaining import TENSORS
from gradproof.report.model import Finding, Report

RNG = np.random.default_rng(0)


def causes(report: Report) -> list[Finding]:
    return [finding for finding in bug_findings(report) if is_cause(finding)]


def said(report: Report) -> dict[str, str]:
    """Who is accused of what."""
    return {accused(finding): finding.kind for finding in causes(report)}


def perceptron(middle: Any = functions.Linear, act: Any = functions.ReLU) -> Report:
    """fc1, act, fc2, fc3, where act and fc2 may be wrong."""
    net = nn.Sequential()
    net.add_module("fc1", nn.Linear(4, 5))
    net.add_module("act", Layer(act))
    net.add_module("fc2", Layer(middle, weight=normal(1, 5, 5), bias=normal(2, 5)))
    net.add_module("fc3", nn.Linear(5, 3))
    for i, parameter in enumerate(net.parameters()):
        parameter.data = 0.6 * normal(10 + i, *parameter.shape)
    return gradproof.check(net.double(), (normal(3, 6, 4),))


TRANSPOSED = bent(functions.Linear, lambda r, *_: (r[0], r[1].mT, r[2]))
INPUT_TWICE = bent(functions.Linear, lambda r, *_: (r[0] + r[0], *r[1:]))
WRONG_MASK = bent(functions.ReLU, lambda r, g, _: g * (g > 0.0))


# -- one error ---------------------------------------------------------------------------------


def test_a_right_network_has_no_causes() -> None:
    report = perceptron()
    assert report.verdict == "pass"
    assert bug_findings(report) == []


def test_a_finding_names_the_layer_the_tensor_and_the_mistake() -> None:
    (finding,) = causes(perceptron(TRANSPOSED))
    assert (finding.kind, finding.tensor) == ("transposed", "fc2.weight")
    assert finding.evidence["layer"] == "fc2 > Linear"
    assert finding.evidence["quantity"] == "weight"
    assert finding.evidence["victims"] == ()
    assert "fc2 > Linear" in finding.message
    assert "fc2.weight" in finding.message


def test_a_wrong_input_gradient_has_victims_and_names_them() -> None:
    (finding,) = causes(perceptron(INPUT_TWICE))
    assert (finding.kind, finding.tensor) == ("factor", None)
    assert finding.evidence["quantity"] == "x"
    assert finding.evidence["victims"] == ("fc1.weight", "fc1.bias")
    assert "fc1.weight, fc1.bias lie before it and are wrong because of it" in finding.message


def test_causes_come_first_and_are_the_reason_of_the_verdict() -> None:
    report = perceptron(INPUT_TWICE)
    assert is_cause(report.findings[0])
    assert "fc2 > Linear" in report.reason
    assert "factor" in report.reason


def test_nan_is_traced_to_the_layer_that_makes_it() -> None:
    report = perceptron(bent(functions.Linear, lambda r, *_: (r[0] * torch.nan, *r[1:])))
    assert said(report) == {"fc2 > Linear": "nan"}
    assert is_cause(bug_findings(report)[0])


class Scaled:
    """Rows times a weight each: entries of a row that tie go on to do so."""

    def __init__(self) -> None:
        self.w = np.array([1.1, -0.7, 0.4])

    def forward(self, x: Any) -> Any:
        self.x = x
        return self.w[:, None] * x

    def backward(self, dy: Any) -> Any:
        self.dw = (dy * self.x).sum(1)
        return self.w[:, None] * dy


class Largest:
    """Of each row; whether a tie has one winner or many is up to the backward pass."""

    def __init__(self, *, every: bool) -> None:
        self.every = every

    def forward(self, x: Any) -> Any:
        self.x = x
        return x.max(1)

    def backward(self, dy: Any) -> Any:
        wins = self.x == self.x.max(1, keepdims=True)
        if not self.every:
            wins &= np.cumsum(wins, 1) == 1
        return dy[:, None] * wins


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("length", [4, 400])
def test_ties_are_judged_where_no_direction_has_a_slope(every: bool, length: int) -> None:
    """Every random direction breaks them; single entries and common moves do not."""
    x = np.random.default_rng(0).uniform(-0.5, 0.5, size=(3, length))
    x[:, ::3] = [[0.9], [-0.9], [0.9]]
    layers = {"scaled": Scaled(), "largest": Largest(every=every)}
    report = gradproof.check_layers(layers, x, lambda y: (np.sum(np.sin(y)), np.cos(y)))
    assert report.verdict == ("fail" if every else "pass")
    assert said(report) == ({"largest": "kink-inconsistent"} if every else {})


def test_a_tie_spoils_the_layers_before_it() -> None:
    def every_tie(_: Any, g: Any, args: Any) -> Any:
        return (g[..., None] * (args[0] == args[0].max(-1, keepdims=True)),)

    report = of_jax.pooled(of_jax.ruled(of_jax.row_maximum, every_tie))
    assert said(report) == {"row_maximum": "kink-inconsistent"}
    assert causes(report)[0].evidence["victims"] == ("x",)


# -- two errors --------------------------------------------------------------------------------


def test_two_errors_in_two_torch_layers_are_both_named() -> None:
    report = perceptron(TRANSPOSED, WRONG_MASK)
    assert said(report) == {"fc2 > Linear": "transposed", "act > ReLU": "mask"}


def test_two_errors_in_two_jax_functions_are_both_named() -> None:
    report = of_jax.perceptron(
        dense=of_jax.ruled(of_jax.dense, lambda r, *_: (r[0], -r[1], r[2])),
        act=of_jax.ruled(of_jax.swish, lambda r, *_: (0.5 * r[0],)),
    )
    assert said(report) == {"dense": "sign-flip", "swish": "factor"}


def test_two_errors_in_two_hand_written_layers_are_both_named() -> None:
    report = by_hand.network(affine=by_hand.AffineTransposed, norm=by_hand.BatchNormFactor)
    assert said(report) == {"affine2": "transposed", "norm": "factor"}


def test_the_error_nearest_to_the_value_comes_first() -> None:
    report = by_hand.network(affine=by_hand.AffineOfGradient, relu=by_hand.ReluEverywhere)
    assert list(said(report)) == ["affine2", "relu"]


# -- functions without layers ------------------------------------------------------------------


def check(f: Any, x: Any, grad: Any, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **options)


def sines(x: Any) -> Any:
    return sum(np.sum(np.sin(a)) for a in x.values())


def cosines(x: Any) -> Any:
    return {name: np.cos(a) for name, a in x.items()}


def point(count: int, size: int = 12) -> dict[str, Any]:
    return {f"t{k}": np.random.default_rng(k).normal(size=size) for k in range(count)}


def test_tensors_that_are_wrong_alike_share_a_finding() -> None:
    report = check(sines, point(4), lambda x: {name: 2.0 * np.cos(a) for name, a in x.items()})
    (finding,) = causes(report)
    assert finding.evidence["tensors"] == ("t0", "t1", "t2", "t3")
    assert finding.kind == "factor"


def test_tensors_that_are_wrong_each_in_its_way_have_each_a_finding() -> None:
    def grad(x: Any) -> Any:
        return cosines(x) | {"t0": -np.cos(x["t0"]), "t2": 3.0 * np.cos(x["t2"])}

    found = {
        finding.evidence["tensors"]: finding for finding in causes(check(sines, point(3), grad))
    }
    assert set(found) == {("t0",), ("t2",)}
    assert found[("t0",)].kind == "sign-flip"
    assert found[("t2",)].evidence["ratio"] == pytest.approx(3.0, abs=1e-6)


def test_of_many_wrong_tensors_some_are_explained() -> None:
    factors = RNG.uniform(2.0, 3.0, 20)

    def grad(x: Any) -> Any:
        pairs = zip(x.items(), factors, strict=True)
        return {name: factor * np.cos(a) for (name, a), factor in pairs}

    assert len(causes(check(sines, point(20), grad))) == TENSORS


def test_numbers_and_gradients_that_are_known_explain() -> None:
    earlier = {"t0": RNG.normal(size=12)}

    def grad(x: Any) -> Any:
        return {"t0": np.cos(x["t0"]) + 0.9 * earlier["t0"]}

    known = {"the last step's gradient": earlier, "the momentum": 0.9}
    (finding,) = causes(check(sines, point(1), grad, known=known))
    assert finding.kind == "extra-term"
    assert finding.evidence["array"] == "the last step's gradient"
    assert "the momentum" in finding.message
    (without,) = causes(check(sines, point(1), grad))
    assert without.kind == "unexplained"


def test_an_error_in_one_term_is_explained_in_that_term() -> None:
    def decay(x: Any) -> Any:
        return 0.05 * np.sum(x["t0"] ** 2)

    def decay_grad(x: Any) -> Any:
        return {"t0": 0.2 * x["t0"]}

    def grad(x: Any) -> Any:
        return {"t0": np.cos(x["t0"]) + 0.2 * x["t0"]}

    report = check(
        lambda x: sines(x) + decay(x),
        point(1),
        grad,
        terms={"data": (sines, cosines), "decay": (decay, decay_grad)},
    )
    (finding,) = causes(report)
    assert (finding.kind, finding.evidence["term"]) == ("factor", "decay")
    assert finding.evidence["ratio"] == pytest.approx(2.0)


def test_an_explanation_costs_no_more_for_a_large_tensor() -> None:
    spent = []
    for size in (1_000, 30_000):
        x = np.random.default_rng(0).normal(size=size)
        report = check(lambda x: np.sum(np.sin(x)), x, lambda x: 2.0 * np.cos(x))
        assert said(report) == {"x": "factor"}
        spent.append(report.evaluations)
    assert spent[1] < 1.2 * spent[0] < 2_000


# -- budget ------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluations", [1, 5, 20, 40, 60, 80, 120, 200, 300, 500, 800])
def test_under_any_budget_nothing_wrong_is_said(evaluations: int) -> None:
    kinds = {"affine2": {"transposed", "unexplained"}}
    network = _layers(evaluations)
    assert network.verdict in ("fail", "inconclusive")
    for finding in causes(network):
        assert finding.kind in kinds[accused(finding)]


def _layers(evaluations: int) -> Report:
    return by_hand.network(affine=by_hand.AffineTransposed, max_evaluations=evaluations)


def test_a_budget_that_ran_out_is_told() -> None:
    (finding,) = [f for f in _layers(150).findings if f.kind == "budget"]
    assert "max_evaluations=150" in finding.message


def test_a_budget_that_sufficed_for_the_verdict_but_not_for_its_causes_is_told() -> None:
    report = _layers(500)
    assert report.verdict == "fail"
    (finding,) = [f for f in report.findings if f.kind == "budget"]
    assert "all that the verdict rests on" in finding.message


@pytest.mark.parametrize("evaluations", [60, 120, 240, 360])
def test_a_function_is_not_evaluated_beyond_its_budget(evaluations: int) -> None:
    calls = 0

    def f(x: Any) -> Any:
        nonlocal calls
        calls += 1
        return sines(x)

    def grad(x: Any) -> Any:
        return {name: 2.0 * np.cos(a) for name, a in x.items()}

    report = check(f, point(3), grad, max_evaluations=evaluations)
    assert calls <= evaluations + 2
    assert set(said(report).values()) <= {"factor"}
