"""The gradient checkers of PyTorch, JAX and autograd, put to NumPy code as their users would.

A case of the scorecard is a NumPy function and a gradient that is claimed for it. Whoever has
those in one of the three frameworks writes an operation of their own: its forward computes f, its
backward contracts the claim with the cotangent. That is done here, and the operation is given to
the framework's checker with its defaults:

- *torch*: a torch.autograd.Function to `torch.autograd.gradcheck(function, tensors)`;
- *torch fast*: the same with `fast_mode=True`;
- *jax*: a `custom_vjp` around `pure_callback` to `jax.test_util.check_grads`, in double precision;
- *autograd*: a primitive with `defvjp` to `autograd.test_util.check_grads`.

The last two would differentiate the claim again, or forwards; it has neither, so that they are
asked for `order=1, modes=["rev"]`. Every tensor keeps the precision that it has in the case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.test_util
import numpy as np
import numpy.typing as npt
import optree
import torch
from bench.cases import Case
from bench.customary import Judgement, Tool
from torch.autograd.gradcheck import GradcheckError, gradcheck

__all__ = ["PEERS", "Code", "as_code"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Code:
    """A case as the two halves of an operation on a list of arrays.

    `product` takes the arrays and a cotangent of the output's shape to the claimed gradients, in
    the arrays' shapes and precisions.
    """

    arrays: tuple[Array, ...]
    value: Callable[[Sequence[Array]], Array]
    product: Callable[[Sequence[Array], Array], tuple[Array, ...]]


def as_code(case: Case) -> Code:
    """Take x apart and contract the claim, whether it is a gradient or a Jacobian."""
    leaves, structure = optree.tree_flatten(copy.deepcopy(case.x))
    arrays = tuple(np.asarray(leaf) for leaf in leaves)

    def rebuilt(parts: Sequence[Array]) -> Any:
        # A plain float comes back as a NumPy scalar, as it would from any of the frameworks.
        return structure.unflatten(
            [np.array(part, array.dtype)[()] for part, array in zip(parts, arrays, strict=True)]
        )

    def value(parts: Sequence[Array]) -> Array:
        return np.asarray(case.f(rebuilt(parts)))

    def product(parts: Sequence[Array], cotangent: Array) -> tuple[Array, ...]:
        claim = case.grad(rebuilt(parts)) if callable(case.grad) else case.grad
        axes = np.ndim(cotangent)
        return tuple(
            np.asarray(np.tensordot(cotangent, np.asarray(leaf), axes), array.dtype)
            for leaf, array in zip(optree.tree_leaves(claim), arrays, strict=True)
        )

    return Code(arrays, value, product)


def _gradcheck(case: Case, **options: Any) -> Judgement:
    code, evaluations = as_code(case), 0

    class Operation(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: torch.Tensor) -> torch.Tensor:
            nonlocal evaluations
            evaluations += 1
            ctx.save_for_backward(*tensors)
            return torch.from_numpy(code.value([tensor.numpy() for tensor in tensors]))

        @staticmethod
        def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor, ...]:
            parts = [tensor.numpy() for tensor in ctx.saved_tensors]
            return tuple(map(torch.from_numpy, code.product(parts, cotangents[0].numpy())))

    tensors = tuple(torch.tensor(array, requires_grad=True) for array in code.arrays)
    try:
        gradcheck(Operation.apply, tensors, **options)
    except GradcheckError as error:
        return Judgement("fail", _first_line(error), evaluations)
    return Judgement("pass", "", evaluations)


def _jax(case: Case) -> Judgement:
    code, evaluations = as_code(case), 0
    output = code.value(code.arrays)

    def counted(*arrays: Any) -> Array:
        nonlocal evaluations
        evaluations += 1
        return code.value([np.asarray(array) for array in arrays])

    def contracted(cotangent: Any, *arrays: Any) -> tuple[Array, ...]:
        return code.product([np.asarray(array) for array in arrays], np.asarray(cotangent))

    def forward(*arrays: Any) -> Any:
        return jax.pure_callback(counted, _shape(output), *arrays)

    def backward(arrays: tuple[Any, ...], cotangent: Any) -> Any:
        shapes = tuple(map(_shape, arrays))
        return jax.pure_callback(contracted, shapes, cotangent, *arrays)

    operation = jax.custom_vjp(forward)
    operation.defvjp(lambda *arrays: (forward(*arrays), arrays), backward)
    with jax.enable_x64(True):
        try:
            jax.test_util.check_grads(  # type: ignore[no-untyped-call]
                operation, code.arrays, order=1, modes=["rev"]
            )
        except AssertionError as error:
            return Judgement("fail", _first_line(error), evaluations)
    return Judgement("pass", "", evaluations)


def _shape(array: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, array.dtype)  # type: ignore[no-untyped-call]


def _autograd(case: Case) -> Judgement:
    import autograd.extend  # here, so that the tests of the others run without it
    import autograd.test_util

    code, evaluations = as_code(case), 0

    @autograd.extend.primitive  # type: ignore[untyped-decorator]
    def operation(arrays: tuple[Array, ...]) -> Array:
        nonlocal evaluations
        evaluations += 1
        return code.value(arrays)

    autograd.extend.defvjp(
        operation, lambda _, arrays: lambda cotangent: code.product(arrays, cotangent)
    )
    state = np.random.get_state()  # noqa: NPY002  (it draws from the global generator)
    np.random.seed(0)  # noqa: NPY002
    try:
        autograd.test_util.check_grads(operation, modes=["rev"], order=1)(code.arrays)
    except AssertionError as error:
        return Judgement("fail", _first_line(error), evaluations)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return Judgement("pass", "", evaluations)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


PEERS: dict[str, Tool] = {
    "torch": _gradcheck,
    "torch fast": lambda case: _gradcheck(case, fast_mode=True),
    "jax": _jax,
    "autograd": _autograd,
}
