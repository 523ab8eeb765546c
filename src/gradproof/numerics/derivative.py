"""The derivative of a function of one real variable, with an error bar."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gradproof._errors import InputError
from gradproof.numerics.estimate import Estimate, estimate
from gradproof.numerics.sampling import Floats, Lanes


def derivative(
    phi: Callable[[float], float], t0: float = 0.0, *, scale: float | None = None
) -> Estimate:
    """The derivative of `phi` at `t0`: the true one lies in `value` ± `error`.

    Values of NaN, infinity or complex, and ArithmeticError or ValueError raised by `phi`, are taken
    as points outside its domain; every other exception is the caller's.

    Args:
        phi: a function of one float.
        t0: the point.
        scale: the size of the surroundings in which `phi` is one smooth piece, about; steps are
            taken up to a quarter of it at first. Default: |t0|, or 1 at 0.

    Raises:
        InputError: `t0` or `scale` is not a finite number, or `phi` returns something that is not
            a real number.

    >>> estimate = derivative(math.sin, 1.0)
    >>> abs(estimate.value - math.cos(1.0)) <= estimate.error < 1e-12
    True
    >>> kinked = derivative(abs, 0.0)
    >>> round(kinked.left, 6), round(kinked.right, 6)
    (-1.0, 1.0)
    """
    point = _finite("t0", t0)
    surroundings = abs(point) or 1.0
    if scale is not None:
        surroundings = _finite("scale", scale)
        if surroundings <= 0:
            raise InputError(f"Expected a positive number but got scale={scale!r}")

    def sampler(lanes: Lanes, offsets: Floats, /) -> Floats:
        return np.array([_call(phi, point + float(t)) for t in offsets])

    with np.errstate(all="ignore"):
        return estimate(sampler, np.array([point]), np.array([surroundings]))[0]


def _finite(name: str, value: object) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value):
        return float(value)
    raise InputError(f"Expected a finite real number but got {name}={value!r}")


def _call(phi: Callable[[float], float], x: float) -> float:
    try:
        value = phi(x)
    except (ArithmeticError, ValueError):
        return math.nan
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, (int, float, np.integer, np.floating)):
        return float(value)
    if isinstance(value, (complex, np.complexfloating)):
        return math.nan  # Python's (-1.0)**1.5: outside the domain of the real function
    raise InputError(f"Expected phi to return a real number but got phi({x!r})={value!r}")
