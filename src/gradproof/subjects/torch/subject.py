"""PyTorch's modules, functions of tensors and custom autograd.Functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradproof._errors import InputError
from gradproof.report.model import Finding
from gradproof.subjects.base import Codes, Floats, Places, Stage
from gradproof.subjects.cotangent import moved_by
from gradproof.subjects.evaluator import Chunk, Evaluator
from gradproof.subjects.torch import remarks
from gradproof.subjects.torch.batches import Batches
from gradproof.subjects.torch.branches import Branches, crossed, trace
from gradproof.subjects.torch.claims import EPS, claimed, derived, detached, forward_slope, spacing
from gradproof.subjects.torch.constants import known_constants
from gradproof.subjects.torch.cuts import Cuts
from gradproof.subjects.torch.exceptions import OUTSIDE, is_own
from gradproof.subjects.torch.function import Function
from gradproof.subjects.torch.modules import differing_modules, joined
from gradproof.subjects.torch.outputs import Cotangent, differentiable, kept, to_array
from gradproof.subjects.torch.padding import padding_rows
from gradproof.subjects.torch.stages import find_stages
from gradproof.subjects.torch.surroundings import surroundings
from gradproof.tree import entry_name

#: Evaluations of a tensor's entries that are made one by one before a batch is tried.
FEW = 8
#: In tensors of so many entries and more, the batch that is tried is a larger one, so many
#: times as large: a rule for vmap may be wrong for large batches only.
MANY, MANY_LANES = 256, 11
#: Points at which a batch is compared with f itself: of one tensor, and of all together.
TRIED, TRIED_ALONG = 3, 2
#: Evaluations of a part of f along directions that are made one by one before batches are tried.
PATIENCE = 8
#: How far entries are moved to try whether batches give f's values, relative to their scale.
VISIBLE = 2.0**-5
#: Rounding that is allowed for there, in units of the values' spacing.
BLUR = 256.0


class TorchSubject(Evaluator):
    """f around its arguments and parameters, in float64 where f allows it (see `Subject`).

    Args:
        f: a module, a function, or a torch.autograd.Function.
        x: its argument, or a tuple of its positional ones.
        kwargs: its keyword arguments.
        loss: a function of what f returns.
        promote: whether to call it in double precision.
        cotangent: weights of its outputs, in their structure; None there leaves one out.
        rng: draws the weights where none are given, and the seed of f's own random numbers.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        x: object,
        *,
        kwargs: Mapping[str, Any],
        loss: Callable[[Any], Any] | None,
        promote: bool,
        cotangent: object,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(map)
        for name, given in (("f", f), *([] if loss is None else [("loss", loss)])):
            if not callable(given):
                raise InputError(f"Expected a callable but got {name}={given!r}")
        seed = int(rng.integers(2**31))

        def make(promote: bool) -> Function:
            return Function(f, x, kwargs, loss, promote=promote, seed=seed)

        self._refused: str | None = None
        self._function, self._outputs = self._prepared(make, promote)
        function, outputs = self._function, self._outputs
        self.names, self.shapes, self.point = function.names, function.shapes, function.point
        self.spacing = tuple(spacing(tensor) for tensor in function.tensors)
        self.cotangent = (
            Cotangent.draw(outputs, rng, lambda: self._outputs_at(moved_by(self.point, rng)))
            if cotangent is None
            else Cotangent.given(outputs, cotangent)
        )
        self.output_shape = self.cotangent.shapes
        self.value_spacing = max(spacing(outputs[path]) for path in self.cotangent.weights)
        self.claim_spacing = EPS
        self.constants = known_constants(function, outputs.values())
        self._disconnected: tuple[str, ...] | None = None
        #: Entries that are taken for constants.
        self._held: dict[int, NDArray[np.bool_]] = {}
        self._batches = Batches(function, lambda: self.cotangent)
        self._patience = 0
        self._rng = np.random.default_rng(seed)
        self._here: Branches | None = None

    @property
    def weights(self) -> tuple[Floats, ...]:
        """The cotangent (see `Subject`)."""
        return tuple(self.cotangent.weights.values())

    @weights.setter
    def weights(self, weights: Sequence[Floats]) -> None:
        shapes = self.cotangent.shapes
        self.cotangent = Cotangent(shapes, dict(zip(shapes, weights, strict=True)))

    @property
    def outputs(self) -> tuple[Floats, ...]:
        """What f returned first (see `Subject`)."""
        return tuple(to_array(self._outputs[path]) for path in self.cotangent.weights)

    def session(self) -> AbstractContextManager[None]:
        """Random numbers, default dtype, reduced precision and grad mode are put back."""
        return surroundings(is_double=self._function.is_promoted)

    def value(self) -> float:
        """F at the point (see `Subject`)."""
        return self._plain() if self.take(1) else np.nan

    def at_entries(self, places: Places, offsets: Floats) -> Floats:
        """Values with one entry moved (see `Subject`)."""
        values = np.empty(len(places))
        for tensor in np.flatnonzero(np.bincount(places.tensor)).tolist():
            rows = np.flatnonzero(places.tensor == tensor)
            index = places.index[rows]
            moved = self.point[tensor][index] + offsets[rows]
            if tensor in self._held:
                moved = np.where(self._held[tensor][index], self.point[tensor][index], moved)
            values[rows] = self._entries(tensor, index, moved)
        return values

    def along(
        self, directions: Sequence[Floats], lanes: Codes, offsets: Floats, base: Sequence[Floats]
    ) -> Floats:
        """Values at base + offset * direction (see `Subject`)."""
        # A direction within one tensor leaves the others where they are.
        pairs = zip(base, directions, self.point, strict=True)
        still = [start is here and not way.any() for start, way, here in pairs]

        def points(chunk: Chunk) -> list[Floats]:
            which, steps = chunk
            moved = [
                np.broadcast_to(start, (len(which), len(start)))
                if is_still
                else (start if start.ndim == 1 else start[lanes[which]])
                + steps[:, None] * way[lanes[which]]
                for start, way, is_still in zip(base, directions, still, strict=True)
            ]
            for tensor, held in self._held.items():
                if not still[tensor]:
                    moved[tensor][:, held] = self.point[tensor][held]
            return moved

        def one(chunk: Chunk) -> Floats:
            return self._one_by_one(points(chunk))

        def many(chunk: Chunk) -> Floats:
            moved = points(chunk)
            return self._guarded_batch(
                lambda: self._batches.along(moved, still),
                lambda count: self._one_by_one([flat[:count] for flat in moved]),
                len(chunk[0]),
            )

        if self._function.cuts is not None:
            return self.run(one, offsets, FEW)
        if not self._batches.is_settled(None):
            self._patience -= len(offsets)
            if self._patience >= 0 or not self.can_afford(2 * TRIED_ALONG):
                return self.run(one, offsets, FEW)
            self._settle_along()
        batched = self._batches.has_way(None) and not all(still)
        return self.run(many if batched else one, offsets, self._batches.lanes(None))

    def has_claim(self, grad: object) -> bool:
        """Autograd's is there without one."""
        return True

    def is_repeatable(self, grad: object) -> bool:
        """Autograd can be asked again, and so can a callable."""
        return grad is None or callable(grad)

    def claims(self, grad: object, *, at: Sequence[Floats] | None = None) -> tuple[Floats, ...]:
        """The gradient by autograd, or the one that `grad` claims (see `Subject`)."""
        if grad is None and self._disconnected is None:
            self._disconnected = self._find_disconnected()
            # A call of its own: a backward that is right only at first shows in those that follow.
            gradient, _ = derived(self._function, self.cotangent)
            self._held = padding_rows(self._function.modules, self._function.tensors, gradient)
        with self._function.at(self.point if at is None else at):
            try:
                gradient, self.claim_spacing = (
                    derived(self._function, self.cotangent)
                    if grad is None
                    else claimed(grad, self._function, self.cotangent, self._outputs)
                )
            except RuntimeError as error:
                if at is None or is_own(error):
                    raise
                raise ArithmeticError(f"outside of f's domain: {error}") from error
        return gradient

    def describe(self, tensor: int, index: int) -> str:
        """An entry as one writes it: `conv1.weight[3, 0, 2, 1]`."""
        return entry_name(self.names[tensor], self.shapes[tensor], index)

    def findings(self) -> tuple[Finding, ...]:
        """On precision, memory, randomness and batches (see `Subject`)."""
        function = self._function
        return (
            *remarks.about_precision(function, self._outputs, self._refused),
            *remarks.about_memory(function),
            *remarks.about_padding([self.names[k] for k in self._held]),
            *remarks.about_iterations(function),
            *remarks.about_randomness(function),
            *remarks.about_batches(self._batches),
            *remarks.about_outputs(self._disconnected or ()),
        )

    def random_parts(self) -> tuple[str, ...]:
        """The first modules in f whose results differ between two calls on the same input."""
        return differing_modules(self._call, self._function.modules)

    def forward_slope(self, direction: Sequence[Floats]) -> float | None:
        """The derivative along a direction by forward mode (see `Subject`)."""
        ways = [way.copy() for way in direction]
        for tensor, held in self._held.items():
            ways[tensor][held] = 0.0
        return forward_slope(self._function, self.cotangent, ways)

    def stages(self, grad: object) -> Sequence[Stage]:
        """Calls of modules and of autograd.Functions, where autograd's is the claim."""
        if grad is not None:
            return ()
        with self.session():
            return find_stages(self._function, self.cotangent, self._part)

    @contextmanager
    def cuts_held(self) -> Iterator[tuple[str, ...]]:
        """What is computed without a graph is held as it is at the point (see `Subject`)."""
        cuts = Cuts()
        self._function.cuts = cuts
        try:
            if self.take(2) == 2:
                self._guarded()
                moved = [flat + move for flat, move in zip(self.point, self._moves(), strict=True)]
                self._one_by_one([flat[None] for flat in moved])
            yield tuple(cuts.moved)
        finally:
            self._function.cuts = None

    def crossings_along(
        self, directions: Sequence[Floats], offsets: Floats
    ) -> Sequence[Mapping[str, int]] | None:
        """Branches taken otherwise than at the point (see `Subject`)."""
        if not self.can_afford(len(offsets) + 1):
            return None
        here, found = self._branches_here(), []
        for lane, offset in enumerate(offsets):
            pairs = zip(self.point, directions, strict=True)
            with self._function.at([x + offset * way[lane] for x, way in pairs]):
                found.append(self._crossed(here))
        return found

    def crossings_at(self, places: Places, offsets: Floats) -> Sequence[Mapping[str, int]] | None:
        """Branches taken otherwise than at the point (see `Subject`)."""
        if not self.can_afford(len(offsets) + 1):
            return None
        here, found = self._branches_here(), []
        for tensor, index, offset in zip(places.tensor, places.index, offsets, strict=True):
            moved = float(self.point[tensor][index] + offset)
            with self._function.at_entry(int(tensor), int(index), moved):
                found.append(self._crossed(here))
        return found

    def _part(self, f: Callable[..., Any], x: tuple[Any, ...], **others: Any) -> TorchSubject:
        """A subject of a part of f, which is in double precision where f is."""
        before = torch.get_default_dtype()
        try:
            if self._function.is_promoted:
                torch.set_default_dtype(torch.float64)
            part = TorchSubject(f, x, promote=False, rng=np.random.default_rng(0), **others)
        finally:
            torch.set_default_dtype(before)
        part._function.is_promoted = self._function.is_promoted
        part._patience = PATIENCE
        modules = (m for root in part._function.modules.values() for m in root.modules())
        if not any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in modules):
            # Its backward has run before, in f's, and it has no padding rows to be found.
            part._disconnected = ()
        return part

    # -- calling f ---------------------------------------------------------------------------

    def _prepared(
        self, make: Callable[[bool], Function], promote: bool
    ) -> tuple[Function, dict[str, Tensor]]:
        """F in double precision, or as it came if it refuses that."""
        function = make(promote)
        if not function.is_promoted:
            return function, self._first_call(function)
        try:
            outputs = self._first_call(function)
            with surroundings(is_double=True):
                derived(function, Cotangent.draw(outputs, np.random.default_rng(0)))
            return function, outputs
        except InputError:
            raise
        except Exception as error:
            refusal = error
        kept = make(False)
        outputs = self._first_call(kept)
        self._refused = f"{type(refusal).__name__}: {refusal}".partition("\n")[0][:200]
        return kept, outputs

    def _first_call(self, function: Function) -> dict[str, Tensor]:
        try:
            with surroundings(is_double=function.is_promoted):
                return function.first_call()
        finally:
            self.evaluations += function.first_calls

    def _find_disconnected(self) -> tuple[str, ...]:
        """Outputs that autograd takes for constants and that are none."""
        paths = detached(self._function, self.cotangent)
        if not paths or not self.take(1):
            return ()
        moved = [flat + move for flat, move in zip(self.point, self._moves(), strict=True)]
        with self._function.at(moved), self._function.fresh():
            there = kept(self._function.call())
        return tuple(path for path in paths if not torch.equal(there[path], self._outputs[path]))

    def _outputs_at(self, point: Sequence[Floats]) -> dict[str, Tensor] | None:
        """F's outputs at another point, None outside of its domain."""
        self.evaluations += 1
        function = self._function
        try:
            with surroundings(is_double=function.is_promoted), function.at(point), function.fresh():
                return kept(function.call())
        except InputError:
            raise
        except OUTSIDE:
            return None
        except RuntimeError as error:
            if is_own(error):
                raise
            return None

    def _call(self) -> object:
        with self._function.fresh():
            return self._function.call()

    def _plain(self) -> float:
        # Inside: what f returns may be an argument that it wrote to.
        with self._function.fresh():
            return self.cotangent.contract(differentiable(self._function.call())).item()

    def _guarded(self) -> float:
        try:
            return self._plain()
        except InputError:
            raise
        except OUTSIDE:
            return np.nan
        except RuntimeError as error:
            if is_own(error):
                raise
            return np.nan

    def _one_by_one(self, points: Sequence[Floats]) -> Floats:
        values = np.empty(len(points[0]))
        for lane in range(len(values)):
            with self._function.at([flat[lane] for flat in points]):
                values[lane] = self._guarded()
        return values

    def _entries_one_by_one(self, tensor: int, index: Codes, moved: Floats) -> Floats:
        values = np.empty(len(index))
        for i, (place, value) in enumerate(zip(index.tolist(), moved.tolist(), strict=True)):
            with self._function.at_entry(tensor, place, value):
                values[i] = self._guarded()
        return values

    def _guarded_batch(
        self, batch: Callable[[], Floats], loop: Callable[[int], Floats], count: int
    ) -> Floats:
        try:
            return batch()
        except InputError:
            raise
        except Exception as error:
            if is_own(error):
                raise
            # One point outside the domain spoils the batch; any other error comes again.
            values = np.full(count, np.nan)
            granted = self.take(count)
            values[:granted] = loop(granted)
            return values

    def _entries(self, tensor: int, index: Codes, moved: Floats) -> Floats:
        def one(chunk: Chunk) -> Floats:
            return self._entries_one_by_one(tensor, index[chunk[0]], moved[chunk[0]])

        def many(chunk: Chunk) -> Floats:
            where = chunk[0]
            return self._guarded_batch(
                lambda: self._batches.entries(tensor, index[where], moved[where]),
                lambda count: one((where[:count], chunk[1][:count])),
                len(where),
            )

        if self._function.cuts is not None:
            return self.run(one, moved, FEW)
        if not self._batches.is_settled(tensor):
            lanes = TRIED if len(self.point[tensor]) < MANY else TRIED * MANY_LANES
            if len(index) < FEW or not self.can_afford(TRIED + lanes):
                return self.run(one, moved, FEW)
            self._settle_entries(tensor, lanes)
        batched = self._batches.has_way(tensor)
        return self.run(many if batched else one, moved, self._batches.lanes(tensor))

    def _settle_entries(self, tensor: int, lanes: int) -> None:
        flat = self.point[tensor]
        index = self._rng.integers(len(flat), size=TRIED)
        scale = np.fmax(np.abs(flat[index]), np.sqrt(np.mean(flat**2))) + (not flat.any())
        moved = flat[index] + np.array([0.0, VISIBLE, -VISIBLE]) * scale
        plain = self._entries_one_by_one(tensor, index, moved)
        self.evaluations += TRIED + lanes
        index, moved, plain = (np.resize(part, lanes) for part in (index, moved, plain))
        self._batches.settle(
            tensor,
            lambda way: self._batches.entries(tensor, index, moved, way),
            plain,
            self._blur(tensor),
        )

    def _settle_along(self) -> None:
        pairs = zip(self.point, self._moves(), strict=True)
        points = [np.stack([flat, flat + move]) for flat, move in pairs]
        plain = self._one_by_one(points)
        self.evaluations += 2 * TRIED_ALONG
        self._batches.settle(None, lambda way: self._batches.along(points), plain, self._blur(None))

    def _moves(self) -> list[Floats]:
        """A random move of all entries that can be seen."""
        scales = [np.fmax(np.abs(x), np.sqrt(np.mean(x**2))) if len(x) else x for x in self.point]
        return [
            VISIBLE * self._rng.uniform(-1.0, 1.0, len(s)) * (s if s.any() else 1.0) for s in scales
        ]

    def _blur(self, tensor: int | None) -> float:
        """By how much another order of summation may change a value."""
        coarsest = max(self.value_spacing, *(self.spacing if tensor is None else [EPS]))
        coarsest = max(coarsest, self.spacing[tensor or 0])
        weights = self.cotangent.weights
        terms = (np.abs(weights[p] * to_array(self._outputs[p])).sum() for p in weights)
        return BLUR * coarsest * float(sum(terms))

    def _crossed(self, here: Branches) -> Mapping[str, int]:
        """Branches taken otherwise than `here`; the edge of f's domain is one too."""
        edge = {"the edge of f's domain": 1}
        try:
            return crossed(here, self._branches())
        except InputError:
            raise
        except OUTSIDE:
            return edge
        except RuntimeError as error:
            if is_own(error):
                raise
            return edge

    def _branches_here(self) -> Branches:
        if self._here is None:
            self._here = self._branches()
        return self._here

    def _branches(self) -> Branches:
        self.evaluations += 1
        function = self._function
        root: nn.Module | None = function.module or joined(function.modules)
        with function.fresh():
            return trace(function.call, root)
