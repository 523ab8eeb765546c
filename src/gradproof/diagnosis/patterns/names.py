"""Numbers that gradients are wrong by, by name: 2, the batch size, products of two sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from gradproof.diagnosis.patterns.comparison import ENOUGH, ROUNDING, Line
from gradproof.diagnosis.patterns.wording import several

#: How many names of one number a sentence tells.
MOST_NAMES = 3
#: Chance that one of the simpler named numbers would have been hit, above which no name is told.
CHANCE = 0.05
#: The least n for which n / (n - 1) is looked for: 3 / 2 may be anything.
LEAST_COUNT = 4.0


@dataclass(frozen=True)
class Named:
    """A number with a name.

    Attributes:
        value: the number.
        name: what it is; empty for a 2 and a 1/2 that are nothing else.
        rank: its place among the named numbers, the simplest first, from 1.
        constants: the known ones that it is made of.
    """

    value: float
    name: str
    rank: int
    constants: tuple[str, ...]


@dataclass(frozen=True)
class _Part:
    value: float
    name: str
    constants: tuple[str, ...]
    is_made: bool = False  # of others, so that its name is a formula


def with_lengths(constants: Mapping[str, float], shape: tuple[int, ...]) -> dict[str, float]:
    """The known numbers, and with them the lengths of a tensor's axes.

    >>> with_lengths({"the batch size": 32.0}, (4, 1, 3))  # doctest: +NORMALIZE_WHITESPACE
    {'the batch size': 32.0, 'the length of axis 0': 4.0, 'the length of axis 2': 3.0,
     'the number of entries': 12.0}
    """
    lengths = {f"the length of axis {a}": float(n) for a, n in enumerate(shape) if n > 1}
    if len(lengths) > 1:
        lengths["the number of entries"] = float(np.prod(shape))
    return {**constants, **lengths}


def numbers(constants: Mapping[str, float]) -> list[Named]:
    """Numbers and what they are, the simplest first; equal ones of one kind share an entry."""
    found: list[Named] = []
    for level in _levels(constants):
        new: dict[float, list[_Part]] = {}
        for part in level:
            if np.isfinite(part.value) and part.value > 0.0 and abs(part.value - 1.0) > 1e-9:
                new.setdefault(float(f"{part.value:.12g}"), []).append(part)
        old = np.array([named.value for named in found])
        for key, parts in new.items():
            if np.any(np.abs(old / key - 1.0) < 1e-9):
                continue
            names = list(dict.fromkeys(part.name for part in parts if part.name))[:MOST_NAMES]
            of = tuple(dict.fromkeys(c for part in parts for c in part.constants))
            found.append(Named(parts[0].value, several(names) if names else "", len(found) + 1, of))
    return found


def match(line: Line, constants: Mapping[str, float]) -> Named | None:
    """The simplest number with a name that the line's may be, the sign aside.

    None if that would say little: if the line is so wide that one of the named numbers would have
    been in it by chance.
    """
    if line.low * line.high <= 0.0:
        return None
    low, high = sorted((abs(line.low), abs(line.high)))
    width = np.log(high / low) + 2.0 * ROUNDING
    for named in numbers(constants):
        slack = ROUNDING * named.value
        if low - slack <= named.value <= high + slack:
            return named if named.rank * width < CHANCE else None
    return None


def digits_of_name(line: Line, named: Named) -> float:
    """What speaks for a named number: no entry was used up to find it, but the list of names."""
    return line.all_digits - float(np.log10(named.rank))


def is_enough(digits: float) -> bool:
    """Whether an explanation that `digits` speak for is no accident."""
    return digits >= ENOUGH


def _levels(constants: Mapping[str, float]) -> Iterator[list[_Part]]:
    known = [_Part(value, name, (name,)) for name, value in constants.items() if value > 0.0]
    twice = [_Part(2.0, "", ()), _Part(0.5, "", ())]
    yield twice + [part for one in known for part in _and_inverse(one)]
    yield [_Part(2.0**0.5, "the square root of 2", ())]
    yield [_Part(0.5**0.5, "1 over the square root of 2", ())]
    yield [part for one in known for part in _powers(one)]
    yield [part for one, other in combinations(known, 2) for part in _products(one, other)]
    yield [part for one in known for part in _with_two(one)]


def _and_inverse(part: _Part) -> list[_Part]:
    name = f"({part.name})" if part.is_made else part.name
    return [part, _Part(1.0 / part.value, f"1 over {name}", part.constants, part.is_made)]


def _powers(part: _Part) -> list[_Part]:
    value, name, of = part.value, part.name, part.constants
    found = _and_inverse(_Part(value**0.5, f"the square root of {name}", of))
    found += _and_inverse(_Part(value**2, f"the square of {name}", of))
    if value >= LEAST_COUNT:  # a variance of n where one of n - 1 is due
        found.append(_Part(value / (value - 1.0), f"n / (n - 1) where n is {name}", of))
        found.append(_Part((value - 1.0) / value, f"(n - 1) / n where n is {name}", of))
    elif value < 1.0:  # probabilities: to keep, to drop
        found += _and_inverse(_Part(1.0 - value, f"1 less {name}", of, True))
        found.append(_Part(value / (1.0 - value), f"p / (1 - p) where p is {name}", of))
        found.append(_Part((1.0 - value) / value, f"(1 - p) / p where p is {name}", of))
    return found


def _products(one: _Part, other: _Part) -> list[_Part]:
    a, b, of = one.value, other.value, one.constants + other.constants
    return [
        *_and_inverse(_Part(a * b, f"{one.name} times {other.name}", of, True)),
        _Part(a / b, f"{one.name} over {other.name}", of),
        _Part(b / a, f"{other.name} over {one.name}", of),
    ]


def _with_two(part: _Part) -> list[_Part]:
    value, name, of = part.value, part.name, part.constants
    twice = _Part(2.0 * value, f"twice {name}", of)
    half = _Part(0.5 * value, f"half {name}", of)
    return [*_and_inverse(twice), *_and_inverse(half)]
