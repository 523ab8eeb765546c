"""The gradient of one tensor, as claimed and as found: all that a pattern is looked for in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gradproof.numerics.agreement import Floats

Bools = NDArray[np.bool_]
Codes = NDArray[np.intp]

#: Names of arrays that mean more than others do; the keys of `Field.arrays` are shown in sentences.
#: The tensor's own values have a name that ends in " itself": "weight itself".
ITSELF = " itself"
INCOMING = "the incoming gradient"
RETURNED = "the output"
SECOND_CALL = "a second call of the gradient"


@dataclass(frozen=True)
class Alternative:
    """What the claim would be if a certain mistake had been made, at the field's entries.

    Attributes:
        kind: of the mistake: "flipped-kernel", "transposed", "stale", "not-summed".
        message: completes "the claim is what comes out where ...": "the kernels are flipped".
        numeric: the values, (k,).
        error: half-width of the bar around each, (k,).
    """

    kind: str
    message: str
    numeric: Floats
    error: Floats


@dataclass(frozen=True)
class Field:
    """The gradient of one tensor: as claimed, and as found at some of its entries.

    Attributes:
        name: of the tensor.
        shape: of the tensor.
        claim: at all entries, row-major, (size,).
        index: row-major indices of the entries that were looked at, sorted and unique, (k,).
        numeric: what was found there, (k,).
        error: half-width of the bar around it, the claim's own rounding included, (k,). An entry
            whose numeric value is not a number, or whose bar is infinite, says nothing.
        is_complete: whether entries that were not looked at are known to be right.
        arrays: (size,) arrays that the error may be made of, by what they are.
        constants: numbers that it may be made of, by what they are.
        alternatives: gradients that the claim may be instead of the right one.
    """

    name: str
    shape: tuple[int, ...]
    claim: Floats
    index: Codes
    numeric: Floats
    error: Floats
    is_complete: bool
    arrays: Mapping[str, Floats] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    alternatives: Sequence[Alternative] = ()


@dataclass(frozen=True)
class Explanation:
    """What kind of mistake makes the claim out of the right gradient.

    Attributes:
        kind: of the mistake.
        message: a sentence, without the tensor's name at its start.
        evidence: numbers: a ratio and how well it is known, the entries it holds on, ...
        corrected: the claim with the mistake undone, (size,); None where it is known at the entries
            looked at only.
    """

    kind: str
    message: str
    evidence: Mapping[str, object]
    corrected: Floats | None


@dataclass(frozen=True)
class Match:
    """An explanation that agrees with all that was found, and how simple it is.

    `cost` counts what had to be chosen: 1 for a whole tensor and no number, one more for each
    number that was found from the data, half for one with a name, and so on; see `explain`.
    """

    cost: float
    explanation: Explanation
