"""A tensor of which one block is moved, as the operations that follow see it.

A moved weight changes one row or channel of its layer's output. An activation keeps it at that, and
so does pooling; the next layer is linear: its output is that of the tensor as it was, plus what it
makes of the change. All but one block of a tensor are so computed once for a whole batch of moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Block:
    """`whole` with the block at `position` along `axis` replaced by `part`.

    Blocks are as long as `part` is along that axis; `position`, a tensor of shape (), counts them.
    """

    whole: Tensor
    part: Tensor
    axis: int
    position: Tensor

    @classmethod
    def changed(cls, whole: Tensor, axis: int, position: Tensor, change: Tensor) -> Block:
        """The tensor after `change` is added to one index of the axis, which it has as length 1."""
        axis %= whole.dim()
        return cls(whole, picked(whole, axis, position) + change, axis, position)

    def tensor(self) -> Tensor:
        """The moved tensor, written out."""
        cut = _cut(self.whole, self.axis, self.part.shape[self.axis])
        places = torch.arange(cut.shape[self.axis], device=cut.device)
        places = places.reshape(-1, *[1] * (self.part.dim() - self.axis))
        moved = torch.where(places == self.position, self.part.unsqueeze(self.axis), cut)
        return moved.flatten(self.axis, self.axis + 1)

    def change(self) -> Tensor:
        """What the move adds to the block."""
        return self.part - self.block_of(self.whole, self.axis)

    def block_of(self, tensor: Tensor, axis: int) -> Tensor:
        """The block of another tensor, at the same place of an axis of the same length."""
        return picked(tensor, axis, self.position, self.part.shape[self.axis])


def picked(tensor: Tensor, axis: int, position: Tensor, length: int = 1) -> Tensor:
    """The block of this length at a place of an axis."""
    axis %= tensor.dim()
    cut = _cut(tensor, axis, length).movedim(axis, 0)
    # Of all ways to pick a row, vmap makes the least of this one.
    return torch.embedding(cut.flatten(1), position).reshape(cut.shape[1:])


def _cut(tensor: Tensor, axis: int, length: int) -> Tensor:
    shape = tensor.shape
    return tensor.reshape(*shape[:axis], shape[axis] // length, length, *shape[axis + 1 :])


def linear(block: Block, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    """What `functional.linear` makes of a block; None where it is not of features."""
    if block.axis != block.whole.dim() - 1:
        return None
    change, columns = block.change(), block.block_of(weight, 1)
    is_outer = columns.shape[1] == 1
    change = change * columns[:, 0] if is_outer else functional.linear(change, columns)
    return change.add_(functional.linear(block.whole, weight, bias))


def matmul(block: Block, other: Tensor) -> Tensor | None:
    """What `torch.matmul` makes of a block as its first factor."""
    return linear(block, other.T) if other.dim() == 2 else None


def convolution(
    block: Block,
    function: Callable[..., Tensor],
    weight: Tensor,
    bias: Tensor | None,
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
    groups: int,
) -> Tensor | None:
    """What a convolution makes of a block; None where it is not one of channels."""
    if block.axis != block.whole.dim() - weight.dim() + 1 or groups != 1:
        return None
    options = stride, padding, dilation
    change = function(block.change(), block.block_of(weight, 1), None, *options)
    return change.add_(function(block.whole, weight, bias, *options))


def windows(
    input: Tensor,
    kernel: Sequence[int],
    stride: int | Sequence[int],
    padding: int | str | Sequence[int],
    dilation: int | Sequence[int],
) -> Tensor:
    """What every output of a convolution sees of the input, gaps of a dilated kernel included.

    Axes are the input's, the last ones being the output's, and those of the window after them.
    """
    axes = len(kernel)
    dilations = each(dilation, axes)
    padded = functional.pad(input, _margins(padding, kernel, dilations))
    lead = padded.dim() - axes
    for axis, step in enumerate(each(stride, axes)):
        padded = padded.unfold(lead + axis, 1 + dilations[axis] * (kernel[axis] - 1), step)
    return padded


def each(value: int | Sequence[int], axes: int) -> list[int]:
    """One number for every axis."""
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
            margins += 2 * [each(padding, len(kernel))[axis]]
    return margins


def _every(owner: Any, *names: str) -> list[Any]:
    return [getattr(owner, name) for name in names if hasattr(owner, name)]


_ACTIVATIONS = ("relu", "relu_", "sigmoid", "tanh", "exp", "sin", "cos", "square")
#: Functions that act on each block by itself, and how many last axes they take together.
_APART: dict[Any, int] = {
    **dict.fromkeys(_every(torch, *_ACTIVATIONS), 0),
    **dict.fromkeys(_every(Tensor, *_ACTIVATIONS), 0),
    **dict.fromkeys(
        _every(
            functional,
            *("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish"),
            *("softplus", "hardtanh", "hardswish", "hardsigmoid"),
        ),
        0,
    ),
    **{
        pool: axes
        for axes in (1, 2, 3)
        for owner in (torch, functional)
        for pool in _every(
            owner,
            *(f"{kind}_pool{axes}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg")),
        )
    },
}
_RESHAPING = (torch.flatten, Tensor.flatten, torch.reshape, Tensor.reshape, Tensor.view)


def carried(
    function: Any, block: Block, options: Sequence[Any], keywords: dict[str, Any]
) -> Block | None:
    """What is still one block after `function` of the tensor and these options; None if it isn't.

    A function that works in place does so on `block.whole`, as on f's own tensor.
    """
    if any(isinstance(value, Tensor) for value in (*options, *keywords.values())):
        return None
    axis, part = block.axis, block.part
    if function in _APART and axis < block.whole.dim() - _APART[function]:
        part = function(part, *options, **keywords)
    elif function not in _RESHAPING:
        return None
    if not isinstance(part, Tensor):
        return None  # a maximum and its place
    whole = function(block.whole, *options, **keywords)
    if function in _RESHAPING:
        if whole.dim() != axis + 1 or whole.shape[:axis] != block.whole.shape[:axis]:
            return None
        part = part.flatten(axis)
    return Block(whole, part, axis, block.position)
