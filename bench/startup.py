"""What starting costs: pytest with the plugin and without it, and the command line's help.

The two ways of starting pytest take turns, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.page import print_table
from bench.timing import describe_machine

__all__ = ["main"]

#: Seconds that pytest may lose, and that the help may take.
MOST_LOST, MOST_FOR_HELP = 0.020, 0.200
WITHOUT = ("-p", "no:gradproof")
#: Starts of pytest: what it does then.
STARTS = {"pytest --help": ("--help",), "pytest, one test": ("test_one.py",)}


def seconds_of(command: Sequence[str], folder: Path) -> float:
    """What one run of a command takes by the wall.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def medians(commands: Mapping[str, Sequence[str]], folder: Path, runs: int) -> dict[str, float]:
    """The median seconds of commands that take turns; a first turn, for the caches, is not told."""
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, command in commands.items():
            taken = seconds_of(command, folder)
            if turn:
                seconds[name].append(taken)
    return {name: median(taken) for name, taken in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a start is slower than it may be."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=15, help="turns of each (at least 10 tell)")
    runs = parser.parse_args(arguments).runs
    is_slow = False
    rows = []
    # Hypothesis, where it is installed, takes a second that varies by more than what is measured.
    others = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    pytest = (sys.executable, "-m", "pytest", *others)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")
        for start, options in STARTS.items():
            ways = {"with": (*pytest, *options), "without": (*pytest, *WITHOUT, *options)}
            found = medians(ways, folder, runs)
            lost = found["with"] - found["without"]
            is_slow |= lost > MOST_LOST
            rows.append((start, *map(_shown, (found["with"], found["without"], lost, MOST_LOST))))
        program = "from gradproof.cli import main; main(prog_name='gradproof')"
        helps = {"help": (sys.executable, "-c", program, "--help")}
        taken = medians(helps, folder, runs)["help"]
        is_slow |= taken > MOST_FOR_HELP
        rows.append(("gradproof --help", _shown(taken), "", "", _shown(MOST_FOR_HELP)))
    print(f"Medians of {runs} runs, in ms. {describe_machine(1)}")
    print_table(("start", "with gradproof", "without", "lost", "at most"), rows)
    return int(is_slow)


def _shown(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
