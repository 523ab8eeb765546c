"""What the objects of a user's own classes hold."""

from __future__ import annotations

import functools
import logging
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gradproof.subjects.torch import held
from gradproof.subjects.torch.held import is_named, is_record, reaches

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Box:
    content: Any = None

    def method(self) -> Any:
        return self.content


def reaches_tensor(value: object) -> bool:
    return reaches(value, (Tensor,))


def in_closure(value: Any) -> Any:
    return lambda: value


HOLDING: dict[str, Any] = {
    "itself": torch.ones(1),
    "list": [1, [torch.ones(1)]],
    "dict": {"a": {"b": torch.ones(1)}},
    "named tuple": Pair(1, torch.ones(1)),
    "object": Box(Box(torch.ones(1))),
    "closure": in_closure(torch.ones(1)),
    "method": Box(torch.ones(1)).method,
    "partial": functools.partial(print, end=torch.ones(1)),
    "distribution": torch.distributions.Normal(torch.ones(1), 1.0),
}


@pytest.mark.parametrize("name", HOLDING)
def test_a_tensor_is_reached_wherever_it_is_held(name: str) -> None:
    assert reaches_tensor(HOLDING[name])


@pytest.mark.parametrize("value", [None, 3, "text", np.ones(3), [1, {}], Box(3), nn, torch, Box])
def test_nothing_is_reached_where_nothing_is_held(value: object) -> None:
    assert not reaches_tensor(value)


def test_what_holds_itself_ends() -> None:
    box = Box()
    box.content = [box]
    assert not reaches_tensor(box)
    box.content.append(torch.ones(1))
    assert reaches_tensor(box)


def test_the_search_ends_in_what_is_very_large(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [torch.ones(1), *([] for _ in range(50))]
    assert reaches_tensor(many)
    monkeypatch.setattr(held, "MOST", 10)
    assert not reaches_tensor(many)


def test_which_objects_are_looked_into() -> None:
    assert is_record(Box())
    assert is_record(torch.distributions.Normal(0.0, 1.0))
    optimiser = torch.optim.SGD([nn.Parameter(torch.ones(1))])
    for value in (3, "text", Box, torch, optimiser, logging.getLogger(), np.random.default_rng(0)):
        assert not is_record(value)
    assert is_named(Pair(1, 2))
    assert not is_named((1, 2))
