"""What a case of the zoo consists of: a module at a point, and the verdict that it deserves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

Call = tuple[nn.Module, tuple[Any, ...]]
Factory = Callable[[Generator], Call]


@dataclass(frozen=True)
class Case:
    """A module at a point.

    Attributes:
        id: the name of the case, which begins with the name of the module's class.
        factory: draws a module and its positional arguments.
        kwargs: keyword arguments of the call.
        loss: a function of the module's output; None leaves it to a random cotangent.
        expected: the verdict it deserves.
        wrong: the tensors that do not pass, where `expected` is not "pass".
        kinks: the number of entries at a kink.
        reason: why, where the verdict is not "pass" or there are kinks.
    """

    id: str
    factory: Factory
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[Any], Tensor] | None = None
    expected: str = "pass"
    wrong: tuple[str, ...] = ()
    kinks: int = 0
    reason: str = ""

    def build(self) -> Call:
        """Build the module in float64, the same each time, and leave the global generator alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module, inputs = self.factory(Generator().manual_seed(0))
        return module.double(), inputs


def leaf(values: Any) -> Tensor:
    """An input of these values that requires grad."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def normal(generator: Generator, *shape: int) -> Tensor:
    """A standard normal input that requires grad."""
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """An input between `low` and `high` that requires grad."""
    unit = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (low + (high - low) * unit).requires_grad_()


def shares(generator: Generator, *shape: int) -> Tensor:
    """Probabilities over the last axis that require grad."""
    return normal(generator, *shape).detach().softmax(-1).requires_grad_()


def signs(generator: Generator, *shape: int) -> Tensor:
    """Targets of 1 and -1, constants."""
    return 2.0 * torch.randint(2, shape, generator=generator).double() - 1.0


def on(build: Callable[[], nn.Module], *shape: int) -> Factory:
    """The module that `build` makes, called with one standard normal input of this shape."""
    return lambda g: (build(), (normal(g, *shape),))


def at(build: Callable[[], nn.Module], *inputs: Any) -> Factory:
    """The module that `build` makes, called with inputs of these values, which require grad."""
    return lambda _: (build(), tuple(leaf(values) for values in inputs))


def evaluated(factory: Factory) -> Factory:
    """The same call with the module in eval mode."""

    def build(generator: Generator) -> Call:
        module, inputs = factory(generator)
        return module.eval(), inputs

    return build


def seasoned(module: nn.Module, *shape: int) -> nn.Module:
    """A norm in eval mode, its running statistics taken from a few batches of this shape."""
    for _ in range(3):
        module(1.0 + 2.0 * torch.randn(shape))
    return module.eval()


class Through(nn.Module):
    """A module whose first argument goes through another one before."""

    def __init__(self, first: nn.Module, then: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.then = then

    def forward(self, input: Tensor, *others: Any) -> Any:
        return self.then(self.first(input), *others)
