"""Which branch each unit takes, for every operation of PyTorch that does not return it.

Recorded are the places where the slope (or the value) jumps. ELU with alpha 1, CELU, Huber and the
smooth L1 loss, bicubic sampling: their slope is continuous, and they leave no mask. Matrix
decompositions are taken as smooth; so are the branch cuts of complex functions other than the
angle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: An operation's arguments by their names in its schema, defaults filled in.
Arguments = Mapping[str, Any]

#: The code of embedding_bag's mode "max".
_EMBEDDING_MAX = 2
#: The codes of grid_sample's modes.
_BILINEAR, _NEAREST = 0, 1


def _whole(x: Tensor) -> Tensor:
    """Whole numbers held as floats, at a quarter of a float64's memory or half."""
    return x.to(torch.int64).to(torch.int32)


def _sides(x: Tensor, *edges: Any) -> Tensor:
    """How many of the edges, given in ascending order, x lies above."""
    above: list[Tensor] = [x > edge for edge in edges if edge is not None]
    return above[0] if len(above) == 1 else above[0].to(torch.int8) + above[1]


def _sign(x: Tensor) -> Tensor | None:
    # The modulus of a complex number has no kink but at 0 itself, which no path meets by chance.
    return None if x.is_complex() else torch.sign(x).to(torch.int8)


def _copysign(a: Arguments) -> Tensor:
    """|self| with the sign of other: a kink in the one, a jump in the other."""
    negative: Tensor = torch.signbit(a["other"])
    return torch.sign(a["self"]).to(torch.int8) + 3 * negative.to(torch.int8)


def _peak(x: Tensor, dims: Sequence[int] | int | None = None, largest: bool = True) -> Tensor:
    """Where the extreme lies, counted through `dims` (all where there are none)."""
    dims = [dims] if isinstance(dims, int) else dims
    if not dims or x.dim() == 0:
        x = x.flatten()
    else:
        x = x.movedim(tuple(dims), tuple(range(-len(dims), 0))).flatten(-len(dims))
    if x.numel() == 0:
        return x.new_empty(0, dtype=torch.int32)
    return (x.argmax(-1) if largest else x.argmin(-1)).to(torch.int32)


def _extreme(a: Arguments, largest: bool) -> Tensor | None:
    # max.dim returns the index itself.
    return None if "dim" in a else _peak(a["self"], largest=largest)


def _median(a: Arguments, median: Callable[..., Any]) -> Tensor | None:
    if "dim" in a or a["self"].numel() == 0:
        return None
    index: Tensor = median(a["self"].flatten(), 0).indices
    return index.to(torch.int32)


def _norm(x: Tensor, order: Any, dims: Any = None) -> Tensor | None:
    """sum(|x|^p)^(1/p) has a kink at 0 for p <= 1, and is a maximum for infinite p."""
    order = 2 if order is None else order
    if math.isinf(order):
        return _peak(x.abs(), dims, largest=order > 0)
    if order == 0:
        return x != 0
    return _sign(x) if order <= 1 else None


def _pairs(a: Arguments) -> Tensor | None:
    """The norms of the differences of all rows."""
    if "x1" in a:
        difference = a["x1"].unsqueeze(-2) - a["x2"].unsqueeze(-3)
    else:
        rows, others = (
            torch.ones(*[len(a["self"])] * 2, device=a["self"].device).triu(1).nonzero().T
        )
        difference = a["self"][rows] - a["self"][others]
    return _norm(difference, a["p"], -1)


def _quotient(a: Arguments, rounding: str | None) -> Tensor | None:
    """The whole part of self / other."""
    if rounding is None:
        return None
    return _whole(torch.div(torch.as_tensor(a["self"]), a["other"], rounding_mode=rounding))


def _round(a: Arguments) -> Tensor:
    return _whole(torch.round(a["self"] * 10.0 ** a.get("decimals", 0)))


def _elu(a: Arguments) -> Tensor | None:
    # The slope is scale on the right and alpha * scale * input_scale on the left.
    return None if a["alpha"] * a["input_scale"] == 1 else a["self"] > 0


def _grid(a: Arguments) -> Tensor | None:
    """The cell (bilinear) or the pixel (nearest) that each coordinate falls into.

    The edges at which padding clips or reflects lie on the boundaries of cells too, or where the
    image is flat.
    """
    grid, sizes = a["grid"], a["input"].shape[:1:-1]  # the grid's last axis is x, y(, z)
    size = grid.new_tensor(sizes)
    ends = (grid + 1) / 2 * (size - 1) if a["align_corners"] else ((grid + 1) * size - 1) / 2
    if a["interpolation_mode"] == _BILINEAR:
        return _whole(ends.floor())
    return _whole(ends.round()) if a["interpolation_mode"] == _NEAREST else None


def _multi_margin(a: Arguments) -> Tensor | None:
    """max(0, margin - x[target] + x[i])^p for all other i; smooth enough for p = 2."""
    if a["p"] != 1:
        return None
    target = a["target"].reshape(-1, 1)
    x = a["self"].reshape(len(target), -1)
    above: Tensor = a["margin"] - x.gather(1, target) + x > 0
    return above.scatter(1, target, False)


def _multilabel_margin(a: Arguments) -> Tensor:
    """max(0, 1 - x[j] + x[i]) for all targets j (they end at the first -1) and all others i."""
    x, target = (a[name].reshape(-1, a[name].shape[-1]) for name in ("self", "target"))
    given = (target >= 0).long().cumprod(1).bool()
    places = target.clamp(min=0)
    is_target = torch.zeros_like(given).scatter_reduce(1, places, given, "amax")
    above = 1 - x.gather(1, places).unsqueeze(2) + x.unsqueeze(1) > 0
    counted: Tensor = above & given.unsqueeze(2) & ~is_target.unsqueeze(1)
    return counted


