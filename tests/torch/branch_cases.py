"""Operations that branch, each with two points on different branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """A function, a point, and a point on other branches, with the units that change at each site.

    A hundredth of the way from `at` to `across` is still on the branches of `at`.
    """

    name: str
    f: Callable[[Tensor], Any]
    at: Sequence[Any]
    across: Sequence[Any]
    crossed: dict[str, int]
    dtype: torch.dtype = torch.float64


#: Two of the three units change sign.
SIGNS = ([-1.0, 1.0, 2.0], [1.0, -1.0, 3.0])
#: Two of the three units leave a middle part that reaches from -0.5 to 0.5 at least, and up to 3.
_EDGES = ([0.1, 0.2, 0.3], [4.0, -4.0, 0.4])
#: Ascending; then the first is the largest and the second the smallest.
_ORDER = ([1.0, 2.0, 3.0], [2.5, 2.0, 2.2])
#: Two whole parts change, however they are rounded.
_PARTS = ([0.3, 1.3, 2.3], [1.7, -0.6, 2.32])
#: Two coordinates move to another cell and another pixel of a picture of 3 pixels each way.
PLACES = ([[-0.6, -0.6], [0.6, 0.6]], [[0.6, -0.6], [0.6, -0.9]])
#: The largest of a block is another one.
_LINE = ([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, 2.0, 4.5, 4.0]]])
PLANE = ([[[[1.0, 2.0], [3.0, 4.0]]]], [[[[1.0, 5.0], [3.0, 4.0]]]])
_CUBE = ([[[[[1.0, 2.0], [3.0, 4.0]]]]], [[[[[1.0, 5.0], [3.0, 4.0]]]]])
#: The margin of 1 between the first and the others is kept, and then missed by both.
MARGIN = ([[3.0, 1.0, 1.0]], [[0.5, 1.0, 1.0]])

ONE = torch.ones(3, dtype=torch.float64)
ZERO = 0 * ONE
_SAME_PLACE = torch.tensor([0, 0, 0])
_PICTURE = torch.arange(9.0, dtype=torch.float64).reshape(1, 1, 3, 3)
_VOLUME = torch.arange(27.0, dtype=torch.float64).reshape(1, 1, 3, 3, 3)


def sample(mode: str) -> Callable[[Tensor], Tensor]:
    return lambda x: F.grid_sample(
        _PICTURE, x.reshape(1, 1, 2, 2), mode, padding_mode="border", align_corners=True
    )


def _sample_volume(x: Tensor) -> Tensor:
    grid = torch.cat([x, 0 * x[:, :1]], -1).reshape(1, 1, 1, 2, 3)
    return F.grid_sample(_VOLUME, grid, align_corners=True)


def _drawn(draw: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: draw(x, generator=torch.Generator().manual_seed(0))


def _renorm_embedding(x: Tensor) -> Tensor:
    return F.embedding(_SAME_PLACE[:1], x.clone().reshape(1, 3), max_norm=2.0)


def _compare_in_place(x: Tensor) -> Tensor:
    return x.clone().gt_(0)


def _overwrite(choose: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Choose by a mask that is overwritten afterwards."""

    def f(x: Tensor) -> Tensor:
        mask = choose(x)
        chosen = torch.where(mask, x, 0.0)
        mask.fill_(True)
        return chosen

    return f


