"""Moved tensors are seen wherever f uses its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.autograd import Function as AutogradFunction
from torch.nn import functional

from gradproof.subjects.torch.moving import Moved, forward_only

OWN, OTHER = normal(3).detach(), normal(3, seed=1).detach()


def moved(run: Any) -> Any:
    with Moved({id(OWN): OTHER}):
        return run()


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x + 1.0,
        lambda x: 1.0 + x,
        lambda x: torch.stack([x, x]),
        lambda x: torch.einsum("i,i->", [x, x]),
        lambda x: torch.add(input=x, other=x),
        lambda x: x[1],
        lambda x: x.mean(0, keepdim=True),
        lambda x: functional.softmax(x, 0),
    ],
)
def test_operations_see_the_moved_tensor(run: Any) -> None:
    assert torch.equal(moved(lambda: run(OWN)), run(OTHER))
    assert torch.equal(run(OWN), run(OWN)), "the mode has ended"


def test_other_tensors_are_left_alone() -> None:
    third = torch.ones(3)
    assert torch.equal(moved(lambda: third * 2.0), third * 2.0)


class Pair(AutogradFunction):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        assert ctx.needs_input_grad == (False, False)
        ctx.save_for_backward(x)
        return x.exp() * scale

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        raise AssertionError


def test_a_custom_function_runs_forward_in_a_batch() -> None:
    function: Any = Pair
    original = AutogradFunction.__dict__["apply"]

    def lane(row: Tensor) -> Tensor:
        mode = Moved({id(OWN): row})
        with forward_only(mode), mode:
            result: Tensor = function.apply(OWN, 2.0)
        return result

    rows = torch.stack([OWN, OTHER])
    assert torch.equal(torch.func.vmap(lane)(rows), rows.exp() * 2.0)
    assert AutogradFunction.__dict__["apply"] is original


def test_custom_functions_are_themselves_again_when_one_raises() -> None:
    original = AutogradFunction.__dict__["apply"]
    with pytest.raises(KeyError), forward_only(Moved({})):
        raise KeyError
    assert AutogradFunction.__dict__["apply"] is original


def test_what_differs_from_lane_to_lane_is_counted() -> None:
    sizes = []

    def lane(row: Tensor) -> Tensor:
        mode = Moved({id(OWN): row})
        with mode:
            outer = OWN[:, None] * torch.ones(5, dtype=row.dtype)
            torch.ones(1000).exp()
            total = outer.sum()
        sizes.append(mode.bytes)
        return total

    torch.func.vmap(lane)(torch.stack([OWN, OTHER]))
    view, outer, total = 3, 15, 1
    assert sizes == [8 * (view + outer + total)]


def test_batch_norm_in_a_batch_leaves_its_statistics() -> None:
    norm = nn.BatchNorm1d(3).double()
    x = normal(4, 3).detach()

    def lane(weight: Tensor) -> Any:
        with Moved({id(norm.weight): weight}):
            return norm(x)

    assert norm.weight is not None
    weights = torch.stack([norm.weight.detach(), 2.0 * norm.weight.detach()])
    found = torch.func.vmap(lane)(weights)
    expected = functional.batch_norm(x, None, None, weights[1], norm.bias, True)
    assert torch.allclose(found[1], expected)
    assert norm.running_mean is not None
    assert not norm.running_mean.any()


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}])
def test_recurrent_layers_in_a_batch_give_their_values(kind: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer, x = kind(3, 2, **options).double(), normal(4, 2, 3).detach()
    own = layer.weight_hh_l0

    def lane(weight: Tensor) -> Any:
        with Moved({id(own): weight}):
            return layer(x)[0]

    with torch.no_grad():
        found = torch.func.vmap(lane)(torch.stack([own, 2.0 * own]))
        before = layer(x)[0]
        own.mul_(2.0)
        after = layer(x)[0]
    assert torch.allclose(found, torch.stack([before, after]), rtol=1e-12)
