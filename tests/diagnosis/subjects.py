"""Subjects of NumPy functions, parts of a function, and what tests look at in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradproof.coverage.directions import Line
from gradproof.numerics.noise import floor
from gradproof.numerics.sampling import Floats
from gradproof.subjects.base import Places, Stage, Subject
from gradproof.subjects.choose import maker


def subject_of(f: Callable[[Any], Any], x: Any, cotangent: Any = None) -> Subject:
    """f around x."""
    rng = np.random.default_rng(0)
    make = maker(
        f, x, kwargs={}, loss=None, promote=True, rng=rng, engine=None, has_grad=True, layers=None
    )
    return make(f, None, cotangent)


def noise_of(subject: Subject) -> float:
    """Half a unit in the last place of f's value."""
    return float(floor(np.array([subject.value()]), unit=subject.value_spacing)[0])


def every_entry(subject: Subject, tensor: int = 0) -> Places:
    """All entries of one tensor."""
    index = np.arange(len(subject.point[tensor]))
    return Places(np.full(len(index), tensor), index)


def line_of(subject: Subject, grad: object) -> Line:
    """f along directions, beside what is claimed."""
    gradient = subject.claims(grad)
    rounding: list[Floats] = [1e-15 * np.abs(g) for g in gradient]
    return Line(subject, gradient, rounding, subject.value())


class Parts:
    """Parts of a function that note which of them are opened.

    Each is a sum of sines of an input "x" and a weight "w"; one is wrong in the gradients of
    `wrong`.
    """

    def __init__(self) -> None:
        self.opened: list[str] = []

    def __call__(
        self,
        name: str,
        wrong: str = "",
        *,
        inside: str | None = None,
        kind: str = "Part",
        weight: str | None = None,
        factor: float = 2.0,
    ) -> Stage:
        """A part; `weight` is f's name for its "w", its own name and w by default."""
        tensors: Mapping[str, str] = {"w": weight or f"{name}.w"}

        def f(x: Any) -> Any:
            return np.sum(np.sin(x["x"])) + np.sum(np.sin(x["w"]))

        def grad(x: Any) -> Any:
            return {key: np.cos(a) * (factor if key in wrong else 1.0) for key, a in x.items()}

        def opening() -> tuple[Subject, object]:
            self.opened.append(name)
            rng = np.random.default_rng(len(name))
            return subject_of(f, {"x": rng.normal(size=4), "w": rng.normal(size=3)}), grad

        return Stage(name, kind, inside, tensors, opening)
