"""Functions of JAX's pytrees."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.report.model import Finding
from gradproof.subjects.base import Codes, Floats, Places, Stage
from gradproof.subjects.evaluator import Chunk, Evaluator
from gradproof.subjects.jax import claims
from gradproof.subjects.jax.arguments import EPS, spacing
from gradproof.subjects.jax.autodiff import Reverse, slope
from gradproof.subjects.jax.batches import MANY, SMALL
from gradproof.subjects.jax.branches import Branches
from gradproof.subjects.jax.constants import constants_of
from gradproof.subjects.jax.findings import findings_about
from gradproof.subjects.jax.function import Function
from gradproof.subjects.jax.points import Points, beside
from gradproof.subjects.jax.stages import stages
from gradproof.tree import entry_name

#: Most parts of f are right, and few values tell: compiling them would take longer by far.
PATIENCE = 16


class JaxSubject(Evaluator):
    """f around x, in float64 where f allows it.

    Complex tensors are pairs of real numbers, in a last axis of 2.

    Attributes:
        output_shape: shape of f's value; a tuple of shapes where it is several arrays.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        x: object,
        *,
        kwargs: Mapping[str, Any] = MappingProxyType({}),
        loss: Callable[[Any], Any] | None = None,
        promote: bool = True,
        cotangent: object = None,
        rng: np.random.Generator,
    ) -> None:
        if not callable(f):
            raise InputError(f"Expected a callable but got f={reprlib.repr(f)}")
        if not (loss is None or callable(loss)):
            raise InputError(f"Expected a callable but got loss={reprlib.repr(loss)}")
        super().__init__(map)
        self._promote = promote
        self._function = Function(f, x, kwargs, loss, promote=promote)
        leaves = self._function.arguments.leaves
        self.names = tuple(leaf.name for leaf in leaves)
        self.shapes = tuple(leaf.shape for leaf in leaves)
        self._work = self._function.arguments.values
        self.point: tuple[Floats, ...] = claims.flat(self._work)
        self.spacing = tuple(spacing(work.dtype) for work in self._work)
        self._outputs = self._function.outputs
        with self.session():
            if cotangent is None:
                self._outputs.draw(
                    self._function.first, rng, lambda: self._function.outputs_at(beside(self._work))
                )
            else:
                self._outputs.take(cotangent)
            self.evaluations = self._function.evaluations
            self.constants = constants_of(f, self._function.arguments, self._outputs.shapes)
        self.output_shape = self._outputs.shape
        self.value_spacing = max(spacing(dtype) for dtype in self._outputs.dtypes)
        self.claim_spacing = EPS
        self._points = Points(self._function, self.again)
        self._reverse = Reverse(self._function)
        self._values: tuple[float, float] | None = None  # at the point: f's own, the compiled one
        self._branches: Branches | None = None
        self._patience = 0  # evaluations that are made before anything is compiled

    @property
    def weights(self) -> tuple[Floats, ...]:
        """The cotangent (see `Subject`)."""
        return self._outputs.shaped_weights

    @weights.setter
    def weights(self, weights: Sequence[Floats]) -> None:
        self.cotangent = tuple(weight.ravel() for weight in weights)

    @property
    def outputs(self) -> tuple[Floats, ...]:
        """What f returned first (see `Subject`)."""
        flat = self._outputs.flat(self._function.first)
        pairs = zip(flat, self.weights, strict=True)
        return tuple(
            np.asarray(one, dtype=np.float64).reshape(weight.shape) for one, weight in pairs
        )

    @property
    def cotangent(self) -> Any:
        """What f's value is contracted with: a flat array for each output."""
        return self._outputs.weights

    @cotangent.setter
    def cotangent(self, weights: Any) -> None:
        self._outputs.weights = weights
        self._values = None

    def session(self) -> AbstractContextManager[None]:
        """Double precision, or the user's setting where f stays in less."""
        return self._function.session()

    def value(self) -> float:
        """F at the point; never swallows an exception, and NaN stays NaN.

        F itself is called, so that one that draws numbers in Python shows it. What comes back is
        its value as compiled for many points, which may differ in the last digit, as long as f
        repeats itself: the values around the point are compared with this one.
        """
        with self.session():
            if not self.take(1):
                return np.nan
            value = self._function.at(self._work)
            if not np.isfinite(value) or self.evaluations <= self._patience:
                return value
            if self._values is None:
                compiled = float(self._points.at([work[None] for work in self._work])[0])
                self._values = value, compiled
                self._count_again(1)
            return self._values[1] + (value - self._values[0])

    def at_entries(self, places: Places, offsets: Floats) -> Floats:
        """Values with one entry moved (see `Subject`)."""
        values = np.empty(len(places))
        flat = [work.reshape(-1) for work in self._work]
        moved = np.empty(len(places))
        for k, point in enumerate(self.point):
            rows = np.flatnonzero(places.tensor == k)
            moved[rows] = point[places.index[rows]] + offsets[rows]
        with self.session():
            batches = self._points.batches
            together = np.ones(len(places), dtype=bool)
            for k in range(len(flat)):
                rows = np.flatnonzero(places.tensor == k)
                if batches is None or not batches.is_own_worthwhile(len(rows)):
                    continue
                together[rows] = False

                def own(chunk: Chunk, k: int = k, rows: Codes = rows) -> Floats:
                    index, to = places.index[rows[chunk[0]]], moved[rows[chunk[0]]]
                    return self._points.at_entries(k, index, to.astype(flat[k].dtype))

                values[rows] = self.run(own, offsets[rows], batches.large_of(k))

            rest = np.flatnonzero(together)

            def generic(chunk: Chunk) -> Floats:
                which = rest[chunk[0]]
                stacked = self._points.moved(
                    places.tensor[which], places.index[which], moved[which]
                )
                return self._points.at(stacked)

            values[rest] = self._in_chunks(generic, offsets[rest])
        return values

    def along(
        self, directions: Sequence[Floats], lanes: Codes, offsets: Floats, base: Sequence[Floats]
    ) -> Floats:
        """Values at base + offset * direction (see `Subject`)."""

        def values(chunk: Chunk) -> Floats:
            which, steps = chunk
            stacked = self._stacked(directions, lanes[which], steps, base)
            if is_early:
                points = ([array[i] for array in stacked] for i in range(len(which)))
                return np.array([self._function.guarded(point) for point in points])
            return self._points.at(stacked)

        is_early = self.evaluations + len(offsets) <= self._patience
        with self.session():
            if is_early:
                return self.run(values, offsets, len(offsets))
            return self._in_chunks(values, offsets)

    def has_claim(self, grad: object) -> bool:
        """JAX's own gradient stands in."""
        return True

    def is_repeatable(self, grad: object) -> bool:
        """Whether the claim can be computed again."""
        return grad is None or callable(grad)

    def claims(self, grad: object, *, at: Sequence[Floats] | None = None) -> tuple[Floats, ...]:
        """The gradient that `grad` claims, contracted with the cotangent, flattened per tensor.

        Args:
            grad: None for JAX's own, by reverse mode; a callable that takes what f takes, and
                after the positional arguments a cotangent in the structure of f's value, if it
                asks for one; or what `claims.contracted` takes.
            at: another point to call it at.

        Raises:
            InputError: the structure, a shape or a dtype does not fit.
        """
        values = self._work if at is None else self._shaped(at)
        arguments = self._function.arguments
        with self.session():
            if grad is None:
                reverse = self._reverse
                arrays = reverse.at_point(values) if at is None else reverse.beside(values)
                self.claim_spacing = claims.spacing_of(arrays)
                return claims.flat(arrays)
            result, is_product = grad, False
            if callable(grad):
                args, kwargs = self._function.built(values)
                result, is_product = claims.call(grad, args, kwargs, self._outputs)
                if result is None:
                    raise InputError("Expected grad to return a gradient but got grad(x)=None")
            if is_product:
                arrays = claims.matched(result, arguments)
                self.claim_spacing = claims.spacing_of(arrays)
            else:
                arrays, self.claim_spacing = claims.contracted(result, arguments, self._outputs)
            return claims.flat(arrays)

    def describe(self, tensor: int, index: int) -> str:
        """An entry as one writes it: `conv1.weight[3, 0, 2, 1]`."""
        return entry_name(self.names[tensor], self.shapes[tensor], index)

    def findings(self) -> tuple[Finding, ...]:
        """On precision, on constants, and on points evaluated one by one."""
        return findings_about(
            self._function,
            is_promotion_wanted=self._promote,
            why_one_by_one=self._points.why_one_by_one,
        )

    def random_parts(self) -> tuple[str, ...]:
        """JAX's functions have no state of their own that could be random."""
        return ()

    def forward_slope(self, direction: Sequence[Floats]) -> float | None:
        """The derivative along a direction by forward mode, None where f has no rule for it."""
        with self.session():
            change = slope(self._function, self._work, self._shaped(direction))
            return None if change is None else self._outputs.contract(change)

    def stages(self, grad: object) -> Sequence[Stage]:
        """The calls in f with a custom_vjp or custom_jvp rule (see `jax.stages.stages`).

        Empty if `grad` gives something else than JAX's own gradient, which these rules make.
        """
        with self.session():
            if grad is not None and not self._is_own(grad):
                return ()
            weights = self._outputs.cotangents()
            return stages(self._function.flat, self._work, weights, self.names, self._part)

    def _is_own(self, grad: object) -> bool:
        """Whether what `grad` claims is JAX's own gradient, but for rounding."""
        before = self.claim_spacing
        try:
            pairs = zip(self.claims(grad), self.claims(None), strict=True)
            unit = np.sqrt(max(before, self.claim_spacing))
            return all(np.linalg.norm(a - b) <= unit * np.linalg.norm(b) for a, b in pairs)
        except Exception:  # f has no gradient of JAX's
            return False
        finally:
            self.claim_spacing = before

    def _part(self, f: Callable[..., Any], x: object, cotangent: object) -> JaxSubject:
        with self.session():
            rng = np.random.default_rng(0)
            part = JaxSubject(f, x, promote=False, cotangent=cotangent, rng=rng)
        part._patience = PATIENCE
        return part

    def crossings_along(
        self, directions: Sequence[Floats], offsets: Floats
    ) -> list[Mapping[str, int]] | None:
        """Branches taken otherwise than at the point (see `Subject`)."""
        every = np.arange(len(offsets))

        def stacked(which: Codes) -> list[NDArray[Any]]:
            return self._stacked(directions, every[which], offsets[which], self.point)

        return self._crossings(stacked, len(offsets))

    def crossings_at(self, places: Places, offsets: Floats) -> list[Mapping[str, int]] | None:
        """The same with one entry moved."""

        def stacked(which: Codes) -> list[NDArray[Any]]:
            here, steps = places[which], offsets[which]
            pairs = zip(here.tensor.tolist(), here.index.tolist(), strict=True)
            moved = np.array([self.point[k][j] for k, j in pairs]) + steps
            return self._points.moved(here.tensor, here.index, moved)

        return self._crossings(stacked, len(offsets))

    def _crossings(
        self, stacked: Callable[[Codes], list[NDArray[Any]]], count: int
    ) -> list[Mapping[str, int]] | None:
        with self.session():
            if not self.can_afford(count + -(-count // SMALL)):
                return None
            if self._branches is None:
                self._branches = Branches(self._function.flat, self._work)
            if not self._branches.is_traceable:
                return None
            found: list[Mapping[str, int]] = []
            for start in range(0, count, SMALL):
                which = np.arange(start, min(start + SMALL, count))
                found += self._branches.crossed(stacked(which))
                self.evaluations += len(which) + 1
            return found

    def _stacked(
        self, directions: Sequence[Floats], lanes: Codes, steps: Floats, base: Sequence[Floats]
    ) -> list[NDArray[Any]]:
        stacked = []
        for origin, way, work in zip(base, directions, self._work, strict=True):
            start = origin if origin.ndim == 1 else origin[lanes]
            moved = start + steps[:, None] * way[lanes]
            stacked.append(moved.reshape(len(lanes), *work.shape).astype(work.dtype))
        return stacked

    def _shaped(self, flat: Sequence[Floats]) -> list[NDArray[Any]]:
        pairs = zip(flat, self._work, strict=True)
        return [array.reshape(work.shape).astype(work.dtype) for array, work in pairs]

    def _in_chunks(self, function: Callable[[Chunk], Floats], offsets: Floats) -> Floats:
        """In large chunks as long as they fill, and in small ones."""
        batches = self._points.batches
        small, large = (1, 1) if batches is None else (batches.small, batches.large)
        large = large if len(offsets) >= MANY else small
        rest = len(offsets) % large
        cut = len(offsets) - (rest if rest <= large // 4 else 0)

        def tail(chunk: Chunk) -> Floats:
            return function((chunk[0] + cut, chunk[1]))

        first = self.run(function, offsets[:cut], large)
        return np.concatenate([first, self.run(tail, offsets[cut:], small)])

    def _count_again(self, made: int) -> None:
        self.evaluations += made + sum(self.again)
        self.again.clear()
