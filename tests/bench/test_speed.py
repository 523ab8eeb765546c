"""The speed bench compares like with like; how fast it goes is for the bench to say."""

from __future__ import annotations

import pytest
import torch
from bench.speed import LeNet, Measured, measure


@pytest.fixture(scope="module")
def measured() -> tuple[Measured, Measured]:
    return measure(scale=0.15)


def test_the_whole_network_is_lenet_5() -> None:
    model = LeNet()
    assert sum(parameter.numel() for parameter in model.parameters()) == 61_706
    assert model(torch.zeros(4, 1, 28, 28)).shape == (4, 10)


def test_both_tools_pass_the_right_gradient(measured: tuple[Measured, Measured]) -> None:
    assert [row.verdict for row in measured] == ["pass", "pass"]


def test_both_tools_look_at_every_weight_and_ours_gives_each_an_error_bar(
    measured: tuple[Measured, Measured],
) -> None:
    ours, theirs = measured
    assert ours.weights == theirs.weights == 1_383
    assert ours.bars == ours.weights
    assert theirs.evaluations >= 2 * theirs.weights


def test_a_weight_takes_little_more_than_one_pair(measured: tuple[Measured, Measured]) -> None:
    ours, _ = measured
    assert ours.per_weight <= 2.3