_SIDES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "relu": (F.relu, "relu"),
    "relu in place": (lambda x: F.relu_(x.clone()), "relu"),
    "leaky_relu": (F.leaky_relu, "leaky_relu"),
    "leaky_relu in place": (lambda x: F.leaky_relu_(x.clone()), "leaky_relu"),
    "prelu": (lambda x: F.prelu(x, ONE[:1] / 4), "prelu"),
    "rrelu": (F.rrelu, "rrelu"),
    "rrelu in place": (lambda x: F.rrelu_(x.clone()), "rrelu"),
    "selu": (F.selu, "elu"),
    "selu in place": (lambda x: F.selu(x.clone(), inplace=True), "elu"),
    "elu with a kink": (lambda x: F.elu(x, alpha=0.5), "elu"),
    "threshold": (lambda x: F.threshold(x, 0.5, 7.0), "threshold"),
    "threshold in place": (lambda x: F.threshold(x.clone(), 0.5, 7.0, inplace=True), "threshold"),
    "clamp from below": (lambda x: x.clamp(min=0), "clamp"),
    "clamp_min": (lambda x: x.clamp_min(0), "clamp_min"),
    "clamp_min in place": (lambda x: x.clone().clamp_min_(0), "clamp_min"),
    "clamp_max by a tensor": (lambda x: x.clamp_max(ZERO), "clamp_max"),
    "abs": (torch.abs, "abs"),
    "abs in place": (lambda x: x.clone().abs_(), "abs"),
    "abs into another tensor": (lambda x: torch.abs(x, out=torch.empty_like(x)), "abs"),
    "sign": (torch.sign, "sign"),
    "sgn": (torch.sgn, "sgn"),
    "heaviside": (lambda x: torch.heaviside(x, ONE), "heaviside"),
    "copysign": (lambda x: torch.copysign(ONE, x), "copysign"),
    "angle": (torch.angle, "angle"),
    "atan2": (lambda x: torch.atan2(x, -ONE), "atan2"),
    "maximum": (lambda x: torch.maximum(x, ZERO), "maximum"),
    "minimum": (lambda x: torch.minimum(x, ZERO), "minimum"),
    "max of two tensors": (lambda x: torch.max(x, ZERO), "maximum"),
    "fmax": (lambda x: torch.fmax(x, ZERO), "fmax"),
    "fmin": (lambda x: torch.fmin(x, ZERO), "fmin"),
    "bucketize": (lambda x: torch.bucketize(x, ZERO[:1]), "bucketize"),
    "searchsorted": (lambda x: torch.searchsorted(ZERO[:1], x), "searchsorted"),
    "l1_loss": (lambda x: F.l1_loss(x, ZERO), "abs"),
    "smooth_l1_loss with beta 0": (lambda x: F.smooth_l1_loss(x, ZERO, beta=0.0), "abs"),
    "hinge_embedding_loss": (lambda x: F.hinge_embedding_loss(x, -ONE, 0.0), "clamp_min"),
    "margin_ranking_loss": (lambda x: F.margin_ranking_loss(x, ZERO, ONE), "clamp_min"),
    "norm of order 1": (lambda x: x.norm(p=1), "vector_norm"),
    "pairwise_distance": (lambda x: F.pairwise_distance(x, ZERO, p=1), "norm"),
    "dist": (lambda x: torch.dist(x, ZERO, 1), "dist"),
    "cdist": (lambda x: torch.cdist(x[None], ZERO[None], p=1), "cdist"),
    "pdist": (lambda x: F.pdist(torch.stack([x, ZERO]), p=1), "pdist"),
    "gt": (lambda x: x > 0, "gt"),
    "gt between tensors": (lambda x: x > ZERO, "gt"),
    "gt in place": (_compare_in_place, "gt"),
    "ge": (lambda x: x >= 0, "ge"),
    "lt between tensors": (lambda x: x < ZERO, "lt"),
    "le": (lambda x: x <= 0, "le"),
    "signbit": (torch.signbit, "signbit"),
}

_MIDDLE: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "relu6": (lambda x: F.relu6(2 * x + 3), "hardtanh"),
    "hardtanh": (F.hardtanh, "hardtanh"),
    "hardtanh in place": (lambda x: F.hardtanh_(x.clone()), "hardtanh"),
    "hardsigmoid": (F.hardsigmoid, "hardsigmoid"),
    "hardsigmoid in place": (lambda x: F.hardsigmoid(x.clone(), inplace=True), "hardsigmoid"),
    "hardswish": (F.hardswish, "hardswish"),
    "hardswish in place": (lambda x: F.hardswish(x.clone(), inplace=True), "hardswish"),
    "hardshrink": (F.hardshrink, "hardshrink"),
    "softshrink": (F.softshrink, "softshrink"),
    "clamp": (lambda x: x.clamp(0, 1), "clamp"),
    "clamp in place": (lambda x: x.clone().clamp_(0, 1), "clamp"),
    "clamp by tensors": (lambda x: x.clamp(-ONE[:1], ONE), "clamp"),
}

