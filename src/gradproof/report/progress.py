"""A progress bar for whatever takes longer than a second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Called with the evaluations done and the number expected so far.
OnProgress = Callable[[int, int], None]
PATIENCE = 1.0


def plan_line(evaluations: int, seconds: float, memory: int) -> str:
    """What a check is expected to cost, in a line.

    >>> plan_line(123_512, 12.3, 34_000_000)
    'about 123,512 evaluations, 12 s, 34 MB'
    """
    return f"about {evaluations:,} evaluations, {_duration(seconds)}, {_memory(memory)}"


def _duration(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "time unknown"
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2.0 * size:
            return (
                f"{seconds / size:.2g} {unit}"
                if seconds < 10.0 * size
                else (f"{seconds / size:,.0f} {unit}")
            )
    return f"{seconds:.0f} s" if seconds >= 10.0 else f"{seconds:.2g} s"


def _memory(size: int) -> str:
    if size >= 2e9:
        return f"{size / 1e9:.2g} GB" if size < 1e11 else f"{size / 1e9:,.0f} GB"
    return f"{max(size / 1e6, 1.0):.0f} MB"


@contextmanager
def progress_bar(progress: bool | OnProgress, plan: str = "") -> Iterator[OnProgress]:
    """Yield what to call as evaluations are done.

    Args:
        progress: True for a bar on standard error that appears after a second; False for
            nothing; or a function to be called with (done, expected).
        plan: a line to be printed before the bar.
    """
    if callable(progress):
        yield progress
        return
    console = Console(stderr=True)
    # In a pipe or a log rich would leave an empty line behind.
    if not progress or not console.is_terminal:
        yield lambda done, expected: None
        return
    started = time.monotonic()
    columns = (TextColumn("checking"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("evaluations", total=None)

    def update(done: int, expected: int) -> None:
        bar.update(task, completed=done, total=max(done, expected))
        if not bar.live.is_started and time.monotonic() - started > PATIENCE:
            if plan:
                console.print(plan, highlight=False, markup=False)
            bar.start()

    try:
        yield update
    finally:
        bar.stop()
