"""The other half of the zoo: modules at kinks, and those whose gradient is not the derivative."""

from __future__ import annotations

from typing import Any

import torch
from tests.torch.nn_zoo_case import Case, Factory, Through, at, leaf, normal, on, uniform
from torch import nn
from torch.nn.utils import parametrizations

# At a kink any value between the one-sided derivatives will do, and torch gives one of them.
# Pulled both ways, two kinks in one entry could take it outside; hence the squares of the ties.
KINKS = (
    Case("ReLU at zero", at(nn.ReLU, [0.0, -1.0, 2.0]), kinks=1),
    Case("LeakyReLU at zero", at(nn.LeakyReLU, [0.0, -1.0, 2.0]), kinks=1),
    Case("PReLU at zero", at(nn.PReLU, [0.0, -1.0, 2.0]), kinks=1),
    Case("RReLU at zero", at(nn.RReLU, [1.0, 2.0, 0.0]), kinks=1),
    Case("ELU at zero", at(lambda: nn.ELU(0.5), [0.0, -1.0, 2.0]), kinks=1),
    Case("SELU at zero", at(nn.SELU, [0.0, -1.0, 2.0]), kinks=1),
    Case("ReLU6 at zero and six", at(nn.ReLU6, [0.0, 6.0, 2.0]), kinks=2),
    Case("Hardtanh at one", at(nn.Hardtanh, [1.0, -1.0, 0.5]), kinks=2),
    Case("Hardsigmoid at three", at(nn.Hardsigmoid, [3.0, -3.0, 1.0]), kinks=2),
    Case("Hardswish at three", at(nn.Hardswish, [3.0, -3.0, 1.0]), kinks=2),
    Case("Softshrink at lambda", at(nn.Softshrink, [0.5, -0.5, 1.0]), kinks=2),
    Case(
        "MaxPool1d of ties",
        at(lambda: nn.MaxPool1d(2, 1), [[1.0, 1.0, 1.0, 2.0]]),
        loss=lambda output: output.square().sum(),
        kinks=3,
    ),
    Case(
        "AdaptiveMaxPool1d of ties",
        at(lambda: nn.AdaptiveMaxPool1d(2), [[1.0, 1.0, 0.0, 0.0]]),
        kinks=4,
    ),
    Case("LPPool1d at zero", at(lambda: nn.LPPool1d(2, 2), [[0.0, 0.0, 1.0, 2.0]]), kinks=2),
    Case("L1Loss at zero", at(nn.L1Loss, [1.0, 2.0], [1.0, 3.0]), kinks=2),
    Case(
        "PairwiseDistance p=1 at zero",
        at(lambda: nn.PairwiseDistance(1.0, eps=0.0), [[1.0, 2.0]], [[1.0, 3.0]]),
        kinks=2,
    ),
    Case(
        "MarginRankingLoss at the margin",
        lambda _: (
            nn.MarginRankingLoss(),
            (leaf([1.0, 2.0]), leaf([1.0, 3.0]), torch.ones(2).double()),
        ),
        kinks=2,
    ),
    Case(
        "MultiMarginLoss at the margin",
        lambda _: (nn.MultiMarginLoss(), (leaf([[1.0, 2.0, 0.0]]), torch.tensor([1]))),
        kinks=2,
    ),
)

WORDS = torch.tensor([[0, 2, 3], [2, 1, 2]])

