"""What gradproof takes beside other checkers of gradients: seconds, evaluations, what is missed.

    python -m bench.speed --threads 1 --write docs/speed.md

Everything is timed in one run, one tool after the other, on the same processors: every weight of
LeNet-5 (`speed_lenet.py`), with the errors planted there that each tool sees, and functions that
other checkers can take (`speed_peers.py`). `--scale 0.5` makes the network narrower; `--write`
puts the tables into a page.

Exits with 1 unless gradproof and gradcheck pass the right gradient, gradproof gives every weight
an error bar, sees every planted error and is, at scale 1, at least `FASTER` times faster than
gradcheck's slow mode. What is aimed at is printed beside what was reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from bench import speed_lenet, speed_peers
from bench.page import markdown, print_table, write_section
from bench.speed_lenet import Measured, Missed
from bench.speed_peers import Compared
from bench.timing import describe_machine, use_processors

__all__ = ["AIM", "FASTER", "main"]

#: How many times faster than gradcheck's slow mode `coverage="full"` must be, and should be.
FASTER, AIM = 20.0, 100.0
#: Scale of a network that every tool checks first, untimed.
WARM_UP = 0.1

Rows = list[list[str]]

TAKES = ("tool", "verdict", "seconds", "CPU seconds", "evaluations", "a weight", "error bars")
MISSES = ("planted error", "probe", "its evaluations", "gradcheck, fast mode", "slow mode")
PEERS = (
    "function",
    "tool",
    "seconds",
    "evaluations",
    "right gradient",
    "one entry 1 % off",
    "error bars",
)


def takes(measured: Mapping[str, Measured]) -> Rows:
    """What each tool took for LeNet-5."""
    return [
        [
            row.tool,
            row.verdict,
            _seconds(row.seconds),
            _seconds(row.cpu),
            f"{row.evaluations:,}",
            f"{row.per_weight:.2g}" if row.per_weight < 1 else f"{row.per_weight:.2f}",
            row.bar,
        ]
        for row in measured.values()
    ]


def ratio(slower: Measured, faster: Measured) -> float:
    """How many times less the second took of the processor.

    With one thread on a quiet machine that is the ratio of the seconds too; on one that others
    keep busy those are a matter of luck.
    """
    return slower.cpu / faster.cpu


def ratios(measured: Mapping[str, Measured]) -> list[str]:
    """The two comparisons in words."""
    every = ratio(measured["slow"], measured["full"])
    quick = ratio(measured["fast"], measured["probe"])
    reached = "reached" if every >= AIM else "not reached"
    pace = f"{quick:.1f} times faster" if quick >= 1 else f"{1 / quick:.1f} times slower"
    return [
        f"Every weight: {every:.0f} times faster than the slow mode (aim {AIM:g}: {reached}).",
        f"The default: {pace} than the fast mode.",
    ]


def misses(rows: Sequence[Missed]) -> Rows:
    """Which tool sees which planted error."""
    return [
        [
            row.plant,
            "seen and named" if row.named else "seen" if row.probe else "missed",
            f"{row.evaluations:,}",
            "seen" if row.fast else "missed",
            "seen" if row.slow else "missed",
        ]
        for row in rows
    ]


def peers(rows: Sequence[Compared]) -> Rows:
    """What each tool took for each function, and what it says."""
    return [
        [
            row.subject,
            row.tool,
            _seconds(row.seconds),
            f"{row.evaluations:,}",
            row.right,
            row.wrong,
            row.bar,
        ]
        for row in rows
    ]


def _seconds(value: float) -> str:
    """Three digits, and no more than are there."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 1 where a tool does not pass, a bar is missing or the ratio too small."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--scale", type=float, default=1.0, help="of the layers' widths (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--write", type=Path, help="a page with the sections of docs/speed.md")
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error(f"Expected --threads of at least 1 but got {options.threads}")
    use_processors(options.threads)
    torch.set_num_threads(options.threads)
    machine = f"{describe_machine(options.threads)}, PyTorch {torch.__version__}"
    print(machine)

    speed_lenet.measure(speed_lenet.setting(WARM_UP, options.seed), repeats=1)
    given = speed_lenet.setting(options.scale, options.seed)
    measured = speed_lenet.measure(given)
    print(f"\nLeNet-5: {given.weights:,} weights, 4 images, float64\n")
    print_table(TAKES, takes(measured), left=2)
    print(*ratios(measured), sep="\n", end="\n\n")
    missed = speed_lenet.missed(given, speed_lenet.plants(given.gradient))
    print_table(MISSES, misses(missed))
    subjects = (speed_peers.rosenbrock(100), speed_peers.rosenbrock(1000), speed_peers.network())
    compared = [row for subject in subjects for row in speed_peers.compare(subject)]
    print()
    print_table(PEERS, peers(compared), left=2)
    if options.write:
        words = "\n".join(f"- {line}" for line in ratios(measured))
        write_section(options.write, "machine", f"Measured on: {machine}.")
        write_section(options.write, "takes", f"{markdown(TAKES, takes(measured), 2)}\n\n{words}")
        write_section(options.write, "misses", markdown(MISSES, misses(missed)))
        write_section(options.write, "peers", markdown(PEERS, peers(compared), 2))
    return 1 if _broken(measured, missed, options.scale) else 0


def _broken(measured: Mapping[str, Measured], missed: Sequence[Missed], scale: float) -> bool:
    """Print what falls short."""
    full = measured["full"]
    times = ratio(measured["slow"], full)
    lines = [f"{row.tool}: {row.verdict}" for row in measured.values() if row.verdict != "pass"]
    lines += [f"not seen: {row.plant}" for row in missed if not row.probe]
    if full.bars < full.weights:
        lines.append(f"{full.weights - full.bars:,} weights have no error bar")
    if scale == 1.0 and times < FASTER:
        lines.append(f"{times:.1f} times faster is less than {FASTER:g}")
    for line in lines:
        print(f"BROKEN {line}")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
