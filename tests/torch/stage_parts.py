"""Functions and modules to make networks of, some with a wrong backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * g * x.square()


at_import: Any = Cube.apply


class WrongCube(Cube):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 2 * g * x.square()


class NoneCube(Cube):
    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return None


class OnceOnly(Function):
    """A Function with another inside, and an argument that is no tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, power: int) -> Any:
        assert power == 3
        ctx.save_for_backward(x)
        return at_import(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * g * x.square(), None


class TwoOutputs(Function):
    """Product, sum and a number; computes what is needed alone, and knows no zeros."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, flag: bool = False) -> tuple[Tensor, Tensor, int]:
        return x * w, x + w, 3

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        found: list[Any] = [None, None, None]
        for k, other in enumerate(reversed(ctx.saved_tensors)):
            if ctx.needs_input_grad[k]:
                parts = zip(gradients, (other, 1.0), strict=False)
                found[k] = sum(g * factor for g, factor in parts if g is not None)
        return tuple(found)


class Dirty(Function):
    """Writes to its argument."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x.mul_(2.0)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        return 2.0 * g


class Marked(Function):
    """Its second output is marked as not differentiable, though it changes with x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        square = x.square()
        ctx.mark_non_differentiable(square)
        return x.sin(), square

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g[0] * x.cos()


class Squared(nn.Module):
    """A cube over its argument."""

    def forward(self, x: Tensor) -> Any:
        return at_import(x) / (1.0 + x.square())


class Net(nn.Module):
    """A block and an activation, both twice, and a Function of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.block = nn.Sequential(nn.Linear(3, 3), Squared())
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Any:
        for _ in range(2):
            x = self.act(self.block(x))
        return Cube.apply(x)  # type: ignore[no-untyped-call]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.linear = nn.Linear(3, 5, bias=False)
        self.linear.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Any:
        return self.linear(self.embedding(tokens).tanh())


class ThroughNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(x.detach().numpy() ** 2)


class Logged(nn.Module):
    """Its result has no derivative and no consequence."""

    def forward(self, x: Tensor) -> Tensor:
        size: Tensor = x.detach().norm()
        return size


class Cut(nn.Module):
    """A network whose gradient ends half-way."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(3, 3)
        self.logged = Logged()
        self.through_numpy = ThroughNumpy()
        self.last = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Any:
        x = self.first(x)
        self.logged(x)
        return self.last(self.through_numpy(x))


class _Needy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        if not WITHIN:
            raise RuntimeError("not by itself")
        return self.linear(x)


#: Filled while a part may be called.
WITHIN: list[bool] = []


class Alone(nn.Module):
    """A module with a part that runs nowhere else."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = _Needy()

    def forward(self, x: Tensor) -> Any:
        WITHIN.append(True)
        try:
            return self.inner(x)
        finally:
            WITHIN.pop()


class _Step(nn.Module):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x * float(self.count)


class Counting(nn.Module):
    """A part that does another thing each time."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.step = _Step()

    def forward(self, x: Tensor) -> Any:
        return self.step(self.step(x * self.scale))


class _Box:
    def __init__(self, content: Tensor) -> None:
        self.content = content


class Opaque(nn.Module):
    """What it returns cannot be looked into."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> _Box:
        return _Box(self.linear(x))


class Opened(nn.Module):
    def forward(self, box: _Box) -> Tensor:
        return box.content
