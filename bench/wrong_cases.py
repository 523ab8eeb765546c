"""Wrong gradients: the half of the scorecard that catches misses.

Each is a right gradient of `bench/cases.py`, bent the way people bend them. Every error stands
well above what the function's own noise can hide: the tests find it from function values alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from bench.cases import Case, correct_cases, draw, mlp_setting

__all__ = ["wrong_cases"]

Bend = Callable[[Any], Any]
Row = tuple[str, str, Bend, float, str]  # twin, tag, the bend or the new gradient, size, bug


def wrong_cases() -> list[Case]:
    """All cases whose gradient is wrong, named after the correct case that was bent."""
    right = {case.name: case for case in correct_cases()}
    rows = [
        (twin, tag, _after(bend, right[twin].grad), size, bug)
        for twin, tag, bend, size, bug in [*_everywhere(), *_single(), *_kinks(), *_structured()]
    ]
    rows += [*_formulas(), *_formulas_around({name: case.grad for name, case in right.items()})]
    return [
        dataclasses.replace(right[twin], name=f"{twin}/{tag}", grad=grad, correct=False,
                            twin=twin, size=size, bug=bug)
        for twin, tag, grad, size, bug in rows
    ]  # fmt: skip


def _after(bend: Bend, grad: Any) -> Any:
    return (lambda x: bend(grad(x))) if callable(grad) else bend(grad)


def _times(factor: float) -> Bend:
    return lambda g: factor * g


def _plus(term: float) -> Bend:
    return lambda g: g + term


def _to(value: Any) -> Bend:
    return lambda _: value


def _at(index: Any, change: Bend) -> Bend:
    """Change the one entry that `index` names."""

    def bend(g: Any) -> Any:
        bent = np.array(g)
        bent[index] = change(bent[index])
        return bent

    return bend


def _in(name: str, change: Bend) -> Bend:
    """Change the one tensor of a dict that `name` names."""
    return lambda g: {**g, name: change(g[name])}


_flip, _zero = _times(-1.0), _times(0.0)


def _everywhere() -> list[Row]:
    return [
        ("identity-1000", "zero", _zero, 1.0, "all 1000 entries are 0 instead of 1"),
        ("slope-9e-6-1000", "zero", _zero, 1.0, "all 1000 entries are 0 instead of 9e-6"),
        ("mean-square-1000", "zero", _zero, 1.0, "all 1000 entries are 0"),
        ("mean-square-1000", "sum", _times(1e3), 0.999, "times n: the gradient of the sum"),
        ("mean-square-1000", "scaled", _times(1 + 1e-4), 1e-4, "1e-4 too large"),
        ("identity-at-1e11", "double", _times(2.0), 0.5, "factor 2"),
        ("log-at-1e-5", "scaled", _times(1.001), 1e-3, "0.1 % too large"),
        ("root-at-1e-6", "half", _times(0.5), 0.5, "factor 1/2"),
        ("abs-at-1e-7", "sign", _flip, 2.0, "sign flipped"),
        ("sine-plus-1e8", "scaled", _times(1.01), 9.9e-3, "1 % too large"),
        ("bilinear-at-1e3", "scaled", _times(1.01), 9.9e-3, "1 % too large"),
        ("sum-of-1e4-terms", "mean", _times(1e-4), 0.9999, "times 1/n: averaged, not summed"),
        ("quantised-1e-9", "scaled", _times(1 - 1e-4), 1e-4, "1e-4 too small"),
        ("slope-1e-12-at-1e6", "zero", _zero, 1.0, "0 instead of 1e-12"),
        ("sine-times-1e-12", "sign", _flip, 2.0, "sign flipped"),
        ("tanh-at-1e-11", "no-chain-rule", _times(1e-11), 1.0, "the factor 1e11 is missing"),
        ("norm-at-1e-8", "squared", _times(4.554e-8), 1.0, "the gradient of the squared norm"),
        ("sigmoid-at-minus-30", "sign", _flip, 2.0, "sign flipped"),
        ("saturated-tanh-lossy-gradient", "zero", _zero, 1.0, "0, as if fully saturated"),
        ("sigmoid-at-20-lossy-gradient", "scaled", _times(1.001), 1e-3, "0.1 % too large"),
        ("versine-lossy-gradient", "scaled", _times(1.001), 1e-3, "0.1 % too large"),
        ("root-difference-lossy-gradient", "scaled", _times(1 + 1e-5), 1e-5, "1e-5 too large"),
        ("one-pass-variance", "bessel", _times(10 / 9), 0.1, "divides by n - 1 instead of n"),
        ("float32-gradient", "float64", lambda g: g.astype(float) * (1 + 1e-6), 1e-6,
         "a float64 array 1e-6 too large"),
        ("log-gamma", "rounded", lambda g: np.round(g, 4), 5.385e-5, "rounded to 4 decimals"),
        ("falling-scales", "scaled", _times(1 - 1e-6), 1e-6, "1e-6 too small"),
        ("sine-1e3-x", "no-chain-rule", _times(1e-3), 0.999, "the inner factor 1000 is missing"),
        ("power-1.5-at-1e-8", "no-factor", _times(2 / 3), 1 / 3, "the factor 1.5 is missing"),
        ("cholesky-logdet", "half", _times(0.5), 0.5, "factor 1/2: log of the root's diagonal"),
        ("bisection-1e-8", "half", _times(0.5), 0.5, "factor 1/2"),
        ("array-of-no-axes", "scaled", _times(1.001), 1e-3, "0.1 % too large"),
        ("float", "half", _times(0.5), 0.5, "factor 1/2"),
    ]  # fmt: skip


def _single() -> list[Row]:
    """One entry or one tensor is wrong."""
    return [
        ("inverse-scales", "largest-zero", _at(16, _zero), 1.0, "the entry of 1e8 is 0"),
        ("inverse-scales", "smallest", _at(0, _times(1 + 1e-4)), 1e-4, "the entry of 1e-8: 1e-4"),
        ("scales-around-zero", "smallest", _at(0, _times(2.0)), 0.5, "the entry of 1e-8 doubled"),
        ("scales-around-zero", "largest", _at(16, _times(1 + 1e-4)), 1e-4, "1e-4 off in 1e8"),
        ("falling-scales", "smallest", _at(6, _times(2.0)), 0.5, "doubled; 1e-6 of the largest"),
        ("log-1e3-to-1e11", "last-sign", _at(8, _flip), 2.0, "sign of the entry of 1e-11 flipped"),
        ("tensors-1e-6-to-1e6", "tiny", _in("tiny", _times(2.0)), 0.5, "tensor of 1e-6: factor 2"),
        ("tensors-1e-6-to-1e6", "huge", _in("huge", _at(1, _zero)), 1.0, "huge[1] is 0"),
        ("identity-1000", "one-zero", _at(617, _zero), 1.0, "entry 617 of 1000 is 0"),
        ("mean-square-1000", "one-sign", _at(3, _flip), 2.0, "sign of entry 3 of 1000 flipped"),
        ("sine-at-1e5", "one-sign", _at(7, _flip), 2.0, "sign of entry 7 flipped"),
        ("rosenbrock", "one-1e-6", _at(4, _times(1 + 1e-6)), 1e-6, "entry 4 is 1e-6 too large"),
        ("rosenbrock", "one-1e-4", _at(11, _times(1 - 1e-4)), 1e-4, "entry 11 is 1e-4 too small"),
        ("mlp", "one-1e-3", _in("w1", _at((2, 3), _times(1.001))), 1e-3, "w1[2, 3]: 0.1 % large"),
        ("mlp", "one-zero", _in("w2", _at((4, 1), _zero)), 1.0, "w2[4, 1] is 0"),
        ("mlp", "infinite", _in("b1", _at(0, _to(np.inf))), np.nan, "b1[0] is infinite"),
        ("nested", "nan", lambda g: {**g, "b": [_at(1, _to(np.nan))(g["b"][0])]}, np.nan,
         "b.0[1] is NaN"),
        ("float32-inside", "sign", _in("w1", _at((0, 0), _flip)), 2.0, "sign of w1[0, 0] flipped"),
        ("float32-throughout", "bias", _in("b1", _times(1.05)), 0.0476, "b1 is 5 % too large"),
        ("pendulum-adjoint", "damping", _at(1, _flip), 2.0, "sign of the damping's entry flipped"),
        ("determinant-1e-8", "sign", _at((1, 2), _flip), 2.0, "sign of entry [1, 2] flipped"),
        ("rosenbrock-at-optimum", "not-zero", _at(2, _to(1e-3)), 1.0, "entry 2: 1e-3, should be 0"),
        ("least-squares-at-optimum", "not-zero", _at(1, _to(1e-6)), 1.0, "entry 1: 1e-6, not 0"),
        ("constant", "not-zero", _at(0, _to(1e-3)), 1.0, "entry 0: 1e-3, should be 0"),
        ("cosine-at-0", "not-zero", _at(0, _to(1e-3)), 1.0, "entry 0: 1e-3, should be 0"),
        ("dead-relu", "leaks", _plus(0.01), 1.0, "0.01 everywhere: the mask leaks"),
        ("unused-input", "not-zero", lambda g: {**g, "unused": g["used"][:2]}, 1.0,
         "the unused tensor gets the other's gradient"),
        ("bias-before-mean-subtraction", "not-zero", _in("bias", _plus(0.1)), 1.0, "0.1, not 0"),
    ]  # fmt: skip


def _kinks() -> list[Row]:
    relu, second = "relu-at-0-claims-half", np.array([0.0, 1.0, 0.0])
    return [
        (relu, "claims-1.5", _at(0, _to(1.5)), 2 / 3, "1.5 is outside [0, 1]"),
        (relu, "claims-minus-0.2", _at(0, _to(-0.2)), 1.4, "-0.2 is outside [0, 1]"),
        ("abs-at-0", "claims-2", _at(0, _to(2.0)), 1.0, "2 is outside [-1, 1]"),
        ("lasso", "claims-1.3", _at(3, _plus(1.5)), 1.154, "1.3 is outside [-1.2, 0.8]"),
        ("hinge-at-margin", "double", _times(2.0), 0.5, "factor 2"),
        ("max-tie-shared", "both-0", _zero, 1.0, "(0, 0) at a tie does not sum to 1"),
        ("max-tie-shared", "both-1", _times(2.0), 0.5, "(1, 1) at a tie does not sum to 1"),
        ("max-tie-of-three", "halves", _to(np.full(3, 0.5)), 0.6, "sums to 1.5 at a tie"),
        ("max-tie-first", "not-largest", _to(second[[0, 2, 1]]), 1.0, "1 for the smallest entry"),
        ("huber-at-delta", "unclipped", _at(3, _to(3.0)), 2 / 3, "entry 3 is 3, not clipped to 1"),
        ("signed-square-at-0", "half", _times(0.5), 0.5, "factor 1/2: |x| for 2 |x|"),
        ("kink-1e-07-away", "other-side", _at(0, _plus(-2.0)), 0.742, "slope beyond the kink"),
        ("kink-1e-05-away", "other-side", _at(1, _plus(2.0)), 0.815, "slope beyond the kink"),
        ("kink-1e-02-away", "other-side", _at(0, _plus(-2.0)), 0.742, "slope beyond the kink"),
        ("sawtooth-near-jump", "other-side", _at(0, _plus(-2.0)), 1.001, "slope beyond the jump"),
        ("max-pool", "wrong-index", lambda g: g.reshape(4, 3, 2)[..., ::-1].reshape(4, 6), 1.0,
         "goes to the smaller one of each pair"),
        ("sort", "off-by-one", lambda g: np.roll(g, 1), 1.249, "permutation off by one"),
        ("median", "swapped", lambda g: g[[1, 0, 2, 3, 4, 5, 6]], 1.005, "two entries swapped"),
    ]  # fmt: skip


def _structured() -> list[Row]:
    """Right numbers in the wrong place, or a sum or a term mistaken."""
    return [
        ("inverse-condition-1e6", "transposed", lambda g: g.T, 1.9, "transposed"),
        ("determinant-1e-8", "transposed", lambda g: g.T, 1.9, "transposed"),
        ("cross-entropy", "transposed", _in("w", lambda g: g.T), 1.441, "w is transposed"),
        ("cross-entropy", "bias-mean", _in("b", _times(1 / 12)), 0.9167, "b averaged, not summed"),
        ("cross-entropy", "columns", _in("w", lambda g: g[:, [1, 0, 2, 3]]), 1.353,
         "columns 0 and 1 of w swapped"),
        ("log-sum-exp-at-1e3", "swapped", lambda g: g[[0, 2, 1, 3, 4, 5]], 0.7744,
         "entries 1 and 2 swapped"),
        ("quadrature", "swapped", lambda g: g[::-1], 0.8287, "the two entries swapped"),
        ("convolution", "kernel-flipped", _in("kernel", lambda g: g[::-1]), 0.889, "reversed"),
        ("convolution", "off-by-one", _in("signal", lambda g: np.roll(g, 1)), 1.772,
         "signal shifted by one"),
        ("convolution", "border", _in("signal", _at(11, _zero)), 1.0, "the last border entry is 0"),
        ("relu-pool-network", "bias-mean", _in("bias", _times(1 / 72)), 0.986,
         "bias averaged over batch and positions"),
        ("relu-pool-network", "kernel-flipped", _in("kernel", lambda g: g[::-1]), 1.29,
         "kernel reversed"),
        ("relu-pool-network", "channel", _in("kernel", _at((slice(None), 1), _zero)), 1.0,
         "channel 1 of the kernel is 0"),
        ("softmax-jacobian", "diagonal", lambda g: np.diag(np.diag(g)), 1.0, "diagonal only"),
        ("tanh-layer-jacobian", "rows", lambda g: g[[1, 0, 2, 3]], 0.73, "outputs 0, 1 swapped"),
        ("product-jacobian", "sign", _at((1, 2), _flip), 2.0, "sign of entry [1, 2] flipped"),
    ]  # fmt: skip


def _formulas() -> list[Row]:
    """Gradients by a wrong formula of x."""
    square, weights, solved = draw(3, 6, 6), draw(43, 3, 6), np.array([1.0, -2.0, 0.7])

    def second_eigenvector(a: Any) -> Any:
        second = np.linalg.eigh((a + a.T) / 2)[1][:, -2]
        return np.outer(second, second)

    def constant_spread(x: Any) -> Any:
        spread = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return (weights - weights.mean(-1, keepdims=True)) / spread

    def no_activation_slope(x: Any) -> Any:
        _, data, target = mlp_setting()
        hidden = np.tanh(data @ x["w1"] + x["b1"])
        out = hidden @ x["w2"] + x["b2"] - target
        return {"w1": data.T @ (out @ x["w2"].T), "b1": (out @ x["w2"].T).sum(0),
                "w2": hidden.T @ out, "b2": out.sum(0)}  # fmt: skip

    return [
        ("bilinear-at-1e3", "not-symmetric", lambda x: 2 * square @ x, 1.9, "2 A x for (A + A') x"),
        ("top-eigenvalue-gap-1e-4", "second", second_eigenvector, 1.812, "the next eigenvector's"),
        ("layer-norm", "constant-spread", constant_spread, 1.817, "term through spread missing"),
        ("mlp", "no-activation-slope", no_activation_slope, 1.564, "1 - tanh^2 missing below"),
        ("newton-1e-8", "not-implicit", _to(solved), 0.8004, "the implicit derivative is missing"),
        ("fixed-point-1e-8", "one-step", _to(solved), 0.3333, "through one iteration only"),
        ("log1p-expm1", "expm1", lambda x: np.array([1, 2, 3]) / (1 + x) + np.expm1(x), 0.5,
         "expm1 for exp"),
        ("arcsine-near-1", "no-root", lambda x: 1 / ((1 - x) * (1 + x)), 0.9986, "no root"),
        ("entropy-near-0", "no-1", np.log, 0.8306, "the term 1 is missing"),
    ]  # fmt: skip


def _formulas_around(right: dict[str, Any]) -> list[Row]:
    """Gradients that need the right one at another point, or x itself."""

    def data_term_lost(w: Any) -> Any:
        return _at(2, _to(2e6 * w[2]))(right["regulariser-1e6"](w))

    return [
        ("logistic-with-decay", "decay-doubled",
         lambda w: right["logistic-with-decay"](w) + 0.1 * w, 0.09605, "weight decay added twice"),
        ("logistic-with-decay", "no-decay",
         lambda w: right["logistic-with-decay"](w) - 0.1 * w, 0.1063, "weight decay missing"),
        ("regulariser-1e6", "entry-hidden", data_term_lost, 5.846e-5,
         "entry 2 is the regulariser's alone"),
        ("hinge-near-margin", "mask", lambda w: right["hinge-near-margin"](w * (1 + 1e-5)), 1.625,
         "the mask of a point beyond the margin"),
        ("rosenbrock", "stale", lambda x: right["rosenbrock"](0.99 * x), 0.0528, "taken at 0.99 x"),
        ("convolution", "stale",
         lambda x: right["convolution"]({"signal": x["signal"], "kernel": 0.9 * x["kernel"]}), 0.44,
         "taken at the kernel before the last update"),
        ("mlp", "stale-hidden", lambda x: right["mlp"]({**x, "b1": x["b1"] + 0.05}), 0.5972,
         "taken before b1's last update"),
        ("pendulum-adjoint", "stale", lambda p: right["pendulum-adjoint"](p * [1, 1, 0.99]), 0.0588,
         "the path of another first angle"),
    ]  # fmt: skip
