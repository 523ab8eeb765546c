"""Step tables and rules of thumb as text, and the page, numbers and tables all text is made of.

Everything a user may have named goes through `Page.say`: control characters and what the console
cannot encode are escaped, and it is never read as rich markup.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gradproof.numerics.agreement import digits_attainable
from gradproof.report.model import Customary, Report, Spread, StepTable, TensorReport

#: Of how many tensors the rules of thumb and of how many places the steps are shown, and verbose.
MOST_CUSTOMARY = (12, 1000)
MOST_STEP_TABLES = (4, 1000)

# Names fold at so many letters, in tables that stay whole and in those that may be split.
_NARROWEST_NAME = 10
_FOLDED_NAME = 32
_GAP = 2
# A line below the header and above the closing row; plain ASCII, so that it is safe everywhere.
_LINES = Box("    \n    \n -- \n    \n -- \n    \n    \n    \n", ascii=True)
#: Colours of the verdicts.
VERDICT_STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}
_STYLES = {"good": "green", "fair": "green", "poor": "yellow", "bad": "bold red"}
_LEGEND = (
    "In a word: norm(g-n)/norm(g+n) is good up to 1e-8, else poor (UFLDL expects about 1e-9); a "
    "relative error is good up to 1e-7, fair up to 1e-4 (enough where there are kinks), poor up "
    "to 1e-2, bad beyond (cs231n)."
)


@dataclass(frozen=True)
class Page:
    """Where the text goes: the console's width and encoding, and how much to show."""

    console: Console
    verbose: bool = False

    @classmethod
    def in_memory(cls, width: int, *, color: bool, verbose: bool, encoding: str) -> Page:
        """A page to be read back with `text`; the environment's colours and sizes don't matter."""
        console = Console(
            file=io.TextIOWrapper(io.BytesIO(), encoding, newline="\n"),
            width=width,
            height=100,
            force_terminal=color,
            color_system="standard" if color else None,
            no_color=not color,
            legacy_windows=False,
        )
        return cls(console, verbose)

    def text(self, *parts: RenderableType) -> str:
        """What the console makes of the parts, without trailing blanks."""
        with self.console.capture() as capture:
            self.console.print(*parts, sep="\n")
        return "\n".join(line.rstrip() for line in capture.get().rstrip().split("\n"))

    @property
    def plus_minus(self) -> str:
        """The sign between a value and its bar, as far as the console has it."""
        try:
            "±".encode(self.console.encoding)
        except UnicodeEncodeError:
            return "+-"
        return "±"

    def say(self, text: str, limit: int = 600, style: str = "") -> Text:
        """Text of the user's on one line, safe to print; shortened in the middle."""
        # First roughly, so that a name of a million characters costs nothing.
        shown = "".join(c if c.isprintable() else _escape(c) for c in shorten(text, 4 * limit))
        encoding = self.console.encoding
        return Text(
            shorten(shown.encode(encoding, "backslashreplace").decode(encoding), limit), style
        )

    def name(self, name: str) -> Text:
        """The name of a tensor or entry; long ones lose their middle, never their index."""
        return self.say(name, 60)


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning and end.

    >>> shorten("encoder.layers.11.attention.weight", 20)
    'encoder....on.weight'
    """
    if len(text) <= limit:
        return text
    kept = limit - 3
    return f"{text[: kept // 2]}...{text[len(text) - kept + kept // 2 :]}"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def number(x: float, digits: int = 2) -> str:
    """A size for which only the first digits count.

    >>> [number(x) for x in (0.0, 0.000123, 0.25, 2.0, 123.0, 1e5, math.inf)]
    ['0', '1.2e-4', '0.25', '2.0', '123', '1.0e5', 'inf']
    >>> number(1e-4, 1)
    '1e-4'
    """
    if x == 0.0 or not math.isfinite(x):
        return f"{x:.0f}"
    text = f"{x:.{digits - 1}e}"
    exponent = int(text.partition("e")[2])  # after rounding: 9.99 is 10
    if -2 <= exponent <= 2:
        return f"{x:.{max(digits - 1 - exponent, 0)}f}"
    return _short_exponent(text)


def step_size(h: float) -> str:
    """A step: 1e-4, or 1.22e-4 where it is no power of ten."""
    digits = 1 if math.isclose(float(f"{h:.0e}"), h, rel_tol=1e-9) else 3
    return _short_exponent(f"{h:.{digits - 1}e}")


def _short_exponent(text: str) -> str:
    return re.sub(r"e([+-])0+(?=\d)", r"e\1", text).replace("e+", "e")


def derivative_pair(analytic: float, numeric: float, error: float) -> tuple[str, str]:
    """Both derivatives in one notation, with the digits that the bar justifies plus two.

    >>> derivative_pair(-0.012345678912345, -0.012345678987654, 3e-12)
    ('-0.012345678912', '-0.012345678988')
    >>> derivative_pair(2.5e-9, 1.25e-7, 1e-12)
    (' 2.500000e-9', ' 1.250000e-7')
    """
    sizes = [abs(x) for x in (analytic, numeric) if x != 0.0 and math.isfinite(x)]
    if math.isfinite(numeric) and math.isfinite(error):
        digits = min(int(float(digits_attainable(numeric, error))) + 2, 17)
        # Where the numeric value is lost in its bar, the bar says which decimals mean something.
        lead = _exponent(max(abs(numeric), error))
    else:
        digits, lead = 6, _exponent(max(sizes, default=1.0))
    digits = max(digits, 3)
    exponents = [lead, *map(_exponent, sizes)]
    if min(exponents) >= -4 and max(exponents) <= 5:
        style = f" .{max(digits - 1 - lead, 0)}f"
    else:
        style = f" .{digits - 1}e"
    first, second = (
        _short_exponent(f"{x:{style}}") if x != 0.0 and math.isfinite(x) else f"{x: .0f}"
        for x in (analytic, numeric)
    )
    return first, second


def _exponent(x: float) -> int:
    return math.floor(math.log10(x)) if x > 0.0 else 0


def spread(digits: Spread) -> Text:
    """Minimum, median and maximum, aligned from row to row."""
    three = (digits.minimum, digits.median, digits.maximum)
    return Text(" ".join("   -" if math.isnan(x) else f"{x:4.1f}" for x in three))


@dataclass(frozen=True)
class Column:
    """A column of a table to be laid out."""

    header: str
    justify: Literal["left", "right"] = "right"


def lay_out(
    page: Page,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Text]],
    *,
    keys: int | None = None,
    closing: int = 0,
) -> Iterator[RenderableType]:
    """One table, or where it is too wide several, each with the first `keys` columns.

    The first column holds names and folds when space is short; the others don't, as long as that
    suffices. The last `closing` rows stand below a line. Without keys there is one table only.
    """
    widths = [
        max(cell_len(line) for cell in (column.header, *texts) for line in cell.split("\n"))
        for column, *texts in zip(columns, *([c.plain for c in row] for row in rows), strict=True)
    ]
    narrowest = _NARROWEST_NAME if keys is None else _FOLDED_NAME
    least = [min(widths[0], narrowest), *widths[1:]]
    parts = [list(range(len(columns)))]
    if keys is not None and _together(widths) > page.console.width:
        parts = _split(least, keys, page.console.width)
    for k, part in enumerate(parts):
        table = Table(box=_LINES, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
        room = page.console.width - _together([0, *(widths[i] for i in part[1:])])
        for i in part:
            column, firm = columns[i], i > 0 and room >= least[0]
            table.add_column(column.header, justify=column.justify, overflow="fold", no_wrap=firm)
        for n, row in enumerate(rows):
            cells = [_fold(row[0], room), *(row[i] for i in part[1:])]
            table.add_row(*cells, end_section=n == len(rows) - closing - 1)
        yield from (Text(), table) if k > 0 else (table,)


def _fold(name: Text, width: int) -> Text:
    """Broken at dots where it is too wide; where there are none, rich breaks it anywhere."""
    lines = []
    for line in name.split("\n"):
        rest = line
        while len(rest) > width and (end := rest.plain.rfind(".", 0, width) + 1) > 0:
            lines.append(rest[:end])
            rest = rest[end:]
        lines.append(rest)
    return Text("\n").join(lines)


def _together(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _split(widths: Sequence[int], keys: int, width: int) -> list[list[int]]:
    """The columns in as few parts as the width allows, and these about equally wide."""

    def pack(limit: int) -> list[list[int]]:
        parts: list[list[int]] = [list(range(keys))]
        for i in range(keys, len(widths)):
            last = parts[-1]
            if len(last) > keys and _together([widths[k] for k in (*last, i)]) > limit:
                parts.append(list(range(keys)))
            parts[-1].append(i)
        return parts

    fewest = len(pack(width))
    return next(parts for limit in range(width + 1) if len(parts := pack(limit)) == fewest)


def left_out(count: int, what: str) -> Iterator[RenderableType]:
    """Says that a list is not complete, if it isn't."""
    if count:
        yield Text(f"{count:,} more {what} left out (verbose shows more).", "dim")


