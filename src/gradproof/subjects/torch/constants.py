"""Numbers that a gradient is often wrong by: sizes of what goes in and out, keep probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from gradproof.subjects.torch.function import Function
from gradproof.tree import take_apart

#: Inputs whose sizes are known.
MOST = 4


def known_constants(function: Function, outputs: Iterable[Tensor]) -> dict[str, float]:
    """Numbers by what they are: {"the batch size (first dimension of `input`)": 32.0, ...}.

    Sizes are those of the first inputs, and the last dimension of the output; 0 and 1 are left out.

    Args:
        function: f and its arguments.
        outputs: the floating tensors that f returns.
    """
    found: dict[str, float] = {}
    for k, (name, tensor) in enumerate(_inputs(function)[:MOST]):
        shape = tuple(tensor.shape)
        if k == 0:
            found |= _sizes(name, shape)
        elif shape[0] not in found.values():
            found[f"the first dimension of {name}"] = shape[0]
    last = next((output.shape[-1] for output in outputs if output.dim()), 1)
    found["the last dimension of the output"] = last
    for path, module in _parts(function.modules):
        for what, number in _of(f"`{path}`" if path else "f", module).items():
            # Dropouts of one network mostly have the same probability.
            if number not in found.values():
                found[what] = number
    return {what: float(number) for what, number in found.items() if number not in (0, 1)}


def _inputs(function: Function) -> list[tuple[str, Tensor]]:
    """The tensors among the arguments, and what they are called."""
    names = {place: f"`{name}`" for name, place in function.arguments.places.items()}
    with function.arguments.bound({}) as (args, keywords):
        nests = [take_apart(argument, root="x") for argument in (*args, *keywords.values())]
    return [
        (names.get((number, path), "the input"), leaf)
        for number, nest in enumerate(nests)
        for path, leaf in zip(nest.paths, nest.leaves, strict=True)
        if isinstance(leaf, Tensor) and not leaf.is_nested and leaf.dim()
    ]


def _sizes(name: str, shape: tuple[int, ...]) -> dict[str, float]:
    if len(shape) == 1:
        return {f"the length of {name}": shape[0]}
    found: dict[str, float] = {f"the batch size (first dimension of {name})": shape[0]}
    if len(shape) == 2:
        found[f"the second dimension of {name}"] = shape[1]
    elif len(shape) == 3:
        found[f"the sequence length (second dimension of {name})"] = shape[1]
        found[f"the last dimension of {name}"] = shape[2]
    else:
        found[f"the number of channels (second dimension of {name})"] = shape[1]
        what = " times ".join(("depth", "height", "width")[-len(shape[2:]) :])
        found[f"the number of pixels ({what} of {name})"] = math.prod(shape[2:])
    return found


def _of(name: str, module: nn.Module) -> dict[str, float]:
    """The numbers that a module works with."""
    probability = getattr(module, "p", None)
    if "Dropout" in type(module).__name__ and isinstance(probability, float) and module.training:
        return {f"the keep probability of {name}": 1.0 - probability} if probability < 1.0 else {}
    if isinstance(module, nn.MultiheadAttention):
        return {f"the head size of {name}": module.head_dim}
    if isinstance(module, nn.AvgPool2d):
        size = module.kernel_size
        pixels = math.prod(size) if isinstance(size, tuple) else size**2
        return {f"the number of pixels in a window of {name}": pixels}
    return {}


def _parts(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Module]]:
    for root, module in modules.items():
        yield from module.named_modules(prefix=root)
