"""The gradient that is claimed: by autograd, or by the caller."""

from __future__ import annotations

import inspect
import reprlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from gradproof._errors import InputError
from gradproof.subjects.base import Floats
from gradproof.subjects.torch.exceptions import is_own
from gradproof.subjects.torch.function import Function
from gradproof.subjects.torch.outputs import Cotangent, differentiable, real_view, to_array
from gradproof.tree import take_apart

EPS = float(np.finfo(np.float64).eps)


def detached(function: Function, cotangent: Cotangent) -> tuple[str, ...]:
    """Paths of outputs that autograd takes for constants."""
    with function.fresh():
        outputs = differentiable(function.call(with_graph=True))
    return tuple(path for path in cotangent.weights if not outputs[path].requires_grad)


def derived(function: Function, cotangent: Cotangent) -> tuple[tuple[Floats, ...], float]:
    """Autograd's gradient, flattened per tensor, and the coarsest spacing of its numbers."""
    with function.fresh():
        total = cotangent.contract(differentiable(function.call(with_graph=True)))
        found: Sequence[Tensor | None] = [None] * len(function.tensors)
        if total.requires_grad:
            try:
                found = torch.autograd.grad(total, function.tensors, allow_unused=True)
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                found = _accumulated(function, cotangent)
    gradients = [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(function.tensors, found, strict=True)
    ]
    return tuple(to_array(g).ravel() for g in gradients), max(spacing(g) for g in gradients)


def _accumulated(function: Function, cotangent: Cotangent) -> list[Tensor | None]:
    """The gradient by `backward`, which alone goes through a reentrant checkpoint."""
    with function.fresh():
        cotangent.contract(differentiable(function.call(with_graph=True))).backward()  # type: ignore[no-untyped-call]
    found = [tensor.grad for tensor in function.tensors]
    for tensor in function.tensors:
        tensor.grad = None
    return found


def spacing(tensor: Tensor) -> float:
    """Relative spacing of a tensor's numbers, but at least that of doubles."""
    return max(float(torch.finfo(tensor.dtype).eps), EPS)


def claimed(
    grad: object, function: Function, cotangent: Cotangent, outputs: dict[str, Tensor]
) -> tuple[tuple[Floats, ...], float]:
    """The caller's gradient at the tensors as they are now (see `derived`).

    Raises:
        InputError: its structure, a shape or a dtype does not fit.
    """
    is_product = False
    if callable(grad):
        with function.fresh(), function.arguments.bound({}, copied=True) as (args, keywords):
            given = [function.module, *args] if function.module is not None else args
            extra = []
            if _required(grad) == len(given) + 1:
                is_product = True
                weights = cotangent.tensors(outputs)
                extra = [next(iter(weights.values())) if len(weights) == 1 else weights]
            grad = grad(*given, *extra, **keywords)
        if grad is None:
            raise InputError("Expected grad to return a gradient but got None")
    parts = _match(grad, function)
    arrays, spacings = [], [EPS]
    for name, tensor, part in zip(function.names, function.tensors, parts, strict=True):
        array = np.zeros(real_view(tensor).shape) if part is None else _as_array(part, name)
        if isinstance(part, Tensor):
            spacings.append(spacing(part))
        shape = tuple(real_view(tensor).shape)
        arrays.append(_contracted(array, shape, cotangent, name, is_product=is_product))
    return tuple(arrays), max(spacings)


def forward_slope(
    function: Function, cotangent: Cotangent, direction: Sequence[Floats]
) -> float | None:
    """The derivative along a direction by forward mode; None where some operation has none."""
    with function.fresh(), forward_ad.dual_level(), warnings.catch_warnings():
        # PyTorch's own imports for forward mode warn of its own deprecated parts.
        warnings.simplefilter("ignore", DeprecationWarning)
        values = {}
        for tensor, way, shape in zip(function.tensors, direction, function.shapes, strict=True):
            # A copy: what f does in place it does to the tangent too.
            tangent = torch.tensor(way.reshape(shape), device=tensor.device)
            tangent = tangent.to(real_view(tensor).dtype)
            if tensor.is_complex():
                tangent = torch.view_as_complex(tangent)
            values[id(tensor)] = forward_ad.make_dual(tensor.detach().clone(), tangent)  # type: ignore[no-untyped-call]
        try:
            # Without a graph what is done in place leaves tangents as they were.
            result, _ = function.moved(values, with_graph=True)
            total = cotangent.contract(differentiable(result))
        except InputError:
            raise
        except Exception as error:
            if is_own(error):
                raise
            return None
        tangent_of_total = forward_ad.unpack_dual(total).tangent  # type: ignore[no-untyped-call]
        return 0.0 if tangent_of_total is None else tangent_of_total.item()


def _match(grad: object, function: Function) -> list[Any]:
    """The claim's part for each tensor that is checked."""
    names, arguments = function.names, function.arguments
    if isinstance(grad, Mapping) and set(names) <= set(grad):
        return [grad[name] for name in names]
    inputs = [arguments.places.get(name) for name in names]
    if any(place is None for place in inputs):
        raise InputError(
            f"Expected grad as a dict of {', '.join(names[:4])}{', ...' if len(names) > 4 else ''} "
            f"but got grad={reprlib.repr(grad)}"
        )
    if arguments.is_many:
        if not isinstance(grad, tuple | list):
            grad = (grad,)
        if len(grad) != arguments.positional:
            raise InputError(
                f"Expected grad as a tuple of {arguments.positional}, one gradient for each of "
                f"f's arguments, but got {len(grad)}"
            )
        pieces: Sequence[Any] = grad
    else:
        pieces = (grad,)
    parts = []
    for name, place in zip(names, inputs, strict=True):
        assert place is not None
        number, path = place
        piece = pieces[number] if number < len(pieces) else None
        nest = take_apart(piece, root="grad")
        found = dict(zip(nest.paths, nest.leaves, strict=True))
        if piece is not None and path not in found:
            raise InputError(f"Expected grad in the structure of x but it has nothing for {name}")
        parts.append(found.get(path))
    return parts


def _as_array(part: object, name: str) -> NDArray[Any]:
    if isinstance(part, Tensor):
        return to_array(part)
    array = np.asarray(part)
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag], axis=-1)
    if array.dtype.kind not in "fiub":
        raise InputError(f"Expected numbers but got grad={reprlib.repr(part)} for {name}")
    return array.astype(np.float64)


@np.errstate(all="ignore")
def _contracted(
    array: NDArray[Any],
    shape: tuple[int, ...],
    cotangent: Cotangent,
    name: str,
    *,
    is_product: bool,
) -> Floats:
    """A gradient, or a Jacobian's product with the cotangent, flattened."""
    weights = list(cotangent.weights.values())
    is_single = len(weights) == 1 and weights[0].size == 1
    if array.shape == shape and (is_product or is_single):
        factor = 1.0 if is_product else float(weights[0].flat[0])
        plain: Floats = factor * array.ravel()
        return plain
    expected = shape if is_product or len(weights) > 1 else weights[0].shape + shape
    if array.shape != expected or len(weights) > 1:
        raise InputError(
            f"Expected shape {expected} but got grad of shape {array.shape} for {name}"
        )
    product: Floats = weights[0].ravel() @ array.reshape(weights[0].size, -1)
    return product


def _required(function: Callable[..., Any]) -> int:
    """How many positional arguments it must be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return -1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.default is p.empty and p.kind in kinds for p in parameters)