def heading(title: str) -> Text:
    """The title of a section, with a blank line above."""
    return Text(f"\n{title}", "bold")


def render_steps(
    table: StepTable, *, width: int = 100, color: bool = False, encoding: str = "ascii"
) -> str:
    """One step table as text: error against step, the fitted orders and what they mean."""
    page = Page.in_memory(width, color=color, verbose=False, encoding=encoding)
    return page.text(*steps_of(table, page))


def steps_of(table: StepTable, page: Page) -> Iterator[RenderableType]:
    """One step table, as what rich can print."""
    title = page.name(table.label)
    of_entry = any(math.isfinite(row.numeric) for row in table.rows)
    if of_entry:
        analytic, numeric = derivative_pair(table.analytic, table.numeric, table.error)
        bar = f"{page.plus_minus} {number(table.error)}"
        title.append(f": analytic {analytic.strip()}, numeric {numeric.strip()} {bar}")
    yield title if of_entry else title.append(": root mean squares over its entries")
    columns = [Column("h", "left"), *map(Column, ("difference", "truncation", "rounding"))]
    columns.append(Column("larger part", "left"))
    rows = []
    for row in table.rows:
        beyond = "kink" if table.cause == "kink" else "truncation"
        larger = beyond if row.truncation > row.rounding else "rounding"
        parts = (row.difference, row.truncation, row.rounding)
        sizes = [number(x) if math.isfinite(x) else "-" for x in parts]
        cells = [step_size(row.step), *sizes, larger if math.isfinite(row.rounding) else "-"]
        if of_entry:
            cells.insert(1, derivative_pair(table.analytic, row.numeric, table.error)[1])
        rows.append([Text(cell) for cell in cells])
    if of_entry:
        columns.insert(1, Column(" numeric at h", "left"))
    yield from lay_out(page, columns, rows)
    orders = []
    if math.isfinite(table.order):
        orders.append(f"h^{table.order:.2f} where truncation rules (h^2 is the Cauchy remainder)")
    if math.isfinite(table.rounding_order):
        orders.append(f"h^{table.rounding_order:.2f} where rounding rules (h^-1 expected)")
    if orders:
        yield Text(f"The distance from the numeric value goes as {' and as '.join(orders)}.")
    yield Text.assemble((table.cause, "bold"), ": ").append_text(page.say(table.explanation))


