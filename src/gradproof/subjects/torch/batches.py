"""Many evaluations at once by vmap, where f can be taken by it and gives the same values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradproof.subjects.base import Floats
from gradproof.subjects.torch.exceptions import is_own
from gradproof.subjects.torch.function import Function
from gradproof.subjects.torch.nudges import Nudge
from gradproof.subjects.torch.outputs import Cotangent, differentiable, real_view

#: Bytes that the lanes of a batch may hold together, and lanes in it at most.
BATCH_BYTES = 2**25
BATCH_LANES = 4096
#: What a lane holds beyond the results that can be seen: temporaries inside of operations.
UNSEEN = 2


class Batches:
    """f at many points at once.

    One tensor is moved at a time: what f computes before it uses that tensor is computed once for
    all lanes. There are two ways to move an entry, by its effect where the tensor is used (`Nudge`)
    and by writing the moved tensor out. Which of them serves is tried for each tensor: a way that
    raises, or gives other values than f itself, is not taken.

    Attributes:
        reason: why f, or a tensor of it, is evaluated point by point; None if it is not.
        looped: names of the tensors that it holds for.
    """

    def __init__(self, function: Function, cotangent: Callable[[], Cotangent]) -> None:
        self.reason: str | None = None
        self.looped: list[str] = []
        self._function, self._cotangent = function, cotangent
        self._ways: dict[int | None, str] = {}
        self._bytes: dict[int | None, int] = {}
        # What rounding alone puts between f's value and a batch's where nothing is moved: with it
        # taken off, an entry without effect is seen to have none.
        self._shifts: dict[int | None, float] = {}

    def is_settled(self, tensor: int | None) -> bool:
        """Whether it is known how to move this tensor (None: all at once)."""
        return tensor in self._ways

    def has_way(self, tensor: int | None) -> bool:
        """Whether batches serve for this tensor."""
        return self._ways[tensor] != "loop"

    def lanes(self, tensor: int | None) -> int:
        """How many points to evaluate at once."""
        held = UNSEEN * self._bytes.get(tensor, 0) + 1
        return int(np.clip(BATCH_BYTES // held, 1, BATCH_LANES))

    def settle(
        self,
        tensor: int | None,
        trial: Callable[[str], Floats],
        plain: Floats,
        blur: float,
    ) -> None:
        """Try the ways to move a tensor (None: all at once).

        Args:
            tensor: its position.
            trial: values at some points, evaluated the way that is named.
            plain: f's own values at these points, the first of them where nothing is moved.
            blur: by how much rounding may change a value.
        """
        # What f writes to a weight must be there when it reads it again.
        is_read = tensor is not None and self._function.names[tensor] not in self._function.mutates
        for way in ("nudge", "write") if is_read else ("write",):
            try:
                values = trial(way)
            except Exception as error:  # whatever vmap cannot take
                if is_own(error):
                    raise
                self.reason = self.reason or _first_line(error)
                continue
            if _agree(values, plain, blur):
                self._ways[tensor] = way
                if np.isfinite(plain[0]):
                    self._shifts[tensor] = float(plain[0] - values[0])
                return
            self.reason = self.reason or "vmap gives other values than f itself"
        self._ways[tensor] = "loop"
        self.looped.append("all together" if tensor is None else self._function.names[tensor])

    def entries(self, tensor: int, index: Any, values: Floats, way: str | None = None) -> Floats:
        """Values of f with the entries at these row-major indices at other values."""
        own = self._function.tensors[tensor]
        way = way or self._ways[tensor]
        before = self._function.point[tensor][index]

        def lane(place: Tensor, value: Tensor, step: Tensor) -> Tensor:
            nudge = Nudge(own, place, value, step)
            return self._lane(tensor, {id(own): nudge if way == "nudge" else nudge.tensor()})

        batch = [torch.as_tensor(index), torch.as_tensor(values), torch.as_tensor(values - before)]
        return self._run(lane, [b.to(own.device) for b in batch]) + self._shifts.get(tensor, 0.0)

    def along(self, points: Sequence[Floats], still: Sequence[bool] | None = None) -> Floats:
        """Values of f at points, one array (lanes, size) a tensor; some may be `still` at x."""
        moves = [True] * len(points) if still is None else [not s for s in still]
        tensors = [*compress(self._function.tensors, moves)]
        shapes = compress(self._function.shapes, moves)

        def lane(*moved: Tensor) -> Tensor:
            values = {}
            for own, tensor in zip(tensors, moved, strict=True):
                values[id(own)] = torch.view_as_complex(tensor) if own.is_complex() else tensor
            return self._lane(None, values)

        batch = [
            # A copy: f may write to it.
            torch.tensor(
                flat.reshape(len(flat), *shape),
                dtype=real_view(own.detach()).dtype,
                device=own.device,
            )
            for own, flat, shape in zip(tensors, compress(points, moves), shapes, strict=True)
        ]
        return self._run(lane, batch) + self._shifts.get(None, 0.0)

    def _lane(self, tensor: int | None, values: Mapping[int, Tensor | Nudge]) -> Tensor:
        result, mode = self._function.moved(values)
        written = sum(
            v.numel() * v.element_size() for v in values.values() if isinstance(v, Tensor)
        )
        self._bytes[tensor] = max(mode.bytes + written, self._bytes.get(tensor, 0))
        return self._cotangent().contract(mode.replaced(differentiable(result)))

    def _run(self, lane: Callable[..., Tensor], batch: list[Tensor]) -> Floats:
        with self._function.fresh(), warnings.catch_warnings():
            # On vmap's ways; what f itself warns of, its plain calls do too.
            warnings.simplefilter("ignore")
            mapped = torch.func.vmap(lane, randomness="same")
            values: Floats = mapped(*batch).detach().cpu().numpy()
        return values


def _agree(values: Floats, plain: Floats, blur: float) -> bool:
    """Whether a way's values are f's, to rounding, and so are their changes."""
    known = np.isfinite(plain)
    change = np.abs(plain - plain[0])[known]
    return bool(np.all(np.abs(values - plain)[known] <= 1e-4 * change + blur))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:200]
