"""Copies of layers: what they consist of, and which are made the quick way."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import pytest

from gradproof.subjects.layers import twins


class Layer(ABC):
    """A base class as people write one; ABC itself has empty slots."""

    @abstractmethod
    def forward(self) -> None: ...


class Dense(Layer):
    def __init__(self) -> None:
        self.weight = np.ones(2)
        self.views: list[Any] = [self.weight, {"again": self.weight}]

    def forward(self) -> None: ...


class Slotted:
    __slots__ = ("weight",)

    def __init__(self) -> None:
        self.weight = np.ones(2)


def test_a_layer_derived_from_an_abstract_class_is_copied_as_deepcopy_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer = Dense()

    def slow(value: Any, memo: Any) -> Any:
        raise AssertionError(f"left to copy.deepcopy: {value}")

    monkeypatch.setattr(copy, "deepcopy", slow)
    new = twins.twin(layer, {})
    assert type(new) is Dense
    assert new.weight is not layer.weight
    np.testing.assert_array_equal(new.weight, layer.weight)
    assert new.views[0] is new.views[1]["again"] is new.weight


def test_an_object_with_slots_is_left_to_deepcopy() -> None:
    old = Slotted()
    new = twins.twin(old, {})
    assert new.weight is not old.weight
    np.testing.assert_array_equal(new.weight, old.weight)
