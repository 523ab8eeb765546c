"""A table of the modules of torch.nn at small sizes: every gradient of theirs is right.

The modules are built in float64 with few entries, so that every entry of every parameter and input
can be checked in a fraction of a second. `nn_zoo_odd` has those that are not right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from tests.torch.nn_zoo_case import (
    Case,
    Factory,
    Through,
    evaluated,
    normal,
    on,
    seasoned,
    shares,
    signs,
    uniform,
)
from torch import Tensor, nn
from torch.nn.utils import parametrizations

CONVOLUTIONS: Mapping[str, Factory] = {
    "Conv1d": on(lambda: nn.Conv1d(2, 3, 3), 2, 2, 5),
    "Conv1d strided": on(lambda: nn.Conv1d(2, 3, 2, stride=2), 2, 2, 6),
    "Conv1d same": on(lambda: nn.Conv1d(2, 3, 3, padding="same"), 1, 2, 5),
    "Conv1d without a batch": on(lambda: nn.Conv1d(2, 3, 3, bias=False), 2, 6),
    "Conv2d": on(lambda: nn.Conv2d(2, 2, 3), 1, 2, 4, 4),
    "Conv2d padded": on(lambda: nn.Conv2d(1, 2, 3, padding=(1, 2)), 2, 1, 3, 3),
    "Conv2d grouped": on(lambda: nn.Conv2d(4, 4, 2, groups=2), 1, 4, 2, 3),
    "Conv2d depthwise": on(lambda: nn.Conv2d(3, 3, 2, groups=3), 1, 3, 3, 3),
    "Conv2d dilated": on(lambda: nn.Conv2d(1, 2, 2, dilation=(2, 1)), 1, 1, 4, 4),
    "Conv2d strided": on(lambda: nn.Conv2d(1, 2, 3, stride=2, padding=1), 1, 1, 5, 5),
    "Conv2d reflect": on(lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect"), 1, 1, 4, 4),
    "Conv2d circular": on(
        lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), 1, 1, 4, 4
    ),
    "Conv2d replicate": on(
        lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="replicate"), 1, 1, 4, 4
    ),
    "Conv2d same": on(lambda: nn.Conv2d(1, 2, (1, 3), padding="same"), 1, 1, 4, 4),
    "Conv3d": on(lambda: nn.Conv3d(1, 2, 2), 1, 1, 3, 3, 3),
    "ConvTranspose1d": on(lambda: nn.ConvTranspose1d(2, 3, 3), 2, 2, 4),
    "ConvTranspose1d strided": on(
        lambda: nn.ConvTranspose1d(2, 2, 3, stride=2, padding=1, output_padding=1), 2, 2, 3
    ),
    "ConvTranspose2d": on(lambda: nn.ConvTranspose2d(2, 2, 2), 1, 2, 3, 3),
    "ConvTranspose2d grouped": on(
        lambda: nn.ConvTranspose2d(4, 2, 2, groups=2, dilation=2), 1, 4, 2, 2
    ),
    "ConvTranspose3d": on(lambda: nn.ConvTranspose3d(1, 2, 2, stride=2), 1, 1, 2, 2, 2),
}

LINEAR: Mapping[str, Factory] = {
    "Linear": on(lambda: nn.Linear(4, 3), 5, 4),
    "Bilinear": lambda g: (nn.Bilinear(2, 3, 4), (normal(g, 3, 2), normal(g, 3, 3))),
    "Identity": on(nn.Identity, 2, 3),
    "Flatten": on(nn.Flatten, 2, 2, 3),
    "Unflatten": on(lambda: nn.Unflatten(1, (2, 3)), 2, 6),
    "PixelShuffle": on(lambda: nn.PixelShuffle(2), 1, 8, 2, 2),
    "PixelUnshuffle": on(lambda: nn.PixelUnshuffle(2), 1, 2, 4, 4),
    "ChannelShuffle": on(lambda: nn.ChannelShuffle(2), 1, 4, 2, 3),
    "Fold": on(lambda: nn.Fold((3, 4), (2, 2)), 1, 8, 6),
    "Unfold": on(lambda: nn.Unfold((2, 2), padding=1, stride=2), 1, 2, 4, 4),
    "Sequential with an in-place ReLU": on(
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(inplace=True), nn.Linear(5, 2)), 3, 4
    ),
}

NORMS: Mapping[str, Factory] = {
    "BatchNorm1d": on(lambda: nn.BatchNorm1d(3), 5, 3),
    "BatchNorm1d eval": on(lambda: seasoned(nn.BatchNorm1d(3), 8, 3), 5, 3),
    "BatchNorm1d averaging": on(lambda: nn.BatchNorm1d(3, momentum=None), 5, 3),
    "BatchNorm1d without statistics": on(
        lambda: nn.BatchNorm1d(3, track_running_stats=False).eval(), 5, 3
    ),
    "BatchNorm2d": on(lambda: nn.BatchNorm2d(2), 2, 2, 3, 3),
    "BatchNorm2d eval": on(lambda: seasoned(nn.BatchNorm2d(2), 4, 2, 3, 3), 2, 2, 3, 3),
    "BatchNorm2d without affine": on(lambda: nn.BatchNorm2d(2, affine=False), 2, 2, 3, 3),
    "BatchNorm3d": on(lambda: nn.BatchNorm3d(2), 2, 2, 2, 2, 3),
    "BatchNorm3d eval": on(lambda: seasoned(nn.BatchNorm3d(2), 2, 2, 2, 2, 2), 2, 2, 2, 2, 2),
    "LayerNorm": on(lambda: nn.LayerNorm((2, 3)), 3, 2, 3),
    "LayerNorm without bias": on(lambda: nn.LayerNorm(5, bias=False), 4, 5),
    "GroupNorm": on(lambda: nn.GroupNorm(2, 4), 2, 4, 3),
    "InstanceNorm1d": on(lambda: nn.InstanceNorm1d(3, affine=True), 2, 3, 4),
    "InstanceNorm2d": on(lambda: nn.InstanceNorm2d(2), 2, 2, 3, 3),
    "InstanceNorm2d tracking": on(
        lambda: nn.InstanceNorm2d(2, track_running_stats=True), 2, 2, 3, 3
    ),
    "InstanceNorm2d eval": on(
        lambda: seasoned(nn.InstanceNorm2d(2, track_running_stats=True), 2, 2, 3, 3), 2, 2, 3, 3
    ),
    "InstanceNorm3d": on(lambda: nn.InstanceNorm3d(2, affine=True), 1, 2, 2, 2, 3),
    "RMSNorm": on(lambda: nn.RMSNorm(4), 3, 4),
    "LocalResponseNorm": on(lambda: nn.LocalResponseNorm(3, alpha=0.5), 2, 5, 3),
}

RECURRENT: Mapping[str, Factory] = {
    "RNN tanh": on(lambda: nn.RNN(2, 3), 3, 2, 2),
    "RNN relu": on(lambda: nn.RNN(2, 3, nonlinearity="relu"), 3, 2, 2),
    "RNN of two layers": on(lambda: nn.RNN(2, 2, num_layers=2), 3, 2, 2),
    "RNN bidirectional": on(lambda: nn.RNN(2, 2, bidirectional=True), 3, 2, 2),
    "RNN with dropout": on(
        lambda: nn.RNN(2, 2, num_layers=2, dropout=0.5, batch_first=True), 2, 3, 2
    ),
    "LSTM": on(lambda: nn.LSTM(2, 2), 3, 1, 2),
    "LSTM with a state": lambda g: (
        nn.LSTM(2, 2),
        (normal(g, 2, 1, 2), (normal(g, 1, 1, 2), normal(g, 1, 1, 2))),
    ),
    "LSTM of two layers": on(lambda: nn.LSTM(1, 2, num_layers=2, batch_first=True), 1, 3, 1),
    "LSTM bidirectional": on(lambda: nn.LSTM(2, 1, bidirectional=True), 3, 1, 2),
    "LSTM proj_size": on(lambda: nn.LSTM(2, 3, proj_size=1), 3, 1, 2),
    "GRU": on(lambda: nn.GRU(2, 2), 3, 1, 2),
    "GRU of two layers": on(lambda: nn.GRU(1, 2, num_layers=2, bias=False), 3, 1, 1),
    "GRU bidirectional": on(lambda: nn.GRU(2, 1, bidirectional=True, batch_first=True), 1, 3, 2),
    "RNNCell": lambda g: (nn.RNNCell(3, 3), (normal(g, 2, 3), normal(g, 2, 3))),
    "RNNCell relu": lambda g: (
        nn.RNNCell(3, 3, nonlinearity="relu"),
        (normal(g, 2, 3), normal(g, 2, 3)),
    ),
    "LSTMCell": on(lambda: nn.LSTMCell(2, 2), 2, 2),
    "LSTMCell with a state": lambda g: (
        nn.LSTMCell(2, 2),
        (normal(g, 1, 2), (normal(g, 1, 2), normal(g, 1, 2))),
    ),
    "GRUCell": lambda g: (nn.GRUCell(2, 2), (normal(g, 2, 2), normal(g, 2, 2))),
}

CAUSAL = torch.ones(3, 3, dtype=torch.bool).triu(1)


def _attention(**options: Any) -> Factory:
    return lambda g: (
        nn.MultiheadAttention(2, 2, **options),
        (normal(g, 3, 1, 2), normal(g, 3, 1, 2), normal(g, 3, 1, 2)),
    )


def _encoder(**options: Any) -> Factory:
    options = {"dropout": 0.0, "batch_first": True, **options}
    return on(lambda: nn.TransformerEncoderLayer(4, 2, 2, **options), 1, 3, 4)


def _decoder(**options: Any) -> Factory:
    return lambda g: (
        nn.TransformerDecoderLayer(3, 1, 2, batch_first=True, **options),
        (normal(g, 1, 2, 3), normal(g, 1, 3, 3)),
    )


ATTENTION: Mapping[str, Factory] = {
    "MultiheadAttention": _attention(),
    "MultiheadAttention with dropout": _attention(dropout=0.3),
    "MultiheadAttention of other widths": lambda g: (
        nn.MultiheadAttention(2, 1, kdim=3, vdim=1, batch_first=True),
        (normal(g, 1, 2, 2), normal(g, 1, 3, 3), normal(g, 1, 3, 1)),
    ),
    "TransformerEncoderLayer": _encoder(),
    "TransformerEncoderLayer with dropout": _encoder(dropout=0.1),
    "TransformerEncoderLayer eval": evaluated(_encoder(dropout=0.1)),
    "TransformerEncoderLayer gelu": _encoder(norm_first=True, activation="gelu"),
    "TransformerDecoderLayer": _decoder(dropout=0.0),
    "TransformerDecoderLayer with dropout": _decoder(dropout=0.1, bias=False),
    "TransformerDecoderLayer eval": evaluated(_decoder(norm_first=True)),
}

WORDS = torch.tensor([[0, 2, 3], [2, 1, 2]])

EMBEDDINGS: Mapping[str, Factory] = {
    "Embedding": lambda g: (nn.Embedding(4, 3), (WORDS,)),
    "EmbeddingBag sum": lambda g: (nn.EmbeddingBag(4, 3, mode="sum"), (WORDS,)),
    "EmbeddingBag weighted": lambda g: (
        nn.EmbeddingBag(4, 3, mode="sum"),
        (WORDS, None, normal(g, 2, 3)),
    ),
    "Embedding padding_idx": lambda _: (nn.Embedding(4, 3, padding_idx=2), (WORDS,)),
    "EmbeddingBag mean": lambda g: (nn.EmbeddingBag(4, 3, padding_idx=2), (WORDS,)),
    "EmbeddingBag max": lambda g: (nn.EmbeddingBag(4, 3, mode="max"), (WORDS,)),
}

ACTIVATIONS: Mapping[str, Factory] = {
    **{
        build.__name__: on(build, 3, 4)
        for build in (
            *(nn.ELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardtanh, nn.Hardswish, nn.LeakyReLU),
            *(nn.LogSigmoid, nn.ReLU, nn.ReLU6, nn.RReLU, nn.SELU, nn.CELU, nn.GELU, nn.Sigmoid),
            *(nn.SiLU, nn.Mish, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink),
            *(nn.GLU, nn.PReLU),
        )
    },
    "ELU alpha": on(lambda: nn.ELU(0.5), 3, 4),
    "CELU alpha": on(lambda: nn.CELU(0.5), 3, 4),
    "RReLU eval": on(lambda: nn.RReLU().eval(), 3, 4),
    "GELU tanh": on(lambda: nn.GELU("tanh"), 3, 4),
    "PReLU of each channel": on(lambda: nn.PReLU(3), 2, 3, 4),
    "Softplus beta": on(lambda: nn.Softplus(beta=20.0, threshold=10.0), 3, 4),
    "Threshold": on(lambda: nn.Threshold(0.3, -1.0), 3, 4),
    "GLU first axis": on(lambda: nn.GLU(0), 4, 3),
    "Softmin": on(lambda: nn.Softmin(-1), 3, 4),
    "Softmax": on(lambda: nn.Softmax(-1), 3, 4),
    "Softmax2d": on(nn.Softmax2d, 1, 3, 2, 2),
    "LogSoftmax": on(lambda: nn.LogSoftmax(-1), 3, 4),
    "AdaptiveLogSoftmaxWithLoss": lambda g: (
        nn.AdaptiveLogSoftmaxWithLoss(4, 5, [2]),
        (normal(g, 3, 4), torch.tensor([1, 3, 4])),
    ),
}


def _pair(build: Callable[[], nn.Module]) -> Factory:
    """A loss of two inputs that both require grad."""
    return lambda g: (build(), (normal(g, 3, 4), normal(g, 3, 4)))


def _triplet(build: Callable[[], nn.Module]) -> Factory:
    return lambda g: (build(), (normal(g, 3, 4), normal(g, 3, 4), normal(g, 3, 4)))


def _classes(build: Callable[[], nn.Module]) -> Factory:
    """A loss of scores and class indices."""
    return lambda g: (build(), (normal(g, 5, 4), torch.tensor([0, 3, 1, 1, 2])))


def _signed(build: Callable[[], nn.Module]) -> Factory:
    """A loss of scores and targets of 1 and -1."""
    return lambda g: (build(), (normal(g, 3, 4), signs(g, 3, 4)))


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().sum(-1)


WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 0.25])
# CTC: two sequences of 5 frames over 3 symbols, the first of them blank.
SYMBOLS = (torch.tensor([[1, 2], [2, 2]]), torch.tensor([5, 4]), torch.tensor([2, 1]))

LOSSES: Mapping[str, Factory] = {
    "L1Loss": _pair(nn.L1Loss),
    "MSELoss": _pair(nn.MSELoss),
    "MSELoss unreduced": _pair(lambda: nn.MSELoss(reduction="none")),
    "CrossEntropyLoss": _classes(nn.CrossEntropyLoss),
    "CrossEntropyLoss weighted": _classes(lambda: nn.CrossEntropyLoss(WEIGHTS)),
    "CrossEntropyLoss smoothed": _classes(
        lambda: nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.1)
    ),
    "CrossEntropyLoss ignore_index": _classes(lambda: nn.CrossEntropyLoss(ignore_index=1)),
    "CrossEntropyLoss of probabilities": lambda g: (
        nn.CrossEntropyLoss(label_smoothing=0.1),
        (normal(g, 3, 4), shares(g, 3, 4)),
    ),
    "CTCLoss": lambda g: (Through(nn.LogSoftmax(-1), nn.CTCLoss()), (normal(g, 5, 2, 3), *SYMBOLS)),
    "NLLLoss": _classes(lambda: nn.NLLLoss(WEIGHTS)),
    "PoissonNLLLoss": _pair(nn.PoissonNLLLoss),
    "PoissonNLLLoss full": lambda g: (
        nn.PoissonNLLLoss(log_input=False, full=True),
        (uniform(g, 0.5, 2.0, 3, 4), uniform(g, 2.0, 5.0, 3, 4)),
    ),
    "GaussianNLLLoss": lambda g: (
        nn.GaussianNLLLoss(full=True),
        (normal(g, 3, 4), normal(g, 3, 4), uniform(g, 0.5, 2.0, 3, 4)),
    ),
    "KLDivLoss": lambda g: (
        nn.KLDivLoss(reduction="batchmean"),
        (normal(g, 3, 4), shares(g, 3, 4)),
    ),
    "KLDivLoss log_target": _pair(lambda: nn.KLDivLoss(reduction="sum", log_target=True)),
    "BCELoss": lambda g: (nn.BCELoss(), (uniform(g, 0.1, 0.9, 3, 4), uniform(g, 0.1, 0.9, 3, 4))),
    "BCEWithLogitsLoss": lambda g: (
        nn.BCEWithLogitsLoss(),
        (normal(g, 3, 4), uniform(g, 0.1, 0.9, 3, 4)),
    ),
    "BCEWithLogitsLoss weighted": lambda g: (
        nn.BCEWithLogitsLoss(WEIGHTS, pos_weight=2.0 * WEIGHTS),
        (normal(g, 3, 4), uniform(g, 0.1, 0.9, 3, 4)),
    ),
    "MarginRankingLoss": lambda g: (
        nn.MarginRankingLoss(0.5),
        (normal(g, 6), normal(g, 6), signs(g, 6)),
    ),
    "HingeEmbeddingLoss": _signed(nn.HingeEmbeddingLoss),
    "MultiLabelMarginLoss": lambda g: (
        nn.MultiLabelMarginLoss(),
        (normal(g, 2, 4), torch.tensor([[3, 0, -1, 1], [1, -1, 0, 2]])),
    ),
    "HuberLoss": _pair(lambda: nn.HuberLoss(delta=0.7)),
    "SmoothL1Loss": _pair(lambda: nn.SmoothL1Loss(beta=0.7)),
    "SoftMarginLoss": _signed(nn.SoftMarginLoss),
    "MultiLabelSoftMarginLoss": lambda g: (
        nn.MultiLabelSoftMarginLoss(WEIGHTS),
        (normal(g, 3, 4), uniform(g, 0.0, 1.0, 3, 4)),
    ),
    "CosineEmbeddingLoss": lambda g: (
        nn.CosineEmbeddingLoss(),
        (normal(g, 4, 3), normal(g, 4, 3), signs(g, 4)),
    ),
    "MultiMarginLoss": _classes(nn.MultiMarginLoss),
    "MultiMarginLoss squared": _classes(lambda: nn.MultiMarginLoss(p=2, weight=WEIGHTS.double())),
    "TripletMarginLoss": _triplet(nn.TripletMarginLoss),
    "TripletMarginLoss swapped": _triplet(lambda: nn.TripletMarginLoss(swap=True, p=1)),
    "TripletMarginWithDistanceLoss": _triplet(
        lambda: nn.TripletMarginWithDistanceLoss(distance_function=_distance)
    ),
    "CosineSimilarity": _pair(lambda: nn.CosineSimilarity(-1)),
    "PairwiseDistance": _pair(nn.PairwiseDistance),
    "PairwiseDistance p=1": _pair(lambda: nn.PairwiseDistance(1.0, keepdim=True)),
}


def _unpool(build: Callable[[], nn.Module], indices: Tensor) -> Factory:
    return lambda g: (build(), (normal(g, *indices.shape), indices))


POOLINGS: Mapping[str, Factory] = {
    "MaxPool1d": on(lambda: nn.MaxPool1d(2), 2, 2, 6),
    "MaxPool2d": on(lambda: nn.MaxPool2d(3, stride=1, padding=1), 1, 2, 4, 4),
    "MaxPool2d dilated": on(lambda: nn.MaxPool2d(2, dilation=2, ceil_mode=True), 1, 1, 5, 5),
    "MaxPool2d indices": on(lambda: nn.MaxPool2d(2, return_indices=True), 1, 2, 4, 4),
    "MaxPool3d": on(lambda: nn.MaxPool3d(2, stride=1), 1, 1, 3, 3, 3),
    "AvgPool1d": on(lambda: nn.AvgPool1d(3, stride=2, padding=1), 2, 2, 6),
    "AvgPool2d": on(lambda: nn.AvgPool2d(2, padding=1), 1, 2, 4, 4),
    "AvgPool2d without the padding": on(
        lambda: nn.AvgPool2d(3, padding=1, ceil_mode=True, count_include_pad=False), 1, 2, 4, 4
    ),
    "AvgPool2d divided": on(lambda: nn.AvgPool2d(2, divisor_override=3), 1, 2, 4, 4),
    "AvgPool3d": on(lambda: nn.AvgPool3d(2, stride=1), 1, 1, 3, 3, 3),
    "LPPool1d": on(lambda: nn.LPPool1d(2, 2), 2, 2, 6),
    "LPPool2d": on(lambda: nn.LPPool2d(2, 2), 1, 2, 4, 4),
    "LPPool3d": on(lambda: nn.LPPool3d(2, 2, stride=1), 1, 1, 3, 3, 3),
    "FractionalMaxPool2d": on(lambda: nn.FractionalMaxPool2d(2, output_size=2), 1, 2, 5, 5),
    "FractionalMaxPool3d": on(
        lambda: nn.FractionalMaxPool3d((1, 2, 2), output_size=2), 1, 1, 3, 4, 4
    ),
    "AdaptiveMaxPool1d": on(lambda: nn.AdaptiveMaxPool1d(3), 2, 2, 5),
    "AdaptiveMaxPool2d": on(lambda: nn.AdaptiveMaxPool2d((2, 3)), 1, 2, 4, 4),
    "AdaptiveMaxPool3d": on(lambda: nn.AdaptiveMaxPool3d(2), 1, 1, 3, 3, 3),
    "AdaptiveAvgPool1d": on(lambda: nn.AdaptiveAvgPool1d(3), 2, 2, 5),
    "AdaptiveAvgPool2d": on(lambda: nn.AdaptiveAvgPool2d((2, None)), 1, 2, 5, 4),
    "AdaptiveAvgPool3d": on(lambda: nn.AdaptiveAvgPool3d(2), 1, 1, 3, 3, 3),
    "MaxUnpool1d": _unpool(lambda: nn.MaxUnpool1d(2), torch.tensor([[[1, 2, 5]]])),
    "MaxUnpool2d": _unpool(lambda: nn.MaxUnpool2d(2), torch.tensor([[[[1, 6], [8, 15]]]])),
    "MaxUnpool3d": _unpool(lambda: nn.MaxUnpool3d(2), torch.tensor([[[[[1, 6]]]]])),
}

KINDS = ("Circular", "Reflection", "Replication", "Zero")


def _padding(name: str, *shape: int) -> Factory:
    return on(lambda: getattr(nn, name)(1), 1, 2, *shape)


PADDINGS: Mapping[str, Factory] = {
    **{f"{kind}Pad1d": _padding(f"{kind}Pad1d", 4) for kind in KINDS},
    **{f"{kind}Pad2d": _padding(f"{kind}Pad2d", 3, 4) for kind in KINDS},
    **{f"{kind}Pad3d": _padding(f"{kind}Pad3d", 2, 3, 2) for kind in KINDS},
    "ConstantPad1d": on(lambda: nn.ConstantPad1d((2, 1), 3.0), 2, 2, 3),
    "ConstantPad2d cropping": on(lambda: nn.ConstantPad2d((-1, 1, 0, 2), 3.0), 1, 2, 3, 3),
    "ConstantPad3d": on(lambda: nn.ConstantPad3d(1, 3.0), 1, 2, 2, 2, 2),
    "Upsample nearest": on(lambda: nn.Upsample(scale_factor=2), 1, 2, 3, 3),
    "Upsample linear": on(lambda: nn.Upsample(7, mode="linear"), 1, 2, 4),
    "Upsample bilinear": on(lambda: nn.Upsample((5, 4), mode="bilinear"), 1, 2, 3, 3),
    "Upsample bicubic": on(
        lambda: nn.Upsample(scale_factor=1.5, mode="bicubic", align_corners=True), 1, 1, 4, 4
    ),
    "Upsample trilinear": on(lambda: nn.Upsample((3, 4, 3), mode="trilinear"), 1, 1, 2, 2, 3),
    "UpsamplingNearest2d": on(lambda: nn.UpsamplingNearest2d(scale_factor=2), 1, 2, 3, 3),
    "UpsamplingBilinear2d": on(lambda: nn.UpsamplingBilinear2d(scale_factor=2), 1, 2, 3, 3),
}

DROPOUTS: Mapping[str, Factory] = {
    "Dropout": on(nn.Dropout, 4, 6),
    "Dropout eval": on(lambda: nn.Dropout().eval(), 3, 4),
    "Dropout1d": on(nn.Dropout1d, 3, 4, 2),
    "Dropout2d": on(nn.Dropout2d, 2, 4, 2, 2),
    "Dropout3d": on(nn.Dropout3d, 2, 4, 1, 2, 2),
    "AlphaDropout": on(nn.AlphaDropout, 4, 6),
    "FeatureAlphaDropout": on(nn.FeatureAlphaDropout, 2, 4, 2, 2),
}


def _converged(inputs: int, outputs: int) -> nn.Module:
    """A spectral norm in training, with nothing left to do for its power iteration."""
    layer = parametrizations.spectral_norm(nn.Linear(inputs, outputs).double())
    for _ in range(200):
        layer(torch.zeros(1, inputs, dtype=torch.float64))
    return layer


def _orthogonal(inputs: int, outputs: int, orthogonal_map: str) -> nn.Module:
    """A layer of orthogonal weights made from random parameters, not from zeros."""
    return parametrizations.orthogonal(
        nn.Linear(inputs, outputs), orthogonal_map=orthogonal_map, use_trivialization=False
    )


PARAMETRIZED: Mapping[str, Factory] = {
    "Linear weight_norm": on(lambda: parametrizations.weight_norm(nn.Linear(3, 2)), 2, 3),
    "Conv1d weight_norm": on(
        lambda: parametrizations.weight_norm(nn.Conv1d(2, 2, 2), dim=1), 1, 2, 3
    ),
    "Linear spectral_norm eval": on(
        lambda: parametrizations.spectral_norm(nn.Linear(3, 2)).eval(), 2, 3
    ),
    "Linear spectral_norm converged": on(lambda: _converged(3, 2), 2, 3),
    "Linear orthogonal": on(lambda: parametrizations.orthogonal(nn.Linear(3, 3)), 2, 3),
    "Linear orthogonal tall": on(lambda: _orthogonal(2, 4, "matrix_exp"), 2, 2),
    "Linear orthogonal cayley": on(lambda: _orthogonal(3, 3, "cayley"), 2, 3),
}
SECTIONS = (
    *(CONVOLUTIONS, LINEAR, NORMS, RECURRENT, ATTENTION, EMBEDDINGS),
    *(ACTIVATIONS, LOSSES, POOLINGS, PADDINGS, DROPOUTS, PARAMETRIZED),
)

SPECIAL = (
    Case(
        "Linear with a loss",
        on(lambda: nn.Linear(4, 3, bias=False), 5, 4),
        loss=lambda output: output.logsumexp(-1).mean(),
    ),
    Case(
        "LSTM with a loss",
        on(lambda: nn.LSTM(2, 2, bias=False), 3, 1, 2),
        loss=lambda output: output[0][-1].square().sum(),
    ),
    Case("MultiheadAttention without weights", _attention(), {"need_weights": False}),
    Case("MultiheadAttention weights of each head", _attention(), {"average_attn_weights": False}),
    Case("MultiheadAttention masked", _attention(), {"attn_mask": CAUSAL}),
    Case(
        "MultiheadAttention masked without weights",
        _attention(),
        {"attn_mask": CAUSAL, "need_weights": False, "is_causal": True},
    ),
    Case(
        "MultiheadAttention padded",
        _attention(batch_first=False, add_bias_kv=True),
        {"key_padding_mask": torch.tensor([[False, True, False]])},
    ),
    Case("MultiheadAttention eval", evaluated(_attention(dropout=0.3)), {"need_weights": False}),
    Case("TransformerEncoderLayer masked", _encoder(), {"src_mask": CAUSAL, "is_causal": True}),
)

CASES = (
    *(Case(name, factory) for section in SECTIONS for name, factory in section.items()),
    *SPECIAL,
)
