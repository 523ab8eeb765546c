"""JAX's own derivatives: the gradient by reverse mode, a slope by forward mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.jax.function import Function
from gradproof.subjects.jax.tracing import Traced

Arrays = Sequence[NDArray[Any]]


class Reverse:
    """Reverse mode through f, compiled where it can be."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._traced: Traced | None = None
        self._gradient: Callable[[list[Any]], Sequence[Any]] | None = None

    def at_point(self, values: Arrays) -> list[NDArray[Any]]:
        """The gradient, traced anew: a rule that draws numbers or counts calls shows it."""
        weights = self._function.outputs.cotangents()
        # What is left out may be infinite, and 0 times its derivative no number.
        counted = [k for k, weight in enumerate(weights) if weight.any()]

        def outputs(*values: Any) -> list[jax.Array]:
            flat = self._function.flat(values)
            return [flat[k] for k in counted]

        def gradient(values: list[Any]) -> list[jax.Array]:
            _, pull = jax.vjp(outputs, *values)
            return list(pull([jnp.asarray(weights[k]) for k in counted]))

        try:
            traced = Traced(gradient, values)
            if self._traced is None or not traced.is_like(self._traced):
                compiled = jax.jit(traced).lower(traced.constants, list(values)).compile()
                self._traced, self._gradient = traced, partial(compiled, traced.constants)
        except Exception:  # f looks at numbers, or this raises again what f or JAX has to say
            self._gradient = gradient
        return self.beside(values)

    def beside(self, values: Arrays) -> list[NDArray[Any]]:
        """The gradient at another point, with the function of the last call."""
        if self._gradient is None:
            return self.at_point(values)
        return [np.asarray(g) for g in self._gradient([jnp.asarray(v) for v in values])]


def slope(function: Function, values: Arrays, direction: Arrays) -> list[NDArray[Any]] | None:
    """The change of every output along a direction; None where f has no rule for it."""

    def change(values: list[Any], direction: list[Any]) -> list[jax.Array]:
        along = jax.jvp(lambda *v: function.flat(v), values, direction)[1]
        return list(along)

    arrays = [[jnp.asarray(v) for v in side] for side in (values, direction)]
    try:
        try:
            found = jax.jit(change)(*arrays)
        except Exception:  # f may look at numbers
            found = change(*arrays)
    except (TypeError, ValueError, NotImplementedError):
        return None
    return [np.asarray(c) for c in found]