def step_tables(report: Report, page: Page) -> Iterator[RenderableType]:
    """The step tables of a report."""
    shown = report.steps[: MOST_STEP_TABLES[page.verbose]]
    for i, table in enumerate(shown):
        yield heading("Error against step h (plain central differences)") if i == 0 else Text()
        yield from steps_of(table, page)
    yield from left_out(len(report.steps) - len(shown), "step tables are")


def judge_norm_ratio(ratio: float) -> str:
    """UFLDL's rule in a word: it expects the order of 1e-9; NaN is bad."""
    return "good" if ratio <= 1e-8 else "bad" if math.isnan(ratio) else "poor"


def judge_relative_error(error: float) -> str:
    """The rule of cs231n in a word; NaN is bad."""
    rules = (("good", 1e-7), ("fair", 1e-4), ("poor", 1e-2))
    return next((word for word, most in rules if error <= most), "bad")


def rules_of_thumb(report: Report, page: Page) -> Iterator[RenderableType]:
    """The panel of customary steps: what a check by hand would have shown."""
    named = [tensor for tensor in report.tensors.values() if tensor.customary]
    if not (named or report.customary):
        return
    yield heading("Rules of thumb (plain central differences with a fixed step h)")
    shown = the_worst(named, MOST_CUSTOMARY[page.verbose], _largest_error)
    rows = [row for t in shown for row in _customary_rows(page.name(t.name), t.customary)]
    # With one tensor its rows say it all.
    whole = report.customary if len(report.tensors) != 1 else ()
    total = _customary_rows(Text("all", "bold"), whole)
    columns = (
        Column("tensor", "left"),
        Column("h", "left"),
        Column("digits agree\n min  med  max"),
        Column("sign mis-\nmatches"),
        Column("kinks in\nx-h..x+h"),
        Column("norm(g-n) /\nnorm(g+n)"),
        Column("largest rel.\nerror"),
        Column("without\nthe kinks"),
    )
    yield from lay_out(page, columns, [*rows, *total], keys=2, closing=len(total))
    yield from left_out(len(named) - len(shown), "tensors, none of them worse, are")
    yield Text(_LEGEND, "dim")
    yield from (Text(line) for c in report.customary for line in _moral(c, report.verdict))


