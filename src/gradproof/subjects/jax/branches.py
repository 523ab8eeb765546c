"""The branches that f takes at a point and at others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.jax.arguments import spacing
from gradproof.subjects.jax.batches import SMALL
from gradproof.subjects.jax.branch_walk import Counts, Site


class Branches:
    """The branches of f around a point.

    Attributes:
        is_traceable: whether they can be seen.
    """

    def __init__(self, flat: Callable[[Sequence[Any]], Any], point: Sequence[NDArray[Any]]) -> None:
        """Trace f.

        Args:
            flat: flat outputs at a point.
            point: what the branches are compared with.
        """
        self._point = list(point)
        try:
            closed = jax.make_jaxpr(flat)(self._point)
            self._closed = closed

            def here(values: list[Any]) -> Any:
                pairs, _ = Site().run(closed.jaxpr, closed.consts, [(v, v) for v in values])
                return [a for a, _ in pairs]

            self._compare = jax.jit(jax.vmap(self._counts, in_axes=(None, 0)))
            self.is_traceable = _agree(
                jax.jit(here)(self._point), flat([jnp.asarray(p) for p in self._point])
            )
            if self.is_traceable:
                jax.eval_shape(self._counts, self._point, self._point)
        except Exception:  # f looks at numbers, or an operation may branch unseen
            self.is_traceable = False

    def crossed(self, stacked: Sequence[NDArray[Any]]) -> list[Mapping[str, int]]:
        """Units that branch otherwise than at the point, one mapping for each point.

        Args:
            stacked: points along the first axis of every tensor, SMALL of them at most.
        """
        lanes = len(stacked[0])
        padding = np.minimum(np.arange(SMALL), lanes - 1)
        counts = self._compare(self._point, [array[padding] for array in stacked])
        named = _named({site: np.asarray(count) for site, count in counts.items()})
        return [
            {name: int(count[lane]) for name, count in named.items() if count[lane]}
            for lane in range(lanes)
        ]

    def _counts(self, here: Sequence[Any], there: Sequence[Any]) -> Counts:
        pairs = list(zip(here, there, strict=True))
        return Site().run(self._closed.jaxpr, self._closed.consts, pairs)[1]


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
