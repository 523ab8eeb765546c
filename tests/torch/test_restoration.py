"""A check leaves everything as it was, also when f raises at its first, tenth or last call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from tests.torch.fuse import Fuse, Net, Unbatchable, build, build_input, guarded, unusual
from tests.torch.surroundings import Observer, changed
from torch import Tensor

import gradproof
from gradproof.report.model import Report


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with guarded():
        yield


Subject = Callable[[Net], Any]
#: How f comes by its module. What is closed over cannot be copied.
SUBJECTS: dict[str, tuple[Subject, type[Net], torch.dtype]] = {
    "module": (lambda net: net, Net, torch.float64),
    "float32 module": (lambda net: net, Net, torch.float32),
    "module that vmap refuses": (lambda net: net, Unbatchable, torch.float64),
    "closure": (lambda net: lambda x: net(x), Net, torch.float64),
    "closure that vmap refuses": (lambda net: lambda x: net(x), Unbatchable, torch.float64),
    "bound method": (lambda net: net.score, Net, torch.float64),
}


def check(subject: str, fuse: Fuse) -> tuple[Callable[[], Report], Observer]:
    build_subject, kind, dtype = SUBJECTS[subject]
    net, x = build(fuse, kind, dtype), build_input(dtype)
    f = build_subject(net)
    return lambda: gradproof.check(f, (x,), coverage="full"), Observer(net, (x,))


def calls_of_a_whole_check(subject: str) -> int:
    fuse = Fuse()
    run, _ = check(subject, fuse)
    run()
    return fuse.calls


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("setting", ["usual", "unusual"])
def test_a_check_changes_nothing(subject: str, setting: str) -> None:
    if setting == "unusual":
        unusual()
    run, observer = check(subject, Fuse())
    with torch.set_grad_enabled(setting == "usual"):
        before = observer.observe()
        report = run()
        after = observer.observe()
    assert changed(before, after) == []
    assert report.verdict == "pass", report.reason


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("setting", ["usual", "unusual"])
@pytest.mark.parametrize("when", ["first", "tenth", "last"])
def test_a_check_changes_nothing_when_f_raises(subject: str, setting: str, when: str) -> None:
    if setting == "unusual":
        unusual()
    last = calls_of_a_whole_check(subject)
    assert last > 10
    fuse = Fuse({"first": 1, "tenth": 10, "last": last}[when])
    run, observer = check(subject, fuse)
    with torch.set_grad_enabled(setting == "usual"):
        before = observer.observe()
        with pytest.raises(RuntimeError) as caught:
            run()
        after = observer.observe()
    assert caught.value is fuse.error
    assert changed(before, after) == []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_check_changes_nothing_when_it_is_interrupted(subject: str) -> None:
    fuse = Fuse(10, KeyboardInterrupt())
    run, observer = check(subject, fuse)
    before = observer.observe()
    with pytest.raises(KeyboardInterrupt) as caught:
        run()
    assert caught.value is fuse.error
    assert changed(before, observer.observe()) == []


class _Scorer:
    """Holds a net, and is called like a function."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, x: Tensor) -> Any:
        return self.net(x)


def _nested(net: Net) -> Callable[[Tensor], Any]:
    def inner(x: Tensor) -> Any:
        return net(x)

    return lambda x: inner(x)


HIDING_PLACES: dict[str, Callable[[Net], Any]] = {
    "partial of a module": partial,
    "partial of a method": lambda net: partial(net.score),
    "list": lambda net: lambda x, nets=(net,): nets[0](x),
    "inner function": _nested,
    "attribute": _Scorer,
    "bound method kept in a variable": lambda net: lambda x, score=net.score: score(x),
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_a_module_keeps_its_buffers_wherever_f_hides_it(place: str) -> None:
    net, x = build(Fuse()), build_input()
    observer = Observer(net, (x,))
    before = observer.observe()
    report = gradproof.check(HIDING_PLACES[place](net), (x,), coverage="full")
    assert changed(before, observer.observe()) == []
    assert report.verdict == "pass", report.reason


class _RaisingBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise RuntimeError("no way back")


def test_a_check_changes_nothing_when_backward_raises() -> None:
    net, x = build(Fuse()), build_input()
    raising: Any = _RaisingBackward
    net.dropout.register_forward_hook(lambda module, inputs, output: raising.apply(output))
    observer = Observer(net, (x,))
    before = observer.observe()
    with pytest.raises(RuntimeError, match="no way back"):
        gradproof.check(net, (x,), coverage="full")
    assert changed(before, observer.observe()) == []
