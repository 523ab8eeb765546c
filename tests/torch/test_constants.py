"""Numbers that a gradient is often wrong by, read off a function's arguments and modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradproof.subjects.torch.subject import TorchSubject


def constants(f: Any, *x: Any, **kwargs: Any) -> dict[str, float]:
    subject = TorchSubject(
        f, x, kwargs=kwargs, loss=None, promote=True, cotangent=None, rng=np.random.default_rng(0)
    )
    return dict(subject.constants)


def test_sizes_of_images_and_classes() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d((2, 4)), nn.Flatten())
    assert constants(net, torch.ones(16, 3, 6, 8)) == {
        "the batch size (first dimension of `input`)": 16.0,
        "the number of channels (second dimension of `input`)": 3.0,
        "the number of pixels (height times width of `input`)": 48.0,
        "the last dimension of the output": 24.0,
        "the number of pixels in a window of `1`": 8.0,
    }


def test_sizes_of_sequences_and_keep_probabilities() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
    assert constants(layer, torch.ones(3, 5, 8)) == {
        "the batch size (first dimension of `src`)": 3.0,
        "the sequence length (second dimension of `src`)": 5.0,
        "the last dimension of `src`": 8.0,
        "the last dimension of the output": 8.0,
        "the head size of `self_attn`": 4.0,
        "the keep probability of `dropout`": 0.8,
    }


def test_dropout_keeps_all_in_eval_mode() -> None:
    assert "the keep probability of f" in constants(nn.Dropout(0.5), torch.ones(3, 2))
    assert "the keep probability of f" not in constants(nn.Dropout(0.5).eval(), torch.ones(3, 2))


def test_several_arguments_of_a_function() -> None:
    def f(x: Tensor, tokens: Tensor, *, scale: Tensor) -> Tensor:
        return x[tokens].sum() * scale.sum()

    x, tokens = torch.ones(5, 1), torch.zeros(4, 2, dtype=torch.int64)
    assert constants(f, x, tokens, scale=torch.ones(7)) == {
        "the batch size (first dimension of `x`)": 5.0,
        "the first dimension of the input": 4.0,
        "the first dimension of `scale`": 7.0,
    }


def test_a_function_without_arguments_has_no_sizes() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self) -> Tensor:
            return self.weight.square().sum()

    assert constants(Held()) == {}
