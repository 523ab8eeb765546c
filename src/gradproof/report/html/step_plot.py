"""The error against the step, as the geometry of a picture on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gradproof.report.model import StepRow, StepTable
from gradproof.report.steps_text import step_size

#: Size of the picture, and the room around its axes, in its own units.
WIDTH, HEIGHT = 680, 380
LEFT, RIGHT, TOP, BOTTOM = 62, 190, 16, 46
#: Labels on an axis, at most.
MOST_TICKS = 9
#: From one line of the key to the next.
_APART = 22.0
_MEANINGS = {
    "truncation": "truncation rules",
    "rounding": "rounding rules",
    "kink": "a kink within h",
    "gap": "from the claimed value",
    "off": "from the numeric value",
}


@dataclass(frozen=True)
class Tick:
    """A label on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Point:
    """A measured size; `kind` is what rules there: truncation, rounding, kink, or gap.

    `off` is the distance from the numeric value, where it is not the difference from the claim.
    """

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class Line:
    """A straight line on the axes, which is a power of the step."""

    kind: str
    label: str
    points: tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class StepPlot:
    """A picture of one step table; `bar` is the upper edge of the error bar's band, if it has one.

    `is_empty`: no difference could be measured at any step.
    """

    table: StepTable
    of_entry: bool
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    bar: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    summary: str

    width, height = WIDTH, HEIGHT
    left, right, top, bottom = LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM

    @property
    def key(self) -> list[tuple[str, str, float]]:
        """What each mark and line means: its class, the meaning, and its height."""
        kinds = {point.kind for point in self.points}
        said = [(f"point {k}", text) for k, text in _MEANINGS.items() if k in kinds]
        said += [(f"fit {line.kind}", line.label) for line in self.lines]
        return [(kind, text, TOP + 12.0 + _APART * i) for i, (kind, text) in enumerate(said)]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.points


def step_plot(table: StepTable) -> StepPlot:
    """Where everything stands in the picture."""
    rows = [
        row for row in table.rows if 0.0 < row.step < math.inf and math.isfinite(row.difference)
    ]
    of_entry = any(math.isfinite(row.numeric) for row in table.rows)
    if not rows:
        return StepPlot(table, of_entry, (), (), None, (), (), "")
    low, high = _decades(row.step for row in rows)
    bottom, top = _heights(table, rows)

    # Of decimal logarithms: powers of ten themselves overflow.
    def x(step: float) -> float:
        return LEFT + (step - low) / (high - low) * (WIDTH - RIGHT - LEFT)

    def y(size: float) -> float:
        part = (size - bottom) / (top - bottom)
        return HEIGHT - BOTTOM - min(max(part, 0.0), 1.0) * (HEIGHT - BOTTOM - TOP)

    bar = table.error if 0.0 < table.error < math.inf else None
    return StepPlot(
        table=table,
        of_entry=of_entry,
        points=tuple(
            Point(x(_log(row.step)), y(_log(size)), kind, f"h = {step_size(row.step)}: {size:.2e}")
            for kind, row, size in _marks(table, rows)
        ),
        lines=tuple(_lines(table, rows, x, y, (bottom, top))),
        bar=None if bar is None else y(_log(bar)),
        x_ticks=tuple(Tick(x(k), f"1e{k}") for k in _ticks(low, high)),
        y_ticks=tuple(Tick(y(k), f"1e{k}") for k in _ticks(bottom, top)),
        summary=_summary(table, rows),
    )


def kind_of(row: StepRow, table: StepTable) -> str:
    """What most of the distance from the numeric value comes from."""
    if not row.truncation > row.rounding:
        return "rounding"
    return "kink" if table.cause == "kink" else "truncation"


def _marks(table: StepTable, rows: Sequence[StepRow]) -> Iterable[tuple[str, StepRow, float]]:
    """Kind and size of each mark; of a wrong gradient the two distances are apart."""
    is_wrong = table.cause == "wrong gradient"
    if is_wrong:
        for row in rows:
            if _off(row, table) > 0.0:
                yield "off", row, _off(row, table)
    for row in rows:
        yield "gap" if is_wrong else kind_of(row, table), row, row.difference


