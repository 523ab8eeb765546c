"""How long every weight of LeNet-5 takes: gradproof against torch.autograd.gradcheck.

    python -m bench.speed --threads 1

Both check the gradient of a scalar cross-entropy loss with respect to every weight, in double
precision, in one run, one after the other, with the same number of threads: gradproof with
`coverage="full"`, gradcheck with `fast_mode=False` and otherwise its own defaults. `--scale 0.5`
makes the network narrower. Exits with 1 unless both pass, gradproof gives every weight an error
bar, and it is at least `FASTER` times faster at scale 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import gradproof

__all__ = ["FASTER", "LeNet", "Measured", "main", "measure"]

FASTER = 20.0
#: Scale of a network that both tools check first, untimed.
WARM_UP = 0.1


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max-pooling: images (N, 1, 28, 28) to logits (N, 10).

    The widths of its layers are multiplied by `scale`; at 1 it has 61,706 weights.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        few, many, wide, narrow = (max(1, round(scale * width)) for width in (6, 16, 120, 84))
        self.conv1 = nn.Conv2d(1, few, 5, padding=2)
        self.conv2 = nn.Conv2d(few, many, 5)
        self.fc1 = nn.Linear(25 * many, wide)
        self.fc2 = nn.Linear(wide, narrow)
        self.fc3 = nn.Linear(narrow, 10)

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2).flatten(1)
        x = functional.relu(self.fc2(functional.relu(self.fc1(x))))
        logits: Tensor = self.fc3(x)
        return logits


@dataclass(frozen=True)
class Measured:
    """What one tool said of every weight, and what that took.

    `bars` counts the weights that got a finite error bar. `evaluations` of gradcheck are the
    forward passes, counted. `cpu` is the processor's time, which tells how busy the machine was.
    """

    tool: str
    verdict: str
    seconds: float
    cpu: float
    evaluations: int
    weights: int
    bars: int

    @property
    def per_weight(self) -> float:
        """Evaluations for each weight."""
        return self.evaluations / self.weights


def measure(scale: float = 1.0, seed: int = 0) -> tuple[Measured, Measured]:
    """Let gradproof and then gradcheck check every weight of a LeNet on four digits."""
    torch.manual_seed(seed)
    model = LeNet(scale).double()
    images, labels = _digits(4, seed)
    return _gradproof(model, images, labels), _gradcheck(model, images, labels)


def _digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Handwritten digits, enlarged from 8 by 8 to 28 by 28, and their labels."""
    data = load_digits()
    chosen = np.random.default_rng(seed).choice(len(data.images), count, replace=False)
    images = torch.from_numpy(data.images[chosen, None] / 16.0)
    labels = torch.from_numpy(data.target[chosen])
    large = functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    return large, labels


def _gradproof(model: nn.Module, images: Tensor, labels: Tensor) -> Measured:
    def loss(logits: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels)

    started, busy = time.perf_counter(), time.process_time()
    # Without the rules of thumb beside the verdict, for which gradcheck has no counterpart.
    report = gradproof.check(model, images, loss=loss, coverage="full", customary=())
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    return Measured(
        "gradproof",
        report.verdict,
        seconds,
        cpu,
        report.evaluations,
        _weights(model),
        int(np.isfinite(np.asarray(report.entries.error)).sum()),
    )


def _gradcheck(model: nn.Module, images: Tensor, labels: Tensor) -> Measured:
    names, parameters = zip(*model.named_parameters(), strict=True)
    evaluations = 0

    def loss(*moved: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        logits = torch.func.functional_call(model, dict(zip(names, moved, strict=True)), images)
        return functional.cross_entropy(logits, labels)

    started, busy = time.perf_counter(), time.process_time()
    passes = torch.autograd.gradcheck(loss, parameters, fast_mode=False, raise_exception=False)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    verdict = "pass" if passes else "fail"
    return Measured("gradcheck", verdict, seconds, cpu, evaluations, _weights(model), 0)


def _weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _table(measured: Sequence[Measured]) -> Table:
    slowest = max(row.seconds for row in measured)
    table = Table(box=box.SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("tool", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    columns = (
        "seconds",
        "CPU\nseconds",
        "times\nfaster",
        "evaluations",
        "per\nweight",
        "error\nbars",
    )
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for row in measured:
        table.add_row(
            row.tool,
            row.verdict,
            f"{row.seconds:.2f}",
            f"{row.cpu:.2f}",
            f"{slowest / row.seconds:.1f}",
            f"{row.evaluations:,}",
            f"{row.per_weight:.2f}",
            f"{row.bars:,}",
        )
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a tool does not pass, a bar is missing or the ratio too small."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--scale", type=float, default=1.0, help="of the layers' widths (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args(argv)
    if options.threads < 1:
        parser.error(f"Expected --threads of at least 1 but got {options.threads}")
    torch.set_num_threads(options.threads)
    measure(WARM_UP, options.seed)  # what PyTorch imports at the first use of vmap or autograd
    ours, theirs = measure(options.scale, options.seed)
    print(f"{ours.weights:,} weights, 4 images, float64, torch {torch.__version__}, ", end="")
    print(f"threads: {options.threads}\n")
    Console().print(_table([ours, theirs]))
    return 1 if _broken(ours, theirs, options.scale) else 0


def _broken(ours: Measured, theirs: Measured, scale: float) -> bool:
    """Print what falls short."""
    ratio = theirs.seconds / ours.seconds
    lines = [f"{row.tool}: {row.verdict}" for row in (ours, theirs) if row.verdict != "pass"]
    if ours.bars < ours.weights:
        lines.append(f"{ours.weights - ours.bars:,} weights have no error bar")
    if scale == 1.0 and ratio < FASTER:
        lines.append(f"{ratio:.1f} times faster is less than {FASTER:g}")
    for line in lines:
        print(f"BROKEN {line}")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
