"""Right gradients that look wrong: the half of the scorecard that catches false alarms.

Every function takes complex numbers too, wherever its formula does: that is how the tests confirm
a gradient, independently of differences. Constants are drawn from fixed seeds at construction.
`bench/wrong_cases.py` bends these gradients into the wrong ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import special

__all__ = ["Case", "correct_cases", "draw", "mlp_setting"]

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """A function, a point, the gradient claimed there, and whether the claim is right.

    `grad` is a function of x or the gradient itself. For a wrong claim, `bug` says what is wrong,
    `twin` names the correct case that was bent, and `size` is the largest relative error of an
    entry, |claimed - right| / max(|claimed|, |right|), which is at most 2. `f_batch` gives f at
    points stacked along a new first axis.
    """

    name: str
    kind: str
    f: Function
    x: Any
    grad: Any
    correct: bool = True
    bug: str = ""
    twin: str = ""
    size: float = 0.0
    f_batch: Function | None = None


def correct_cases() -> list[Case]:
    """Return the cases whose gradient is right, the easy ones last."""
    hard = (_ill_scaled, _large_and_tiny, _cancelling, _noisy, _solvers, _at_kinks, _near_kinks)
    makers = (*hard, _zeros, _near_singular, _domain_edges, _smooth, _models, _long, _jacobians)
    return [case for make in makers for case in make()]


def draw(seed: int, *shape: int) -> Any:
    """Return normal numbers that depend on the seed and the shape only."""
    return np.random.default_rng(seed).normal(size=shape)


def _relu(z: Any) -> Any:
    return np.maximum(z, 0)


def _soft(z: Any) -> Any:
    return np.exp(z - z.max()) / np.sum(np.exp(z - z.max()))


def _ill_scaled() -> list[Case]:
    powers = 10.0 ** np.arange(-8, 9)
    phase = np.random.default_rng(0).uniform(0.3, 1.2, 17)
    falling = 10.0 ** -np.arange(7)
    noise = draw(1, 9)
    tensors = {"tiny": 1e-6 * noise[:4], "unit": noise[4:6], "huge": 1e6 * noise[6:]}
    data = draw(2, 8, 4)
    return [
        Case("inverse-scales", "ill-scaled", lambda x: np.sum(np.sin(x * powers)), phase / powers,
             lambda x: powers * np.cos(x * powers)),
        Case("scales-around-zero", "ill-scaled", lambda x: np.sum(powers * np.sin(x - phase)),
             phase.copy(), lambda x: powers * np.cos(x - phase)),
        Case("falling-scales", "ill-scaled", lambda x: np.sum(falling * np.sin(x)), phase[:7],
             lambda x: falling * np.cos(x)),
        Case("log-1e3-to-1e11", "ill-scaled", lambda x: np.sum(np.log(x)), 10.0 ** np.arange(3, 12),
             lambda x: 1 / x),
        Case("tensors-1e-6-to-1e6", "ill-scaled",
             lambda x: (np.sum(np.sin(1e6 * x["tiny"])) + np.sum(np.cos(x["unit"]))
                        + np.sum(np.log1p((1e-6 * x["huge"]) ** 2))), tensors,
             lambda x: {"tiny": 1e6 * np.cos(1e6 * x["tiny"]), "unit": -np.sin(x["unit"]),
                        "huge": 2e-12 * x["huge"] / (1 + (1e-6 * x["huge"]) ** 2)}),
        Case("regulariser-1e6", "ill-scaled",
             lambda w: 1e6 * np.sum(w * w) + np.sum(np.tanh(data @ w)), 0.1 * noise[:4],
             lambda w: 2e6 * w + data.T @ (1 - np.tanh(data @ w) ** 2)),
    ]  # fmt: skip


def _large_and_tiny() -> list[Case]:
    square = draw(3, 6, 6)
    return [
        Case("bilinear-at-1e3", "large", lambda x: x @ square @ x, 1e3 * draw(4, 6),
             lambda x: (square + square.T) @ x),
        Case("sine-at-1e5", "large", lambda x: np.sum(np.sin(x)), 1e5 + draw(5, 20), np.cos),
        Case("identity-at-1e11", "large", np.sum, np.array([1e11, 2.5e11, -7e10]), np.ones_like),
        Case("slope-1e-12-at-1e6", "tiny", lambda x: 1 + np.sum(1e-12 * x), 1e6 * draw(6, 4),
             lambda x: np.full_like(x, 1e-12)),
        Case("sine-times-1e-12", "tiny", lambda x: 1e-12 * np.sum(np.sin(x)), draw(7, 4),
             lambda x: 1e-12 * np.cos(x)),
        Case("tanh-at-1e-11", "tiny", lambda x: np.sum(np.tanh(1e11 * x)), 1e-11 * draw(8, 4),
             lambda x: 1e11 / np.cosh(1e11 * x) ** 2),
        Case("log1p-expm1", "tiny", lambda x: np.sum(np.log1p(x) * [1, 2, 3] + np.expm1(x)),
             np.array([1e-10, -1e-6, 1e-3]), lambda x: np.array([1, 2, 3]) / (1 + x) + np.exp(x)),
        Case("norm-at-1e-8", "tiny", lambda x: np.sqrt(np.sum(x * x)), 1e-8 * draw(9, 5),
             lambda x: x / np.sqrt(np.sum(x * x))),
        Case("sigmoid-at-minus-30", "tiny", lambda x: np.sum(1 / (1 + np.exp(-x))),
             np.array([-30.0, -31.0]), lambda x: np.exp(x) / (1 + np.exp(x)) ** 2),
        Case("sigmoid-at-30", "tiny", lambda x: np.sum(1 / (1 + np.exp(-x))), np.array([30.0]),
             lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    ]  # fmt: skip


def _cancelling() -> list[Case]:
    """Digits are lost: by f to an offset, or by the gradient to its (correct) formula."""
    return [
        Case("sine-plus-1e8", "cancelling", lambda x: np.sum(np.sin(x)) + 1e8, 0.5 * draw(10, 5),
             np.cos),
        Case("one-pass-variance", "cancelling", lambda x: np.mean(x * x) - np.mean(x) ** 2,
             1e4 + draw(11, 10), lambda x: 2 * (x - np.mean(x)) / x.size),
        Case("versine-lossy-gradient", "cancelling", lambda x: np.sum(2 * (np.sin(x / 2) / x) ** 2),
             np.array([7e-3, 1.1e-2, -2.3e-2]),
             lambda x: (x * np.sin(x) - 2 * (1 - np.cos(x))) / x**3),
        Case("root-difference-lossy-gradient", "cancelling",
             lambda x: np.sum(1 / (np.sqrt(x + 1) + np.sqrt(x))), np.array([1.2345e7, 1.6789e8]),
             lambda x: 0.5 / np.sqrt(x + 1) - 0.5 / np.sqrt(x)),
        Case("saturated-tanh-lossy-gradient", "cancelling", lambda x: np.sum(np.tanh(x)),
             np.array([8.0, -9.0, 3.0]), lambda x: 1 - np.tanh(x) ** 2),
        Case("sigmoid-at-20-lossy-gradient", "cancelling", lambda x: np.sum(1 / (1 + np.exp(-x))),
             np.array([20.0, 18.5]), lambda x: 1 / (1 + np.exp(-x)) * (1 - 1 / (1 + np.exp(-x)))),
        Case("float32-gradient", "cancelling", lambda x: np.sum(np.sin(x) * np.exp(x)),
             draw(12, 8), lambda x: (np.exp(x) * (np.sin(x) + np.cos(x))).astype(np.float32)),
    ]  # fmt: skip


def _mlp(x: Any, data: Any, target: Any) -> Any:
    """Half the squared error of a network of one hidden tanh layer."""
    hidden = np.tanh(data @ x["w1"] + x["b1"])
    return 0.5 * np.sum((hidden @ x["w2"] + x["b2"] - target) ** 2)


def _mlp_gradient(x: Any, data: Any, target: Any) -> dict[str, Any]:
    """Backpropagation through `_mlp`, in whatever precision it is given."""
    hidden = np.tanh(data @ x["w1"] + x["b1"])
    out = hidden @ x["w2"] + x["b2"] - target
    back = out @ x["w2"].T * (1 - hidden**2)
    return {"w1": data.T @ back, "b1": back.sum(0), "w2": hidden.T @ out, "b2": out.sum(0)}


def mlp_setting() -> tuple[dict[str, Any], Any, Any]:
    """Return parameters, data and target; the latter two in single precision, exact in double."""
    x = {"w1": draw(13, 4, 5), "b1": draw(14, 5), "w2": draw(15, 5, 2), "b2": draw(16, 2)}
    return x, draw(17, 8, 4).astype(np.float32), draw(18, 8, 2).astype(np.float32)


def _noisy() -> list[Case]:
    x, data, target = mlp_setting()
    wide = data.astype(float), target.astype(float)
    single = {name: tensor.astype(np.float32) for name, tensor in x.items()}
    rows, goal = draw(19, 10_000, 6), draw(20, 10_000)
    return [
        Case("float32-inside", "noise",
             lambda x: _mlp({k: v.astype(np.float32) for k, v in x.items()}, data, target), x,
             lambda x: _mlp_gradient(x, *wide)),
        Case("float32-throughout", "noise", lambda x: _mlp(x, data, target), single,
             lambda x: _mlp_gradient(x, data, target)),
        Case("quantised-1e-9", "noise",
             lambda x: np.round(np.sum(np.sin(x) * np.exp(-x)) / 1e-9) * 1e-9, draw(21, 5),
             lambda x: np.exp(-x) * (np.cos(x) - np.sin(x))),
        Case("sum-of-1e4-terms", "noise", lambda x: np.sum(np.log(np.cosh(rows @ x - goal))),
             draw(22, 6), lambda x: rows.T @ np.tanh(rows @ x - goal)),
    ]  # fmt: skip


def _bisected(p: Any) -> Any:
    """Solve u + exp(u) = p on a fixed bracket to 1e-8: a staircase in p, not a smooth error."""
    low, high = np.full_like(p, -8.0), np.full_like(p, 8.0)
    for _ in range(30):
        middle = (low + high) / 2
        above = middle + np.exp(middle) > p
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2


def _newton(p: Any) -> Any:
    u = p / (1 + p * p)
    change = np.ones_like(p)
    while np.max(np.abs(change)) > 1e-8:
        change = (u**3 + u - p) / (3 * u * u + 1)
        u = u - change
    return u


def _kepler(p: Any, tolerance: float = 1e-8) -> Any:
    u, before = p, p + 1
    while np.max(np.abs(u - before)) > tolerance:
        u, before = p + 0.5 * np.sin(u), u
    return u


def _swing(p: Any) -> list[tuple[Any, Any]]:
    """Take 50 Euler steps of a damped pendulum; p is stiffness, damping, first angle."""
    path = [(p[2], 0 * p[2])]
    for _ in range(50):
        q, v = path[-1]
        path.append((q + 0.04 * v, v - 0.04 * (p[0] * np.sin(q) + p[1] * v)))
    return path


def _swing_adjoint(p: Any) -> Any:
    path = _swing(p)
    by_q, by_v, by_stiffness, by_damping = 2 * path[-1][0], 0.0, 0.0, 0.0
    for q, v in reversed(path[:-1]):
        by_stiffness -= 0.04 * by_v * np.sin(q)
        by_damping -= 0.04 * by_v * v
        by_q, by_v = (by_q - 0.04 * by_v * p[0] * np.cos(q),
                      0.04 * by_q + by_v * (1 - 0.04 * p[1]))  # fmt: skip
    return np.array([by_stiffness, by_damping, by_q])


def _solvers() -> list[Case]:
    weights = np.array([1.0, -2.0, 0.7])
    nodes, area = np.polynomial.legendre.leggauss(20)
    return [
        Case("bisection-1e-8", "solver", lambda p: weights @ _bisected(p), 1 + draw(23, 3),
             lambda p: weights / (1 + np.exp(_bisected(p)))),
        Case("newton-1e-8", "solver", lambda p: weights @ _newton(p), 2 * draw(24, 3),
             lambda p: weights / (3 * _newton(p) ** 2 + 1)),
        Case("fixed-point-1e-8", "solver", lambda p: weights @ _kepler(p), 1 + draw(25, 3),
             lambda p: weights / (1 - 0.5 * np.cos(_kepler(p)))),
        Case("pendulum-adjoint", "solver", lambda p: _swing(p)[-1][0] ** 2,
             np.array([3.0, 0.4, 1.2]), _swing_adjoint),
        Case("quadrature", "solver",
             lambda p: area @ (np.exp(-p[0] * nodes) * np.cos(p[1] * nodes)), np.array([0.8, 2.5]),
             lambda p: np.array([
                 area @ (-nodes * np.exp(-p[0] * nodes) * np.cos(p[1] * nodes)),
                 area @ (-nodes * np.exp(-p[0] * nodes) * np.sin(p[1] * nodes))])),
    ]  # fmt: skip


def _at_kinks() -> list[Case]:
    """Sit exactly on a kink and claim an element of the subdifferential there."""
    corner, pair, triple = np.array([0.0, 1.5, -0.7]), np.array([2.0, 2.0, 1.0]), np.full(3, 0.3)
    centre, rows = np.array([0.5, 0.3, -1.0, 0.2]), np.array([[0.5, 0.5], [2.0, 1.0], [-1.0, 0.5]])
    sparse = np.array([0.0, 0.3, -0.2, 0.0])
    ramp = ("kink-at", lambda x: np.sum(_relu(x)), corner)
    return [
        Case("relu-at-0-claims-0", *ramp, lambda x: (x > 0) * 1.0),
        Case("relu-at-0-claims-1", *ramp, lambda x: (x >= 0) * 1.0),
        Case("relu-at-0-claims-half", *ramp, lambda x: np.heaviside(x, 0.5)),
        Case("max-tie-shared", "kink-at", np.max, pair, np.array([0.5, 0.5, 0.0])),
        Case("max-tie-first", "kink-at", np.max, pair, np.array([1.0, 0.0, 0.0])),
        Case("max-tie-of-three", "kink-at", np.max, triple, np.array([0.2, 0.3, 0.5])),
        Case("abs-at-0", "kink-at", lambda x: np.sum(np.abs(x)), corner, np.sign),
        Case("lasso", "kink-at", lambda x: np.sum(np.abs(x)) + 0.5 * np.sum((x - centre) ** 2),
             sparse, lambda x: np.sign(x) + x - centre),
        Case("hinge-at-margin", "kink-at", lambda w: np.sum(_relu(1 - rows @ w)), np.ones(2),
             lambda w: -rows.T @ (rows @ w < 1)),
        Case("huber-at-delta", "kink-at",
             lambda x: np.sum(np.where(np.abs(x) <= 1, 0.5 * x * x, np.abs(x) - 0.5)),
             np.array([1.0, -1.0, 0.2, 3.0]), lambda x: np.clip(x, -1, 1)),
        Case("signed-square-at-0", "kink-at", lambda x: np.sum(x * np.abs(x)), corner,
             lambda x: 2 * np.abs(x)),
    ]  # fmt: skip


def _near_kinks() -> list[Case]:
    def beside(distance: float) -> Case:
        x = np.array([0.8, 1.1])
        edge = x + np.array([-distance, distance])
        return Case(f"kink-{distance:.0e}-away", "kink-near",
                    lambda x: np.sum(2 * _relu(x - edge) + np.sin(x)), x,
                    lambda x: 2 * (x > edge) + np.cos(x))  # fmt: skip

    rows, labels, w = draw(26, 6, 3), np.where(np.arange(6) % 2, 1.0, -1.0), draw(27, 3)
    rows[0] *= (1 - 1e-6) / (labels[0] * (rows[0] @ w))
    rank_weight, pooled = draw(28, 8), draw(29, 4, 6)
    ties = draw(30, 8)
    ties[5], pooled[2, 3] = ties[1] + 1e-5, pooled[2, 2] - 1e-6
    share = draw(31, 4, 3)

    def unpool(x: Any) -> Any:
        pairs = x.reshape(4, 3, 2)
        return ((pairs == pairs.max(-1, keepdims=True)) * share[..., None]).reshape(4, 6)

    return [
        *map(beside, (1e-7, 1e-5, 1e-3, 1e-2)),
        Case("hinge-near-margin", "kink-near", lambda w: np.sum(_relu(1 - labels * (rows @ w))), w,
             lambda w: -rows.T @ (labels * (labels * (rows @ w) < 1))),
        Case("max-pool", "kink-near", lambda x: np.sum(share * x.reshape(4, 3, 2).max(-1)), pooled,
             unpool),
        Case("sort", "kink-near", lambda x: rank_weight @ np.sort(x), ties,
             lambda x: rank_weight[np.argsort(np.argsort(x))]),
        Case("median", "kink-near", lambda x: np.median(x) ** 2 + np.sum(np.sin(x)), ties[:7],
             lambda x: 2 * np.median(x) * (x == np.median(x)) + np.cos(x)),
        Case("sawtooth-near-jump", "kink-near", lambda x: np.sum((x - np.floor(x)) ** 2),
             np.array([2.999, 0.4, 5.001]), lambda x: 2 * (x - np.floor(x))),
        Case("abs-at-1e-7", "kink-near", lambda x: np.sum(np.abs(x)), np.array([1e-7, -1e-7]),
             np.sign),
    ]  # fmt: skip


def _rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _rosenbrock_gradient(x: Any) -> Any:
    gap, g = x[1:] - x[:-1] ** 2, np.zeros_like(x)
    g[:-1] = -400 * x[:-1] * gap - 2 * (1 - x[:-1])
    g[1:] += 200 * gap
    return g


def _zeros() -> list[Case]:
    rows, goal, weights = draw(32, 20, 4), draw(33, 20), draw(34, 6)
    best = np.linalg.lstsq(rows, goal)[0]
    dead, pair = draw(35, 4), {"used": draw(36, 3), "unused": draw(37, 2)}
    affine = {"weight": draw(38, 4), "bias": np.array(0.3)}

    def centred(x: Any) -> Any:
        h = rows[:6] @ x["weight"] + x["bias"]
        return np.sum(weights * (h - np.mean(h)) ** 3)

    def centred_gradient(x: Any) -> Any:
        h = rows[:6] @ x["weight"] + x["bias"]
        back = 3 * weights * (h - np.mean(h)) ** 2
        back = back - np.mean(back)
        return {"weight": rows[:6].T @ back, "bias": np.sum(back)}

    return [
        Case("dead-relu", "zero", lambda w: np.sum(_relu(rows @ w - 50)), dead,
             lambda w: rows.T @ (rows @ w > 50)),
        Case("rosenbrock-at-optimum", "zero", _rosenbrock, np.ones(6), _rosenbrock_gradient),
        Case("least-squares-at-optimum", "zero", lambda w: 0.5 * np.sum((rows @ w - goal) ** 2),
             best, lambda w: rows.T @ (rows @ w - goal)),
        Case("unused-input", "zero", lambda x: np.sum(np.sin(x["used"])), pair,
             lambda x: {"used": np.cos(x["used"]), "unused": 0 * x["unused"]}),
        Case("bias-before-mean-subtraction", "zero", centred, affine, centred_gradient),
        Case("cosine-at-0", "zero", lambda x: np.sum(np.cos(x)), np.zeros(3), lambda x: -np.sin(x)),
        Case("constant", "constant", lambda _: 3.0, draw(39, 3), np.zeros_like),
    ]  # fmt: skip


def _near_singular() -> list[Case]:
    left, right = np.linalg.qr(draw(40, 4, 4))[0], np.linalg.qr(draw(41, 4, 4))[0]
    thin, flat = (left * [1, 0.8, 0.5, last] @ right for last in (1e-6, 1e-8))
    twins, weights = left * [2, 2 - 1e-4, 0.5, -1] @ left.T, draw(42, 4, 4)

    def inverse_gradient(a: Any) -> Any:
        inverse = np.linalg.inv(a).T
        return -inverse @ weights @ inverse

    def top_eigenvalue_gradient(a: Any) -> Any:
        top = np.linalg.eigh((a + a.T) / 2)[1][:, -1]
        return np.outer(top, top)

    return [
        Case("inverse-condition-1e6", "near-singular", lambda a: np.sum(weights * np.linalg.inv(a)),
             thin, inverse_gradient),
        Case("determinant-1e-8", "near-singular", np.linalg.det, flat,
             lambda a: np.linalg.det(a) * np.linalg.inv(a).T),
        Case("top-eigenvalue-gap-1e-4", "near-singular",
             lambda a: np.linalg.eigvalsh((a + a.T) / 2)[-1], twins, top_eigenvalue_gradient),
        Case("cholesky-logdet", "near-singular",
             lambda m: 2 * np.sum(np.log(np.diag(
                 np.linalg.cholesky(m @ m.T + 1e-3 * np.eye(4))))), weights,
             lambda m: 2 * np.linalg.inv(m @ m.T + 1e-3 * np.eye(4)) @ m),
    ]  # fmt: skip


def _domain_edges() -> list[Case]:
    return [
        Case("log-at-1e-5", "domain-edge", lambda x: np.sum(np.log(x)), np.array([1e-5, 2e-5]),
             lambda x: 1 / x),
        Case("root-at-1e-6", "domain-edge", lambda x: np.sum(np.sqrt(x)), np.array([1e-6, 3e-6]),
             lambda x: 0.5 / np.sqrt(x)),
        Case("power-1.5-at-1e-8", "domain-edge", lambda x: np.sum(x**1.5), np.array([1e-8, 2e-4]),
             lambda x: 1.5 * np.sqrt(x)),
        Case("arcsine-near-1", "domain-edge", lambda x: np.sum(np.arcsin(x)),
             np.array([1 - 1e-6, -1 + 1e-4]), lambda x: 1 / np.sqrt((1 - x) * (1 + x))),
        Case("entropy-near-0", "domain-edge", lambda x: np.sum(x * np.log(x)),
             np.array([1e-9, 1e-4, 0.3]), lambda x: np.log(x) + 1),
    ]  # fmt: skip


def _smooth() -> list[Case]:
    weights = draw(43, 3, 6)

    def layer_norm(x: Any) -> Any:
        x = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5)
        return x / spread, spread

    def layer_norm_gradient(x: Any) -> Any:
        y, spread = layer_norm(x)
        along = y * (weights * y).mean(-1, keepdims=True)
        return (weights - weights.mean(-1, keepdims=True) - along) / spread

    return [
        Case("rosenbrock", "smooth", _rosenbrock, draw(44, 20), _rosenbrock_gradient),
        Case("sine-1e3-x", "smooth", lambda x: np.sum(np.sin(1e3 * x)), draw(45, 5),
             lambda x: 1e3 * np.cos(1e3 * x)),
        Case("log-sum-exp-at-1e3", "smooth",
             lambda x: x.max() + np.log(np.sum(np.exp(x - x.max()))), 1e3 + draw(46, 6), _soft),
        Case("layer-norm", "smooth", lambda x: np.sum(weights * layer_norm(x)[0]), draw(47, 3, 6),
             layer_norm_gradient),
        Case("log-gamma", "smooth", lambda x: np.sum(special.gammaln(x)),
             np.array([0.2, 1.3, 7.0, 40.0]), special.digamma),
        Case("array-of-no-axes", "smooth", lambda x: np.exp(np.sin(x)), np.array(0.7),
             lambda x: np.cos(x) * np.exp(np.sin(x))),
        Case("float", "smooth", lambda x: np.exp(np.sin(x)), 0.7,
             lambda x: np.cos(x) * np.exp(np.sin(x))),
        Case("nested", "smooth",
             lambda x: np.sum(np.sin(x["a"]["u"])) * x["a"]["v"] + np.sum(np.exp(x["b"][0])) ** 0.5,
             {"a": {"u": draw(48, 2, 2), "v": np.array(1.7)}, "b": [draw(49, 3)]},
             lambda x: {"b": [0.5 * np.exp(x["b"][0]) / np.sum(np.exp(x["b"][0])) ** 0.5],
                        "a": {"v": np.sum(np.sin(x["a"]["u"])),
                              "u": np.cos(x["a"]["u"]) * x["a"]["v"]}}),
    ]  # fmt: skip


def _models() -> list[Case]:
    x, data, target = mlp_setting()
    wide = data.astype(float), target.astype(float)
    rows, labels = draw(50, 12, 4), np.eye(4)[np.arange(12) % 4]
    sides = np.where(np.arange(12) % 3, 1.0, -1.0)
    signals, goal = draw(51, 6, 16), draw(52, 6)
    windows = sliding_window_view(signals, 5, axis=1)
    cnn_x = {"kernel": draw(53, 5, 3), "bias": draw(54, 3), "out": 0.3 * draw(55, 18)}
    before = windows @ cnn_x["kernel"] + cnn_x["bias"]
    cnn_x["bias"][0] += 3e-5 - before[2, 4, 0]  # one unit a hair above its kink

    def log_soft(x: Any) -> Any:
        z = rows @ x["w"] + x["b"]
        z = z - z.max(1, keepdims=True)
        return z - np.log(np.sum(np.exp(z), 1, keepdims=True))

    def cross_entropy_gradient(x: Any) -> Any:
        back = np.exp(log_soft(x)) - labels
        return {"w": rows.T @ back, "b": back.sum(0)}

    def convolved(x: Any) -> Any:
        return np.tanh(np.convolve(x["signal"], x["kernel"], "valid"))

    def convolution_gradient(x: Any) -> Any:
        back = 1 - convolved(x) ** 2
        return {"signal": np.correlate(np.pad(back, 2), x["kernel"], "valid"),
                "kernel": np.correlate(x["signal"], back, "valid")[::-1]}  # fmt: skip

    def cnn(x: Any) -> Any:
        pairs = _relu(windows @ x["kernel"] + x["bias"]).reshape(6, 6, 2, 3)
        return 0.5 * np.sum((pairs.max(2).reshape(6, 18) @ x["out"] - goal) ** 2)

    def cnn_gradient(x: Any) -> Any:
        z = windows @ x["kernel"] + x["bias"]
        pairs = _relu(z).reshape(6, 6, 2, 3)
        pooled = pairs.max(2)
        out = pooled.reshape(6, 18) @ x["out"] - goal
        back = np.outer(out, x["out"]).reshape(6, 6, 1, 3) * (pairs == pooled[:, :, None])
        back = back.reshape(6, 12, 3) * (z > 0)
        return {"kernel": np.einsum("nlk,nlc->kc", windows, back), "bias": back.sum((0, 1)),
                "out": pooled.reshape(6, 18).T @ out}  # fmt: skip

    return [
        Case("mlp", "smooth", lambda x: _mlp(x, *wide), x, lambda x: _mlp_gradient(x, *wide)),
        Case("cross-entropy", "smooth", lambda x: -np.sum(labels * log_soft(x)),
             {"w": draw(56, 4, 4), "b": draw(57, 4)}, cross_entropy_gradient),
        Case("logistic-with-decay", "smooth",
             lambda w: np.sum(np.log1p(np.exp(-sides * (rows @ w)))) + 0.05 * np.sum(w * w),
             draw(58, 4), lambda w: -rows.T @ (sides / (1 + np.exp(sides * (rows @ w)))) + 0.1 * w),
        Case("convolution", "smooth", lambda x: np.sum(convolved(x)),
             {"signal": draw(59, 12), "kernel": draw(60, 3)}, convolution_gradient),
        Case("relu-pool-network", "kink-near", cnn, cnn_x, cnn_gradient),
    ]  # fmt: skip


def _long() -> list[Case]:
    x = draw(61, 1000)
    return [
        Case("identity-1000", "long", np.sum, x, np.ones_like, f_batch=lambda x: x.sum(-1)),
        Case("slope-9e-6-1000", "long", lambda x: 9e-6 * np.sum(x), x,
             lambda x: np.full_like(x, 9e-6), f_batch=lambda x: 9e-6 * x.sum(-1)),
        Case("mean-square-1000", "long", lambda x: np.mean(x * x), x, lambda x: 2 * x / x.size,
             f_batch=lambda x: np.mean(x * x, -1)),
    ]  # fmt: skip


def _jacobians() -> list[Case]:
    rows = draw(62, 4, 6)

    return [
        Case("softmax-jacobian", "jacobian", _soft, draw(63, 4),
             lambda x: np.diag(_soft(x)) - np.outer(_soft(x), _soft(x))),
        Case("tanh-layer-jacobian", "jacobian", lambda x: np.tanh(rows @ x.ravel()), draw(64, 2, 3),
             lambda x: ((1 - np.tanh(rows @ x.ravel()) ** 2)[:, None] * rows).reshape(4, 2, 3)),
        Case("product-jacobian", "jacobian", lambda x: rows[:, :3] @ (x * x), draw(65, 3),
             lambda x: 2 * rows[:, :3] * x),
    ]  # fmt: skip
