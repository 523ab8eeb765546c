"""What f returns as arrays of real numbers, and what those are contracted with."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.subjects.base import Floats
from gradproof.subjects.cotangent import as_cotangent, draw_cotangent
from gradproof.subjects.jax.arguments import as_numpy, is_complex, is_floating


class Outputs:
    """The floating and complex leaves of what f returned first; integers and keys do not count.

    Attributes:
        shape: of f's value; a tuple of shapes where it is more than one array.
        shapes: of the outputs that count, in their own numbers.
        dtypes: of the outputs that count.
        weights: one array for each of them, flat; complex numbers are pairs of reals.
    """

    def __init__(self, first: object) -> None:
        leaves, structure = jax.tree_util.tree_flatten(first)
        self._structure: Any = structure
        self._counts = [_is_inexact(leaf) for leaf in leaves]
        self._leaves = [
            jax.eval_shape(jnp.asarray, leaf) if c else leaf
            for leaf, c in zip(leaves, self._counts, strict=True)
        ]
        counted = [leaf for leaf, counts in zip(self._leaves, self._counts, strict=True) if counts]
        if not any(leaf.size for leaf in counted):
            raise InputError(
                "Expected f to return at least one floating number but got "
                f"f(x)={reprlib.repr(first)}"
            )
        self.shapes: list[tuple[int, ...]] = [leaf.shape for leaf in counted]
        self.dtypes = [leaf.dtype for leaf in counted]
        self.shape: Any = self.shapes[0] if len(self.shapes) == 1 else tuple(self.shapes)
        self.weights: tuple[Floats, ...] = ()
        self._sizes = [np.abs(as_numpy(a).astype(np.float64)) for a in self.flat(first)]

    @property
    def shaped_weights(self) -> tuple[Floats, ...]:
        """The weights in the outputs' shapes; complex numbers have a last axis of two."""
        return tuple(
            weight.reshape((*shape, *(2,) * (weight.size == 2 * math.prod(shape))))
            for weight, shape in zip(self.weights, self.shapes, strict=True)
        )

    @property
    def size(self) -> float:
        """What the products of outputs and weights add up to if none cancels another."""
        pairs = zip(self._sizes, self.weights, strict=True)
        finite = [np.where(np.isfinite(s), s, 0.0) @ np.abs(weight) for s, weight in pairs]
        return float(sum(finite))

    def flat(self, result: object) -> list[jax.Array]:
        """The outputs that count as flat arrays of reals; `result` may hold tracers.

        Raises:
            InputError: their structure or shapes differ from the first ones.
        """
        leaves, structure = jax.tree_util.tree_flatten(result)
        if structure != self._structure:
            raise InputError(
                f"Expected f to return the structure {self._structure} again but got {structure}"
            )
        counted = [leaf for leaf, counts in zip(leaves, self._counts, strict=True) if counts]
        flat = []
        for leaf, shape in zip(counted, self.shapes, strict=True):
            array = jnp.asarray(leaf)
            if array.shape != shape:
                raise InputError(f"Expected f to return shape {shape} again but got {array.shape}")
            pair = [array.real.ravel(), array.imag.ravel()] if is_complex(array.dtype) else [array]
            flat.append(jnp.stack(pair, axis=-1).ravel() if len(pair) == 2 else array.ravel())
        return flat

    def draw(
        self,
        result: object,
        rng: np.random.Generator,
        beside: Callable[[], Sequence[jax.Array] | None],
    ) -> None:
        """Take random weights (see `draw_cotangent`); `beside` gives flat outputs."""
        arrays = [as_numpy(array).astype(np.float64) for array in self.flat(result)]

        def there() -> Floats | None:
            moved = beside()
            return None if moved is None else np.concatenate([as_numpy(a) for a in moved])

        drawn = draw_cotangent(np.concatenate(arrays), rng, there)
        self.weights = tuple(np.split(drawn, np.cumsum([len(a) for a in arrays])[:-1]))

    def take(self, cotangent: object) -> None:
        """Take the caller's weights, in the outputs' structure, None for one to be left out.

        Complex ones are meant as JAX means them: their products with the outputs, not conjugated,
        have the sum's real part as the value.

        Raises:
            InputError: the structure, a shape or a number does not fit.
        """
        came = f"cotangent={reprlib.repr(cotangent)}"
        try:
            given = self._structure.flatten_up_to(cotangent)
        except ValueError:
            raise InputError(
                f"Expected cotangent in the structure of f's value {self._structure} but got {came}"
            ) from None
        counted = [part for part, counts in zip(given, self._counts, strict=True) if counts]
        weights = []
        for part, shape, dtype in zip(counted, self.shapes, self.dtypes, strict=True):
            of_pairs = is_complex(dtype)
            size = int(np.prod(shape)) * (2 if of_pairs else 1)
            if part is None:
                weights.append(np.zeros(size))
                continue
            array = as_numpy(part)
            if of_pairs and is_complex(array.dtype):
                array, shape = np.stack([array.real, -array.imag], axis=-1), (*shape, 2)
            elif is_floating(array.dtype):
                array = array.astype(np.float64)
            if of_pairs and shape[-1:] != (2,):
                # real weights of complex outputs
                array = np.stack([array, np.zeros_like(array)], axis=-1)
                shape = (*shape, 2)
            weights.append(as_cotangent(array, shape).ravel() if array.any() else np.zeros(size))
        if not any(weight.any() for weight in weights):
            raise InputError(f"Expected finite real numbers that are not all 0 but got {came}")
        self.weights = tuple(weights)

    def contract(self, flat: Sequence[Any]) -> float:
        """The sum of the products of outputs and weights, in double precision."""
        return float(self.contract_many([as_numpy(array)[None] for array in flat])[0])

    def contract_many(self, flat: Sequence[Any]) -> Floats:
        """The same at many points, along the arrays' first axis."""
        total = np.zeros(len(flat[0]))
        with np.errstate(all="ignore"):
            for array, weight in zip(flat, self.weights, strict=True):
                if weight.any():  # what is left out may be infinite
                    total = total + as_numpy(array).astype(np.float64) @ weight
        return total

    def cotangents(self) -> list[NDArray[Any]]:
        """The weights in the precision of the outputs, for `flat`'s own vjp."""
        reals = [np.zeros((), dtype).real.dtype for dtype in self.dtypes]
        return [w.astype(dtype) for w, dtype in zip(self.weights, reals, strict=True)]

    def structured(self) -> Any:
        """The weights in the structure of f's value, as jax.vjp takes them."""
        weights = iter(zip(self.weights, self.shapes, self.dtypes, strict=True))
        parts: list[Any] = []
        for leaf, counts in zip(self._leaves, self._counts, strict=True):
            if not counts:
                parts.append(np.zeros(np.shape(leaf), jax.dtypes.float0))
                continue
            weight, shape, dtype = next(weights)
            if is_complex(dtype):
                pairs = weight.reshape(*shape, 2)
                weight = pairs[..., 0] - 1j * pairs[..., 1]
            parts.append(jnp.asarray(weight.reshape(shape), dtype))
        return jax.tree_util.tree_unflatten(self._structure, parts)

    def take_apart(self, result: object) -> list[Any]:
        """The parts of `result`, a tree of trees, that belong to the outputs that count.

        Raises:
            ValueError: it is not in the structure of the outputs.
        """
        parts = self._structure.flatten_up_to(result)
        return [part for part, counts in zip(parts, self._counts, strict=True) if counts]


def _is_inexact(leaf: object) -> bool:
    if isinstance(leaf, float | complex):
        return True
    return hasattr(leaf, "dtype") and bool(jnp.issubdtype(leaf.dtype, jnp.inexact))
