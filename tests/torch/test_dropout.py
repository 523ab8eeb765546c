"""Dropout in a batch draws the masks of f's own calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.torch.planted_case import normal
from torch import Tensor, nn
from torch.nn import functional

import gradproof
from gradproof.subjects.torch.function import Function

X = normal(5, 2, 4).detach()
CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: functional.dropout(x, 0.5),
    "transposed": lambda x: functional.dropout(x.transpose(0, 1), 0.5),
    "permuted": lambda x: functional.dropout(x.permute(2, 0, 1), 0.3),
    "twice": lambda x: functional.dropout(functional.dropout(x, 0.5).mT, 0.5),
    "torch's own name": lambda x: torch.dropout(x.mT, 0.5, True),
    "by keywords": lambda x: functional.dropout(input=x.mT, p=0.2, training=True),
    "in place": lambda x: functional.dropout((2.0 * x).mT, 0.5, inplace=True),
    "everything": lambda x: functional.dropout(x.mT, 1.0),
    "nothing": lambda x: functional.dropout(x.mT, 0.0),
    "off": lambda x: functional.dropout(x.mT, 0.5, training=False),
    "module": lambda x: nn.Dropout(0.5)(x.transpose(0, 1)),
    "of what is the same in all lanes": lambda x: x + functional.dropout(X.double().mT, 0.5).mT,
    "slices": lambda x: functional.dropout(x[:, 0], 0.5),
}


@pytest.mark.parametrize("name", CALLS)
def test_masks_are_those_of_fs_own_call(name: str) -> None:
    function = Function(CALLS[name], X, {}, None, promote=True, seed=0)
    (expected,) = function.first_call().values()
    (own,) = function.tensors

    def lane(x: Tensor) -> Any:
        return function.moved({id(own): x})[0]

    with function.fresh():
        lanes = torch.stack([own.detach(), 2.0 * own.detach()])
        found = torch.func.vmap(lane, randomness="same")(lanes)
    assert isinstance(expected, Tensor)
    assert torch.equal(found[0], expected)


def test_a_transformer_in_training_goes_in_batches() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, dropout=0.3)
    x = normal(2, 3, 4).detach()
    report = gradproof.check(layer, x, coverage="sample", samples=8)
    assert report.verdict == "pass", report.reason
    kinds = {finding.kind for finding in report.findings}
    assert "dropout-on" in kinds
    assert "one-by-one" not in kinds