_EXTREMES: dict[str, tuple[Callable[[Tensor], Any], dict[str, int]]] = {
    "max": (torch.max, {"max": 1}),
    "min": (torch.min, {"min": 1}),
    "max over a dimension": (lambda x: x[None].max(1), {"max": 1}),
    "min over a dimension": (lambda x: x[None].min(1).values, {"min": 1}),
    "amax": (torch.amax, {"amax": 1}),
    "amin over two dimensions": (lambda x: x[None, None].amin((0, -1)), {"amin": 1}),
    "aminmax": (torch.aminmax, {"aminmax": 2}),
    "aminmax over a dimension": (lambda x: torch.aminmax(x[None], dim=1), {"aminmax": 2}),
    "argmax": (torch.argmax, {"argmax": 1}),
    "argmin": (torch.argmin, {"argmin": 1}),
    "topk": (lambda x: x.topk(2), {"topk": 2}),
    "kthvalue": (lambda x: x.kthvalue(2), {"kthvalue": 1}),
    "median": (torch.median, {"median": 1}),
    "median over a dimension": (lambda x: x[None].median(1), {"median": 1}),
    "nanmedian": (torch.nanmedian, {"nanmedian": 1}),
    "mode": (torch.mode, {"mode": 1}),
    "sort": (torch.sort, {"sort": 3}),
    "stable sort": (lambda x: x.sort(stable=True), {"sort": 3}),
    "argsort": (torch.argsort, {"sort": 3}),
    "msort": (torch.msort, {"sort": 3}),
    "cummax": (lambda x: x.cummax(0), {"cummax": 2}),
    "cummin": (lambda x: x.cummin(0), {"cummin": 2}),
    "quantile": (lambda x: x.quantile(0.3), {"sort": 3}),
    "unique": (lambda x: torch.unique(x, return_inverse=True), {"unique2": 3}),
    "norm of infinite order": (lambda x: torch.linalg.norm(x, torch.inf), {"vector_norm": 1}),
    "cdist of infinite order": (
        lambda x: torch.cdist(x[None], ZERO[None], p=torch.inf),
        {"cdist": 1},
    ),
    "embedding_bag": (
        lambda x: F.embedding_bag(torch.tensor([[0, 1, 2]]), x.reshape(3, 1), mode="max"),
        {"embedding_bag": 1},
    ),
    "scatter_reduce": (
        lambda x: ZERO[:1].scatter_reduce(0, _SAME_PLACE, x, "amax"),
        {"scatter_reduce": 2},
    ),
    "scatter_reduce in place": (
        lambda x: (0 * x[:1]).scatter_reduce_(0, _SAME_PLACE, x, "amax"),
        {"scatter_reduce": 2},
    ),
    "index_reduce": (
        lambda x: ZERO[:1].index_reduce(0, _SAME_PLACE, x, "amax"),
        {"index_reduce": 2},
    ),
}

_WHOLE: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "floor": (torch.floor, "floor"),
    "floor in place": (lambda x: x.clone().floor_(), "floor"),
    "ceil": (torch.ceil, "ceil"),
    "trunc": (torch.trunc, "trunc"),
    "frac": (torch.frac, "frac"),
    "round": (torch.round, "round"),
    "round to one decimal": (lambda x: x.round(decimals=1), "round"),
    "fmod": (lambda x: x.fmod(1.0), "fmod"),
    "remainder": (lambda x: x.remainder(1.0), "remainder"),
    "remainder between tensors": (lambda x: torch.remainder(x, ONE), "remainder"),
    "floor_divide": (lambda x: x // 1.0, "floor_divide"),
    "div rounded down": (lambda x: torch.div(x, 1.0, rounding_mode="floor"), "div"),
    "div cut off": (lambda x: torch.div(x, ONE, rounding_mode="trunc"), "div"),
    "cast to an integer": (torch.Tensor.long, "to"),
}

