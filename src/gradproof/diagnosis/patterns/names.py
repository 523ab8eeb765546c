"""Numbers that gradients are wrong by, by name: 2, the batch size, products of two sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gradproof.diagnosis.patterns.comparison import ENOUGH, ROUNDING, Line
from gradproof.diagnosis.patterns.wording import several

#: Of how many names that fit equally well the sentence tells.
MOST_NAMES = 3


@dataclass(frozen=True)
class Named:
    """A number with a name; `rank` is how many simpler ones there are, from 1."""

    value: float
    name: str
    rank: int
    constants: tuple[str, ...] = ()


def numbers(constants: Mapping[str, float], shape: tuple[int, ...]) -> list[Named]:
    """Numbers and what they are, the simplest first; of equal ones all that are equally simple.

    Args:
        constants: the known ones by name.
        shape: of the tensor, whose lengths are known too.
    """
    found: list[Named] = []
    for level, candidates in enumerate(_levels(constants, shape)):
        names: dict[float, list[tuple[str, tuple[str, ...]]]] = {}
        for value, name, of in candidates:
            if np.isfinite(value) and value > 0.0 and value != 1.0:
                names.setdefault(_rounded(value), []).append((name, of))
        rank = len(found)
        for value, all_names in names.items():
            if any(abs(value / other.value - 1.0) < 1e-9 for other in found[:rank]):
                continue
            shown = several(list(dict.fromkeys(n for n, _ in all_names))[:MOST_NAMES])
            of = tuple(dict.fromkeys(c for _, cs in all_names for c in cs))
            found.append(Named(value, shown, rank + len(names) if level else 1 + rank, of))
    return found


def match(line: Line, constants: Mapping[str, float], shape: tuple[int, ...]) -> Named | None:
    """The simplest number that a ratio may be, its sign aside; None if that says little.

    It says little where so many simpler numbers have names that one of them would have been hit by
    chance, or where the ratio is known to so few digits that several names fit.
    """
    low, high = sorted((abs(line.low), abs(line.high)))
    if line.low * line.high <= 0.0:
        return None
    width = np.log(high / low) + 2.0 * ROUNDING
    for named in numbers(constants, shape):
        slack = ROUNDING * named.value
        if low - slack <= named.value <= high + slack:
            return named if named.rank * width < 0.05 else None
    return None


def digits_of_name(line: Line, named: Named) -> float:
    """What speaks for a named number: no entry was needed to find it, but the list of names."""
    return line.all_digits - float(np.log10(named.rank))


def is_enough(digits: float) -> bool:
    """Whether an explanation that `digits` speak for is no accident."""
    return digits >= ENOUGH


def _levels(
    constants: Mapping[str, float], shape: tuple[int, ...]
) -> Iterator[list[tuple[float, str, tuple[str, ...]]]]:
    yield [(2.0, "", ()), (0.5, "", ())]
    known = [(value, name, (name,)) for name, value in constants.items() if value > 0.0]
    yield [triple for value, name, of in known for triple in _and_inverse(value, name, of)]
    lengths = [
        (float(n), f"the length of axis {axis}", ()) for axis, n in enumerate(shape) if n > 1
    ]
    if len(lengths) > 1:
        lengths.append((float(np.prod(shape)), "the number of its entries", ()))
    yield [triple for value, name, _ in lengths for triple in _and_inverse(value, name, ())]
    sizes = known + lengths
    yield [(2.0**0.5, "the square root of 2", ()), (0.5**0.5, "1 over the square root of 2", ())]
    yield [triple for value, name, of in sizes for triple in _powers(value, name, of)]
    yield [triple for pair in combinations(sizes, 2) for triple in _products(*pair)]
    yield [triple for value, name, of in sizes for triple in _with_two(value, name, of)]


def _and_inverse(
    value: float, name: str, of: tuple[str, ...]
) -> list[tuple[float, str, tuple[str, ...]]]:
    return [(value, name, of), (1.0 / value, f"1 over {name}", of)]


def _powers(
    value: float, name: str, of: tuple[str, ...]
) -> list[tuple[float, str, tuple[str, ...]]]:
    found = []
    for power, words in ((0.5, "the square root of {}"), (2.0, "the square of {}")):
        found += _and_inverse(value**power, words.format(name), of)
    if value > 1.0:  # the variance of n, or of n - 1
        found += [(value / (value - 1.0), f"n / (n - 1), n being {name}", of)]
        found += [((value - 1.0) / value, f"(n - 1) / n, n being {name}", of)]
        found += [(value - 1.0, f"{name} less 1", of), (value + 1.0, f"{name} plus 1", of)]
    else:  # to keep and to drop
        found += _and_inverse(1.0 - value, f"1 less {name}", of) if value < 1.0 else []
        if value < 1.0:
            found += [(value / (1.0 - value), f"p / (1 - p), p being {name}", of)]
            found += [((1.0 - value) / value, f"(1 - p) / p, p being {name}", of)]
    return found


def _products(
    one: tuple[float, str, tuple[str, ...]], other: tuple[float, str, tuple[str, ...]]
) -> list[tuple[float, str, tuple[str, ...]]]:
    (a, first, of), (b, second, of_other) = one, other
    both = of + of_other
    return [
        *_and_inverse(a * b, f"{first} times {second}", both),
        (a / b, f"{first} over {second}", both),
        (b / a, f"{second} over {first}", both),
    ]


def _with_two(
    value: float, name: str, of: tuple[str, ...]
) -> list[tuple[float, str, tuple[str, ...]]]:
    return [
        *_and_inverse(2.0 * value, f"twice {name}", of),
        (0.5 * value, f"half {name}", of),
        (2.0 / value, f"2 over {name}", of),
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.14g}")
