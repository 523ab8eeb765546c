"""Functions of NumPy arrays in nested containers."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.report.model import Finding
from gradproof.subjects.base import Codes, Floats, Places
from gradproof.subjects.cotangent import as_cotangent, draw_cotangent, moved_by
from gradproof.subjects.evaluator import Chunk, Evaluator
from gradproof.tree import Tree, entry_name, flatten

#: Bytes of parameters that are stacked for one call of f_batch, and points in it at most.
BATCH_BYTES = 64 * 2**20
BATCH_POINTS = 256
#: How far from x f_batch is compared with f too, relative to the tensors.
BESIDE = 1e-4
EPS = float(np.finfo(np.float64).eps)


class ArraySubject(Evaluator):
    """f around x, in float64 where f allows it.

    Attributes:
        tree: names, shapes and the way back to x's structure.
        promoted: names of tensors that came in less than double precision and are checked in it.
        kept: names of tensors that stay in less, since f would not take double precision.
        output_shape: shape of f's value.
        output_dtype: dtype of f's value.
        cotangent: what an array-valued f is contracted with, in `output_shape`.
        mutates: names of tensors that f changed in place (it gets copies at every call).
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        x: object,
        *,
        f_batch: Callable[[Any], Any] | None = None,
        cotangent: object = None,
        promote: bool = True,
        rng: np.random.Generator,
        engine: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map,
    ) -> None:
        _demand_callable("f", f)
        self.tree: Tree = flatten(x)
        self.names = self.tree.names
        self.shapes = tuple(leaf.shape for leaf in self.tree.leaves)
        super().__init__(engine)
        self.mutates: tuple[str, ...] = ()
        self.claim_spacing = EPS
        self._f, self._batch, self._promote = f, f_batch, promote
        given = [np.array(leaf) for leaf in self.tree.leaves]
        self._work, first = self._first_call(given)
        less: tuple[str, ...] = tuple(
            n for n, g in zip(self.names, given, strict=True) if g.dtype.itemsize < 8
        )
        is_promoted = all(w.dtype == np.float64 for w in self._work)
        self.promoted: tuple[str, ...] = less if is_promoted else ()
        self.kept: tuple[str, ...] = () if is_promoted else less
        self.point: tuple[Floats, ...] = tuple(w.astype(np.float64).ravel() for w in self._work)
        self._dtypes = [w.dtype for w in self._work]
        self.spacing = tuple(_spacing(dtype) for dtype in self._dtypes)
        output = _as_number_array(first, "f")
        if output.size == 0:
            raise InputError(
                f"Expected f to return at least one number but got shape {output.shape}"
            )
        self.output_shape, self.output_dtype = output.shape, output.dtype
        self.outputs = (output.astype(np.float64),)
        self.value_spacing = _spacing(output.dtype)
        self.cotangent = (
            draw_cotangent(output, rng, lambda: self._output_at(moved_by(self.point, rng)))
            if cotangent is None
            else as_cotangent(cotangent, output.shape)
        )
        if f_batch is not None:
            _demand_callable("f_batch", f_batch)
            self._try_batch()

    def value(self) -> float:
        """F at the point; never swallows an exception, and NaN stays NaN."""
        if not self.take(1):
            return np.nan
        if self._batch is not None:
            return float(self._call_batch([w[None].copy() for w in self._work])[0])
        return self._contract(self._call(self._work))

    def at_entries(self, places: Places, offsets: Floats) -> Floats:
        """Values with one entry moved (see `Subject`)."""

        def one(chunk: Chunk) -> Floats:
            which, steps = chunk
            return self._entries_one_by_one(places[which], steps)

        def many(chunk: Chunk) -> Floats:
            which, steps = chunk
            return self._entries_in_a_batch(places[which], steps)

        size = max(leaf.nbytes for leaf in self._work)
        return self._in_chunks(one if self._batch is None else many, offsets, size)

    def along(
        self, directions: Sequence[Floats], lanes: Codes, offsets: Floats, base: Sequence[Floats]
    ) -> Floats:
        """Values at base + offset * direction (see `Subject`)."""

        def points(chunk: Chunk) -> list[NDArray[Any]]:
            which, steps = chunk
            stacked = []
            for origin, way, leaf in zip(base, directions, self._work, strict=True):
                start = origin if origin.ndim == 1 else origin[lanes[which]]
                moved = start + steps[:, None] * way[lanes[which]]
                stacked.append(moved.reshape(len(which), *leaf.shape).astype(leaf.dtype))
            return stacked

        def one(chunk: Chunk) -> Floats:
            stacked = points(chunk)
            each = ([leaf[i] for leaf in stacked] for i in range(len(chunk[0])))
            return np.array([self._guarded(leaves) for leaves in each])

        def many(chunk: Chunk) -> Floats:
            return self._guarded_batch(points(chunk))

        size = sum(leaf.nbytes for leaf in self._work)
        return self._in_chunks(one if self._batch is None else many, offsets, size)

    def claims(self, grad: object, *, at: Sequence[Floats] | None = None) -> tuple[Floats, ...]:
        """The gradient that `grad` claims, contracted with the cotangent, flattened per tensor.

        Args:
            grad: a callable `grad(x)` or `grad(x, cotangent)`, or its result: in x's structure, or
                for an array-valued f the Jacobian, each tensor of shape f(x).shape + x.shape.
            at: another point to call it at.

        Raises:
            InputError: the structure, a shape or a dtype does not fit.
        """
        result = grad
        if callable(grad):
            here = self._work if at is None else self._shaped(at)
            copies = self.tree.unflatten([leaf.copy() for leaf in here])
            extra = (self.cotangent.copy(),) if _takes_cotangent(grad) else ()
            result = grad(copies, *extra)
            if result is None:
                raise InputError("Expected grad to return a gradient but got grad(x)=None")
            if extra:
                return self._flat(self.tree.match(result, argument="grad"))
        if self.cotangent.size == 1 and self._fits(result):
            factor = float(self.cotangent.ravel()[0])
            return tuple(factor * c for c in self._flat(self.tree.match(result, argument="grad")))
        if self.output_shape == ():
            return self._flat(self.tree.match(result, argument="grad"))
        jacobian = self.tree.match(result, argument="grad", prefix=self.output_shape)
        self._note_dtype(jacobian)
        weights = self.cotangent.ravel()
        with np.errstate(all="ignore"):
            return tuple(weights @ j.reshape(weights.size, -1).astype(float) for j in jacobian)

    def describe(self, tensor: int, index: int) -> str:
        """An entry as one writes it: `conv1.weight[3, 0, 2, 1]`."""
        return entry_name(self.names[tensor], self.shapes[tensor], index)

    @property
    def weights(self) -> tuple[Floats, ...]:
        """The cotangent (see `Subject`)."""
        return (self.cotangent,)

    @weights.setter
    def weights(self, weights: Sequence[Floats]) -> None:
        (self.cotangent,) = weights

    def session(self) -> AbstractContextManager[None]:
        """Nothing needs to be set up or put back: f gets copies."""
        return nullcontext()

    def has_claim(self, grad: object) -> bool:
        """Arrays cannot be differentiated without a claim."""
        return grad is not None

    def is_repeatable(self, grad: object) -> bool:
        """Whether `grad` can be called again."""
        return callable(grad)

    def findings(self) -> tuple[Finding, ...]:
        """On precision and on writing to x (see `Subject`)."""
        findings = []
        if self.promoted:
            message = (
                f"x is in single precision ({', '.join(self.promoted[:4])}); f is evaluated in "
                "double precision, where a derivative can be told from rounding"
            )
            findings.append(
                Finding("single-precision", message, evidence={"tensors": self.promoted})
            )
        if self.kept:
            why = "f does not take double precision" if self._promote else "promote=False"
            message = (
                f"{why}; {', '.join(self.kept[:4])} stay as they are, and few digits can be "
                "attained"
            )
            findings.append(Finding("single-precision", message, evidence={"tensors": self.kept}))
        if self.value_spacing > EPS:
            message = (
                f"f returns {self.output_dtype}: it computes in less than double precision "
                "somewhere, and few digits can be attained"
            )
            evidence = {"dtype": str(self.output_dtype)}
            findings.append(Finding("single-precision", message, evidence=evidence))
        if self.mutates:
            message = (
                f"f changes its argument in place ({', '.join(self.mutates[:4])}); it gets a copy "
                "at every call, and x itself is as it was"
            )
            findings.append(Finding("mutates-input", message, evidence={"tensors": self.mutates}))
        return tuple(findings)

    def random_parts(self) -> tuple[str, ...]:
        """A plain function has no parts."""
        return ()

    def forward_slope(self, direction: Sequence[Floats]) -> None:
        """There is no forward mode."""

    def crossings_along(
        self, directions: Sequence[Floats], offsets: Floats
    ) -> Sequence[Mapping[str, int]] | None:
        """Branches cannot be seen."""
        return None

    def crossings_at(self, places: Places, offsets: Floats) -> Sequence[Mapping[str, int]] | None:
        """Branches cannot be seen."""
        return None

    # -- calling f ---------------------------------------------------------------------------

    def _first_call(self, given: list[NDArray[Any]]) -> tuple[list[NDArray[Any]], object]:
        """Call f in double precision, or as x came if f refuses that or it is not wanted."""
        if not self._promote:
            self.evaluations += 1
            return given, self._watched(given)
        with np.errstate(over="ignore"):
            double = [leaf.astype(np.float64) for leaf in given]
        for name, leaf in zip(self.names, double, strict=True):
            if not np.isfinite(leaf).all():
                raise InputError(f"Expected numbers that fit a double but {name} has larger ones")
        self.evaluations += 1
        try:
            return double, self._watched(double)
        except (TypeError, ValueError, ArithmeticError):
            if all(leaf.dtype == np.float64 for leaf in given):
                raise
        self.evaluations += 1
        return given, self._watched(given)

    def _watched(self, leaves: list[NDArray[Any]]) -> object:
        copies = [leaf.copy() for leaf in leaves]
        result = self._f(self.tree.unflatten(copies))
        if isinstance(result, np.ndarray):
            result = result.copy()  # it may be a view of x
        pairs = zip(self.names, leaves, copies, strict=True)
        self.mutates = tuple(n for n, a, b in pairs if a.tobytes() != b.tobytes())
        return result

    def _call(self, leaves: list[NDArray[Any]]) -> object:
        # Copies: f may write to its argument, or keep it to compare the next one with.
        return self._f(self.tree.unflatten([leaf.copy() for leaf in leaves]))

    def _output_at(self, point: Sequence[Floats]) -> NDArray[Any] | None:
        """F's value at another point, None outside of its domain."""
        self.evaluations += 1
        pairs = zip(point, self._work, strict=True)
        try:
            with np.errstate(all="ignore"):
                result = self._call([x.reshape(w.shape).astype(w.dtype) for x, w in pairs])
        except (ArithmeticError, ValueError):
            return None
        return _as_number_array(result, "f")

    def _contract(self, result: object) -> float:
        output = _as_number_array(result, "f")
        if output.shape != self.output_shape:
            raise InputError(
                f"Expected f to return shape {self.output_shape} again but got {output.shape}"
            )
        with np.errstate(all="ignore"):
            return float(np.dot(output.ravel().astype(np.float64), self.cotangent.ravel()))

    def _guarded(self, leaves: list[NDArray[Any]]) -> float:
        try:
            with np.errstate(all="ignore"):
                return self._contract(self._call(leaves))
        except InputError:
            raise
        except (ArithmeticError, ValueError):
            return np.nan

    def _call_batch(self, stacked: list[NDArray[Any]]) -> Floats:
        assert self._batch is not None
        result = _as_number_array(self._batch(self.tree.unflatten(stacked)), "f_batch")
        count = len(stacked[0])
        if result.shape != (count, *self.output_shape):
            raise InputError(
                f"Expected f_batch to return shape {(count, *self.output_shape)} for {count} points"
                f" but got {result.shape}"
            )
        values: Floats = result.reshape(count, -1).astype(np.float64) @ self.cotangent.ravel()
        return values

    def _guarded_batch(self, stacked: list[NDArray[Any]]) -> Floats:
        try:
            with np.errstate(all="ignore"):
                return self._call_batch(stacked)
        except InputError:
            raise
        except (ArithmeticError, ValueError):
            # One point outside the domain spoils the batch: find out which.
            values = np.full(len(stacked[0]), np.nan)
            for i in range(self.take(len(values))):
                values[i] = self._guarded([np.array(leaf[i]) for leaf in stacked])
            return values

    def _entries_one_by_one(self, places: Places, steps: Floats) -> Floats:
        work = [leaf.copy() for leaf in self._work]
        flat = [leaf.reshape(-1) for leaf in work]
        values = np.empty(len(places))
        for i, (k, j, step) in enumerate(
            zip(places.tensor.tolist(), places.index.tolist(), steps.tolist(), strict=True)
        ):
            before = flat[k][j]
            flat[k][j] = self.point[k][j] + step
            values[i] = self._guarded(work)
            flat[k][j] = before
        return values

    def _entries_in_a_batch(self, places: Places, steps: Floats) -> Floats:
        count = len(places)
        stacked = []
        for k, leaf in enumerate(self._work):
            rows = np.flatnonzero(places.tensor == k)
            if len(rows) == 0:
                stacked.append(np.broadcast_to(leaf, (count, *leaf.shape)))
                continue
            copies = np.repeat(leaf[None], count, axis=0)
            at = places.index[rows]
            copies.reshape(count, -1)[rows, at] = self.point[k][at] + steps[rows]
            stacked.append(copies)
        return self._guarded_batch(stacked)

    def _in_chunks(self, function: Callable[[Chunk], Floats], offsets: Floats, size: int) -> Floats:
        length = int(np.clip(BATCH_BYTES // max(size, 1), 1, BATCH_POINTS))
        return self.run(function, offsets, length)

    # -- claims and cotangents ---------------------------------------------------------------

    def _try_batch(self) -> None:
        """Demand that f_batch gives f's values, at x and at a point beside it."""
        beside = [w + BESIDE * (np.abs(w).max(initial=0.0) or 1.0) for w in self._work]
        beside = [b.astype(w.dtype) for b, w in zip(beside, self._work, strict=True)]
        single = [self._contract(self._call(self._work)), self._guarded(beside)]
        if not np.isfinite(single[1]):
            beside, single[1] = self._work, single[0]
        pairs = zip(self._work, beside, strict=True)
        batched = self._call_batch([np.stack([w, b]) for w, b in pairs])
        self.evaluations += 4
        size = float(np.abs(self.cotangent).sum()) * max(1e-300, *np.abs(single).tolist())
        for one, other in zip(single, batched.tolist(), strict=True):
            agrees = abs(other - one) <= 1e-6 * size or not np.isfinite(one)
            if not agrees and self._repeats(single[0]):
                raise InputError(f"Expected f_batch to agree with f but got {other} for {one}")

    def _repeats(self, value: float) -> bool:
        """Whether f gives this value again; if not, the pre-flight has something to say of f."""
        self.evaluations += 1
        return self._contract(self._call(self._work)) == value

    def _shaped(self, flat: Sequence[Floats]) -> list[NDArray[Any]]:
        pairs = zip(flat, self.shapes, self._dtypes, strict=True)
        return [leaf.reshape(shape).astype(dtype) for leaf, shape, dtype in pairs]

    def _flat(self, leaves: Sequence[NDArray[Any]]) -> tuple[Floats, ...]:
        self._note_dtype(leaves)
        return tuple(np.array(leaf, dtype=np.float64).ravel() for leaf in leaves)

    def _note_dtype(self, leaves: Sequence[NDArray[Any]]) -> None:
        self.claim_spacing = max(_spacing(leaf.dtype) for leaf in leaves)

    def _fits(self, result: object) -> bool:
        try:
            self.tree.match(result, argument="grad")
        except InputError:
            return False
        return True


def _as_number_array(result: object, name: str) -> NDArray[Any]:
    if isinstance(result, (np.ndarray, np.generic, numbers.Real)):
        array = np.asarray(result)
        if array.dtype.kind in "fiub" and not isinstance(result, np.ma.MaskedArray):
            return array
        came = f"dtype {array.dtype}"
    elif isinstance(result, complex):
        came = f"the complex number {result!r}"
    else:
        came = f"{name}(x)={reprlib.repr(result)} of {type(result)}"
    raise InputError(f"Expected {name} to return a real number or an array of them but got {came}")


def _spacing(dtype: np.dtype[Any]) -> float:
    """Relative spacing of the numbers of a dtype, but at least that of doubles."""
    return max(float(np.finfo(dtype).eps), EPS) if dtype.kind == "f" else EPS


def _demand_callable(name: str, value: object) -> None:
    if not callable(value):
        raise InputError(f"Expected a callable but got {name}={reprlib.repr(value)}")


def _takes_cotangent(grad: Callable[..., Any]) -> bool:
    """Whether `grad` asks for a second argument."""
    import inspect

    try:
        parameters = inspect.signature(grad).parameters.values()
    except (TypeError, ValueError):
        return False
    required = [
        p
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(required) == 2
