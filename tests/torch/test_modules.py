"""Modules by name."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from gradproof.subjects.torch.modules import differing_modules, joined


class Drifting(nn.Module):
    """Gives another result at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count()

    def forward(self, x: Tensor) -> Tensor:
        return x + next(self.calls)


def differing(net: nn.Module, name: str = "") -> tuple[str, ...]:
    return differing_modules(lambda: net(torch.ones(2, 2)), {name: net})


def test_the_module_that_differs_first_is_named_and_not_those_that_follow() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Drifting(), nn.Tanh(), nn.Linear(2, 2))
    assert differing(net) == ("1 (Drifting)",)
    assert differing(net, "net") == ("net.1 (Drifting)",)
    assert differing(Drifting()) == ("Drifting",)


def test_none_differs_in_what_is_a_function() -> None:
    assert differing(nn.Sequential(nn.Linear(2, 2), nn.Tanh())) == ()


def test_a_module_used_twice_is_named_once() -> None:
    part = Drifting()
    assert differing(nn.Sequential(part, part)) == ("0 (Drifting)",)


def test_hooks_are_removed_also_when_f_raises() -> None:
    net = nn.Sequential(nn.Linear(3, 2))
    try:
        differing(net)
    except RuntimeError:
        assert not net[0]._forward_hooks
    else:
        raise AssertionError("the shapes do not fit")


def test_several_modules_under_one_root() -> None:
    assert joined({}) is None
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    root: Any = joined({"f.model": one, "": other})
    assert dict(root.named_children()) == {"f_model": one, "f": other}
