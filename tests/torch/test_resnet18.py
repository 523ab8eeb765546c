"""A network of eleven million weights: ResNet-18, written out, on two small images."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import gradproof
from gradproof.report.model import Report


class OnePercentMore(torch.autograd.Function):
    """The identity, with a gradient that is 1 % too large."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return 1.01 * gradients[0]


class PlantedConv2d(nn.Conv2d):
    """A convolution whose weight gets a wrong gradient."""

    def forward(self, input: Tensor) -> Tensor:
        weight: Tensor = OnePercentMore.apply(self.weight)  # type: ignore[no-untyped-call]
        return functional.conv2d(input, weight, None, self.stride, self.padding)


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al., Deep residual learning, CVPR 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or before != after:
            shortcut = nn.Conv2d(before, after, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class ResNet18(nn.Module):
    """11,689,512 weights in 62 tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.fc = nn.Linear(512, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        result: Tensor = self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return result


@functools.cache
def checked(planted: bool) -> Report:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = ResNet18().double()
        images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    if planted:
        net.layer3[0].conv1.__class__ = PlantedConv2d
    labels = torch.tensor([3, 700])
    return gradproof.check(
        net,
        (images,),
        loss=lambda scores: functional.cross_entropy(scores, labels),
        coverage="probe",
    )


def test_eleven_million_weights_pass() -> None:
    report = checked(planted=False)
    assert report.verdict == "pass"
    assert sum(tensor.size for tensor in report.tensors.values()) == 11_689_512
    assert max(tensor.detection_limit for tensor in report.tensors.values()) <= 1e-5


def test_that_takes_about_a_hundred_evaluations_and_two_for_each_tensor() -> None:
    assert checked(planted=False).evaluations <= 1.1 * (100 + 2 * 62)


def test_one_per_cent_in_one_convolution_is_found_and_named() -> None:
    report = checked(planted=True)
    assert report.verdict == "fail"
    wrong = [name for name, tensor in report.tensors.items() if tensor.verdict == "fail"]
    assert wrong == ["layer3.0.conv1.weight"]
    worst = report.tensors["layer3.0.conv1.weight"].worst
    assert worst is not None
    assert worst.analytic / worst.numeric == pytest.approx(1.01, rel=1e-4)
