"""One entry of a weight moved, as the operations that use the weight see it.

Moving w[o, i] of a linear layer by t changes one column of its output, by t times one column of its
input: the layer's output itself need not be computed again, and nothing before it either. Under
vmap a whole batch of such moves costs one evaluation of the layer and a batch of what follows, of
which much is saved as well (see `blocks`). The same holds for convolutions, embeddings and matrix
products; for every other operation the moved weight is written out in full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gradproof.subjects.torch import blocks
from gradproof.subjects.torch.blocks import Block


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


def _linear(
    move: Nudge | Block, name: str, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Block | Tensor | None:
    if isinstance(move, Block):
        return blocks.linear(move, weight, bias) if name == "input" else None
    if name == "input":
        return None
    row, *column = move.position()
    change = move.step
    if name == "weight":
        change = change * blocks.picked(input, -1, column[0])
    return Block.changed(functional.linear(input, weight, bias), -1, row, change)


def _matmul(move: Nudge | Block, name: str, input: Tensor, other: Tensor) -> Block | Tensor | None:
    if isinstance(move, Block):
        return blocks.matmul(move, other) if name == "input" else None
    if name == "input" or other.dim() != 2:
        return None
    row, column = move.position()
    change = move.step * blocks.picked(input, -1, row)
    return Block.changed(torch.matmul(input, other), -1, column, change)


def _embedding(
    move: Nudge | Block,
    name: str,
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Block | None:
    if isinstance(move, Block) or name != "weight" or max_norm is not None:
        return None  # with max_norm it writes to the weight
    row, column = move.position()
    change = move.step * (input == row).to(weight.dtype)[..., None]
    return Block.changed(functional.embedding(input, weight), -1, column, change)


def _convolution(function: Callable[..., Tensor]) -> Callable[..., Block | Tensor | None]:
    def rule(
        move: Nudge | Block,
        name: str,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Block | Tensor | None:
        options = stride, padding, dilation
        if isinstance(move, Block):
            if name != "input":
                return None
            return blocks.convolution(move, function, weight, bias, *options, groups)
        if name == "input":
            return None
        axes, kernel = weight.dim() - 2, weight.shape[2:]
        row, *rest = move.position()
        change = move.step
        if name == "weight":
            seen = blocks.windows(input, kernel, *options)
            # The input channel and the place in the window that the weight multiplies.
            first = torch.div(row, weight.shape[0] // groups, rounding_mode="floor")
            taps = zip(blocks.each(dilation, axes), rest[1:], strict=True)
            where = [first * weight.shape[1] + rest[0], *(d * tap for d, tap in taps)]
            lead = input.dim() - axes
            fronts = [lead - 1, *range(lead + axes, seen.dim())]
            patch = seen.movedim(fronts, list(range(len(fronts))))[tuple(w[None] for w in where)]
            change = change * patch.squeeze(0).unsqueeze(lead - 1)
        output = function(input, weight, bias, *options, groups)
        return Block.changed(output, -1 - axes, row, change)

    return rule


_LINEAR = ("input", "weight", "bias")
_CONVOLUTION = (*_LINEAR, "stride", "padding", "dilation", "groups")
_EMBEDDING = ("input", "weight", "padding_idx", "max_norm", "norm_type")
_MATMUL = ("input", "other")
#: Operations that have a rule, and the names of their arguments.
RULES: dict[Any, tuple[Callable[..., Block | Tensor | None], tuple[str, ...]]] = {
    functional.linear: (_linear, _LINEAR),
    functional.embedding: (_embedding, (*_EMBEDDING, "scale_grad_by_freq", "sparse")),
    **dict.fromkeys(
        (torch.matmul, torch.mm, Tensor.matmul, Tensor.__matmul__, Tensor.mm), (_matmul, _MATMUL)
    ),
    **{
        function: (_convolution(function), _CONVOLUTION)
        for owner in (functional, torch)
        for function in (owner.conv1d, owner.conv2d, owner.conv3d)
    },
}


def apply_rule(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    moves: Mapping[int, Nudge | Block],
    replaced: Callable[[Any], Any],
) -> Block | Tensor | None:
    """What `function` returns if an argument is a moved tensor and there is a rule, else None.

    Args:
        function: an operation.
        args: its arguments, with the unmoved tensors among them.
        kwargs: its keyword arguments, likewise.
        moves: the moved tensors, by the ids of the unmoved ones.
        replaced: writes moved tensors out.
    """
    first = moves.get(id(args[0])) if args else None
    if isinstance(first, Block) and function not in RULES:
        return blocks.carried(function, first, args[1:], dict(kwargs))
    if function not in RULES:
        return None
    rule, names = RULES[function]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    moved = {name: moves[id(value)] for name, value in given.items() if id(value) in moves}
    # Of a weight and what it acts on, the weight is moved by its effect.
    nudged = [name for name, move in moved.items() if isinstance(move, Nudge)]
    chosen = nudged or [*moved]
    if len(chosen) != 1 or not set(given) <= set(names):
        return None
    (name,) = chosen
    move = moved[name]
    if isinstance(move, Nudge) and not move.is_plain():
        return None
    given = {key: value if key == name else replaced(value) for key, value in given.items()}
    return rule(move, name, **given)