# Not derivatives, by design, by mistake, or because there is none; and where it is a near thing.
ODD = (
    Case(
        "Hardshrink at lambda",
        at(nn.Hardshrink, [0.5, -0.5, 1.0]),
        expected="inconclusive",
        wrong=("input",),
        reason="it jumps there",
    ),
    Case(
        "Threshold at its jump",
        at(lambda: nn.Threshold(1.0, 0.0), [1.0, 0.5, 2.0]),
        expected="inconclusive",
        wrong=("input",),
        reason="it jumps there",
    ),
    Case(
        "CosineSimilarity at zero", at(lambda: nn.CosineSimilarity(-1), [[0.0, 0.0]], [[1.0, 2.0]])
    ),
    Case("PairwiseDistance at zero", at(nn.PairwiseDistance, [[0.0, 0.0]], [[0.0, 0.0]])),
    Case(
        "RReLU at zero before others",
        at(nn.RReLU, [0.0, -1.0, -2.0]),
        expected="inconclusive",
        wrong=("input",),
        reason="an input that turns positive draws no slope, so that the others get other slopes",
    ),
    Case(
        "CrossMapLRN2d",
        on(lambda: nn.CrossMapLRN2d(3, alpha=0.5), 1, 5, 2, 2),
        expected="fail",
        wrong=("input",),
        reason="a bug of torch: backward sums its window one channel off",
    ),
    Case(
        "Embedding scale_grad_by_freq",
        lambda _: (nn.Embedding(4, 3, scale_grad_by_freq=True), (WORDS,)),
        expected="fail",
        wrong=("weight",),
        reason="documented: the gradient of a word is divided by how often it occurs",
    ),
    Case(
        "Embedding max_norm",
        lambda _: (nn.Embedding(4, 3, max_norm=1.0), (WORDS,)),
        expected="fail",
        wrong=("weight",),
        reason="documented: the vectors are renormalised in place, unseen by autograd",
    ),
    Case("Embedding max_norm unmet", lambda _: (nn.Embedding(4, 3, max_norm=10.0), (WORDS,))),
    Case(
        "Linear spectral_norm",
        on(lambda: parametrizations.spectral_norm(nn.Linear(4, 4)), 2, 4),
    ),
    Case(
        "Linear orthogonal householder",
        on(
            lambda: parametrizations.orthogonal(nn.Linear(3, 2), orthogonal_map="householder"),
            *(2, 3),
        ),
        expected="inconclusive",
        wrong=("parametrizations.weight.original",),
        reason="a bug of torch: signs are the integer parts of parameters that are exactly 1 or -1",
    ),
    Case(
        "CTCLoss of free log-probabilities",
        lambda g: (
            nn.CTCLoss(),
            (
                leaf(normal(g, 5, 2, 3).log_softmax(-1).tolist()),
                torch.tensor([[1, 2], [2, 2]]),
                torch.tensor([5, 4]),
                torch.tensor([2, 1]),
            ),
        ),
        expected="fail",
        wrong=("log_probs",),
        reason="torch takes it for granted that log_probs come out of log_softmax",
    ),
    Case(
        "CTCLoss zero_infinity",
        lambda g: (
            Through(nn.LogSoftmax(-1), nn.CTCLoss(zero_infinity=True)),
            (
                normal(g, 2, 2, 3),
                torch.tensor([[1, 1], [2, 2]]),
                torch.tensor([2, 2]),
                torch.tensor([2, 1]),
            ),
        ),
    ),
    Case(
        "GaussianNLLLoss below eps",
        lambda g: (
            nn.GaussianNLLLoss(eps=1.0),
            (normal(g, 3, 2), normal(g, 3, 2), uniform(g, 0.5, 0.9, 3, 2)),
        ),
        expected="fail",
        wrong=("var",),
        reason="documented: the clamping of var is unseen by autograd",
    ),
)


def _linear_cross_entropy(**options: Any) -> Factory:
    return lambda g: (
        nn.LinearCrossEntropyLoss(3, 4, **options),
        (normal(g, 5, 3), torch.tensor([0, 3, 1, 1, 2])),
    )


# Since torch 2.13. The chunked one can be gone through backwards only once.
NEW = (
    Case("LinearCrossEntropyLoss", _linear_cross_entropy(bias=True)),
    Case(
        "LinearCrossEntropyLoss chunked",
        lambda g: _linear_cross_entropy(options=nn.LinearCrossEntropyOptions())(g),
    ),
)

CASES = (*KINKS, *ODD, *(NEW if hasattr(nn, "LinearCrossEntropyLoss") else ()))
