"""The gradient of one tensor: as claimed, and as found at some of its entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Alternative:
    kind: str
    message: str
    numeric: Floats
    error: Floats


@dataclass(frozen=True)
class Field:
    name: str
    shape: tuple[int, ...]
    claim: Floats
    index: Codes
    numeric: Floats
    error: Floats
    is_complete: bool
    arrays: Mapping[str, Floats]
    constants: Mapping[str, float]
    alternatives: Sequence[Alternative] = ()
