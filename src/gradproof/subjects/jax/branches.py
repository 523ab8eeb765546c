"""The branches that f takes at a point and at others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.jax.arguments import spacing
from gradproof.subjects.jax.batches import SMALL
from gradproof.subjects.jax.branch_walk import Counts, Site
from gradproof.subjects.jax.tracing import Traced


class Branches:
    """The branches of f around a point."""

    def __init__(self, flat: Callable[[Sequence[Any]], Any], point: Sequence[NDArray[Any]]) -> None:
        """Trace f.

        Args:
            flat: flat outputs at a point.
            point: what the branches are compared with.
        """
        self._point = list(point)
        self._compare: Any = None
        try:
            traced = Traced(flat, self._point)

            def compare(constants: Any, here: Any, there: Any) -> tuple[list[Any], Counts]:
                pairs = list(zip(here, there, strict=True))
                outputs, counts = Site().run(traced.jaxpr, constants, pairs)
                return [one for one, _ in outputs], counts

            batched = jax.jit(jax.vmap(compare, in_axes=(None, None, 0)))
            compiled = partial(batched, traced.constants, self._point)
            found, _ = compiled([_padded(array[None]) for array in self._point])
            if _agree([each[0] for each in found], flat([jnp.asarray(p) for p in self._point])):
                self._compare = compiled
        except Exception:  # f looks at numbers, or an operation may branch unseen
            return

    @property
    def is_traceable(self) -> bool:
        """Whether they can be seen."""
        return self._compare is not None

    def crossed(self, stacked: Sequence[NDArray[Any]]) -> list[Mapping[str, int]]:
        """Units that branch otherwise than at the point, one mapping for each point.

        Args:
            stacked: points along the first axis of every tensor, SMALL of them at most.
        """
        _, counts = self._compare([_padded(array) for array in stacked])
        named = _named({site: np.asarray(count) for site, count in counts.items()})
        return [
            {name: int(count[lane]) for name, count in named.items() if count[lane]}
            for lane in range(len(stacked[0]))
        ]


def _padded(array: NDArray[Any]) -> NDArray[Any]:
    """As many points as are compiled for."""
    return array[np.minimum(np.arange(SMALL), len(array) - 1)]


def _named(counts: Mapping[tuple[str, str], NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Sites by their names, with the line where one name stands for several places."""
    times = Counter(name for name, _ in counts)
    return {
        name if times[name] == 1 or not line else f"{name}, {line}": count
        for (name, line), count in counts.items()
    }


def _agree(found: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Whether the jaxpr, evaluated as it is walked, gives f's own outputs."""
    for a, b in zip(found, expected, strict=True):
        one, other = (np.asarray(side).astype(np.float64) for side in (a, b))
        close = np.sqrt(spacing(b.dtype))
        size = float(np.abs(other[np.isfinite(other)]).max(initial=0.0))
        if not np.allclose(one, other, rtol=close, atol=close * size, equal_nan=True):
            return False
    return True
