"""A progress bar for whatever takes longer than a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

#: Called with the evaluations done and the number expected so far.
OnProgress = Callable[[int, int], None]
PATIENCE = 1.0


@contextmanager
def progress_bar(progress: bool | OnProgress) -> Iterator[OnProgress]:
    """Yield what to call as evaluations are done.

    Args:
        progress: True for a bar on standard error that appears after a second; False for
            nothing; or a function to be called with (done, expected).
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
            bar.start()

    try:
        yield update
    finally:
        bar.stop()
