"""What f returns, as one number: tensors in any nesting, contracted with a cotangent."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradproof._errors import InputError
from gradproof.subjects.base import Floats
from gradproof.subjects.cotangent import as_cotangent, draw_cotangent
from gradproof.tree import take_apart


def differentiable(result: object) -> dict[str, Tensor]:
    """The floating and complex tensors in what f returned, by their paths.

    Raises:
        InputError: there is none.
    """
    nest = take_apart(result, root="output")
    found = {
        path: leaf
        for path, leaf in zip(nest.paths, nest.leaves, strict=True)
        if isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex())
    }
    if not any(tensor.numel() for tensor in found.values()):
        raise InputError(
            "Expected f to return at least one floating point tensor but got "
            f"f(x)={reprlib.repr(result)}"
        )
    return found


def real_view(tensor: Tensor) -> Tensor:
    """Complex numbers as pairs of real ones, on a last axis of length 2."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def to_array(tensor: Tensor) -> NDArray[Any]:
    """As float64, real, on the host."""
    dense = tensor.detach().to_dense() if tensor.layout is not torch.strided else tensor.detach()
    return real_view(dense).to("cpu", torch.float64).numpy()


def kept(result: object) -> dict[str, Tensor]:
    """Copies of the outputs that count: f may return an argument that is to be put back."""
    return {path: tensor.detach().clone() for path, tensor in differentiable(result).items()}


@dataclass(frozen=True)
class Cotangent:
    """A weight for every number that f returns.

    Attributes:
        shapes: of the outputs that count, by their paths, complex ones as pairs of reals.
        weights: one array an output, of its shape.
    """

    shapes: dict[str, tuple[int, ...]]
    weights: dict[str, Floats]

    @classmethod
    def draw(
        cls,
        outputs: dict[str, Tensor],
        rng: np.random.Generator,
        beside: Callable[[], dict[str, Tensor] | None] = lambda: None,
    ) -> Cotangent:
        """Random weights; outputs of different sizes are brought to one (see `draw_cotangent`)."""
        arrays = {path: to_array(tensor) for path, tensor in outputs.items()}

        def flat(tensors: dict[str, Tensor]) -> Floats:
            return np.concatenate([to_array(tensors[path]).ravel() for path in arrays])

        def there() -> Floats | None:
            moved = beside()
            return flat(moved) if moved is not None and moved.keys() >= arrays.keys() else None

        drawn = draw_cotangent(flat(outputs), rng, there)
        ends = np.cumsum([array.size for array in arrays.values()])[:-1]
        pieces = zip(arrays.items(), np.split(drawn, ends), strict=True)
        weights = {path: piece.reshape(array.shape) for (path, array), piece in pieces}
        return cls({path: array.shape for path, array in arrays.items()}, weights)

    @classmethod
    def given(cls, outputs: dict[str, Tensor], cotangent: object) -> Cotangent:
        """The caller's: in the structure of the outputs, None for those to be left out.

        Raises:
            InputError: it does not fit.
        """
        nest = take_apart(cotangent, root="cotangent")
        parts = dict(zip(nest.paths, nest.leaves, strict=True))
        unexpected = [path for path in parts if path not in outputs]
        if unexpected or not parts:
            raise InputError(
                f"Expected cotangent for the outputs {', '.join(f'f(x){p}' for p in outputs)} but "
                f"got cotangent={reprlib.repr(cotangent)}"
            )
        weights = {}
        for path, part in parts.items():
            shape = tuple(real_view(outputs[path]).shape)
            array = to_array(part) if isinstance(part, Tensor) else part
            weights[path] = as_cotangent(array, shape)
        return cls({path: weight.shape for path, weight in weights.items()}, weights)

    def contract(self, outputs: dict[str, Tensor]) -> Tensor:
        """The sum of the products of outputs and weights, in double precision.

        Raises:
            InputError: the outputs differ from those of the first call.
        """
        total: Tensor | None = None
        for path, weight in self.weights.items():
            if path not in outputs:
                raise InputError(f"Expected f to return f(x){path} again but it did not")
            output = real_view(outputs[path])
            if tuple(output.shape) != self.shapes[path]:
                raise InputError(
                    f"Expected f to return shape {self.shapes[path]} again but got "
                    f"{tuple(output.shape)}"
                )
            wide = output.to(torch.float64)
            product = (
                wide if weight.size == 1 and weight.flat[0] == 1.0 else wide * _on(weight, wide)
            )
            part = product.sum()
            total = part if total is None else total + part.to(total.device)
        assert total is not None
        return total

    def tensors(self, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights as tensors like the outputs."""
        found = {}
        for path, weight in self.weights.items():
            output = outputs[path]
            like = real_view(output)
            tensor = torch.tensor(weight, dtype=like.dtype, device=like.device)
            found[path] = torch.view_as_complex(tensor) if output.is_complex() else tensor
        return found


def _on(weight: Floats, like: Tensor) -> Tensor:
    return torch.as_tensor(weight, device=like.device)
