"""How gradproof's cost grows with the number of entries: evaluations, seconds, memory.

    python -m bench.growth --threads 1 --write docs/speed.md --plot docs/growth.svg

Two families with right gradients: Rosenbrock's function in NumPy, with `f_batch`, and a network of
two tanh layers in PyTorch. Each is checked with `coverage="probe"` at 1e3 to 1e7 entries and with
`coverage="full"` at 1e3 to 1e5, every time in a process of its own, after a small one of its kind
as a warm-up. Memory is by how much the check raised the process's peak: what it takes beside f,
x and the gradient. Exits with 1 unless every check passes and, with `probe`, none takes more than
100 evaluations and 2 for each tensor.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bench.page import markdown, print_table, write_section
from bench.timing import timed, use_processors

__all__ = ["FAMILIES", "SIZES", "Grown", "main", "measure", "plot"]

Vector = npt.NDArray[np.float64]
#: Runs a check of so many entries or, for the network, about so many.
Check = Callable[[str], Any]

SIZES = {"probe": (10**3, 10**4, 10**5, 10**6, 10**7), "full": (10**3, 10**4, 10**5)}
WARM_UP = 100
COLUMNS = ("family", "coverage", "entries", "evaluations", "an entry", "CPU seconds", "memory, MB")


@dataclass(frozen=True)
class Grown:
    """What one check took: seconds of the processor, which others cannot stretch, and bytes."""

    family: str
    coverage: str
    entries: int
    tensors: int
    verdict: str
    evaluations: int
    seconds: float
    memory: int


def _rosenbrock(entries: int) -> tuple[Check, int]:
    import gradproof

    x = np.random.default_rng(0).normal(size=entries)

    def f_batch(x: Vector) -> Vector:
        part = np.square(x[..., :-1])
        np.subtract(x[..., 1:], part, out=part)
        value = 100.0 * np.einsum("...i,...i", part, part)
        np.subtract(1.0, x[..., :-1], out=part)
        return np.asarray(value + np.einsum("...i,...i", part, part))

    def gradient(x: Vector) -> Vector:
        gap, g = x[1:] - x[:-1] ** 2, np.zeros_like(x)
        g[:-1] = -400.0 * x[:-1] * gap - 2.0 * (1.0 - x[:-1])
        g[1:] += 200.0 * gap
        return g

    def check(coverage: str) -> Any:
        return gradproof.check(
            lambda x: float(f_batch(x)), x, gradient, coverage=coverage, f_batch=f_batch
        )

    return check, entries


def _network(entries: int) -> tuple[Check, int]:
    import torch
    from torch import nn

    import gradproof

    torch.manual_seed(0)
    width = max(4, round((entries / 2) ** 0.5))
    model = nn.Sequential(
        nn.Linear(width, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1)
    ).double()
    rows = torch.randn(4, width, dtype=torch.float64)

    def check(coverage: str) -> Any:
        return gradproof.check(
            model, rows, loss=lambda out: 0.5 * (out * out).sum(), coverage=coverage
        )

    return check, sum(parameter.numel() for parameter in model.parameters())


FAMILIES: dict[str, Callable[[int], tuple[Check, int]]] = {
    "Rosenbrock, NumPy": _rosenbrock,
    "network, PyTorch": _network,
}


def measure(family: str, coverage: str, entries: int) -> Grown:
    """Check one member of a family; for the memory to be its own, in a new process."""
    warm_up, _ = FAMILIES[family](WARM_UP)
    warm_up(coverage)
    check, exactly = FAMILIES[family](entries)
    before = _peak()
    run = timed(lambda: check(coverage))
    report = run.result
    return Grown(
        family,
        coverage,
        exactly,
        len(report.tensors),
        report.verdict,
        report.evaluations,
        run.cpu,
        _peak() - before,
    )


def _peak() -> int:
    """The most memory that this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _alone(family: str, coverage: str, entries: int, threads: int) -> Grown:
    """Call `measure` in a new process; PyTorch has as many threads as there are processors."""
    start: Any = {"initializer": use_processors, "initargs": (threads,)}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), **start) as pool:
        return pool.submit(measure, family, coverage, entries).result()


# -- the table and the picture -----------------------------------------------------------------


def cells(grown: Sequence[Grown]) -> list[list[str]]:
    """The rows of the table."""
    return [
        [
            row.family,
            row.coverage,
            f"{row.entries:,}",
            f"{row.evaluations:,}",
            f"{row.evaluations / row.entries:.2g}",
            f"{row.seconds:.3g}",
            f"{row.memory / 1e6:,.0f}",
        ]
        for row in grown
    ]


def plot(grown: Sequence[Grown], path: Path) -> None:
    """Evaluations and seconds against the number of entries, both axes logarithmic."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "growth", "font.size": 10}
    with mpl.rc_context(style):
        figure = Figure(figsize=(9.0, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        for axes, quantity in ((left, "evaluations"), (right, "seconds")):
            _lines(axes, grown, quantity)
        left.set_ylabel("evaluations of f")
        right.set_ylabel("processor seconds")
        figure.legend(
            *left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
        )
        # Without the date the same numbers give the same file.
        figure.savefig(path, metadata={"Date": None})


def _lines(axes: Any, grown: Sequence[Grown], quantity: str) -> None:
    colours = dict(zip(FAMILIES, ("#1f6fb4", "#c8551b"), strict=True))
    for family, colour in colours.items():
        for coverage, line in (("probe", "-o"), ("full", "--s")):
            rows = [row for row in grown if (row.family, row.coverage) == (family, coverage)]
            axes.loglog(
                [row.entries for row in rows],
                [getattr(row, quantity) for row in rows],
                line,
                color=colour,
                markersize=4,
                label=f"{family}: {coverage}",
            )
    axes.set_xlabel("entries of the gradient")
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a check does not pass or `probe` takes too many evaluations."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--largest", type=int, default=max(SIZES["probe"]), help="leave out more")
    parser.add_argument("--write", type=Path, help="a page with the section of docs/speed.md")
    parser.add_argument("--plot", type=Path, help="where the picture goes")
    options = parser.parse_args(argv)
    wanted = [
        (family, coverage, entries)
        for family in FAMILIES
        for coverage, sizes in SIZES.items()
        for entries in sizes
        if entries <= options.largest
    ]
    grown = []
    for order in wanted:
        grown.append(_alone(*order, options.threads))
        print(*cells(grown[-1:])[0], sep="  ", file=sys.stderr, flush=True)
    print_table(COLUMNS, cells(grown), left=2)
    if options.write:
        write_section(options.write, "growth", markdown(COLUMNS, cells(grown), 2))
    if options.plot:
        plot(grown, options.plot)
    return 1 if _broken(grown) else 0


def _broken(grown: Sequence[Grown]) -> bool:
    """Print what falls short."""
    lines = [f"{r.family}, {r.entries:,}: {r.verdict}" for r in grown if r.verdict != "pass"]
    lines += [
        f"{row.family}, {row.entries:,}: {row.evaluations} evaluations"
        for row in grown
        if row.coverage == "probe" and row.evaluations > 100 + 2 * row.tensors
    ]
    for line in lines:
        print(f"BROKEN {line}")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