def the_worst(
    tensors: Iterable[TensorReport], most: int, badness: Callable[[TensorReport], Any]
) -> list[TensorReport]:
    """So many tensors with the largest badness, in the order of the model."""
    tensors = list(tensors)
    worst = sorted(range(len(tensors)), key=lambda i: badness(tensors[i]), reverse=True)[:most]
    return [tensors[i] for i in sorted(worst)]


def _largest_error(tensor: TensorReport) -> float:
    errors = [c.max_relative_error for c in tensor.customary]
    return math.inf if any(map(math.isnan, errors)) else max(errors)


def _customary_rows(name: Text, customary: Iterable[Customary]) -> list[list[Text]]:
    return [
        [
            name if i == 0 else Text(),
            Text(step_size(c.step)),
            spread(c.digits_agree),
            Text(str(c.sign_mismatches)),
            Text(f"{c.kinks}/{c.checked}" if c.kinks else "0"),
            _judged(c.norm_ratio, judge_norm_ratio, c.checked),
            _judged(c.max_relative_error, judge_relative_error, c.checked),
            _judged(c.max_relative_error_without_kinks, judge_relative_error, c.checked - c.kinks),
        ]
        for i, c in enumerate(customary)
    ]


def _judged(size: float, judge: Callable[[float], str], compared: int) -> Text:
    if not compared:  # nothing was measured, or every entry has a kink nearby
        return Text("-")
    word = judge(size)
    return Text.assemble(f"{number(size)} ", (word, _STYLES[word]))


def _moral(c: Customary, verdict: str) -> Iterator[str]:
    # Where the rule and the verdict seem to contradict each other, say why.
    word = judge_relative_error(c.max_relative_error)
    size = c.max_relative_error_without_kinks
    without = judge_relative_error(size)
    if 0 < c.kinks < c.checked and word != without:
        yield (
            f"At h = {step_size(c.step)} the largest relative error is {word} only where a kink "
            f"lies between x-h and x+h ({c.kinks} of {c.checked}); elsewhere it is "
            f"{number(size)}: {without}."
        )
    elif verdict == "pass" and word in ("poor", "bad"):
        yield (
            f"At h = {step_size(c.step)} this rule alone would have called the gradient {word}; "
            "the verdict rests on the error bars, not on this step."
        )
