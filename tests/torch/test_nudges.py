"""A weight moved by its effect gives the values of a weight that is really moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.nn import functional

from gradproof.subjects.torch.function import Function
from gradproof.subjects.torch.moving import Moved
from gradproof.subjects.torch.nudges import Nudge

Case = tuple[Callable[[Tensor, Tensor], Any], tuple[int, ...] | Tensor, tuple[int, ...]]

WORDS = torch.tensor([[0, 2, 2], [3, 0, 1]])


def fixed(*shape: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def convolution(function: Callable[..., Tensor], **options: Any) -> Callable[..., Any]:
    return lambda x, w: function(x, w, **options)


#: What is computed of x and the weight, the shape of x, and that of the weight.
BY_RULE: dict[str, Case] = {
    "linear": (functional.linear, (5, 3), (4, 3)),
    "linear with bias": (
        lambda x, w: functional.linear(x, w, torch.arange(4.0, dtype=w.dtype)),
        (5, 3),
        (4, 3),
    ),
    "linear, weight by keyword": (lambda x, w: functional.linear(x, weight=w), (5, 3), (4, 3)),
    "linear on a vector": (functional.linear, (3,), (4, 3)),
    "linear on three axes": (functional.linear, (2, 5, 3), (4, 3)),
    "matmul": (torch.matmul, (5, 3), (3, 4)),
    "matmul, other by keyword": (lambda x, w: torch.matmul(x, other=w), (5, 3), (3, 4)),
    "matmul on a vector": (torch.matmul, (3,), (3, 4)),
    "matmul on three axes": (lambda x, w: x @ w, (2, 5, 3), (3, 4)),
    "mm": (torch.mm, (5, 3), (3, 4)),
    "mm as a method": (lambda x, w: x.mm(w), (5, 3), (3, 4)),
    "matmul as a method": (lambda x, w: x.matmul(w), (5, 3), (3, 4)),
    "embedding": (functional.embedding, WORDS, (5, 3)),
    "embedding with padding": (
        lambda i, w: functional.embedding(i, w, padding_idx=2),
        WORDS,
        (5, 3),
    ),
    "embedding, sparse": (lambda i, w: functional.embedding(i, w, sparse=True), WORDS, (5, 3)),
    "conv1d": (functional.conv1d, (2, 2, 7), (3, 2, 3)),
    "conv1d, same, even kernel": (
        convolution(functional.conv1d, padding="same"),
        (2, 2, 7),
        (3, 2, 4),
    ),
    "conv1d, same, dilated, even kernel": (
        convolution(functional.conv1d, padding="same", dilation=3),
        (2, 2, 9),
        (3, 2, 2),
    ),
    "conv1d, valid": (convolution(functional.conv1d, padding="valid"), (2, 2, 7), (3, 2, 3)),
    "conv1d, stride that leaves a rest": (
        convolution(functional.conv1d, stride=3),
        (2, 2, 9),
        (3, 2, 2),
    ),
    "conv1d without a batch": (functional.conv1d, (2, 7), (3, 2, 3)),
    "conv2d": (functional.conv2d, (2, 2, 5, 4), (3, 2, 3, 2)),
    "conv2d, torch's own name": (torch.conv2d, (2, 2, 5, 4), (3, 2, 3, 2)),
    "conv2d, all at once": (
        convolution(functional.conv2d, stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2),
        (2, 4, 5, 4),
        (6, 2, 3, 2),
    ),
    "conv2d, positional": (
        lambda x, w: functional.conv2d(x, w, None, 2, 1, 1, 2),
        (2, 4, 5, 4),
        (2, 2, 3, 3),
    ),
    "conv2d, one number in a tuple": (
        convolution(functional.conv2d, stride=(2,), padding=(1,)),
        (1, 2, 5, 5),
        (3, 2, 3, 3),
    ),
    "conv2d, depthwise": (convolution(functional.conv2d, groups=3), (2, 3, 4, 4), (6, 1, 2, 2)),
    "conv2d, same": (
        convolution(functional.conv2d, padding="same", dilation=(2, 1)),
        (1, 2, 5, 6),
        (2, 2, 2, 4),
    ),
    "conv2d without a batch": (convolution(functional.conv2d, padding=1), (2, 5, 4), (3, 2, 3, 2)),
    "conv3d": (
        convolution(functional.conv3d, padding=(1, 0, 1), stride=(1, 2, 1)),
        (2, 2, 3, 4, 3),
        (3, 2, 2, 2, 3),
    ),
    "conv3d, same": (
        convolution(functional.conv3d, padding="same"),
        (1, 1, 3, 4, 3),
        (2, 1, 2, 2, 3),
    ),
    "used twice": (
        lambda x, w: functional.linear(torch.tanh(functional.linear(x, w)), w),
        (5, 3),
        (3, 3),
    ),
    "tied in two operations": (
        lambda i, w: functional.linear(functional.embedding(i, w), w),
        WORDS,
        (5, 3),
    ),
}
#: What follows the layer still sees one block moved, to the end or to the next linear one.
CARRIED: dict[str, Case] = {
    "activations": (
        lambda x, w: torch.tanh(functional.gelu(functional.linear(x, w)).sigmoid()),
        (5, 3),
        (4, 3),
    ),
    "an activation in place": (
        lambda x, w: functional.relu(functional.linear(x, w), inplace=True).relu_(),
        (5, 3),
        (4, 3),
    ),
    "the next linear layer": (
        lambda x, w: functional.linear(functional.linear(x, w).relu(), fixed(2, 4, seed=2)),
        (5, 3),
        (4, 3),
    ),
    "the next product": (
        lambda x, w: functional.linear(x, w).relu() @ fixed(4, 2, seed=2),
        (2, 5, 3),
        (4, 3),
    ),
    "a vector": (
        lambda x, w: functional.linear(functional.linear(x, w), fixed(2, 4, seed=2)),
        (3,),
        (4, 3),
    ),
    "the next convolution": (
        lambda x, w: functional.conv2d(
            functional.conv2d(x, w).relu(),
            fixed(2, 3, 2, 2, seed=2),
            fixed(2, seed=3),
            stride=2,
            padding=1,
            dilation=(1, 2),
        ),
        (2, 2, 5, 6),
        (3, 2, 3, 2),
    ),
    "the next convolution, without a batch": (
        lambda x, w: functional.conv1d(functional.conv1d(x, w), fixed(2, 3, 2, seed=2)),
        (2, 7),
        (3, 2, 3),
    ),
    "pooling, flattening and a linear layer": (
        lambda x, w: functional.linear(
            functional.max_pool2d(functional.conv2d(x, w), 2).flatten(1), fixed(2, 12, seed=2)
        ),
        (2, 2, 6, 6),
        (3, 2, 3, 3),
    ),
    "another shape": (
        lambda x, w: functional.linear(
            functional.avg_pool1d(functional.conv1d(x, w), 2).view(2, -1), fixed(3, 6, seed=2)
        ),
        (2, 2, 7),
        (3, 2, 3),
    ),
    "an embedding and a linear layer": (
        lambda i, w: functional.linear(functional.embedding(i, w), fixed(2, 3, seed=2)),
        WORDS,
        (5, 3),
    ),
}
#: The moved block is written out: what follows sees all of it at once, or is not linear in it.
MIXED: dict[str, Case] = {
    "softmax": (lambda x, w: functional.linear(x, w).softmax(-1), (5, 3), (4, 3)),
    "two blocks": (
        lambda x, w: functional.linear(x, w).relu() * functional.linear(x, w),
        (5, 3),
        (4, 3),
    ),
    "a sum with what it was made of": (
        lambda x, w: functional.linear(functional.linear(x, w).relu() + x, fixed(2, 3, seed=2)),
        (5, 3),
        (3, 3),
    ),
    "pooling of the features": (
        lambda x, w: functional.max_pool1d(functional.linear(x, w), 2),
        (5, 3),
        (4, 3),
    ),
    "the places of maxima": (
        lambda x, w: functional.max_pool1d(functional.conv1d(x, w), 2, return_indices=True)[0],
        (2, 2, 7),
        (3, 2, 3),
    ),
    "a linear layer across channels": (
        lambda x, w: functional.linear(functional.conv1d(x, w), fixed(2, 5, seed=2)),
        (2, 2, 7),
        (3, 2, 3),
    ),
    "a convolution in groups": (
        lambda x, w: functional.conv1d(
            functional.conv1d(x, w), fixed(4, 1, 2, seed=2), None, 1, 0, 1, 4
        ),
        (2, 2, 7),
        (4, 2, 3),
    ),
    "a shape that cuts blocks": (
        lambda x, w: functional.linear(x, w).reshape(10, 2).sin(),
        (5, 3),
        (4, 3),
    ),
    "something in place that has no rule": (
        lambda x, w: functional.linear(x, w).relu().add_(1.0).mul_(2.0).tanh(),
        (5, 3),
        (4, 3),
    ),
    "a weight that depends on it": (
        lambda x, w: functional.linear(x, functional.linear(x, w)),
        (3, 3),
        (3, 3),
    ),
}
#: No rule serves: the moved weight is written out.
WRITTEN_OUT: dict[str, Case] = {
    "view": (lambda x, w: x @ w.t(), (5, 3), (4, 3)),
    "other operation": (lambda x, w: x * w.sin(), (5, 3), (5, 3)),
    "rule and another operation": (
        lambda x, w: functional.linear(x, w) + w.sum().sin(),
        (5, 3),
        (4, 3),
    ),
    "both factors": (lambda x, w: w @ w, (1,), (3, 3)),
    "weight on the left": (lambda x, w: torch.matmul(w, x), (3, 2), (4, 3)),
    "matmul by many matrices": (torch.matmul, (5, 3), (2, 3, 4)),
    "transposed convolution": (functional.conv_transpose1d, (2, 2, 5), (2, 3, 3)),
    "embedding that writes to its weight": (
        lambda i, w: functional.embedding(i, w, max_norm=1.0),
        WORDS,
        (5, 3),
    ),
    "weight as the input": (lambda x, w: functional.linear(w, x), (4, 3), (5, 3)),
}


class Layer(nn.Module):
    def __init__(self, of: Callable[[Any, Tensor], Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.of = of
        self.weight = nn.Parameter(normal(*shape, seed=1).detach())

    def forward(self, x: Tensor) -> Any:
        return self.of(x, self.weight)


def function_of(case: Case) -> Function:
    of, x, shape = case
    given = x if isinstance(x, Tensor) else normal(*x).detach()
    return Function(Layer(of, shape), given, {}, None, promote=True, seed=0)


def nudge(own: Tensor, index: int, step: float) -> Nudge:
    before = own.detach().reshape(-1)[index]
    return Nudge(own, torch.tensor(index), before + step, torch.tensor(step, dtype=own.dtype))


def nudged(function: Function) -> Iterator[tuple[Tensor, Tensor, Moved]]:
    """For every entry the output with it moved: plainly, and by its effect."""
    (own,) = function.tensors
    for index, value in enumerate(function.point[0]):
        with function.fresh(), function.at_entry(0, index, value + 0.25):
            plain = function.call()
        with function.fresh():
            result, mode = function.moved({id(own): nudge(own, index, 0.25)})
            result = mode.replaced(result)
        assert isinstance(plain, Tensor)
        assert isinstance(result, Tensor)
        yield plain, result, mode


def assert_equal(one: Tensor, other: Tensor) -> None:
    np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-12, atol=1e-13)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", BY_RULE)
def test_a_rule_gives_the_values_of_a_moved_weight_for_every_entry(name: str) -> None:
    function = function_of(BY_RULE[name])
    function.first_call()
    for plain, result, mode in nudged(function):
        assert id(function.tensors[0]) not in mode._tensors, "the weight was written out"
        assert_equal(result, plain)


@pytest.mark.parametrize("name", CARRIED)
def test_a_block_is_carried_on_to_the_next_linear_operation(name: str) -> None:
    function = function_of(CARRIED[name])
    function.first_call()
    with function.fresh():
        (own,) = function.tensors
        _, mode = function.moved({id(own): nudge(own, 0, 0.25)})
    assert not mode._tensors, "a block was written out"
    for plain, result, _ in nudged(function):
        assert_equal(result, plain)


@pytest.mark.parametrize("name", MIXED)
def test_a_block_is_written_out_for_what_takes_all_of_it(name: str) -> None:
    function = function_of(MIXED[name])
    function.first_call()
    (own,) = function.tensors
    for plain, result, mode in nudged(function):
        assert mode._tensors
        assert id(own) not in mode._tensors
        assert_equal(result, plain)


def test_bias_is_moved_by_its_effect() -> None:
    layers: dict[nn.Module, tuple[int, ...]] = {
        nn.Linear(3, 4): (5, 3),
        nn.Conv2d(2, 4, 3, groups=2): (2, 2, 4, 5),
        nn.Conv1d(2, 3, 2): (2, 4),
    }
    for layer, shape in layers.items():
        x = normal(*shape).detach()
        function = Function(layer.double(), x, {}, None, promote=True, seed=0)
        function.first_call()
        own = function.tensors[1]
        for index, value in enumerate(function.point[1]):
            with function.fresh(), function.at_entry(1, index, value + 0.25):
                plain = function.call()
            with function.fresh():
                result, mode = function.moved({id(own): nudge(own, index, 0.25)})
            assert not mode._tensors
            assert isinstance(plain, Tensor)
            assert_equal(mode.replaced(result), plain)


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_without_a_rule_the_moved_weight_is_written_out(name: str) -> None:
    function = function_of(WRITTEN_OUT[name])
    function.first_call()
    for plain, result, mode in nudged(function):
        assert mode._tensors
        assert_equal(result, plain)


@pytest.mark.parametrize(
    "name", ["linear", "embedding", "conv2d, all at once", "view", *CARRIED, *MIXED]
)
def test_a_batch_of_moves_gives_the_same_values(name: str) -> None:
    function = function_of({**BY_RULE, **WRITTEN_OUT, **CARRIED, **MIXED}[name])
    function.first_call()
    (own,) = function.tensors
    expected = torch.stack([plain for plain, _, _ in nudged(function)])
    values = own.detach().reshape(-1) + 0.25

    def lane(index: Tensor, value: Tensor) -> Tensor:
        step = torch.full_like(value, 0.25)
        result, mode = function.moved({id(own): Nudge(own, index, value, step)})
        result = mode.replaced(result)
        assert isinstance(result, Tensor)
        return result

    with function.fresh():
        found = torch.func.vmap(lane)(torch.arange(own.numel()), values)
    assert_equal(found, expected)


def lane_bytes(function: Function) -> int:
    """What a lane of a batch holds."""
    (own,) = function.tensors
    held = []

    def lane(index: Tensor, value: Tensor) -> Tensor:
        result, mode = function.moved({id(own): Nudge(own, index, value, value)})
        held.append(mode.bytes)
        moved = mode.replaced(result)
        assert isinstance(moved, Tensor)
        return moved

    with function.fresh():
        torch.func.vmap(lane)(torch.arange(2), torch.ones(2, dtype=torch.float64))
    return held[0]


def test_a_block_takes_less_memory_than_all_of_the_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradproof.subjects.torch import blocks

    function = function_of(CARRIED["pooling, flattening and a linear layer"])
    function.first_call()
    less = lane_bytes(function)
    monkeypatch.setattr(blocks, "carried", lambda *_: None)
    assert less < 0.5 * lane_bytes(function)


def test_a_weight_in_single_precision_is_written_out() -> None:
    # There the effect of a step is not what the weight's own rounding makes of it.
    layer = nn.Linear(3, 2, bias=False)
    function = Function(layer, torch.ones(4, 3), {}, None, promote=False, seed=0)
    (own,) = function.tensors
    with function.fresh():
        _, mode = function.moved({id(own): nudge(own, 0, 0.25)})
    assert id(own) in mode._tensors


def test_an_entry_of_a_complex_weight_is_a_real_or_an_imaginary_part() -> None:
    weight = torch.tensor([[1.0 + 2.0j, 3.0 + 4.0j]], dtype=torch.complex128)
    moved = nudge_complex(weight, 3, 9.0)
    assert moved.tolist() == [[1.0 + 2.0j, 3.0 + 9.0j]]
    assert weight.tolist() == [[1.0 + 2.0j, 3.0 + 4.0j]]


def nudge_complex(weight: Tensor, index: int, value: float) -> Tensor:
    number = torch.tensor(value, dtype=torch.float64)
    return Nudge(weight, torch.tensor(index), number, number).tensor()


def test_a_wrong_rule_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradproof.subjects.torch import nudges

    def wrong(nudge: Nudge, name: str, input: Tensor, weight: Tensor) -> Tensor:
        return functional.linear(input, weight) + nudge.step

    monkeypatch.setitem(nudges.RULES, functional.linear, (wrong, ("input", "weight")))
    function = function_of(BY_RULE["linear"])
    plain, result, _ = next(nudged(function))
    assert not torch.allclose(plain, result)
