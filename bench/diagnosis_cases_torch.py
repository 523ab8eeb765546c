"""Wrong backward passes of torch layers, each in a small network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from bench import diagnosis_torch_functions as functions
from bench import diagnosis_torch_networks as networks
from bench.diagnosis_case import Bug
from bench.diagnosis_torch_functions import Bend, bent, conv2d_weight
from torch.nn import functional

from gradproof import Report

__all__ = ["bugs"]

_ROWS = torch.arange(networks.BATCH)


def bugs() -> list[Bug]:
    """The cases; the twin of each is the same network with the layer as it should be."""
    return [*_linear(), *_activations(), *_convolutions(), *_norms(), *_attention(), *_others()]


def _bug(
    name: str,
    kinds: str,
    where: str,
    check: Callable[[Any], Report],
    right: Any,
    bend: Bend,
) -> Bug:
    return Bug(name, "torch", where, tuple(kinds.split()), check, bent(right, bend), right)


def _linear() -> list[Bug]:
    def case(name: str, kinds: str, bend: Bend) -> Bug:
        return _bug(name, kinds, "fc2 > Linear", networks.with_linear, functions.Linear, bend)

    def decayed(gradients: Any, _: Any, saved: Any) -> Any:
        x, weight, bias = gradients
        return x, weight + 0.01 * saved[1], bias

    def one_row_off(gradients: Any, *_: Any) -> Any:
        gradients[1][2] *= 0.5
        return gradients

    return [
        case("linear-bias-averaged", "factor not-summed", lambda r, g, _: (*r[:2], g.mean(0))),
        case("linear-bias-first-sample", "not-summed", lambda r, g, _: (*r[:2], g[0])),
        case("linear-weight-sign", "sign-flip", lambda r, *_: (r[0], -r[1], r[2])),
        case("linear-weight-transposed", "transposed", lambda r, *_: (r[0], r[1].mT, r[2])),
        case("linear-input-transposed", "transposed", lambda r, g, s: (g @ s[1].mT, *r[1:])),
        case("linear-weight-averaged", "factor", lambda r, g, _: (r[0], r[1] / len(g), r[2])),
        case("linear-input-twice", "factor", lambda r, *_: (r[0] + r[0], *r[1:])),
        case("linear-weight-none", "zero", lambda r, *_: (r[0], None, r[2])),
        case("linear-row-halved", "block", one_row_off),
        case("linear-with-decay", "extra-term", decayed),
        case(
            "linear-wrong-rows",
            "stale",
            lambda r, g, s: (r[0], g.mT @ s[0].roll(1, 0), r[2]),
        ),
        case(
            "linear-in-bfloat16",
            "precision",
            lambda r, g, s: (r[0], (g.bfloat16().mT @ s[0].bfloat16()).double(), r[2]),
        ),
        case("linear-clipped", "clipped", lambda r, *_: (r[0], r[1].clamp(-0.8, 0.8), r[2])),
    ]


def _activations() -> list[Bug]:
    def case(name: str, kinds: str, right: Any, bend: Bend) -> Bug:
        return _bug(name, kinds, f"act > {right.__name__}", networks.with_activation, right, bend)

    return [
        case("relu-mask-of-gradient", "mask", functions.ReLU, lambda r, g, s: g * (g > 0.0)),
        case(
            "leaky-slope-forgotten",
            "mask",
            functions.LeakyReLU,
            lambda r, g, s: g * (s[0] > 0.0),
        ),
        case(
            "tanh-derivative-forgotten",
            "identity",
            functions.Tanh,
            lambda r, g, s: g.clone(),
        ),
        case(
            "tanh-square-missing",
            "unexplained",
            functions.Tanh,
            lambda r, g, s: g * (1.0 - s[0]),
        ),
        case(
            "tanh-in-half-precision",
            "precision",
            functions.Tanh,
            lambda r, g, s: r.half().double(),
        ),
        case("round-straight-through", "extra-term", functions.Round, lambda r, g, s: g.clone()),
        case("dropout-not-backward", "mask", functions.Dropout, lambda r, g, s: g / 0.75),
        case("dropout-scale-missing", "factor", functions.Dropout, lambda r, g, s: g * s[0]),
        case(
            "dropout-mask-drawn-anew",
            "mask",
            functions.Dropout,
            lambda r, g, s: g * s[0].roll(1, 0) / 0.75,
        ),
    ]


def _convolutions() -> list[Bug]:
    conv, pool = functions.Conv, functions.AvgPool

    def case(name: str, kinds: str, bend: Bend) -> Bug:
        return _bug(name, kinds, "conv2 > Conv", networks.with_conv, conv, bend)

    def shifted(gradients: Any, g: Any, saved: Any) -> Any:
        x, weight = saved
        moved = functional.pad(x, (2, 0, 2, 0))
        return gradients[0], conv2d_weight(moved, weight.shape, g), gradients[2]

    def border_lost(gradients: Any, *_: Any) -> Any:
        for edge in (0, -1):
            gradients[0][..., edge, :] = 0.0
            gradients[0][..., edge] = 0.0
        return gradients

    def last_channel_lost(gradients: Any, *_: Any) -> Any:
        gradients[1][-1] = 0.0
        return gradients

    def not_flipped(gradients: Any, g: Any, saved: Any) -> Any:
        return functional.conv2d(g, saved[1].transpose(0, 1), padding=1), *gradients[1:]

    return [
        case("conv-kernel-not-flipped", "flipped-kernel", not_flipped),
        case("conv-weight-flipped", "flipped-kernel", lambda r, *_: (r[0], r[1].flip(2, 3), r[2])),
        case(
            "conv-weight-channels-exchanged",
            "transposed permuted-axes",
            lambda r, *_: (r[0], r[1].transpose(0, 1), r[2]),
        ),
        case("conv-padding-off-by-one", "shifted", shifted),
        case("conv-border-lost", "block zero", border_lost),
        case("conv-last-channel-lost", "zero block", last_channel_lost),
        case(
            "conv-bias-averaged", "factor not-summed", lambda r, g, _: (*r[:2], g.mean((0, 2, 3)))
        ),
        _bug(
            "avgpool-not-divided",
            "factor",
            "conv2 > AvgPool",
            networks.with_pool,
            pool,
            lambda r, *_: 4.0 * r,
        ),
        _bug(
            "roll-the-same-way",
            "shifted misplaced",
            "conv2 > Roll",
            networks.with_roll,
            functions.Roll,
            lambda r, g, _: g.roll(1, -1),
        ),
    ]


def _norms() -> list[Bug]:
    def case(name: str, kinds: str, bend: Bend) -> Bug:
        return _bug(name, kinds, "norm > LayerNorm", networks.with_norm, functions.LayerNorm, bend)

    def without_variance(gradients: Any, g: Any, saved: Any) -> Any:
        _, spread, weight = saved
        inner = g * weight
        return (inner - inner.mean(-1, keepdim=True)) / spread, *gradients[1:]

    def without_mean(gradients: Any, g: Any, saved: Any) -> Any:
        y, spread, weight = saved
        inner = g * weight
        return (inner - y * (inner * y).mean(-1, keepdim=True)) / spread, *gradients[1:]

    return [
        case("norm-variance-term-missing", "missing-term", without_variance),
        case("norm-mean-term-missing", "missing-term", without_mean),
        case("norm-weight-first-sample", "not-summed", lambda r, g, s: (r[0], (g * s[0])[0], r[2])),
        case("norm-spread-missing", "factor", lambda r, g, s: (r[0] * s[1], *r[1:])),
    ]


def _attention() -> list[Bug]:
    def case(name: str, kinds: str, part: str, where: str, bend: Bend) -> Bug:
        right = getattr(functions, where.rsplit(" > ")[-1])
        return _bug(name, kinds, where, lambda f: networks.transformer(**{part: f}), right, bend)

    def overwritten(gradients: Any, g: Any, saved: Any) -> Any:
        tokens, weight = saved
        return None, torch.zeros_like(weight).index_put((tokens,), g)

    return [
        case(
            "scores-not-scaled",
            "factor",
            "scores",
            "attend > Scores",
            lambda r, g, s: tuple(2.0 * x for x in r),
        ),
        case(
            "scores-of-keys-transposed",
            "unexplained transposed",
            "scores",
            "attend > Scores",
            lambda r, g, s: (r[0], g @ s[0] / math.sqrt(s[0].shape[-1])),
        ),
        case(
            "heads-not-transposed",
            "transposed permuted-axes",
            "split",
            "attend > SplitHeads",
            lambda r, g, s: g.flatten(2).reshape(r.shape),
        ),
        case(
            "softmax-diagonal-only",
            "missing-term",
            "softmax",
            "attend > Softmax",
            lambda r, g, s: g * s[0] * (1.0 - s[0]),
        ),
        case(
            "softmax-sum-missing",
            "missing-term",
            "softmax",
            "attend > Softmax",
            lambda r, g, s: g * s[0],
        ),
        case(
            "embedding-overwritten",
            "block not-summed",
            "embedding",
            "embed > Embedding",
            overwritten,
        ),
        case(
            "norm-without-any-terms",
            "missing-term",
            "norm",
            "norm1 > LayerNorm",
            lambda r, g, s: (g * s[2] / s[1], *r[1:]),
        ),
    ]


def _others() -> list[Bug]:
    conjugates, loss = functions.Filter, functions.CrossEntropy

    def filtered(name: str, bend: Bend) -> Bug:
        where = "filter > Filter"
        return _bug(name, "conjugate", where, networks.with_filter, conjugates, bend)

    def lossy(name: str, kinds: str, bend: Bend) -> Bug:
        return _bug(name, kinds, "CrossEntropy", networks.with_loss, loss, bend)

    return [
        filtered("filter-weight-conjugated", lambda r, g, s: (r[0], r[1].conj())),
        filtered("filter-input-not-conjugated", lambda r, g, s: (g * s[1], r[1])),
        lossy("loss-not-averaged", "factor", lambda r, g, s: (r[0] * len(r[0]), None)),
        lossy(
            "loss-label-term-missing",
            "missing-term",
            lambda r, g, s: (g * s[0].softmax(-1) / len(s[0]), None),
        ),
    ]
