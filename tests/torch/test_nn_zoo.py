"""torch.nn at large: each module gets the verdict that it deserves, and is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import optree
import pytest
import torch
from tests.torch import nn_zoo, nn_zoo_odd
from tests.torch.nn_zoo_case import Case
from torch import Tensor, nn
from torch.nn.modules import activation, loss
from torch.nn.utils import parametrize

import gradproof
from gradproof.report.model import Report

CASES: tuple[Case, ...] = (*nn_zoo.CASES, *nn_zoo_odd.CASES)
#: Modules of one kind each, in which an error of a thousandth is planted.
PLANTED = (
    *("Conv2d", "ConvTranspose1d", "Linear", "BatchNorm1d", "LayerNorm", "LSTM", "GRUCell"),
    *("MultiheadAttention", "TransformerEncoderLayer", "GELU", "CrossEntropyLoss", "MaxPool2d"),
    *("Dropout", "Upsample bicubic"),
)
FACTOR = 1.001


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The tensors are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Overstate(torch.autograd.Function):
    """The identity, whose gradient is a thousandth too large."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: Tensor) -> Tensor:
        return input.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return FACTOR * gradients[0]


class Overstated(nn.Module):
    """A parametrization by `Overstate`."""

    def forward(self, weight: Tensor) -> Tensor:
        return overstate(weight)


def overstate(tensor: Tensor) -> Tensor:
    result: Tensor = Overstate.apply(tensor)  # type: ignore[no-untyped-call]
    return result


def check(case: Case, module: nn.Module, inputs: tuple[Any, ...]) -> Report:
    return gradproof.check(
        module, inputs, kwargs=dict(case.kwargs), loss=case.loss, coverage="full"
    )


def tensors_in(inputs: Any) -> Iterator[Tensor]:
    return (leaf for leaf in optree.tree_leaves(inputs) if isinstance(leaf, Tensor))


def state(module: nn.Module, inputs: Any) -> list[Any]:
    """Everything that a check could leave changed, bit by bit."""
    tensors = [*module.state_dict().values(), *tensors_in(inputs)]
    return [
        torch.get_rng_state().tolist(),
        [part.training for part in module.modules()],
        [(tensor.dtype, tensor.shape, tensor.detach().numpy().tobytes()) for tensor in tensors],
        [
            (tensor.requires_grad, tensor.grad)
            for tensor in (*module.parameters(), *tensors_in(inputs))
        ],
    ]


def named(case_id: str) -> Case:
    return next(case for case in CASES if case.id == case_id)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_each_module_gets_the_verdict_it_deserves_and_is_left_alone(case: Case) -> None:
    module, inputs = case.build()
    before = state(module, inputs)
    report = check(case, module, inputs)
    assert state(module, inputs) == before

    assert report.verdict == case.expected, str(report)
    for name, tensor in report.tensors.items():
        assert (tensor.verdict == "pass") == (name not in case.wrong), str(report)
        assert tensor.checked == tensor.size
    assert set(case.wrong) <= set(report.tensors)
    assert sum(tensor.counts["kink"] for tensor in report.tensors.values()) == case.kinks

    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    assert {name: report.tensors[name].size for name in sizes} == sizes
    assert sorted(tensor.size for name, tensor in report.tensors.items() if name not in sizes) == (
        sorted(tensor.numel() for tensor in tensors_in(inputs) if tensor.requires_grad)
    )


@pytest.mark.parametrize("case_id", PLANTED)
def test_an_input_gradient_a_thousandth_too_large_fails(case_id: str) -> None:
    case = named(case_id)
    module, inputs = case.build()
    module.register_forward_pre_hook(lambda _, arguments: (overstate(arguments[0]), *arguments[1:]))
    report = check(case, module, inputs)
    assert report.verdict == "fail", str(report)
    failed = [name for name, tensor in report.tensors.items() if tensor.verdict == "fail"]
    assert len(failed) == 1
    assert failed[0] not in dict(module.named_parameters())


@pytest.mark.parametrize(
    "case_id", [name for name in PLANTED if named(name).build()[0]._parameters]
)
def test_a_weight_gradient_a_thousandth_too_large_fails(case_id: str) -> None:
    case = named(case_id)
    module, inputs = case.build()
    name = next(iter(module._parameters))
    parametrize.register_parametrization(module, name, Overstated())
    report = check(case, module, inputs)
    assert report.verdict == "fail", str(report)
    failed = [name for name, tensor in report.tensors.items() if tensor.verdict == "fail"]
    assert failed == [f"parametrizations.{name}.original"]


def test_the_zoo_holds_every_activation_and_every_loss() -> None:
    types = {type(part) for case in CASES for part in case.build()[0].modules()}
    deprecated = {"NLLLoss2d"}
    for family in (activation, loss):
        assert {getattr(nn, name) for name in {*family.__all__} - deprecated} <= types
    assert len({kind for kind in types if kind.__module__.startswith("torch.nn.modules")}) > 130


def test_every_case_has_its_own_name_and_a_reason_unless_it_passes() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert all(case.reason or case.expected == "pass" for case in CASES)