def _off(row: StepRow, table: StepTable) -> float:
    """The distance from the numeric value; of a whole tensor it is known where truncation rules."""
    off = abs(row.numeric - table.numeric)
    off = row.truncation if math.isnan(off) else off
    return off if math.isfinite(off) else 0.0


def _summary(table: StepTable, rows: Sequence[StepRow]) -> str:
    """The picture in words, for those who do not see it."""
    first, last = rows[0], rows[-1]
    least = min(rows, key=lambda row: row.difference)
    said = [
        f"Difference against step h, from {first.difference:.1e} at h = {step_size(first.step)} "
        f"over {least.difference:.1e} at h = {step_size(least.step)} "
        f"to {last.difference:.1e} at h = {step_size(last.step)}"
    ]
    kinks = [step_size(row.step) for row in rows if kind_of(row, table) == "kink"]
    if kinks:
        said.append(f"a kink lies between x - h and x + h at h = {', '.join(kinks)}")
    if math.isfinite(table.order):
        said.append(f"it goes as h^{table.order:.2f} where truncation rules")
    if math.isfinite(table.rounding_order):
        said.append(f"it goes as h^{table.rounding_order:.2f} where rounding rules")
    return "; ".join(said) + "."


def _log(size: float) -> float:
    """The decimal logarithm; a size of 0 is drawn at the lower edge."""
    return math.log10(size) if size > 0.0 else -math.inf


def _decades(sizes: Iterable[float]) -> tuple[int, int]:
    logs = [math.log10(size) for size in sizes]
    low, high = math.floor(min(logs)), math.ceil(max(logs))
    return low, max(high, low + 1)


def _heights(table: StepTable, rows: Sequence[StepRow]) -> tuple[int, int]:
    """The decades that hold the differences and the bar."""
    sizes = [size for _, _, size in _marks(table, rows) if size > 0.0]
    sizes += [table.error] if 0.0 < table.error < math.inf else []
    low, high = _decades(sizes or [1e-16, 1.0])
    return low - 1, high


def _ticks(low: int, high: int) -> range:
    return range(low, high + 1, math.ceil((high - low) / MOST_TICKS))


def _lines(
    table: StepTable,
    rows: Sequence[StepRow],
    x: Callable[[float], float],
    y: Callable[[float], float],
    heights: tuple[int, int],
) -> Iterable[Line]:
    """The two fitted powers of h, and the rounding that f's noise lets one expect."""
    by_kind: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        off = _off(row, table) or (0.0 if table.cause == "wrong gradient" else row.difference)
        if off > 0.0:
            point = math.log10(row.step), math.log10(off)
            by_kind.setdefault(kind_of(row, table), []).append(point)
    expected = [
        (math.log10(row.step), math.log10(row.rounding))
        for row in table.rows
        if 0.0 < row.step < math.inf and 0.0 < row.rounding < math.inf
    ]
    fits = (
        ("truncation", "fitted", table.order, by_kind.get("truncation", [])),
        ("rounding", "fitted", table.rounding_order, by_kind.get("rounding", [])),
        ("expected", "expected of noise", -1.0, expected),
    )
    steps = [math.log10(row.step) for row in rows]
    for kind, what, slope, logs in fits:
        if not logs or not math.isfinite(slope):
            continue
        middle = sorted(size - slope * step for step, size in logs)[len(logs) // 2]
        ends = _clip(slope, middle, (min(steps), max(steps)), heights)
        if ends is not None:
            first, last = ((x(step), y(size)) for step, size in ends)
            power = "1/h" if kind == "expected" else f"h^{slope:.2f}"
            yield Line(kind, f"{what}, {power}", (first, last))


def _clip(
    slope: float, middle: float, steps: tuple[float, float], heights: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The part of the line between these steps that is between these heights, if any."""
    low, high = steps
    if slope != 0.0:
        cuts = sorted((height - middle) / slope for height in heights)
        low, high = max(low, cuts[0]), min(high, cuts[1])
    if not low < high:
        return None
    return (low, middle + slope * low), (high, middle + slope * high)
