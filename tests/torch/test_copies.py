"""Copies of what f holds: the caller's own is never touched, and sharing is kept."""

from __future__ import annotations

import functools
import random
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import gradproof
from gradproof import Report
from gradproof.subjects.torch.copies import Copier

DOUBLE = torch.float64


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


def copied(value: Any, *, promote: bool = True) -> Any:
    return Copier(promote=promote)(value)


class Net(nn.Module):
    """In single precision, with running statistics that a call changes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Any:
        return self.norm(self.linear(x)).tanh()


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def x() -> Tensor:
    return torch.linspace(-1.0, 1.0, 15).reshape(5, 3) ** 3


# -- tensors ---------------------------------------------------------------------------------------


def test_a_tensor_is_copied_in_double_precision() -> None:
    tensor = torch.ones(3)
    twin = copied(tensor)
    assert twin.dtype is DOUBLE
    twin.zero_()
    assert tensor.tolist() == [1.0, 1.0, 1.0]
    assert copied(torch.ones(3, dtype=torch.complex64)).dtype is torch.complex128
    assert copied(torch.arange(3)).dtype is torch.int64
    assert copied(tensor, promote=False).dtype is torch.float32


@pytest.mark.parametrize(
    "build",
    [
        lambda: normal(4, 3).t(),
        lambda: normal(2, 3, 4).permute(2, 0, 1),
        lambda: normal(6, 4)[::2],
        lambda: normal(1, 3, 4, 4).contiguous(memory_format=torch.channels_last),
    ],
)
def test_strides_are_kept(build: Callable[[], Tensor]) -> None:
    original = build()
    assert copied(original).stride() == original.stride()
    assert torch.equal(copied(original), original)


@pytest.mark.parametrize(
    "build",
    [
        lambda: normal(1).expand(4),
        lambda: normal(3, 1).expand(3, 4),
        lambda: torch.as_strided(normal(5), (3, 3), (1, 1)),
    ],
)
def test_entries_that_share_memory_are_taken_apart(build: Callable[[], Tensor]) -> None:
    original = build().detach()
    twin = copied(original)
    assert torch.equal(twin, original)
    twin.view(-1)[0] += 1.0
    assert (twin != original).sum() == 1


def test_a_tensor_that_is_found_twice_is_copied_once() -> None:
    tensor = normal(3)
    one, other = copied([tensor, tensor])
    assert one is other
    assert one is not tensor


# -- modules ---------------------------------------------------------------------------------------


def test_a_module_is_copied_deeply_in_double_precision() -> None:
    module = net()
    twin = copied(module)
    assert {p.dtype for p in twin.parameters()} == {DOUBLE}
    assert twin.norm.running_mean.dtype is DOUBLE
    assert twin.norm.num_batches_tracked.dtype is torch.int64
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    assert not {id(p) for p in twin.parameters()} & {id(p) for p in module.parameters()}


def test_gradients_are_not_copied() -> None:
    module = net()
    module.linear.bias.grad = torch.ones(4)
    assert copied(module).linear.bias.grad is None
    assert module.linear.bias.grad.tolist() == [1.0] * 4


def test_a_plain_attribute_is_promoted_too() -> None:
    module = net()
    module.shift = torch.ones(4)
    assert copied(module).shift.dtype is DOUBLE
    assert module.shift.dtype is torch.float32


def test_tied_weights_stay_tied() -> None:
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    twin = copied(nn.Sequential(one, other))
    assert twin[0].weight is twin[1].weight


def test_a_module_within_another_that_was_met_is_the_same_copy() -> None:
    module = net()
    whole, part, weight = copied([module, module.linear, module.linear.weight])
    assert whole.linear is part
    assert part.weight is weight
    part, whole = copied([module.linear, module])
    assert whole.linear is part


def test_modules_of_one_name_are_both_kept() -> None:
    copier = Copier(promote=True)
    copier(net(), "net")
    copier(net(), "net")
    assert len(copier.modules) == 2


def test_an_attribute_that_is_no_leaf_is_copied_without_its_graph() -> None:
    module = net()
    activation = module.activation = module(x())
    assert torch.equal(copied(module).activation, activation.double())
    report = check(module, x())
    assert report.verdict == "pass", report.reason


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_the_old_weight_norm_passes() -> None:
    module = nn.utils.weight_norm(nn.Linear(3, 4))
    module(x())
    report = check(module, x())
    assert report.verdict == "pass", report.reason
    assert set(report.tensors) == {"bias", "weight_g", "weight_v"}


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.orthogonal])
def test_parametrizations_pass(wrap: Callable[[nn.Module], nn.Module]) -> None:
    report = check(wrap(nn.Linear(3, 3)), x())
    assert report.verdict == "pass", report.reason


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_scripted_modules_and_functions_pass_without_a_warning() -> None:
    script: Any = torch.jit.script
    report = check(script(nn.Sequential(nn.Linear(3, 4), nn.Tanh())), x())
    assert report.verdict == "pass", report.reason
    assert list(report.tensors) == ["0.weight", "0.bias"]
    assert check(nn.Sequential(script(nn.Linear(3, 4)), nn.Tanh()), x()).verdict == "pass"


def test_an_attribute_that_cannot_be_copied_is_shared() -> None:
    class Locked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.lock = threading.Lock()

        def forward(self, input: Tensor) -> Tensor:
            with self.lock:
                return super().forward(input)

    module = Locked()
    before = module.weight.detach().clone()
    report = check(module, x())
    assert report.verdict == "pass", report.reason
    assert torch.equal(module.weight, before)
    assert copied(module).lock is module.lock
    assert copied(module).weight is not module.weight


def test_hooks_on_a_parameter_are_part_of_the_gradient() -> None:
    module = net()
    weight: Any = module.linear.weight
    weight.register_hook(lambda grad: 2.0 * grad)
    report = check(module, x())
    assert report.verdict == "fail"
    assert report.tensors["linear.weight"].verdict == "fail"
    assert report.tensors["norm.weight"].verdict == "pass"


# -- where modules and tensors hide ---------------------------------------------------------------


class Trainer:
    def __init__(self, module: nn.Module) -> None:
        self.net = module
        self.notes: list[str] = []

    def loss(self, x: Tensor) -> Any:
        return self.net(x).square().sum(-1)

    def __call__(self, x: Tensor) -> Any:
        return self.loss(x)


class Slotted:
    """Cannot be looked into."""

    __slots__ = ("value",)


@dataclass(frozen=True)
class Config:
    model: nn.Module
    rate: float = 0.1


Pair = namedtuple("Pair", ["model", "number"])
HELD: dict[str, Any] = {}
CALLS = 0


def of_globals(x: Tensor) -> Any:
    return HELD["net"](x)


def counting(x: Tensor) -> Any:
    global CALLS
    CALLS += 1
    return HELD["net"](x)


def with_default(x: Tensor, model: Any = None) -> Any:
    return (model or HELD["net"])(x)


def in_function(module: nn.Module) -> Callable[[Tensor], Any]:
    def inner(x: Tensor) -> Any:
        return module(x)

    return lambda x: inner(x)


def of_held(held: Any) -> Any:
    return lambda x: held.model(x)


def of_cycle(module: nn.Module) -> Any:
    trainer = Trainer(module)
    trainer.itself = trainer  # type: ignore[attr-defined]
    return lambda x: trainer.itself.itself.loss(x)  # type: ignore[attr-defined]


PLACES: dict[str, Callable[[nn.Module], Any]] = {
    "closure": lambda module: lambda x: module(x),
    "closure of a closure": in_function,
    "default": lambda module: lambda x, model=module: model(x),
    "keyword default": lambda module: lambda x, *, model=module: model(x),
    "global": lambda module: of_globals,
    "method": lambda module: module.forward,
    "partial": lambda module: functools.partial(lambda model, x: model(x), module),
    "partial with keywords": lambda module: functools.partial(
        lambda x, model: model(x), model=module
    ),
    "list": lambda module: lambda x, held=[module]: held[0](x),
    "tuple in a dict": lambda module: lambda x, held={"a": (module,)}: held["a"][0](x),
    "ordered dict": lambda module: lambda x, held=OrderedDict(a=module): held["a"](x),
    "named tuple": lambda module: of_held(Pair(module, 1)),
    "method of an object": lambda module: Trainer(module).loss,
    "object that is called": Trainer,
    "object in a closure": lambda module: of_held(Config(module)),
    "object that holds itself": of_cycle,
    "object in an object": lambda module: Trainer(Trainer(module)).loss,  # type: ignore[arg-type]
}


@pytest.fixture(autouse=True)
def _globals() -> Iterator[None]:
    HELD.clear()
    yield
    HELD.clear()


@pytest.mark.parametrize("place", PLACES)
def test_a_module_is_found_wherever_f_holds_it(place: str) -> None:
    module = HELD["net"] = net()
    state = {key: value.clone() for key, value in module.state_dict().items()}
    report = check(PLACES[place](module), x())
    assert report.verdict == "pass", report.reason
    assert report.tensors["x"].digits_agree.minimum > 7.0, "it was not in double precision"
    for key, value in module.state_dict().items():
        assert torch.equal(value, state[key]), key
        assert value.dtype is state[key].dtype


def test_names_of_modules_follow_where_they_were_found() -> None:
    copier = Copier(promote=True)
    copier(Trainer(net()).loss, "")
    copier(of_held(Config(net())), "")
    assert list(copier.modules) == ["net", "held.model"]


def test_a_tensor_in_a_closure_is_promoted_and_the_callers_own_is_not() -> None:
    weight = torch.linspace(0.1, 1.0, 9).reshape(3, 3)
    report = check(lambda x: x @ weight, x())
    assert report.verdict == "pass", report.reason
    assert report.tensors["x"].digits_agree.minimum > 7.0
    assert weight.dtype is torch.float32


def test_what_holds_no_tensor_is_handed_on_as_it_is() -> None:
    for value in (Trainer(None), Slotted(), Config(None), {"a": [1]}, Pair(1, 2), "text", random):  # type: ignore[arg-type]
        assert copied(value) is value

    def f(x: Tensor) -> Tensor:
        return x

    assert copied(f) is f
    assert copied(functional := torch.nn.functional.linear) is functional


def test_counters_of_the_caller_keep_counting() -> None:
    module, seen, count = net(), [], 0

    def f(x: Tensor) -> Any:
        nonlocal count
        count += 1
        seen.append(tuple(x.shape))
        return module(x)

    report = check(f, x())
    assert count == len(seen) > 2
    assert count <= report.evaluations + 40  # and the calls for the claim


def test_a_global_counter_keeps_counting_beside_a_module_that_is_copied() -> None:
    global CALLS
    CALLS = 0
    module = HELD["net"] = net()
    before = module.norm.running_mean.clone()  # type: ignore[union-attr]
    assert check(counting, x()).verdict == "pass"
    assert CALLS > 2
    assert torch.equal(module.norm.running_mean, before)  # type: ignore[arg-type]


def test_a_function_that_names_itself_is_copied_once() -> None:
    weight = torch.tensor(0.5)

    def power(x: Tensor, count: int = 3) -> Tensor:
        return x if count == 0 else weight * x * power(x, count - 1)

    report = check(lambda x: power(x), x())
    assert report.verdict == "pass", report.reason


def test_a_loss_module_with_weights_is_copied() -> None:
    weights = torch.tensor([0.2, 0.3, 0.5])
    loss = nn.CrossEntropyLoss(weight=weights)
    target = torch.tensor([0, 1, 2, 1, 0])
    report = check(nn.Linear(3, 3), x(), loss=lambda output: loss(output, target))
    assert report.verdict == "pass", report.reason
    assert loss.weight is weights
    assert loss.weight.dtype is torch.float32


# -- random generators -----------------------------------------------------------------------------


def test_a_generator_in_a_closure_starts_anew_at_every_call_and_stays_where_it_is() -> None:
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    report = check(lambda x: x * torch.rand(5, 1, generator=generator), x())
    assert report.verdict == "pass", report.reason
    assert [f.kind for f in report.findings if f.kind == "seed-fixed"]
    assert torch.equal(generator.get_state(), before)


def test_a_generator_in_a_module_starts_anew_at_every_call() -> None:
    class Noisy(nn.Linear):
        def __init__(self) -> None:
            super().__init__(3, 2)
            self.generator = torch.Generator().manual_seed(3)

        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * torch.rand(2, generator=self.generator)

    module = Noisy()
    before = module.generator.get_state()
    report = check(module, x())
    assert report.verdict == "pass", report.reason
    assert torch.equal(module.generator.get_state(), before)
