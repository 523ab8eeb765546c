"""One entry of a weight moved, as the operations that use the weight see it.

Moving w[o, i] of a linear layer by t changes one column of its output, by t times one column of its
input: the layer's output itself need not be computed again, and nothing before it either. Under
vmap a whole batch of such moves costs one evaluation of the layer and a batch of what follows. The
same holds for convolutions, embeddings and matrix products; for every other operation the moved
weight is written out in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Nudge:
    """`weight` with the entry `index` (row-major; of pairs of reals if complex) moved.

    `value` is the entry's new value and `step` how far it moved; all three are tensors of shape ().
    """

    weight: Tensor
    index: Tensor
    value: Tensor
    step: Tensor

    def tensor(self) -> Tensor:
        """The moved weight, written out."""
        weight = self.weight.detach()
        real = torch.view_as_real(weight) if weight.is_complex() else weight
        flat = real.reshape(-1).scatter(0, self.index[None], self.value[None].to(real.dtype))
        moved = flat.reshape(real.shape)
        return torch.view_as_complex(moved) if weight.is_complex() else moved

    def position(self) -> list[Tensor]:
        """The entry's index along every axis."""
        rest, position = self.index, []
        for size in reversed(self.weight.shape):
            position.append(rest % size)
            rest = torch.div(rest, size, rounding_mode="floor")
        return position[::-1]

    def is_plain(self) -> bool:
        """Whether steps are exact: in double precision, on a dense layout."""
        return self.weight.dtype is torch.float64 and self.weight.layout is torch.strided


def _one_hot(index: Tensor, size: int, value: Tensor) -> Tensor:
    places = torch.arange(size, device=index.device)
    return torch.where(places == index, value, torch.zeros_like(value))


def _linear(nudge: Nudge, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    row, column = nudge.position()
    change = input.index_select(-1, column[None]) * _one_hot(row, weight.shape[0], nudge.step)
    return functional.linear(input, weight, bias) + change


def _matmul(nudge: Nudge, x: Tensor, /, *args: Tensor, **kwargs: Tensor) -> Tensor:
    row, column = nudge.position()
    weight = nudge.weight
    change = x.index_select(-1, row[None]) * _one_hot(column, weight.shape[1], nudge.step)
    return torch.matmul(x, weight) + change


def _embedding(
    nudge: Nudge,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    row, column = nudge.position()
    hit = (input == row).to(weight.dtype)[..., None]
    change = hit * _one_hot(column, weight.shape[1], nudge.step)
    return functional.embedding(input, weight) + change


def _convolution(function: Callable[..., Tensor], axes: int) -> Callable[..., Tensor]:
    def rule(
        nudge: Nudge,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        output = function(input, weight, bias, stride, padding, dilation, groups)
        row, column, *taps = nudge.position()
        dilations, kernel = _each(dilation, axes), weight.shape[2:]
        windows = functional.pad(input, _margins(padding, kernel, dilations))
        lead = windows.dim() - axes
        for axis, stretch in enumerate(_each(stride, axes)):
            span = 1 + dilations[axis] * (kernel[axis] - 1)
            windows = windows.unfold(lead + axis, span, stretch)
        # The input channel and the place in the window that the weight multiplies.
        first = torch.div(row, weight.shape[0] // groups, rounding_mode="floor") * weight.shape[1]
        where = [first + column, *(d * tap for d, tap in zip(dilations, taps, strict=True))]
        fronts = [lead - 1, *range(lead + axes, windows.dim())]
        patch = windows.movedim(fronts, list(range(len(fronts))))[tuple(w[None] for w in where)]
        change = _one_hot(row, weight.shape[0], nudge.step).reshape(-1, *[1] * axes)
        return output + patch.squeeze(0).unsqueeze(lead - 1) * change

    return rule


def _each(value: int | Sequence[int], axes: int) -> list[int]:
    return [value] * axes if isinstance(value, int) else [*value] * (axes if len(value) == 1 else 1)


def _margins(
    padding: int | str | Sequence[int], kernel: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """Zeros on both sides of every axis, last axis first, as `pad` wants them."""
    margins: list[int] = []
    for axis in reversed(range(len(kernel))):
        if padding == "same":
            both = dilations[axis] * (kernel[axis] - 1)
            margins += [both // 2, both - both // 2]
        elif padding == "valid":
            margins += [0, 0]
        else:
            assert not isinstance(padding, str)
            margins += 2 * [_each(padding, len(kernel))[axis]]
    return margins


#: Operations that have a rule, and the position and name of their weight.
RULES: dict[Any, tuple[Callable[..., Tensor], int, str]] = {
    functional.linear: (_linear, 1, "weight"),
    functional.embedding: (_embedding, 1, "weight"),
    torch.matmul: (_matmul, 1, "other"),
    torch.mm: (_matmul, 1, "mat2"),
    Tensor.matmul: (_matmul, 1, "other"),
    Tensor.__matmul__: (_matmul, 1, "other"),
    Tensor.mm: (_matmul, 1, "mat2"),
    functional.conv1d: (_convolution(functional.conv1d, 1), 1, "weight"),
    functional.conv2d: (_convolution(functional.conv2d, 2), 1, "weight"),
    functional.conv3d: (_convolution(functional.conv3d, 3), 1, "weight"),
    torch.conv1d: (_convolution(functional.conv1d, 1), 1, "weight"),
    torch.conv2d: (_convolution(functional.conv2d, 2), 1, "weight"),
    torch.conv3d: (_convolution(functional.conv3d, 3), 1, "weight"),
}


def apply_rule(
    function: Any, args: Sequence[Any], kwargs: dict[str, Any], nudges: dict[int, Nudge]
) -> Tensor | None:
    """What `function` returns if its weight is a moved one and there is a rule, else None."""
    if function not in RULES:
        return None
    rule, position, name = RULES[function]
    weight = args[position] if len(args) > position else kwargs.get(name)
    nudge = nudges.get(id(weight))
    keywords = [value for key, value in kwargs.items() if key != name]
    others = [*args[:position], *args[position + 1 :], *keywords]
    if nudge is None or not nudge.is_plain() or any(id(x) in nudges for x in others):
        return None
    if rule is _embedding and ((len(args) > 3 and args[3] is not None) or kwargs.get("max_norm")):
        return None  # it writes to the weight
    if rule is _matmul and (nudge.weight.dim() != 2 or not args):
        return None
    return rule(nudge, *args, **kwargs)
