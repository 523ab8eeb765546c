"""Torch modules that cut the graph, and recurrent cells with a backward by hand."""

from __future__ import annotations

from typing import Any

import torch
from bench import diagnosis_torch_networks as networks
from bench.diagnosis_case import Bug
from bench.diagnosis_torch_functions import Bend, normal
from torch import Tensor, nn
from torch.autograd import Function

from gradproof import Report

__all__ = ["bugs"]

WIDTH, STATE = networks.WIDTH, 5


def bugs() -> list[Bug]:
    """The cases; the twin of each is the same network with the module as it should be."""
    return [*_cut(), *_recurrent()]


# -- modules that cut the graph ------------------------------------------------------------------


class Cut(nn.Module):
    """A module that may detach something."""

    def __init__(self, *, cuts: bool) -> None:
        super().__init__()
        self.cuts = cuts

    def maybe(self, x: Tensor) -> Tensor:
        return x.detach() if self.cuts else x


class Scale(Cut):
    """One factor for each feature."""

    def __init__(self, *, cuts: bool) -> None:
        super().__init__(cuts=cuts)
        self.factor = nn.Parameter(1.0 + 0.3 * normal(40, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.maybe(self.factor)


class Gate(Cut):
    """x times the sigmoid of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.maybe(x.sigmoid())


class Residual(Cut):
    """x plus a layer of x."""

    def __init__(self, *, cuts: bool) -> None:
        super().__init__(cuts=cuts)
        self.inner = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.inner(self.maybe(x)).tanh()
        return result


class Normalise(Cut):
    """Centres and scales a batch."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (self.maybe(x.var(0)) + 1e-5).sqrt()


class Root(Cut):
    """The root of what is positive, else 0; with a NaN in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        inner = x if self.cuts else torch.where(x > 0.0, x, 1.0)
        return torch.where(x > 0.0, inner.sqrt(), 0.0)


class Frozen(Cut):
    """A layer in a surrounding that records no graph."""

    def __init__(self, *, cuts: bool) -> None:
        super().__init__(cuts=cuts)
        self.weight = nn.Parameter(0.5 * normal(41, WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.cuts):
            mixed = x @ self.weight
        return x + mixed.tanh()


def _cut() -> list[Bug]:
    def case(name: str, kinds: str, module: type[Cut]) -> Bug:
        def check(cuts: bool) -> Report:
            return networks.mlp(module(cuts=cuts))

        return Bug(name, "torch", "fc2", tuple(kinds.split()), check, True, False)

    return [
        case("scale-detached", "detached", Scale),
        case("gate-detached", "detached", Gate),
        case("residual-detached", "detached", Residual),
        case("variance-detached", "detached", Normalise),
        case("root-of-negative", "nan", Root),
        case("layer-without-graph", "detached", Frozen),
    ]


# -- recurrent cells -----------------------------------------------------------------------------


class Lstm(Function):
    """From the gates' inputs (batch, 4 n) and the memory (batch, n): hidden units and memory."""

    @staticmethod
    def forward(ctx: Any, inner: Tensor, memory: Tensor) -> Any:
        i, f, o, new = inner.chunk(4, -1)
        i, f, o, new = i.sigmoid(), f.sigmoid(), o.sigmoid(), new.tanh()
        after = f * memory + i * new
        ctx.save_for_backward(i, f, o, new, memory, after)
        return o * after.tanh(), after

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        i, f, o, new, memory, after = ctx.saved_tensors
        of_hidden, of_after = g
        bounded = after.tanh()
        through = of_after + of_hidden * o * (1.0 - bounded**2)
        parts = (
            through * new * i * (1.0 - i),
            through * memory * f * (1.0 - f),
            of_hidden * bounded * o * (1.0 - o),
            through * i * (1.0 - new**2),
        )
        return torch.cat(parts, -1), through * f


class Cell(nn.Module):
    """A recurrent cell on a state of hidden units and memory, (2, batch, n)."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.into, self.back = nn.Linear(4, 4 * STATE), nn.Linear(STATE, 4 * STATE)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        hidden, memory = state
        return torch.stack(self.function.apply(self.into(x) + self.back(hidden), memory))


def bent_cell(bend: Bend) -> Any:
    """An LSTM cell with other gradients."""

    class Bent(Lstm):
        @staticmethod
        def backward(ctx: Any, *g: Tensor) -> Any:
            return bend(Lstm.backward(ctx, *g), g, ctx.saved_tensors)  # type: ignore[arg-type]

    Bent.__name__ = Lstm.__name__
    return Bent


def _recurrent() -> list[Bug]:
    def case(name: str, kinds: str, bend: Bend) -> Bug:
        def check(function: Any) -> Report:
            return networks.recurrent(Cell(function))

        kinds_ = tuple(kinds.split())
        return Bug(name, "torch", "cell > Lstm", kinds_, check, bent_cell(bend), Lstm)

    def forget_gate_lost(r: Any, g: Any, saved: Any) -> Any:
        parts = list(r[0].chunk(4, -1))
        parts[1] = torch.zeros_like(parts[1])
        return torch.cat(parts, -1), r[1]

    def gates_exchanged(r: Any, g: Any, saved: Any) -> Any:
        i, f, o, new = r[0].chunk(4, -1)
        return torch.cat((f, i, o, new), -1), r[1]

    def derivative_forgotten(r: Any, g: Any, saved: Any) -> Any:
        i, f, o, new = r[0].chunk(4, -1)
        _, _, gate, *_ = saved
        return torch.cat((i, f, o / (gate * (1.0 - gate)), new), -1), r[1]

    return [
        case("lstm-forget-gate-lost", "zero block", forget_gate_lost),
        case("lstm-gates-exchanged", "misplaced block", gates_exchanged),
        case("lstm-gate-derivative-forgotten", "block", derivative_forgotten),
        case("lstm-memory-sign", "sign-flip", lambda r, g, s: (r[0], -r[1])),
    ]
