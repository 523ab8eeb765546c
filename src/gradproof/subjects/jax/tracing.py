"""A function traced once, with its constants kept out of what is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


class Traced:
    """The operations of a function of arrays.

    Data that the function holds are arguments here: compiled into it they would be copied, and
    folded, each time.

    Attributes:
        jaxpr: the operations.
        constants: those arrays, the first argument of a call.
    """

    def __init__(self, function: Callable[[list[Any]], Any], example: Sequence[Any]) -> None:
        """Trace `function`, which takes a list of arrays and returns one, at `example`.

        Raises:
            RuntimeError: the user does not want anything compiled.
        """
        if jax.config.values["jax_disable_jit"]:
            raise RuntimeError("jax_disable_jit is set")
        closed = jax.make_jaxpr(function)(list(example))
        self.jaxpr = closed.jaxpr
        self.constants: list[Any] = list(closed.consts)

    def __call__(self, constants: Sequence[Any], values: Sequence[Any]) -> list[Any]:
        """What the function returns at `values`."""
        results: list[Any] = jax.core.eval_jaxpr(self.jaxpr, constants, *values)
        return results

    def is_like(self, other: Traced) -> bool:
        """Whether another trace of the function has the same operations and constants."""
        return (
            len(self.constants) == len(other.constants)
            and all(map(_are_equal, self.constants, other.constants))
            and str(self.jaxpr) == str(other.jaxpr)
        )


def _are_equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    return a.shape == b.shape and a.dtype == b.dtype and bool(jnp.all(a == b))
