"""The protocol between what is checked and how: a scalar function around a point.

Everything above sees a subject as a function of *entries* and *directions*; nested containers,
frameworks, cotangents and batches end here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gradproof.report.model import Finding
from gradproof.subjects.budget import Budget

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


@dataclass(frozen=True)
class Stage:
    """A part of f where it is really used: a layer, a custom function.

    Attributes:
        name: as its user knows it: `layer3.0.conv1`.
        kind: what it is: `Conv2d`, `custom_vjp relu`.
        inside: the name of the stage that it is a part of; None for one that is part of f alone.
        tensors: the names of f's tensors that are tensors of this part too, by the names that they
            have in it: {"weight": "layer3.0.conv1.weight"}. Its inputs are not among them.
        open: makes the part a subject around the inputs that it has in f, contracted with the
            cotangent that reaches it in f's own backward pass, and returns with it the `grad` that
            claims what the part's own backward makes of that.
    """

    name: str
    kind: str
    inside: str | None
    tensors: Mapping[str, str]
    open: Callable[[], tuple[Subject, object]]


class Subject(Protocol):
    """A scalar function of named tensors, around one point.

    An array-valued f is contracted with a cotangent, so that every value is one number. Points
    outside the domain (f returns NaN or infinity, or raises ArithmeticError or ValueError) have the
    value NaN.

    Attributes:
        names: of the tensors.
        shapes: of the tensors.
        point: the tensors flattened, in float64 (exactly the values that f sees).
        spacing: per tensor, the relative spacing of the numbers that f can be given there.
        value_spacing: that of the numbers that f returns.
        claim_spacing: that of the numbers in the last claim.
        output_shape: of f's value.
        cotangent: what it is contracted with.
        evaluations: made so far.
        on_progress: called with the evaluations made so far.
        budget: what evaluations are taken from.
        exhausted: which budget ran out, in a sentence; None as long as it lasts. What is asked for
            beyond it has the value NaN.
        refused: evaluations that were asked for beyond it.
        constants: numbers that a gradient is often wrong by, with what they are: {"the batch
            size": 32}.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    point: tuple[Floats, ...]
    spacing: tuple[float, ...]
    value_spacing: float
    claim_spacing: float
    output_shape: Any
    cotangent: Any
    evaluations: int
    on_progress: Callable[[int], None]
    budget: Budget
    constants: Mapping[str, float]

    @property
    def weights(self) -> tuple[Floats, ...]:
        """The cotangent, one array for each output; complex numbers are pairs of reals.

        What is put in its place is what f is contracted with from then on.
        """
        ...

    @weights.setter
    def weights(self, weights: Sequence[Floats]) -> None: ...

    @property
    def outputs(self) -> tuple[Floats, ...]:
        """What f returns at the point, in the shapes of `weights`."""
        ...

    @property
    def exhausted(self) -> str | None:
        """Which budget ran out."""
        ...

    @property
    def refused(self) -> int:
        """Evaluations asked for beyond it."""
        ...

    def can_afford(self, count: int) -> bool:
        """Whether the budget suffices for `count` more evaluations."""
        ...

    def session(self) -> AbstractContextManager[None]:
        """Surroundings in which all else is called; what it changes is put back at its end."""
        ...

    def value(self) -> float:
        """F at the point; never swallows an exception, and NaN stays NaN."""
        ...

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

    def has_claim(self, grad: object) -> bool:
        """Whether there is a claim: `grad`, or automatic differentiation in its place."""
        ...

    def is_repeatable(self, grad: object) -> bool:
        """Whether the claim can be computed again, also elsewhere."""
        ...

    def claims(self, grad: object, *, at: Sequence[Floats] | None = None) -> tuple[Floats, ...]:
        """The gradient that `grad` claims, contracted with the cotangent, flattened per tensor."""
        ...

    def describe(self, tensor: int, index: int) -> str:
        """An entry as one writes it: `conv1.weight[3, 0, 2, 1]`."""
        ...

    def findings(self) -> tuple[Finding, ...]:
        """What is to be known of f and of how it was evaluated: precision, writing to x, loops."""
        ...

    def random_parts(self) -> tuple[str, ...]:
        """Names of the parts of f whose results differ between two calls, where they are known."""
        ...

    def forward_slope(self, direction: Sequence[Floats]) -> float | None:
        """The derivative along a direction by forward-mode differentiation, where there is one."""
        ...

    def stages(self, grad: object) -> Sequence[Stage]:
        """The parts of f that have a backward pass of their own, in the order of the forward one.

        Empty where they are not known, or where `grad` is not made by them.
        """
        ...

    def cuts_held(self) -> AbstractContextManager[tuple[str, ...]]:
        """Inside, what f computes without a graph is held at the values that it has at the point.

        Its value says where in f's code that is, as far as it changes with x; it is empty where
        nothing is known to be cut off.
        """
        ...

    def crossings_along(
        self, directions: Sequence[Floats], offsets: Floats
    ) -> Sequence[Mapping[str, int]] | None:
        """Branches that f takes otherwise at point + offset * direction than at the point.

        One mapping a lane, from the places in f where it branches (modules, operations) to the
        number of units that take another branch; an empty one says that no kink was crossed. None
        where f cannot be traced.
        """
        ...

    def crossings_at(self, places: Places, offsets: Floats) -> Sequence[Mapping[str, int]] | None:
        """The same with one entry moved."""
        ...
