"""The protocol between what is checked and how: a scalar function around a point.

Everything above sees a subject as a function of *entries* and *directions*; nested containers,
frameworks, cotangents and batches end here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Places:
    """Entries of tensors: `tensor[i]` is a position in `names`, `index[i]` a row-major index."""

    tensor: Codes
    index: Codes

    def __len__(self) -> int:
        return len(self.tensor)

    def __getitem__(self, where: NDArray[np.bool_] | Codes) -> Places:
        return Places(self.tensor[where], self.index[where])


class Subject(Protocol):
    """A scalar function of named tensors, around one point.

    `point` holds the tensors flattened, in float64 (exactly the values that f sees). An
    array-valued f is contracted with a cotangent, so that every value is one number. Points outside
    the domain (f returns NaN or infinity, or raises ArithmeticError or ValueError) have the value
    NaN.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    point: tuple[Floats, ...]
    evaluations: int

    def at_entries(self, places: Places, offsets: Floats) -> Floats:
        """Values with one entry moved, x[place] + offset, one evaluation each."""
        ...

    def along(
        self, directions: Sequence[Floats], lanes: Codes, offsets: Floats, base: Sequence[Floats]
    ) -> Floats:
        """Values at base + offset * direction; `directions` are (lanes, size) per tensor.

        `base` has the shapes of `directions` or is a point.
        """
        ...
