"""Numbers and places as they stand in sentences."""

from __future__ import annotations

import numpy as np


def number(value: float, error: float) -> str:
    """A number with the digits that it is good for, two at least and twelve at most.

    Zeros at its end are left out: how well it is known is told beside it.

    >>> number(32.0, 2e-9), number(-0.5, 3e-3), number(1.0 / 3.0, 1e-6), number(2e-5, 1e-9)
    ('32', '-0.5', '0.33333', '2e-05')
    """
    if value == 0.0 or not np.isfinite(value):
        return f"{value:.3g}"
    good = 10.0 if error <= 0.0 else float(np.log10(abs(value) / error))
    digits = int(np.clip(np.floor(good), 2, 12))
    if not 1e-4 <= abs(value) < 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_without_zeros(mantissa)}e{exponent}"
    places = digits - 1 - int(np.floor(np.log10(abs(value))))
    return _without_zeros(f"{value:.{max(places, 0)}f}")


def _without_zeros(decimal: str) -> str:
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal


def within(error: float) -> str:
    """A half-width.

    >>> within(2.04e-9)
    '+- 2e-09'
    """
    return f"+- {error:.0e}"


def several(parts: list[str], word: str = "and") -> str:
    """A list in words.

    >>> several(["a"]), several(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" {word} {parts[-1]}"


def axes_of(axes: tuple[int, ...]) -> str:
    """Axes in words.

    >>> axes_of((2,)), axes_of((2, 3))
    ('axis 2', 'axes 2 and 3')
    """
    return ("axis " if len(axes) == 1 else "axes ") + several([str(a) for a in axes])


def entry(index: int, shape: tuple[int, ...]) -> str:
    """An entry as it is written.

    >>> entry(7, (2, 4)), entry(0, ())
    ('[1, 3]', '[]')
    """
    return "[" + ", ".join(str(int(i)) for i in np.unravel_index(index, shape)) + "]"
