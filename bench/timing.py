"""What a run took, and on what machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

__all__ = ["Counted", "Timed", "describe_machine", "timed", "use_processors"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Timed(Generic[_T]):
    """What a call returned, and the seconds that it took by the wall and by the processor.

    The second is more than the first where several threads worked, and less where others kept
    the machine busy.
    """

    result: _T
    seconds: float
    cpu: float


def timed(call: Callable[[], _T], repeats: int = 1) -> Timed[_T]:
    """The fastest of `repeats` calls: whatever else the machine does can only slow one down."""
    return min((_once(call) for _ in range(repeats)), key=lambda run: run.seconds)


def _once(call: Callable[[], _T]) -> Timed[_T]:
    started, busy = time.perf_counter(), time.process_time()
    result = call()
    return Timed(result, time.perf_counter() - started, time.process_time() - busy)


class Counted:
    """A function that knows how often it was called."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self.calls = 0

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns."""
        self.calls += 1
        return self._f(*arguments)


def use_processors(count: int) -> None:
    """Keep this process and its threads to `count` processors, where the system can do that.

    Every library has a setting of its own for threads; to this all of them are subject.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def describe_machine(threads: int) -> str:
    """The processor, its cores, how busy they were, and the versions, in one line."""
    parts = [
        _processor(),
        f"{os.cpu_count()} cores",
        f"load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else "",
        f"threads used: {threads}",
        f"Python {platform.python_version()}",
        f"NumPy {np.__version__}",
    ]
    return ", ".join(part for part in parts if part)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
