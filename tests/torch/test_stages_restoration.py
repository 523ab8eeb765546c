"""Looking for the parts of f leaves everything as it was, also when f or its backward raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch.fuse import Fuse, build, build_input, guarded, unusual
from tests.torch.surroundings import Observer, changed
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from gradproof._errors import InputError
from gradproof.subjects.torch.subject import TorchSubject

PARTS = ["inner", "norm", "dropout", "still", "still.0", "still.1", "still.2", "outer"]


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with guarded():
        yield


def subject_of(f: Any, *x: Any) -> TorchSubject:
    return TorchSubject(
        f, x, kwargs={}, loss=None, promote=True, cotangent=None, rng=np.random.default_rng(0)
    )


def patches() -> list[object]:
    """What is replaced meanwhile."""
    base: Any = Function.__mro__[1]
    return [nn.Module.__call__, vars(base).get("apply"), vars(Function)["apply"]]


def claims(subject: TorchSubject) -> list[list[float]]:
    with subject.session():
        return [part.tolist() for part in subject.claims(None)]


@pytest.mark.parametrize("setting", ["usual", "unusual"])
def test_looking_for_parts_changes_nothing(setting: str) -> None:
    if setting == "unusual":
        unusual()
    net, x = build(Fuse()), build_input()
    observer = Observer(net, (x,))
    subject = subject_of(net, x)
    gradient, replaced, before = claims(subject), patches(), observer.observe()
    with torch.set_grad_enabled(setting == "usual"):
        stages = subject.stages(None)
        for stage in stages:
            part, _ = stage.open()
            with part.session():
                part.claims(None)
    assert [stage.name for stage in stages] == PARTS
    assert changed(before, observer.observe()) == []
    assert patches() == replaced
    assert claims(subject) == gradient


@pytest.mark.parametrize("error", [RuntimeError("the fuse blew"), KeyboardInterrupt()])
def test_looking_for_parts_changes_nothing_when_f_raises(error: BaseException) -> None:
    fuse = Fuse(error=error)
    net, x = build(fuse), build_input()
    observer = Observer(net, (x,))
    subject = subject_of(net, x)
    replaced, before = patches(), observer.observe()
    fuse.blows_at = fuse.calls + 1
    with pytest.raises(type(error)) as caught:
        subject.stages(None)
    assert caught.value is fuse.error
    fuse.blows_at = None
    assert changed(before, observer.observe()) == []
    assert patches() == replaced
    assert [stage.name for stage in subject.stages(None)] == PARTS


class _Raising(Function):
    is_armed = False

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        if _Raising.is_armed:
            raise RuntimeError("no way back")
        return g


def test_looking_for_parts_changes_nothing_when_backward_raises(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apply: Any = _Raising.apply
    net, x = build(Fuse()), build_input()
    net.dropout.register_forward_hook(lambda module, inputs, output: apply(output))
    observer = Observer(net, (x,))
    subject = subject_of(net, x)
    gradient, replaced, before = claims(subject), patches(), observer.observe()
    monkeypatch.setattr(_Raising, "is_armed", True)
    with pytest.raises(RuntimeError, match="no way back"):
        subject.stages(None)
    monkeypatch.setattr(_Raising, "is_armed", False)
    assert changed(before, observer.observe()) == []
    assert patches() == replaced
    assert claims(subject) == gradient


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_the_copies_keep_no_gradients_and_no_hooks(use_reentrant: bool) -> None:
    same, linear = nn.Identity(), nn.Linear(3, 2).double()

    def f(x: Tensor) -> Any:
        return checkpoint(linear, same(x), use_reentrant=use_reentrant)

    subject = subject_of(f, build_input())
    assert [stage.name for stage in subject.stages(None)] == ["same", "linear"]
    function = subject._function
    tensors = [*function.tensors, *function.modules["linear"].parameters()]
    assert [t.grad for t in tensors] == [None] * 3
    assert [len(t._backward_hooks or ()) for t in tensors] == [0] * 3


class Counting(nn.Module):
    count: Tensor
    forbidden = 0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        if self.count == self.forbidden:
            raise RuntimeError("not again")
        return x * float(self.count)


@pytest.mark.parametrize("forbidden", [0, 2])
def test_opening_a_part_leaves_its_module_as_it_was(
    forbidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Counting()

    def f(x: Tensor) -> Tensor:
        once: Tensor = part(x)
        again: Tensor = part(once)
        return again

    subject = subject_of(f, torch.ones(2, dtype=torch.float64, requires_grad=True))
    again = subject.stages(None)[1]
    monkeypatch.setattr(Counting, "forbidden", forbidden)
    if forbidden:
        with pytest.raises(InputError, match="not again"):
            again.open()
    else:
        opened, _ = again.open()
        (weight,) = opened.weights
        assert isinstance(opened, TorchSubject)
        assert opened.value() == pytest.approx(2.0 * float(np.sum(weight)))
    (count,) = subject._function.modules["part"].buffers()
    assert count == 0.0
    assert part.count == 0.0