CASES = (
    *(Case(name, f, *SIGNS, {site: 2}) for name, (f, site) in _SIDES.items()),
    *(Case(name, f, *_EDGES, {site: 2}) for name, (f, site) in _MIDDLE.items()),
    *(Case(name, f, *_ORDER, units) for name, (f, units) in _EXTREMES.items()),
    *(Case(name, f, *_PARTS, {site: 2}) for name, (f, site) in _WHOLE.items()),
    Case("where", lambda x: torch.where(x > 0, x, 0.0), *SIGNS, {"gt": 2, "where": 2}),
    Case("mask overwritten", _overwrite(lambda x: x > 0), *SIGNS, {"gt": 2, "where": 2}),
    Case("signbit overwritten", _overwrite(torch.signbit), *SIGNS, {"signbit": 2, "where": 2}),
    Case("masked_fill", lambda x: x.masked_fill(x > 0, 0.0), *SIGNS, {"gt": 2, "masked_fill": 2}),
    Case("eq", lambda x: x.sign() == 1, *SIGNS, {"sign": 2, "eq": 2}),
    Case("ne", lambda x: x.sign() != ONE, *SIGNS, {"sign": 2, "ne": 2}),
    Case(
        "equal",
        lambda x: torch.equal(x.sign(), torch.tensor([-1.0, 1.0, 1.0], dtype=x.dtype)),
        *SIGNS,
        {"sign": 2, "equal": 1},
    ),
    Case("max_pool1d", lambda x: F.max_pool1d(x, 2), *_LINE, {"max_pool2d": 1}),
    Case("max_pool2d", lambda x: F.max_pool2d(x, 2), *PLANE, {"max_pool2d": 1}),
    Case("max_pool3d", lambda x: F.max_pool3d(x, (1, 2, 2)), *_CUBE, {"max_pool3d": 1}),
    Case(
        "adaptive_max_pool1d",
        lambda x: F.adaptive_max_pool1d(x, 2),
        *_LINE,
        {"adaptive_max_pool2d": 1},
    ),
    Case(
        "adaptive_max_pool2d",
        lambda x: F.adaptive_max_pool2d(x, 1),
        *PLANE,
        {"adaptive_max_pool2d": 1},
    ),
    Case(
        "adaptive_max_pool3d",
        lambda x: F.adaptive_max_pool3d(x, 1),
        *_CUBE,
        {"adaptive_max_pool3d": 1},
    ),
    Case(
        "fractional_max_pool2d",
        lambda x: F.fractional_max_pool2d(x, 2, 1),
        *PLANE,
        {"fractional_max_pool2d": 1},
    ),
    Case(
        "fractional_max_pool3d",
        lambda x: F.fractional_max_pool3d(F.pad(x, (1, 0, 1, 0, 2, 0)), 2, 1),
        *_CUBE,
        {"fractional_max_pool3d": 1},
    ),
    Case("grid_sample", sample("bilinear"), *PLACES, {"grid_sampler_2d": 2}),
    Case("grid_sample of pixels", sample("nearest"), *PLACES, {"grid_sampler_2d": 2}),
    Case("grid_sample of a volume", _sample_volume, *PLACES, {"grid_sampler_3d": 2}),
    Case(
        "multi_margin_loss",
        lambda x: F.multi_margin_loss(x, torch.tensor([0])),
        *MARGIN,
        {"multi_margin_loss": 2},
    ),
    Case(
        "multilabel_margin_loss",
        lambda x: F.multilabel_margin_loss(x, torch.tensor([[0, -1, 0]])),
        *MARGIN,
        {"multilabel_margin_loss": 2},
    ),
    Case(
        "triplet_margin_loss",
        lambda x: F.triplet_margin_loss(x[:, :1], x[:, 1:2], x[:, 2:], margin=0.5),
        [[3.0, 3.1, 1.0]],
        [[1.5, 3.1, 1.0]],
        {"clamp_min": 1},
    ),
    Case("softplus", F.softplus, [19.0, 1.0], [21.0, 2.0], {"softplus": 1}),
    Case("logit", lambda x: x.logit(0.1), [0.3, 0.5], [0.05, 0.95], {"logit": 2}),
    Case("nan_to_num", lambda x: (1 / x).nan_to_num(), [1.0, 2.0], [0.0, 2.0], {"nan_to_num": 1}),
    Case("norm of order 0", lambda x: x.norm(p=0), [1.0, 2.0], [0.0, 2.0], {"vector_norm": 1}),
    Case("remainder of a number", lambda x: 5 % x, [1.9], [3.0], {"remainder": 1}),
    Case(
        "renorm",
        lambda x: torch.renorm(x, 2, 0, 1.0),
        [[0.3, 0.3], [3.0, 0.0]],
        [[3.0, 0.3], [3.1, 0.0]],
        {"renorm": 1},
    ),
    Case(
        "embedding with a largest norm",
        _renorm_embedding,
        [1.0, 1.0, 0.0],
        [1.0, 3.0, 0.0],
        {"embedding_renorm": 1},
    ),
    Case(
        "lu",
        lambda x: torch.linalg.lu(torch.stack([x, ONE[:2]])),
        [2.0, 3.0],
        [0.5, 3.0],
        {"lu": 4},
    ),
    Case("bernoulli", _drawn(torch.bernoulli), [0.01, 0.5], [1.0, 0.5], {"bernoulli": 1}),
    Case("poisson", _drawn(torch.poisson), [0.0, 0.0], [3.0, 0.0], {"poisson": 1}),
    Case(
        "angle of complex numbers",
        torch.angle,
        [-1 + 1j, 1 + 1j],
        [-1 - 1j, 1 - 1j],
        {"angle": 1},
        torch.complex128,
    ),
    Case(
        "where of complex numbers",
        lambda x: torch.where(x.real > 0, x, 0),
        [-1 + 1j, 1 + 1j],
        [1 - 1j, 1 - 1j],
        {"gt": 1, "where": 1},
        torch.complex128,
    ),
    Case("relu of a sparse tensor", lambda x: x.to_sparse().relu(), *SIGNS, {"relu": 2}),
)
