"""JAX's own derivatives: the gradient by reverse mode, a slope by forward mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.jax.function import Function

Arrays = Sequence[NDArray[Any]]


class Reverse:
    """Reverse mode through f, compiled where it can be."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self._known = ""
        self._compiled: Any = None

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
            traced = jax.jit(gradient).trace(list(values))
            shown = _shown(traced.jaxpr)
            if shown != self._known:
                self._compiled = traced.lower().compile()
                self._known = shown
        except Exception:
            # Either f looks at numbers, or this raises again what f or JAX has to say.
            self._compiled = gradient
            return [np.asarray(g) for g in gradient([jnp.asarray(v) for v in values])]
        return self.beside(values)

    def beside(self, values: Arrays) -> list[NDArray[Any]]:
        """The gradient at another point, with the function of the last call."""
        if self._compiled is None:
            self.at_point(values)
        return [np.asarray(g) for g in self._compiled([jnp.asarray(v) for v in values])]


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


def _shown(jaxpr: Any) -> str:
    """The operations and the constants, to be compared with those of another trace."""
    constants = [np.asarray(c).tobytes() for c in jaxpr.consts if hasattr(c, "dtype")]
    return f"{jaxpr.jaxpr}{constants!r}"
