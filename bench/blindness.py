"""Whether a gradient that is plainly wrong can pass because the array is long.

Fast checkers project a gradient on one random direction and allow an error that grows with the
number of entries; then zeros in place of a gradient pass. Here identity, elementwise and mean-type
functions of up to a million entries are checked against seven claims, one of them right.

    python -m bench.blindness --repeats 200 --sizes 10 1000 100000 1000000

A wrong claim is caught if the verdict is `fail` and an entry at fault is named: the very one where
one is wrong. Exits with 1 if anything was missed, or the right claim did not pass.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

import gradproof

__all__ = ["CLAIMS", "FUNCTIONS", "Row", "main", "measure"]

Vector = npt.NDArray[np.float64]
#: f, and its vector-Jacobian product.
Pair = tuple[Callable[[Vector], Any], Callable[[Vector, Any], Vector]]
#: A right gradient and an entry to the claim.
Bend = Callable[[Vector, int], Vector]


def _softmax(x: Vector) -> Vector:
    parts: Vector = np.exp(x)
    return parts / float(np.sum(parts))


FUNCTIONS: dict[str, Pair] = {
    "identity": (lambda x: x * 1.0, lambda x, c: c * 1.0),
    "sin": (np.sin, lambda x, c: c * np.cos(x)),
    "exp": (np.exp, lambda x, c: c * np.exp(x)),
    "mean square": (lambda x: np.mean(x * x), lambda x, c: c * 2.0 * x / len(x)),
    "logsumexp": (lambda x: np.log(np.sum(np.exp(x))), lambda x, c: c * _softmax(x)),
}


def _one(factor: float) -> Bend:
    def bend(gradient: Vector, entry: int) -> Vector:
        claim = gradient.copy()
        claim[entry] *= factor
        return claim

    return bend


CLAIMS: dict[str, Bend] = {
    "right": lambda g, i: g,
    "all zero": lambda g, i: 0.0 * g,
    "one zeroed": _one(0.0),
    "one sign flipped": _one(-1.0),
    "one 5 % off": _one(1.05),
    "alternating 50 %": lambda g, i: g * (1.0 + 0.5 * (-1.0) ** np.arange(len(g))),
    "all 0.1 % off": lambda g, i: 1.001 * g,
}


@dataclass(frozen=True)
class Row:
    """One function, size and claim: how often the outcome was the right one, and its price.

    `limit` is the largest detection limit of the runs that passed.
    """

    function: str
    size: int
    claim: str
    repeats: int
    correct: int
    evaluations: int
    limit: float
    seconds: float


def measure(function: str, size: int, claim: str, repeats: int) -> Row:
    """Check one claim with as many seeds."""
    f, product = FUNCTIONS[function]
    correct, evaluations, limit = 0, 0, 0.0
    started = time.perf_counter()
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        x, entry = rng.normal(size=size), int(rng.integers(size))

        def grad(x: Vector, cotangent: Any, entry: int = entry) -> Vector:
            return CLAIMS[claim](product(x, cotangent), entry)

        report = gradproof.check(f, x, grad, coverage="probe", seed=seed)
        evaluations = max(evaluations, report.evaluations)
        correct += _is_correct(report, claim, entry)
        if report.verdict == "pass":
            limit = max(limit, *(t.detection_limit for t in report.tensors.values()))
    seconds = time.perf_counter() - started
    return Row(function, size, claim, repeats, correct, evaluations, limit, seconds)


def _is_correct(report: gradproof.Report, claim: str, entry: int) -> bool:
    if claim == "right":
        return report.verdict == "pass"
    (tensor,) = report.tensors.values()
    if report.verdict != "fail" or tensor.worst is None or tensor.worst.verdict != "mismatch":
        return False
    return not claim.startswith("one") or tensor.worst.index == (entry,)


def _rows(sizes: Sequence[int], repeats: int, right: int) -> Iterator[Row]:
    for size in sizes:
        for function in FUNCTIONS:
            for claim in CLAIMS:
                yield measure(function, size, claim, right if claim == "right" else repeats)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 if anything was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=200, help="of every wrong claim")
    parser.add_argument("--right", type=int, default=1000, help="repeats of the right one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 1000, 100_000, 1_000_000])
    given = parser.parse_args(arguments)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("function", "entries", "claim", "correct", "evaluations", "limit", "seconds"):
        table.add_column(name)
    is_right = True
    for row in _rows(given.sizes, given.repeats, given.right):
        is_right &= row.correct == row.repeats
        table.add_row(
            row.function,
            f"{row.size:,}",
            row.claim,
            f"{row.correct} of {row.repeats}",
            str(row.evaluations),
            f"{row.limit:.0e}" if row.limit else "",
            f"{row.seconds:.1f}",
        )
    Console(width=120).print(table)
    return 0 if is_right else 1


if __name__ == "__main__":
    raise SystemExit(main())
