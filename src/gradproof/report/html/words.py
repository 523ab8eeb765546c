"""Numbers and values as the page writes them; each function is a filter of the templates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from gradproof.report.escape import NAME, SENTENCE, one_line
from gradproof.report.model import ProbeRow
from gradproof.report.results import PATH
from gradproof.report.steps_text import (
    derivative_pair,
    judge_norm_ratio,
    judge_relative_error,
    number,
    step_size,
)

__all__ = [
    "at",
    "count",
    "digits",
    "dotted",
    "evidence",
    "judge_norm_ratio",
    "judge_relative_error",
    "measured",
    "name",
    "pair",
    "path",
    "probe_says",
    "quoted",
    "seconds",
    "sentence",
    "shape_of",
    "size",
    "step_size",
]

#: What is shown where nothing was measured.
NOTHING = "\N{EN DASH}"
#: Names of so many letters stand on one line.
UNBROKEN = 26
#: Letters of one piece of evidence.
EVIDENCE = 2000


def size(x: float, figures: int = 2) -> str:
    """A size of which the first figures count; a dash where there is none.

    >>> size(0.000123), size(float("nan")) == NOTHING
    ('1.2e-4', True)
    """
    return NOTHING if math.isnan(x) else number(x, figures)


def measured(x: float) -> str:
    """The same, but a NaN that was met is shown.

    >>> measured(float("nan"))
    'nan'
    """
    return number(x)


def digits(x: float) -> str:
    """Decimal digits, to a tenth."""
    return NOTHING if math.isnan(x) else f"{x:z.1f}"


def count(n: int) -> str:
    """A whole number, with commas."""
    return f"{n:,}"


def seconds(x: float) -> str:
    """A time."""
    return f"{x:,.0f} s" if 100.0 <= x < math.inf else f"{size(x)} s"


def shape_of(shape: Sequence[int]) -> str:
    """A shape as one writes it.

    >>> shape_of((8, 1, 3, 3)), shape_of(())
    ('8x1x3x3', 'scalar')
    """
    return one_line("x".join(map(str, shape)), NAME) or "scalar"


def name(text: str, limit: int = NAME) -> str:
    """A name in a table; a long one loses its middle."""
    return one_line(text, limit)


def dotted(text: str) -> Markup:
    """A name in a table; a long one may be broken behind its dots.

    >>> dotted("encoder.<b>"), dotted("encoder.layers.11.attention.weight")[:15]
    (Markup('encoder.&lt;b&gt;'), Markup('encoder.<wbr>la'))
    """
    shown = name(text)
    return Markup(".<wbr>" if len(shown) > UNBROKEN else ".").join(shown.split("."))


def sentence(text: str) -> str:
    """What is said about something."""
    return one_line(text, SENTENCE)


def path(text: str) -> str:
    """A file's path."""
    return one_line(text, PATH)


def at(x: float) -> str:
    """A place in a picture, to a tenth of its unit."""
    return f"{x:.1f}"


def quoted(value: object) -> str:
    """A value as Python writes it."""
    return one_line(repr(value), EVIDENCE)


def evidence(value: object) -> str:
    """One piece of a finding's evidence, or one setting."""
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in value):
        return one_line(", ".join(value), EVIDENCE) or NOTHING
    return one_line(str(value), EVIDENCE)


def pair(analytic: float, numeric: float, error: float) -> tuple[str, str]:
    """Both derivatives, with the digits that the bar justifies and two more."""
    first, second = derivative_pair(analytic, numeric, error)
    return first.strip(), second.strip()


def probe_says(probe: ProbeRow) -> str:
    """Whether a direction agrees: yes, no, or a dash where f has no slope along it."""
    if not probe.error < math.inf:
        return NOTHING
    return "yes" if abs(probe.analytic - probe.numeric) <= probe.error else "no"
