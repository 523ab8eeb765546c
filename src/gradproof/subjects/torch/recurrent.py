"""Recurrent layers step by step, as operations that vmap can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import decompositions

#: The fused operations, and what PyTorch takes them apart into. Its own names for these may change;
#: where one is missing, or takes other arguments, f is evaluated point by point.
_PARTS: dict[Any, str] = {
    torch.lstm: "lstm_impl",
    torch.gru: "gru_impl",
    torch.rnn_tanh: "rnn_tanh_input",
    torch.rnn_relu: "rnn_relu_input",
}


def in_steps(function: Any) -> Callable[..., Any] | None:
    """What a fused recurrent layer is made of; None for every other function."""
    steps: Callable[..., Any] | None = getattr(decompositions, _PARTS.get(function, ""), None)
    return steps
