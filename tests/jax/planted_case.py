"""What a planted bug consists of: two functions that differ in their gradients alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Plant:
    """A bug in a rule of differentiation, and its correct twin.

    `x` makes the positional arguments; `tensors` are those whose gradient is wrong.
    """

    name: str
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    x: Callable[[], tuple[Any, ...]]
    tensors: tuple[str, ...]


def normal(*shape: int, seed: int = 0) -> Any:
    """Numbers drawn from the normal distribution, in whatever precision jax is set to."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def with_vjp(of: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function with `backward(arguments, cotangent)` for its gradients."""
    function = jax.custom_vjp(of)
    function.defvjp(lambda *args: (of(*args), args), backward)
    return function


def with_jvp(of: Callable[..., Any], forward: Callable[..., Any]) -> Callable[..., Any]:
    """A function with `forward(arguments, tangents)` for the tangent of its value."""
    function = jax.custom_jvp(of)
    function.defjvp(lambda args, tangents: (of(*args), forward(args, tangents)))
    return function
