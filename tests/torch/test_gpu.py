"""On a CUDA device; skipped where there is none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn

import gradproof
from gradproof import Report

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def check(f: Any, x: Any, grad: Any = None, **options: Any) -> Report:
    return gradproof.check(f, x, grad, **{"coverage": "full", **options})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.Linear(8, 3),
    ).cuda()


def images() -> Tensor:
    return normal(3, 1, 4, 4).detach().float().cuda()


def test_a_convolutional_network_passes() -> None:
    report = check(network(), images())
    assert report.verdict == "pass", report.reason
    assert report.tensors["0.weight"].checked == 18
    assert not [f for f in report.findings if f.kind == "one-by-one"]


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return 2.0 * g


def test_a_wrong_backward_fails() -> None:
    doubled: Any = Doubled.apply
    net = network()
    report = check(net, images(), loss=lambda y: doubled(y).square())
    assert report.verdict == "fail"


def test_random_numbers_and_switches_are_put_back() -> None:
    net, x = network(), images()
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = torch.cuda.get_rng_state()
    switches = matmul.allow_tf32, cudnn.allow_tf32
    try:
        matmul.allow_tf32 = cudnn.allow_tf32 = True
        report = check(net, x)
        assert matmul.allow_tf32
        assert cudnn.allow_tf32
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = switches
    assert report.verdict == "pass", report.reason
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_tf32_is_off_during_a_check_in_single_precision() -> None:
    matmul = torch.backends.cuda.matmul
    seen: list[bool] = []

    def f(x: Tensor) -> Tensor:
        seen.append(matmul.allow_tf32)
        return x @ x

    before = matmul.allow_tf32
    try:
        matmul.allow_tf32 = True
        check(f, normal(4, 4).detach().float().cuda(), promote=False)
    finally:
        matmul.allow_tf32 = before
    assert seen
    assert not any(seen)


def test_noise_of_the_device_is_the_same_at_every_evaluation() -> None:
    def f(x: Tensor) -> Tensor:
        return x * torch.rand(4, device="cuda")

    report = check(f, normal(4).detach().cuda())
    assert report.verdict == "pass", report.reason
    assert [g for g in report.findings if g.kind == "seed-fixed"]


def test_atomic_additions_pass() -> None:
    index = torch.arange(4096, device="cuda") % 3

    def f(x: Tensor) -> Tensor:
        rows = x.sin().repeat(1024, 1)
        return torch.zeros(3, 2, device="cuda", dtype=x.dtype).index_add(0, index, rows)

    report = check(f, normal(4, 2).detach().cuda())
    assert report.verdict == "pass", report.reason


def test_tensors_on_two_devices_pass() -> None:
    report = check(
        lambda x, y: (x.cuda() * y).sin(), (normal(3).detach(), normal(3).detach().cuda())
    )
    assert report.verdict == "pass", report.reason
