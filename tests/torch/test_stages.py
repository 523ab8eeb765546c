"""The parts of f by themselves: modules and autograd.Functions around what they are given in f."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.models import MODELS, PLANTS
from tests.torch.planted_entries import CotangentOverwritten, Doubled, Linear, SignFlipped
from tests.torch.stage_cases import CASES
from tests.torch.stage_parts import (
    Alone,
    Counting,
    Cube,
    Cut,
    Marked,
    Net,
    NoneCube,
    Opaque,
    Opened,
    Tied,
    TwoOutputs,
    WrongCube,
    at_import,
)
from torch import Tensor, nn

from gradproof._errors import InputError
from gradproof.subjects.base import Stage
from gradproof.subjects.torch.subject import TorchSubject

STEP = 2.0**-17


def subject_of(f: Any, *x: Any, cotangent: Any = None, loss: Any = None) -> TorchSubject:
    return TorchSubject(
        f,
        x,
        kwargs={},
        loss=loss,
        promote=True,
        cotangent=cotangent,
        rng=np.random.default_rng(0),
    )


def stages_of(f: Any, *x: Any, **others: Any) -> dict[str, Stage]:
    stages = subject_of(f, *x, **others).stages(None)
    named = {stage.name: stage for stage in stages}
    assert len(named) == len(stages)
    return named


def opened(stage: Stage) -> TorchSubject:
    subject, grad = stage.open()
    assert grad is None
    assert isinstance(subject, TorchSubject)
    return subject


def wrong(stage: Stage) -> list[str]:
    """Names of a part's tensors whose gradients are not the slopes of its values.

    Inputs that are exactly 0 stay where they are: among zeros that a ReLU left, a pool has ties.
    """
    subject = opened(stage)
    found = []
    with subject.session():
        gradient = subject.claims(None)
        rng = np.random.default_rng(1)
        for k, (name, x) in enumerate(zip(subject.names, subject.point, strict=True)):
            way = [np.zeros((1, len(other))) for other in subject.point]
            is_moved = (x != 0.0) | (name in stage.tensors)
            way[k][0] = rng.standard_normal(len(x)) * (np.sqrt(np.mean(x**2)) or 1.0) * is_moved
            lanes, steps = np.array([0, 0]), np.array([STEP, -STEP])
            values = subject.along(way, lanes, steps, subject.point)
            slope = (values[0] - values[1]) / (2.0 * STEP)
            size = np.linalg.norm(gradient[k] * way[k][0]) + 1e-6 * np.linalg.norm(way[k])
            if not abs(slope - gradient[k] @ way[k][0]) < 1e-4 * size:
                found.append(name)
    return found


def culprits(stages: dict[str, Stage]) -> dict[str, list[str]]:
    found = {name: wrong(stage) for name, stage in stages.items()}
    return {name: tensors for name, tensors in found.items() if tensors}


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return randn(*shape, seed=seed).requires_grad_()


# -- right parts agree with their numbers ----------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_every_part_of_a_right_model_agrees_with_its_values(model: str) -> None:
    net, x = MODELS[model](0, None)
    stages = stages_of(net, x)
    assert len(stages) > 10
    assert culprits(stages) == {}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("case", CASES)
def test_every_part_of_a_right_network_agrees_with_its_values(case: str) -> None:
    torch.manual_seed(0)
    f, x, names = CASES[case]()
    stages = stages_of(f, *x)
    assert list(stages) == names
    assert culprits(stages) == {}


# -- wrong parts do not ----------------------------------------------------------------------------

AGAIN = ("", *(f" (call {k})" for k in range(2, 6)))
CULPRITS = {
    "a shifted ReLU mask in one channel": {"block2": None, "block2 > ShiftedReLU": ["x"]},
    "a LayerNorm without its mean term": {
        "block2": None,
        "block2.norm2": ["input"],
        "block2.norm2 > MeanlessLayerNorm": ["x"],
    },
    "attention scaled twice": {
        "block2": None,
        "block2.own": None,
        "block2.own > TwiceScaledScores": ["q", "k"],
    },
    "a forget gate's derivative": {
        "cell": None,
        **{f"cell > WrongSigmoid{again}": ["x"] for again in AGAIN},
    },
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_wrong_backward_shows_in_its_part_and_in_those_around_it_alone(plant: str) -> None:
    net, x = MODELS[PLANTS[plant].model](0, plant)
    found = culprits(stages_of(net, x))
    assert list(found) == list(CULPRITS[plant])
    for name, tensors in CULPRITS[plant].items():
        assert tensors is None or found[name] == tensors


class Layer(nn.Module):
    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.weight = nn.Parameter(randn(3, 3, seed=1))
        self.bias = nn.Parameter(randn(3, seed=2))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]


def test_the_wrong_one_of_a_parts_quantities_is_seen() -> None:
    net = nn.Sequential(Layer(Linear), nn.Tanh(), Layer(SignFlipped), Layer(Doubled))
    assert culprits(stages_of(net, randn(4, 3))) == {
        "2": ["weight"],
        "2 > SignFlipped": ["w"],
        "3": ["x"],
        "3 > Doubled": ["x"],
    }


def test_two_bugs_are_seen_even_if_the_later_one_hands_nothing_down() -> None:
    def f(x: Tensor) -> Any:
        return Cube.apply(NoneCube.apply(WrongCube.apply(x).tanh()))  # type: ignore[no-untyped-call]

    assert culprits(stages_of(f, leaf(4))) == {"WrongCube": ["x"], "NoneCube": ["x"]}


def test_what_cuts_the_gradient_is_a_wrong_part_where_f_depends_on_it() -> None:
    stages = stages_of(Cut().double(), randn(2, 3))
    assert list(stages) == ["first", "through_numpy", "last"]
    assert culprits(stages) == {"through_numpy": ["x"]}


def test_an_output_without_derivative_counts_where_f_depends_on_it() -> None:
    apply: Any = Marked.apply
    assert culprits(stages_of(lambda x: sum(apply(x)), leaf(3))) == {"Marked": ["x"]}
    assert culprits(stages_of(lambda x: apply(x)[0], leaf(3))) == {}


def test_hooks_on_a_module_belong_to_it() -> None:
    def doubled(module: nn.Module, given: Any, reached: Any) -> Any:
        return (2.0 * given[0],)

    net = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    net[1].register_full_backward_hook(doubled)
    assert culprits(stages_of(net, randn(4, 3))) == {"1": ["input"]}


# -- what parts there are --------------------------------------------------------------------------


def test_parts_come_in_forward_order_and_know_what_they_are_inside() -> None:
    net = Net().double()
    stages = stages_of(net, randn(4, 3), loss=nn.Sequential(nn.Tanh()))
    assert [(s.name, s.kind, s.inside) for s in stages.values()] == [
        ("block", "Sequential", None),
        ("block.0", "Linear", "block"),
        ("block.1", "Squared", "block"),
        ("block.1 > Cube", "autograd.Function Cube", "block.1"),
        ("act", "Tanh", None),
        ("block (call 2)", "Sequential", None),
        ("block.0 (call 2)", "Linear", "block (call 2)"),
        ("block.1 (call 2)", "Squared", "block (call 2)"),
        ("block.1 (call 2) > Cube", "autograd.Function Cube", "block.1 (call 2)"),
        ("act (call 2)", "Tanh", None),
        ("Cube", "autograd.Function Cube", None),
        ("loss", "Sequential", None),
        ("loss.0", "Tanh", "loss"),
    ]


def test_a_part_says_which_of_fs_tensors_are_its_own() -> None:
    net = Net().double()
    stages = stages_of(net, randn(4, 3))
    assert stages["block.0"].tensors == {"weight": "block.0.weight", "bias": "block.0.bias"}
    assert stages["block"].tensors == {"0.weight": "block.0.weight", "0.bias": "block.0.bias"}
    assert stages["act"].tensors == {}
    tied = stages_of(Tied().double(), torch.tensor([[1, 4, 0]]))
    assert tied["embedding"].tensors == tied["linear"].tensors == {"weight": "embedding.weight"}
    layer = stages_of(nn.Sequential(Layer(Linear)), randn(2, 3))["0 > Linear"]
    assert layer.tensors == {"w": "0.weight", "b": "0.bias"}


def test_inputs_are_checked_where_they_require_grad_in_f() -> None:
    net = Net().double()
    fixed, free = stages_of(net, randn(4, 3)), stages_of(net, leaf(4, 3))
    assert opened(fixed["block.0"]).names == ("weight", "bias")
    assert opened(free["block.0"]).names == ("weight", "bias", "input")
    assert opened(fixed["block.0 (call 2)"]).names == ("weight", "bias", "input")


def test_one_tensor_for_several_arguments_is_one() -> None:
    attention = nn.MultiheadAttention(4, 2).double()
    stages = stages_of(lambda x: attention(x, x, x)[0], leaf(3, 2, 4))
    assert opened(stages["attention"]).names[-2:] == ("out_proj.bias", "query")


def test_what_is_inside_of_no_part_is_inside_of_the_next_one_around() -> None:
    net = nn.Sequential(nn.Sequential(Opaque(), Opened())).double()
    stages = stages_of(net, randn(2, 3))
    assert [(s.name, s.inside) for s in stages.values()] == [
        ("0", None),
        ("0.0.linear", "0"),
    ]


def test_a_module_made_of_no_others_is_its_own_part() -> None:
    assert list(stages_of(nn.Linear(3, 2).double(), randn(4, 3))) == ["Linear"]
    assert list(stages_of(Cube, leaf(3))) == ["Cube"]


def test_modules_that_a_function_holds_are_parts() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh()).double()
    stages = stages_of(lambda x: net(x).square(), leaf(4, 3))
    assert [(s.name, s.inside) for s in stages.values()] == [
        ("net", None),
        ("net.0", "net"),
        ("net.1", "net"),
    ]
    assert opened(stages["net.0"]).names == ("weight", "bias", "input")


def test_what_has_no_graph_is_no_part() -> None:
    frozen, net = nn.Linear(3, 3).double(), nn.Linear(3, 2).double()

    def f(x: Tensor) -> Any:
        with torch.no_grad():
            features = frozen(x)
        return net(features + x)

    assert list(stages_of(f, leaf(4, 3))) == ["net"]


def test_there_are_no_parts_for_a_gradient_that_f_does_not_make_itself() -> None:
    net = Net().double()
    assert subject_of(net, randn(4, 3)).stages(lambda *x: None) == ()


def test_a_part_that_cannot_run_by_itself_says_so() -> None:
    stage = stages_of(Alone().double(), randn(2, 3))["inner"]
    with pytest.raises(InputError, match="Expected inner to run by itself but it raised"):
        stage.open()


def test_another_transformation_inside_f_is_left_alone() -> None:
    def f(x: Tensor) -> Any:
        inner: Any = torch.func.grad(lambda y: nn.Tanh()(y).sum())(x)
        return inner * nn.Tanh()(x)

    assert list(stages_of(f, leaf(3))) == ["Tanh"]


def test_what_another_thread_calls_is_no_part() -> None:
    def f(x: Tensor) -> Any:
        other = threading.Thread(target=lambda: nn.Linear(3, 3)(torch.ones(3)))
        other.start()
        other.join()
        return nn.Tanh()(x)

    assert list(stages_of(f, leaf(3))) == ["Tanh"]


# -- autograd.Functions ----------------------------------------------------------------------------


def test_functions_are_found_however_they_are_applied() -> None:
    def f(x: Tensor, w: Tensor) -> Any:
        product, total, _ = TwoOutputs.apply(x, w)  # type: ignore[no-untyped-call]
        again, _, _ = TwoOutputs.apply(product.tanh(), w.detach(), True)  # type: ignore[no-untyped-call]
        return at_import(again) + total

    stages = stages_of(f, leaf(3), leaf(3, seed=1))
    assert list(stages) == ["TwoOutputs", "TwoOutputs (call 2)", "Cube"]
    assert stages["TwoOutputs"].tensors == {"x": "x", "w": "w"}
    assert opened(stages["TwoOutputs (call 2)"]).names == ("x",)
    assert culprits(stages) == {}


def test_an_output_that_gets_no_cotangent_is_left_out() -> None:
    stages = stages_of(lambda x, w: TwoOutputs.apply(x, w)[1], leaf(3), leaf(3))  # type: ignore[no-untyped-call]
    assert len(opened(stages["TwoOutputs"]).cotangent.weights) == 1


# -- cotangents ------------------------------------------------------------------------------------


def test_a_parts_cotangent_is_the_one_that_reaches_it_in_f() -> None:
    net = Net().double()
    x, given = randn(4, 3), randn(4, 3, seed=5)
    kept: list[Tensor] = []
    for part in (net.block, net.act):
        part.register_forward_hook(lambda module, inputs, output: kept.append(output))
    found = torch.autograd.grad(net(x), kept, given)
    kept, wanted = [], found
    stages = stages_of(net, x, cotangent=given)
    names = ["block", "act", "block (call 2)", "act (call 2)"]
    for name, gradient in zip(names, wanted, strict=True):
        (weight,) = opened(stages[name]).cotangent.weights.values()
        np.testing.assert_allclose(weight, gradient.numpy(), rtol=1e-12)


def test_writing_to_what_a_part_returned_does_not_change_its_cotangent() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(inplace=True), nn.Linear(3, 2)).double()
    x, given = randn(4, 3), randn(4, 2, seed=1)
    inner = net[0](x)
    (gradient,) = torch.autograd.grad(net[2](inner.relu()), inner, given)
    (weight,) = opened(stages_of(net, x, cotangent=given)["0"]).cotangent.weights.values()
    np.testing.assert_allclose(weight, gradient.numpy(), rtol=1e-12)


def test_a_backward_that_writes_to_its_cotangent_does_not_change_the_one_that_is_kept() -> None:
    given = randn(4, 3, seed=9)
    x = (leaf(4, 2), leaf(3, 2), leaf(3))
    stages = stages_of(lambda *x: CotangentOverwritten.apply(*x), *x, cotangent=given)  # type: ignore[no-untyped-call]
    (weight,) = opened(stages["CotangentOverwritten"]).cotangent.weights.values()
    np.testing.assert_array_equal(weight, given.numpy())


def test_a_cotangent_keeps_its_layout() -> None:
    stages = stages_of(lambda x, w: Cube.apply(x).mT * w, leaf(3, 4), leaf(4, 3))  # type: ignore[no-untyped-call]
    (weight,) = opened(stages["Cube"]).cotangent.weights.values()
    assert weight.flags.f_contiguous


# -- state -----------------------------------------------------------------------------------------


def test_a_part_has_the_buffers_that_it_had_when_it_was_called() -> None:
    net = Counting().double()
    stages = stages_of(net, randn(2, 3))
    for k, stage in enumerate(stages.values()):
        part = opened(stage)
        (weight,) = part.cotangent.weights.values()
        expected = (k + 1) * weight.ravel() @ part.point[-1]
        assert part.value() == pytest.approx(expected)


def test_parts_are_made_from_copies() -> None:
    net = Net().double()
    stage = stages_of(net, randn(4, 3))["block.0"]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert opened(stage).point[0].any()


def test_random_numbers_are_the_same_in_value_and_backward() -> None:
    net = nn.Sequential(nn.Linear(3, 40), nn.Dropout(0.5), nn.Linear(40, 2)).double()
    assert culprits(stages_of(net, randn(4, 3))) == {}


def test_parts_are_in_double_precision_where_f_is() -> None:
    class New(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.ones(3, 3)

    subject = subject_of(nn.Sequential(nn.Linear(3, 3), New()), torch.randn(2, 3))
    part = opened(subject.stages(None)[1])
    assert torch.get_default_dtype() is torch.float32
    assert part.spacing[0] < 1e-15
    with part.session():
        assert np.isfinite(part.value())


# -- cost ------------------------------------------------------------------------------------------


class Worked(nn.Module):
    """Counts its calls, also those of its copies."""

    calls: tuple[int, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Any:
        Worked.calls += (0,)
        return Cube.apply(self.inner(x))  # type: ignore[no-untyped-call]


def calls_of(run: Callable[[], object]) -> int:
    before = len(Worked.calls)
    run()
    return len(Worked.calls) - before


def test_a_look_at_a_part_costs_a_few_of_its_calls() -> None:
    subject = subject_of(nn.Sequential(Worked(), nn.Tanh()).double(), randn(4, 3))
    assert calls_of(lambda: subject.stages(None)) == 1
    stage = subject.stages(None)[0]
    assert calls_of(stage.open) == 1
    part = opened(stage)
    assert calls_of(part.value) == 1
    assert calls_of(lambda: part.claims(None)) == 1
    way = [np.ones((1, len(x))) for x in part.point]
    lanes, steps = np.array([0, 0]), np.array([1e-3, -1e-3])
    assert calls_of(lambda: part.along(way, lanes, steps, part.point)) == 2
