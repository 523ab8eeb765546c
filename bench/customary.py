"""Four customary rules for whether a gradient is right, applied as they are published.

Steps and thresholds are absolute:

- *scipy*: ``scipy.optimize.check_grad`` with its default forward step of 1.5e-8. scipy leaves the
  threshold to the user; here its 2-norm of the difference must be below 1e-5.
- *cs231n*: centred differences, h = 1e-5; max |a - n| / max(|a|, |n|) at most 1e-4. Of the notes'
  values (1e-2 is probably wrong, 1e-4 will do with kinks, 1e-7 is good) this is the middle one.
- *UFLDL*: centred differences, h = 1e-4; norm(a - n) / norm(a + n) at most 1e-9.
- *gradcheck*: the rule of torch.autograd.gradcheck, in NumPy: centred differences, h = 1e-6;
  |a - n| <= 1e-5 + 1e-3 |n| in every entry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optree
from bench.cases import Case
from scipy import optimize

__all__ = ["Judgement", "Tool", "as_vectors", "customary_rules"]

Vector = npt.NDArray[Any]


@dataclass(frozen=True)
class Judgement:
    """What a tool said about one claim: pass, fail, inconclusive, or raised."""

    verdict: str
    reason: str = ""
    evaluations: int = 0


Tool = Callable[[Case], Judgement]


def customary_rules() -> dict[str, Tool]:
    """The rules that people use today, by name."""
    return {
        "scipy": _scipy,
        "cs231n": lambda case: _centred_rule(case, 1e-5, "max relative", _max_relative, 1e-4),
        "UFLDL": lambda case: _centred_rule(case, 1e-4, "norm ratio", _norm_ratio, 1e-9),
        "gradcheck": lambda case: _centred_rule(case, 1e-6, "worst excess", _worst_excess, 0.0),
    }


def as_vectors(case: Case) -> tuple[Callable[[Vector], Any], Vector, Vector]:
    """Return f of one vector, the point, and the claim: a vector, or a matrix for a Jacobian.

    Tensors that are float32 in x are float32 again when f sees them; complex ones stay complex.
    """
    leaves, structure = optree.tree_flatten(copy.deepcopy(case.x))
    tensors = [np.asarray(leaf) for leaf in leaves]
    ends = np.cumsum([tensor.size for tensor in tensors])

    def f(vector: Vector) -> Any:
        parts = [
            part.reshape(tensor.shape).astype(np.result_type(tensor, 1j) if np.iscomplexobj(part)
                                              else tensor.dtype)[()]
            for part, tensor in zip(np.split(vector, ends[:-1]), tensors, strict=True)
        ]  # fmt: skip
        value: Any = case.f(structure.unflatten(parts))
        return np.ravel(value) if np.ndim(value) else value

    claim = case.grad(copy.deepcopy(case.x)) if callable(case.grad) else case.grad
    point = np.concatenate([np.ravel(tensor) for tensor in tensors]).astype(float)
    claimed = [np.asarray(leaf, dtype=float) for leaf in optree.tree_leaves(claim)]
    if case.kind == "jacobian":
        return f, point, claimed[0].reshape(-1, point.size)
    return f, point, np.concatenate([np.ravel(tensor) for tensor in claimed])


def _scipy(case: Case) -> Judgement:
    f, x, claim = as_vectors(case)
    distance = float(optimize.check_grad(f, lambda _: claim, x))
    return _judge(f"norm of difference {distance:.1e}", distance < 1e-5)


def _centred_rule(
    case: Case,
    step: float,
    label: str,
    measure: Callable[[Vector, Vector], float],
    threshold: float,
) -> Judgement:
    f, x, claim = as_vectors(case)
    columns = [
        (np.asarray(f(x + offset), float) - np.asarray(f(x - offset), float)) / (2 * step)
        for offset in step * np.eye(x.size)
    ]
    value = measure(claim, np.stack(columns, axis=-1))
    return _judge(f"{label} {value:.1e}", value <= threshold)


def _max_relative(claim: Vector, numeric: Vector) -> float:
    size = np.maximum(np.abs(claim), np.abs(numeric))
    return float(np.max(np.where(size == 0, 0.0, np.abs(claim - numeric) / size)))


def _norm_ratio(claim: Vector, numeric: Vector) -> float:
    difference = np.linalg.norm(claim - numeric)
    return 0.0 if difference == 0 else float(difference / np.linalg.norm(claim + numeric))


def _worst_excess(claim: Vector, numeric: Vector) -> float:
    return float(np.max(np.abs(claim - numeric) - (1e-5 + 1e-3 * np.abs(numeric))))


def _judge(reason: str, passes: bool) -> Judgement:
    return Judgement("pass" if passes else "fail", reason)
