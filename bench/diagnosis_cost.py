"""What it costs to find the wrong one of fifty layers.

Run ``python -m bench.diagnosis_cost``. Each network has a wrong backward pass in its 25th layer. An
evaluation of a layer counts as 1/50 of a forward pass; seconds are put in units of one forward and
backward pass of the network by itself. The exit status is 1 where it costs more than 20.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from bench.diagnosis_cases_numpy import Affine, AffineTransposed, normal
from bench.diagnosis_jax_networks import ruled
from bench.diagnosis_torch_functions import Layer, Linear, bent
from torch import nn

from gradproof.diagnosis.localise import localise
from gradproof.explaining import examine_part
from gradproof.outcome.trial import Settings
from gradproof.subjects.base import Stage, Subject
from gradproof.subjects.choose import maker
from gradproof.subjects.layers.network import Network

__all__ = ["MOST", "NETWORKS", "Cost", "cost_of", "main"]

LAYERS, WRONG = 50, 25
WIDTH, BATCH = 256, 128
#: Forward and backward passes that localisation may cost.
MOST = 20.0


@dataclass(frozen=True)
class Deep:
    """A network, what gradproof is given, and one forward and backward pass of it."""

    f: Callable[..., Any]
    x: Any
    grad: Any
    layers: Network | None
    once: Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """What localisation took.

    `passes` are evaluations of parts over their number; `ratio` is seconds over those of a forward
    and backward pass; `named` the parts that were found wrong.
    """

    passes: float
    ratio: float
    seconds: float
    named: tuple[str, ...]


def _torch(layers: Callable[[int], Sequence[nn.Module]]) -> Deep:
    net = nn.Sequential(*(part for i in range(LAYERS) for part in layers(i))).double()
    x = torch.from_numpy(normal(0, BATCH, WIDTH))

    def once() -> None:
        torch.autograd.grad(net(x).sum(), list(net.parameters()), allow_unused=True)

    return Deep(net, (x,), None, None, once)


def _weights(i: int) -> tuple[Any, Any]:
    return normal(100 + i, WIDTH, WIDTH) / np.sqrt(WIDTH), 0.1 * normal(200 + i, WIDTH)


def _functions(i: int) -> Sequence[nn.Module]:
    wrong = bent(Linear, lambda r, *_: (r[0], r[1].mT, r[2]))
    weight, bias = map(torch.from_numpy, _weights(i))
    return Layer(wrong if i == WRONG else Linear, weight=weight, bias=bias), nn.Tanh()


class _Detached(nn.Linear):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(input, self.weight.detach(), self.bias)


def _modules(i: int) -> Sequence[nn.Module]:
    return (_Detached if i == WRONG else nn.Linear)(WIDTH, WIDTH), nn.ReLU()


def _jax() -> Deep:
    import jax
    import jax.numpy as jnp

    def dense(x: Any, w: Any, b: Any) -> Any:
        return x @ w + b

    right, wrong = ruled(dense), ruled(dense, lambda r, *_: (r[0], r[1].T, r[2]))
    params = [tuple(map(jnp.asarray, _weights(i))) for i in range(LAYERS)]
    x = jnp.asarray(normal(0, BATCH, WIDTH))

    def f(params: Any) -> Any:
        y = x
        for i, (w, b) in enumerate(params):
            y = jnp.tanh((wrong if i == WRONG else right)(y, w, b))
        return y.sum()

    compiled = jax.jit(jax.value_and_grad(f))

    def once() -> None:
        compiled(params)[0].item()

    return Deep(f, (params,), None, None, once)


def _by_hand() -> Deep:
    class Tanh:
        def forward(self, x: Any) -> Any:
            self.y = np.tanh(x)
            return self.y

        def backward(self, dy: Any) -> Any:
            return dy * (1.0 - self.y**2)

    layers: dict[str, Any] = {}
    for i in range(LAYERS):
        layers[f"affine{i}"] = (AffineTransposed if i == WRONG else Affine)(*_weights(i))
        layers[f"tanh{i}"] = Tanh()
    x = normal(0, BATCH, WIDTH)
    network = Network(layers, x, lambda y: (0.5 * np.sum(y**2), y))

    def once() -> None:
        y = x
        for layer in layers.values():
            y = layer.forward(y)
        for layer in reversed(layers.values()):
            y = layer.backward(y)

    return Deep(network.f, network.params, network.grad, network, once)


NETWORKS: dict[str, Callable[[], Deep]] = {
    "torch, Functions": partial(_torch, _functions),
    "torch, modules": partial(_torch, _modules),
    "JAX, custom_vjp": _jax,
    "by hand": _by_hand,
}


def cost_of(deep: Deep) -> Cost:
    """Find the wrong part of a network, and measure what that takes."""
    rng = np.random.default_rng(0)
    make = maker(
        deep.f,
        deep.x,
        kwargs={},
        loss=None,
        promote=True,
        rng=rng,
        engine=None,
        has_grad=deep.grad is not None,
        layers=deep.layers,
    )
    subject = make(deep.f, None)
    opened: list[Subject] = []
    settings = Settings("probe", 20, 1e-3, 1.0 - 1e-6, 0, (), ())

    def noting(stage: Stage) -> Stage:
        def opening() -> tuple[Subject, object]:
            part, grad = stage.open()
            opened.append(part)
            return part, grad

        return replace(stage, open=opening)

    def judge(part: Subject, grad: object) -> Any:
        return examine_part(part, grad, settings, rng)

    with subject.session():
        subject.value()
        subject.claims(deep.grad)  # so that what is compiled once is
        start = time.process_time()
        stages = [noting(stage) for stage in subject.stages(deep.grad)]
        origins = localise(stages, subject.names, judge, subject.budget, rng)
        seconds = time.process_time() - start
    evaluations = sum(part.evaluations for part in opened)
    names = tuple(origin.stage.name for origin in origins)
    return Cost(evaluations / len(stages), seconds / _seconds(deep.once), seconds, names)


def _seconds(once: Callable[[], object]) -> float:
    """The shortest of several runs, which the machine's other work disturbs least."""
    once()
    spent = []
    for _ in range(9):
        start = time.process_time()
        once()
        spent.append(time.process_time() - start)
    return min(spent)


def main() -> int:
    """Print the table; return 1 where localisation costs too much."""
    print(f"{LAYERS} layers, one of them wrong: passes, seconds / (forward and backward), seconds")
    costs = {}
    for name, make in NETWORKS.items():
        costs[name] = cost = cost_of(make())
        print(
            f"{name:18}{cost.passes:8.1f}{cost.ratio:10.1f}{cost.seconds:8.2f}  "
            f"{', '.join(cost.named)}",
            flush=True,
        )
    return 0 if all(max(cost.passes, cost.ratio) <= MOST for cost in costs.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
