"""The report as plain frozen data: what renderers see, and all that they see.

Units: derivatives are in units of f per unit of the tensor's entry; *digits* are decimal digits,
clipped to [0, 15.95] (the digits that double precision can hold).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gradproof.report.entries import Entries, Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Verdict = Literal["pass", "fail", "inconclusive"]
Severity = Literal["bug", "warning", "info"]
Cause = Literal["agrees", "truncation", "rounding", "kink", "wrong gradient", "unclear"]


@dataclass(frozen=True)
class Finding:
    """A named cause with its evidence.

    `severity` says what it does to the verdict: a `bug` makes it fail, a `warning` may make it
    inconclusive, an `info` is advice and leaves it alone.
    """

    kind: str
    message: str
    tensor: str | None = None
    severity: Severity = "info"
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Spread:
    """A distribution in three numbers; all NaN when there was nothing to measure."""

    minimum: float
    median: float
    maximum: float


@dataclass(frozen=True)
class Customary:
    """The rules of thumb at one fixed absolute step h, such as 1e-4 or 1e-5.

    `kinks` counts the entries with a kink between x-h and x+h; the `_without_kinks` figure is what
    remains when those are left out.
    """

    step: float
    checked: int
    kinks: int
    digits_agree: Spread
    sign_mismatches: int
    norm_ratio: float
    max_relative_error: float
    max_relative_error_without_kinks: float


@dataclass(frozen=True)
class StepRow:
    """One step size: the plain central difference there and the two parts of its error.

    For a whole tensor `numeric` is NaN and the other columns are root mean squares over the
    entries looked at.
    """

    step: float
    numeric: float
    difference: float
    truncation: float
    rounding: float


@dataclass(frozen=True)
class StepTable:
    """Error against step for one entry or tensor, with the fitted orders and their meaning.

    `order` is the fitted slope of log|difference| against log h where truncation rules (2 for a
    smooth function), `rounding_order` where rounding rules (-1); NaN where there are too few rows
    to fit.
    """

    label: str
    analytic: float
    numeric: float
    error: float
    rows: tuple[StepRow, ...]
    order: float
    rounding_order: float
    cause: Cause
    explanation: str


@dataclass(frozen=True)
class ProbeRow:
    """One random direction: slope as claimed and as found, and by how much they may differ.

    `error` is infinite where f has no slope along it; `step` the one they were compared at;
    `tensors` those that the direction was confined to, None for all.
    """

    analytic: float
    numeric: float
    error: float
    step: float
    tensors: tuple[str, ...] | None


@dataclass(frozen=True)
class Plan:
    """What a check was foreseen to cost, from sizes and one timed evaluation.

    `evaluations` of f for a right and smooth gradient; `seconds` at the pace of the one that was
    timed (batches may be much faster), NaN where f has no value; `memory` in bytes, beside what f
    itself takes.
    """

    evaluations: int
    seconds: float
    memory: int

    def __str__(self) -> str:
        from gradproof.report.progress import plan_line

        return plan_line(self.evaluations, self.seconds, self.memory)


@dataclass(frozen=True)
class TensorReport:
    """What was found in one tensor.

    `counts` maps each entry verdict (match, mismatch, kink, unresolved) to a number of entries.
    `detection_limit` is the smallest relative error of this tensor's gradient, in the Euclidean
    norm, that would not have been lost: over the entries checked, within their error bars; with
    coverage `probe` over all entries, at the report's `confidence`. `located` says whether all
    entries that are wrong are among those checked.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    checked: int
    verdict: Verdict
    reason: str
    counts: Mapping[str, int]
    digits_agree: Spread
    digits_attainable: Spread
    detection_limit: float
    norm_ratio: float
    max_relative_error: float
    sign_mismatches: int
    worst: Entry | None
    customary: tuple[Customary, ...] = ()
    located: bool = False


@dataclass(frozen=True)
class Report:
    """The outcome of a check; true in a boolean context only for the verdict `pass`.

    `settings` are the other options of the check that are plain values, and `versions` what it ran
    with: {"gradproof": "0.1.0", "numpy": "2.4.1", ...}.
    """

    verdict: Verdict
    reason: str
    tensors: Mapping[str, TensorReport]
    entries: Entries
    findings: tuple[Finding, ...]
    norm_ratio: float
    max_relative_error: float
    sign_mismatches: int
    digits_agree: Spread
    digits_attainable: Spread
    evaluations: int
    gradient_evaluations: int
    seconds: float
    noise: float
    seed: int
    coverage: str
    resolution: float
    value: float
    customary: tuple[Customary, ...] = ()
    steps: tuple[StepTable, ...] = ()
    terms: Mapping[str, Report] = field(default_factory=dict)
    confidence: float = float("nan")
    probes: tuple[ProbeRow, ...] = ()
    plan: Plan | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.verdict == "pass"

    def __str__(self) -> str:
        from gradproof.report.text import render_text

        return render_text(self)

    def _repr_html_(self) -> str:
        from gradproof.report.notebook import render_notebook

        return render_notebook(self)

    def save(
        self, path: str | os.PathLike[str], entries: Literal["npz", "parquet"] = "npz"
    ) -> None:
        """Write everything in this report to a JSON file that `gradproof.load` reads.

        More than 2,000 entries go to an .npz beside it, `result.entries-0123456789ab.npz` for
        `result.json`, to be kept with it. Whenever the program is killed, the old result is there
        or the new one, and whole.

        Args:
            path: the JSON file.
            entries: "parquet" for a .parquet instead, with the entries however few they are, which
                pandas, Polars, DuckDB and others read by themselves (the extra `store`).

        Raises:
            InputError: `entries` is something else, or pyarrow is not installed.
            OSError: it cannot be written.
        """
        from gradproof.report.store import save

        save(self, path, entries)

    def save_html(self, path: str | os.PathLike[str]) -> None:
        """Write this report as one HTML file, to be opened in any browser, offline too.

        Verdict and findings, a table of tensors, and for each of them where in it the error is; at
        most 200,000 entries, the worst of each tensor, about 70 bytes each. Whenever the program is
        killed, the old file is there or the new one, and whole.

        Raises:
            OSError: it cannot be written.
        """
        from gradproof.report.html import render_html
        from gradproof.report.store import Result
        from gradproof.report.writing import write_whole

        write_whole(path, render_html([Result("", self)]).encode())

    def plot_steps(self, label: str | None = None) -> Figure:
        """Error against the step h on logarithmic axes, as a matplotlib figure.

        The distance of the plain central difference from the claim at each h, its two parts
        (truncation and rounding) with their fitted powers of h, the steps between which a kink
        lies, the error bar of the numeric value, and in words what it means.

        Args:
            label: the entry or tensor of one of `steps`; the first by default.

        Raises:
            InputError: there is no such table in `steps`, or none at all.
            ImportError: matplotlib is not installed (the extra `plot`).
        """
        from gradproof.report.figures import plot_steps

        return plot_steps(self, label)

    def plot_tensor(self, name: str | None = None) -> Figure:
        """What was found in one tensor, as a matplotlib figure.

        A map of the error over the tensor in units of the error bar, a histogram of the digits that
        agree and those attainable, and the analytic against the numeric values; where entries were
        not looked at one by one, the detection limits and the random directions.

        Args:
            name: the tensor; the worst by default.

        Raises:
            InputError: there is no such tensor.
            ImportError: matplotlib is not installed (the extra `plot`).
        """
        from gradproof.report.figures import plot_tensor

        return plot_tensor(self, name)
