"""Every operation that branches says which branch each unit takes, and no other operation does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from tests.torch.branch_cases import CASES, MARGIN, ONE, PLACES, PLANE, SIGNS, ZERO, Case, sample
from torch import Tensor

from gradproof.subjects.torch.branches import crossed, trace

#: Their slope does not jump between the two points: not anywhere, or not where a kernel branches.
SMOOTH: tuple[Case, ...] = (
    *(
        Case(name, f, *SIGNS, {})
        for name, f in {
            "elu": F.elu,
            "celu": F.celu,
            "gelu": F.gelu,
            "silu": F.silu,
            "mish": F.mish,
            "logsigmoid": F.logsigmoid,
            "tanhshrink": F.tanhshrink,
            "softmax": lambda x: x.softmax(0),
            "log_softmax": lambda x: x.log_softmax(0),
            "logsumexp": lambda x: x.logsumexp(0),
            "logcumsumexp": lambda x: x.logcumsumexp(0),
            "layer_norm": lambda x: F.layer_norm(x, (3,)),
            "normalize": lambda x: F.normalize(x, dim=0),
            "huber_loss": lambda x: F.huber_loss(x, ZERO),
            "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, ZERO),
            "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(
                x, ONE
            ),
            "norm of order 2": torch.linalg.norm,
            "isfinite": torch.isfinite,
            "integers made without looking": lambda x: torch.zeros_like(x, dtype=torch.int64) + 1,
            "memory not filled": lambda x: torch.empty_like(x, dtype=torch.int64) * 0.0,
        }.items()
    ),
    *(
        Case(name, f, [[2.0, 3.0], [1.0, 1.0]], [[0.5, 3.0], [1.0, 1.0]], {})
        for name, f in {
            "det": torch.linalg.det,
            "slogdet": torch.linalg.slogdet,
            "solve": lambda x: torch.linalg.solve(x, x),
            "inv": torch.linalg.inv,
        }.items()
    ),
    Case(
        "multi_margin_loss with p 2",
        lambda x: F.multi_margin_loss(x, torch.tensor([0]), p=2),
        *MARGIN,
        {},
    ),
    Case("grid_sample, bicubic", sample("bicubic"), *PLACES, {}),
    Case(
        "attention",
        lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
        *PLANE,
        {},
    ),
    Case("abs of complex numbers", torch.abs, [-1 + 1j], [1 - 1j], {}, torch.complex128),
    Case("sgn of complex numbers", torch.sgn, [-1 + 1j], [1 - 1j], {}, torch.complex128),
)

pytestmark = pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")


def _crossed(f: Callable[[Tensor], Any], one: Tensor, other: Tensor) -> dict[str, int]:
    return crossed(trace(lambda: f(one), None), trace(lambda: f(other), None))


def _points(case: Case) -> tuple[Tensor, Tensor]:
    def point(values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=case.dtype)

    return point(case.at), point(case.across)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_units_on_other_branches_are_counted(case: Case) -> None:
    at, across = _points(case)
    assert _crossed(case.f, at, across) == case.crossed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_points_on_the_same_branches_cross_nothing(case: Case) -> None:
    at, across = _points(case)
    assert _crossed(case.f, at, at + (across - at) / 100) == {}


@pytest.mark.parametrize("case", SMOOTH, ids=lambda case: case.name)
def test_smooth_operations_cross_nothing(case: Case) -> None:
    assert _crossed(case.f, *_points(case)) == {}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_masks_are_small_and_of_whole_numbers(case: Case) -> None:
    at, _ = _points(case)
    dtypes = {mask.dtype for mask in trace(lambda: case.f(at), None).masks}
    assert dtypes
    assert dtypes <= {torch.bool, torch.int8, torch.int32}