def _renorm(a: Arguments) -> Tensor:
    """Which slices are too long and get scaled down."""
    x, dim = a["self"], a.get("dim", 0)
    slices = x.movedim(dim, 0).flatten(1)
    order = a["p"] if "p" in a else a["norm_type"]
    limit = a["maxnorm"] if "maxnorm" in a else a["max_norm"]
    long: Tensor = torch.linalg.vector_norm(slices, order, dim=1) > limit
    return long


def _angle(a: Arguments) -> Tensor:
    """The side of the negative real axis, where the angle jumps by 2 pi (by pi if x is real)."""
    if "other" in a:
        x, y = a["other"], a["self"]
    elif a["self"].is_complex():
        x, y = a["self"].real, a["self"].imag
    else:
        return torch.signbit(a["self"])
    below: Tensor = (x < 0) & (y < 0)
    return below


def _condition(a: Arguments) -> Tensor:
    condition: Tensor = a["condition"] if "condition" in a else a["mask"]
    return condition.clone()


def _attained(source: Tensor, result: Tensor, reduce: str) -> Tensor | None:
    """Which sources are the extreme of what they were reduced to."""
    return source == result if reduce in {"amax", "amin"} else None


BEFORE: dict[str, Callable[[Arguments], Tensor | None]] = {
    **dict.fromkeys(
        ("relu", "_prelu_kernel", "leaky_relu", "rrelu_with_noise"), lambda a: a["self"] > 0
    ),
    "elu": _elu,
    "threshold": lambda a: a["self"] > a["threshold"],
    # Beyond its threshold softplus is x itself, a jump of exp(-threshold).
    "softplus": lambda a: a["self"] * a["beta"] > a["threshold"],
    "hardtanh": lambda a: _sides(a["self"], a["min_val"], a["max_val"]),
    **dict.fromkeys(("hardsigmoid", "hardswish"), lambda a: _sides(a["self"], -3, 3)),
    **dict.fromkeys(
        ("hardshrink", "softshrink"), lambda a: _sides(a["self"], -a["lambd"], a["lambd"])
    ),
    **dict.fromkeys(
        ("clamp", "clamp_min", "clamp_max"), lambda a: _sides(a["self"], a.get("min"), a.get("max"))
    ),
    "logit": lambda a: None if a["eps"] is None else _sides(a["self"], a["eps"], 1 - a["eps"]),
    **dict.fromkeys(("abs", "sign", "sgn", "heaviside"), lambda a: _sign(a["self"])),
    "copysign": _copysign,
    **dict.fromkeys(("angle", "atan2"), _angle),
    "max": lambda a: _extreme(a, largest=True),
    "min": lambda a: _extreme(a, largest=False),
    "amax": lambda a: _peak(a["self"], a["dim"]),
    "amin": lambda a: _peak(a["self"], a["dim"], largest=False),
    "aminmax": lambda a: torch.stack([_peak(a["self"], a["dim"], big) for big in (False, True)]),
    "median": lambda a: _median(a, torch.median),
    "nanmedian": lambda a: _median(a, torch.nanmedian),
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), lambda a: a["self"] > a["other"]),
    "linalg_vector_norm": lambda a: _norm(a["self"], a["ord"], a["dim"]),
    "norm": lambda a: _norm(a["self"], a["p"], a.get("dim")),
    "dist": lambda a: _norm(a["self"] - a["other"], a["p"]),
    **dict.fromkeys(("_cdist_forward", "_pdist_forward"), _pairs),
    **dict.fromkeys(("where", "masked_fill", "masked_scatter", "masked_select"), _condition),
    "floor": lambda a: _whole(torch.floor(a["self"])),
    "ceil": lambda a: _whole(torch.ceil(a["self"])),
    **dict.fromkeys(("trunc", "frac"), lambda a: _whole(torch.trunc(a["self"]))),
    "round": _round,
    "fmod": lambda a: _quotient(a, "trunc"),
    **dict.fromkeys(("remainder", "floor_divide"), lambda a: _quotient(a, "floor")),
    "div": lambda a: _quotient(a, a.get("rounding_mode")),
    "nan_to_num": lambda a: torch.isfinite(a["self"]),
    **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _grid),
    "multi_margin_loss": _multi_margin,
    "multilabel_margin_loss_forward": _multilabel_margin,
    **dict.fromkeys(("renorm", "embedding_renorm"), _renorm),
}

AFTER: dict[str, Callable[[Arguments, Any], Tensor | None]] = {
    # In place, their outputs are floats.
    **dict.fromkeys(("eq", "ne", "gt", "ge", "lt", "le"), lambda a, out: out != 0),
    "bernoulli": lambda a, out: out != 0,
    **dict.fromkeys(("poisson", "binomial"), lambda a, out: _whole(out)),
    "scatter_reduce": lambda a, out: _attained(
        a["src"], out.gather(a["dim"], a["index"]), a["reduce"]
    ),
    "index_reduce": lambda a, out: _attained(
        a["source"], out.index_select(a["dim"], a["index"]), a["reduce"]
    ),
    **dict.fromkeys(
        ("_embedding_bag", "_embedding_bag_forward_only"),
        lambda a, out: _whole(out[3]) if a["mode"] == _EMBEDDING_MAX else None,
    ),
    # The permutation.
    "linalg_lu": lambda a, out: out[0] != 0,
}
