"""Numbers that gradients are wrong by, by name: 2, the batch size, products of two sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np

from gradproof.diagnosis.patterns.comparison import ROUNDING, Line
from gradproof.diagnosis.patterns.wording import several

#: How many names of one number a sentence tells, and how many if they are formulas.
MOST_NAMES, MOST_FORMULAS = 3, 2
#: Chance that one of the simpler named numbers would have been hit, above which no name is told.
CHANCE = 0.05
#: A fraction is plain if its numerator times its denominator is no more: 3 / 2 may be anything.
PLAIN = 20


@dataclass(frozen=True)
class Named:
    """A number with a name.

    Attributes:
        value: the number.
        name: what it is; empty for a 2 and a 1/2 that are nothing else.
        rank: its place among the named numbers, the simplest first, from 1.
        constants: the known ones that it is made of.
        is_plain: whether it is one known number, or 1 over it, and not a formula that meets it.
    """

    value: float
    name: str
    rank: int
    constants: tuple[str, ...]
    is_plain: bool

    @property
    def meaning(self) -> str:
        """What follows the number in a sentence: what it is, or what it may be."""
        if not self.name:
            return ""
        return f": {self.value:.6g} {'is' if self.is_plain else 'may be'} {self.name}"


@dataclass(frozen=True)
class _Part:
    """A number, its name, and what it is made of.

    `is_made` if its name needs brackets in a longer one; `is_plain` if it is a number that is known
    as it is, or 1 over that.
    """

    value: float
    name: str
    constants: tuple[str, ...]
    is_made: bool = False
    is_plain: bool = False


def lengths_of(shape: tuple[int, ...]) -> dict[str, float]:
    """The lengths of a tensor's axes, which are known without being told.

    >>> lengths_of((4, 1, 3))
    {'the length of axis 0': 4.0, 'the length of axis 2': 3.0, 'the number of entries': 12.0}
    """
    lengths = {f"the length of axis {a}": float(n) for a, n in enumerate(shape) if n > 1}
    if len(lengths) > 1:
        lengths["the number of entries"] = float(np.prod(shape))
    return lengths


def numbers(constants: Mapping[str, float], lengths: Mapping[str, float]) -> list[Named]:
    """Numbers and what they are, the simplest first; equal ones of one kind share an entry.

    Args:
        constants: numbers that somebody told, by name.
        lengths: numbers that are there anyway. Plain fractions of them say nothing.
    """
    found: list[Named] = []
    for level in _levels(constants, lengths):
        new: dict[float, list[_Part]] = {}
        for part in level:
            if np.isfinite(part.value) and part.value > 0.0 and abs(part.value - 1.0) > 1e-9:
                new.setdefault(float(f"{part.value:.12g}"), []).append(part)
        old = np.array([named.value for named in found])
        for key, parts in new.items():
            if np.any(np.abs(old / key - 1.0) < 1e-9):
                continue
            named = [part for part in parts if part.name]
            is_plain = all(part.is_plain for part in named)
            names = _different([part.name for part in named])
            names = names[: MOST_NAMES if is_plain else MOST_FORMULAS]
            of = tuple(dict.fromkeys(c for part in parts for c in part.constants))
            name = several(names, "or") if names else ""
            is_sure = is_plain and len(names) == 1
            found.append(Named(parts[0].value, name, len(found) + 1, of, is_sure))
    return found


def match(line: Line, constants: Mapping[str, float], lengths: Mapping[str, float]) -> Named | None:
    """The simplest number with a name that the line's may be, the sign aside.

    None if that would say little: if the line is so wide that one of the named numbers would have
    been in it by chance.
    """
    if line.low * line.high <= 0.0:
        return None
    low, high = sorted((abs(line.low), abs(line.high)))
    width = np.log(high / low) + 2.0 * ROUNDING
    for named in numbers(constants, lengths):
        slack = ROUNDING * named.value
        if low - slack <= named.value <= high + slack:
            return named if named.rank * width < CHANCE else None
    return None


def digits_of_name(line: Line, named: Named) -> float:
    """What speaks for a named number: no entry was used up to find it, but the list of names."""
    return line.all_digits - float(np.log10(named.rank))


def _different(names: list[str]) -> list[str]:
    """Names that say different things: not the same words in another order, or of another array.

    >>> _different(["the size (of `x`) times n", "n times the size (of `y`)", "n"])
    ['the size (of `x`) times n', 'n']
    """
    told: dict[tuple[str, ...], str] = {}
    for name in names:
        # What stands in brackets says of which array a size is.
        words = re.findall(r"\w+", re.sub(r" \([^()]*\)", "", name))
        told.setdefault(tuple(sorted(words)), name)
    return list(told.values())


def _levels(constants: Mapping[str, float], lengths: Mapping[str, float]) -> Iterator[list[_Part]]:
    known = [
        _Part(value, name, (name,), is_plain=True) for name, value in constants.items() if value > 0
    ]
    axes = [_Part(value, name, (), is_plain=True) for name, value in lengths.items()]
    both = known + axes
    twice = [_Part(2.0, "", ()), _Part(0.5, "", ())]
    yield twice + [part for one in known for part in _and_inverse(one)]
    yield [part for one in axes for part in _and_inverse(one)]
    yield [_Part(2.0**0.5, "the square root of 2", ())]
    yield [_Part(0.5**0.5, "1 over the square root of 2", ())]
    yield [part for one in both for part in _powers(one)]
    yield [part for one in known for part in _formulas(one)]
    yield [part for one, other in combinations(both, 2) for part in _products(one, other)]
    yield [part for one in axes for part in _formulas(one) if not _is_plain(part.value)]


def _and_inverse(part: _Part) -> list[_Part]:
    name = f"({part.name})" if part.is_made else part.name
    return [part, _Part(1.0 / part.value, f"1 over {name}", part.constants, True, part.is_plain)]


def _powers(part: _Part) -> list[_Part]:
    root = _Part(part.value**0.5, f"the square root of {part.name}", part.constants)
    return _and_inverse(root) + _and_inverse(
        _Part(part.value**2, f"the square of {part.name}", part.constants)
    )


def _formulas(part: _Part) -> list[_Part]:
    value, name, of = part.value, part.name, part.constants
    found = _and_inverse(_Part(2.0 * value, f"twice {name}", of))
    found += _and_inverse(_Part(0.5 * value, f"half {name}", of))
    if value > 1.0:  # a variance of n where one of n - 1 is due
        found.append(_Part(value / (value - 1.0), f"n / (n - 1) where n is {name}", of))
        found.append(_Part((value - 1.0) / value, f"(n - 1) / n where n is {name}", of))
    elif value < 1.0:  # probabilities: to keep, to drop
        found += _and_inverse(_Part(1.0 - value, f"1 less {name}", of, True))
        found.append(_Part(value / (1.0 - value), f"p / (1 - p) where p is {name}", of))
        found.append(_Part((1.0 - value) / value, f"(1 - p) / p where p is {name}", of))
    return found


def _products(one: _Part, other: _Part) -> list[_Part]:
    a, b, of = one.value, other.value, one.constants + other.constants
    found = _and_inverse(_Part(a * b, f"{one.name} times {other.name}", of, True))
    if (one.constants and other.constants) or not _is_plain(a / b):
        found.append(_Part(a / b, f"{one.name} over {other.name}", of))
        found.append(_Part(b / a, f"{other.name} over {one.name}", of))
    return found


def _is_plain(value: float) -> bool:
    fraction = Fraction(value).limit_denominator(PLAIN)
    is_near = abs(float(fraction) - value) < 1e-12 * value
    return is_near and fraction.numerator * fraction.denominator <= PLAIN
