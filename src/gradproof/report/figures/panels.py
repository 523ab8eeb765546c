"""The plots of a tensor beside its map: digits, analytic against numeric, limits, directions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from gradproof.numerics.agreement import MOST_DIGITS
from gradproof.report import build
from gradproof.report.entries import Entries, Entry
from gradproof.report.figures import canvas
from gradproof.report.model import ProbeRow, TensorReport
from gradproof.report.steps_text import shorten

Floats = NDArray[np.float64]

#: Ratio of the largest to the smallest derivative beyond which their axes are logarithmic.
WIDE = 1e3
#: Tensors whose limits are drawn, and letters of their names.
MOST_LIMITS, LIMIT_NAME = 12, 22
MOST_TICKS = 7
#: Between these a direction's distance in bars is drawn.
LEAST_RATIO, MOST_RATIO = 1e-4, 1e15

_MARKS = {
    "match": ("o", canvas.BLUE, "none"),
    "mismatch": ("X", canvas.VERMILION, canvas.VERMILION),
    "kink": ("D", canvas.PURPLE, "none"),
    "unresolved": ("s", canvas.GREY, "none"),
}


def with_digits(entries: Entries) -> Entries:
    """The entries that have digits: not those at a kink, nor those that are 0 on both sides."""
    smooth = build.smooth_part(entries)
    return smooth.filter(where=(smooth["analytic"] != 0.0) | (smooth["numeric"] != 0.0))


def draw_digits(axes: Axes, entries: Entries) -> None:
    """Histograms of the digits that agree and of those attainable; of one entry at least."""
    canvas.dress(axes, "digits", "decimal digits", "entries")
    bins = np.arange(0.0, MOST_DIGITS + 1.0, 0.5).tolist()
    agree, attainable = entries["digits_agree"], entries["digits_attainable"]
    axes.hist(agree, bins, color=canvas.BLUE, alpha=0.55, label="agree")
    axes.hist(
        attainable, bins, histtype="step", color=canvas.ORANGE, lw=2, ls="--", label="attainable"
    )
    most = max(np.histogram(some, bins)[0].max() for some in (agree, attainable))
    if most > 50:
        # A handful of wrong ones among thousands must not vanish.
        axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(0.0, most * 2.0)
    else:
        axes.set_ylim(0.0, most * 1.2)
        canvas.whole_numbers(axes.yaxis)
    axes.set_xlim(0.0, 16.0)
    canvas.legend(axes)


def draw_scatter(axes: Axes, entries: Entries, worst: Entry | None) -> None:
    """Analytic against numeric, those that are numbers; of one such entry at least."""
    canvas.dress(axes, "analytic against numeric", "numeric", "analytic")
    both = _drawn(np.concatenate([entries["analytic"], entries["numeric"]]))
    sizes = np.abs(both[both != 0.0])
    if sizes.size and sizes.max() > WIDE * sizes.min():
        # Linear near 0, so that the smallest do not take up all the room.
        threshold = max(float(np.quantile(sizes, 0.1)), float(sizes.max()) * 1e-8)
        threshold = 10.0 ** math.floor(math.log10(threshold))
        axes.set_xscale("symlog", linthresh=threshold)
        axes.set_yscale("symlog", linthresh=threshold)
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color=canvas.GREY, lw=1, zorder=1, label="analytic = numeric")
    for verdict, (marker, colour, face) in _MARKS.items():
        some = entries.filter(verdict=verdict)
        if not len(some):
            continue
        axes.plot(
            _drawn(some["numeric"]),
            _drawn(some["analytic"]),
            marker,
            color=colour,
            mfc=face,
            ms=5,
            mew=1,
            alpha=0.8,
            rasterized=True,
            label=f"{verdict}: {len(some):,}",
        )
    if worst is not None and math.isfinite(worst.analytic) and math.isfinite(worst.numeric):
        axes.plot(
            _drawn(np.array([worst.numeric])),
            _drawn(np.array([worst.analytic])),
            "o",
            mfc="none",
            mec=canvas.INK,
            ms=13,
            mew=1.5,
            zorder=5,
            label=f"worst: {list(worst.index)}" if worst.index else "worst",
        )
    _few_ticks(axes)
    canvas.legend(axes)


def _drawn(values: Floats) -> Floats:
    return np.clip(values, -canvas.MOST, canvas.MOST)


def _few_ticks(axes: Axes) -> None:
    """Signed logarithms have a tick for every power of ten: no more than fit."""
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() != "symlog":
            continue
        low, high = sorted(axis.get_view_interval())
        ticks = [t for t in axis.get_ticklocs() if low <= t <= high]
        zero = ticks.index(0.0) if 0.0 in ticks else 0
        stride = math.ceil(len(ticks) / MOST_TICKS)
        axis.set_ticks([t for i, t in enumerate(ticks) if (i - zero) % stride == 0])
        axis.set_minor_locator(NullLocator())


def draw_limits(
    axes: Axes, tensors: Sequence[TensorReport], chosen: TensorReport, resolution: float
) -> None:
    """Detection limits, of which there is one: the chosen tensor's, and the others' coarsest."""
    canvas.dress(axes, "detection limits", "relative error of a tensor's gradient, at most unseen")
    axes.set_xscale("log")
    others = [t for t in tensors if t.name != chosen.name and t.size]
    others.sort(key=lambda t: -math.inf if math.isnan(t.detection_limit) else -t.detection_limit)
    shown = [chosen, *others[: MOST_LIMITS - 1]]
    limits = [t.detection_limit for t in shown]
    drawn = [limit for limit in (*limits, resolution) if 0.0 < limit < math.inf]
    highest = min(max(drawn), canvas.MOST)
    axes.set_xlim(max(min(drawn), highest / canvas.WIDEST) / 10.0, highest * 10.0)
    axes.axvline(resolution, color=canvas.GREY, ls="--", lw=1, label="resolution asked for")
    for place, tensor in enumerate(shown):
        limit, is_chosen = tensor.detection_limit, tensor is chosen
        if 0.0 < limit < math.inf:
            colour = canvas.INK if is_chosen else canvas.BLUE
            axes.plot([limit], [place], "D" if is_chosen else "o", color=colour, ms=7)
        else:
            note = axes.annotate(
                "no error larger than 0" if limit == 0.0 else "no limit",
                (resolution, place),
                xytext=(-4, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=canvas.SMALL - 1.0,
                color=canvas.INK,
            )
            canvas.plain(note)
    names = [canvas.drawable(shorten(t.name, LIMIT_NAME)) for t in shown]
    axes.set_yticks(range(len(shown)), labels=names)
    for text in axes.get_yticklabels():
        canvas.plain(text)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(True, axis="y", color=canvas.PALE, lw=0.6)
    canvas.legend(axes)


def draw_directions(axes: Axes, probes: Sequence[ProbeRow]) -> None:
    """How far the claimed slope lies from the one found, in bars; of one finite slope at least."""
    canvas.dress(
        axes, "random directions through it", "direction", "|claimed - found| in error bars"
    )
    axes.set_yscale("log")
    ratios = _ratios(probes)
    axes.axhline(1.0, color=canvas.GREY, ls="--", lw=1, label="the error bar")
    number = np.arange(1, len(ratios) + 1)
    for inside, marker, colour, what in (
        (ratios <= 1.0, "o", canvas.BLUE, "agree"),
        (ratios > 1.0, "X", canvas.VERMILION, "disagree"),
    ):
        if inside.any():
            label = f"{what}: {np.count_nonzero(inside):,}"
            axes.plot(number[inside], ratios[inside], marker, color=colour, ms=7, label=label)
    axes.set_xlim(0.5, len(ratios) + 0.5)
    axes.set_ylim(min(0.5 * float(ratios.min()), 0.1), max(5.0 * float(ratios.max()), 10.0))
    canvas.whole_numbers(axes.xaxis)
    canvas.legend(axes)


def finite_probes(probes: Sequence[ProbeRow], name: str) -> list[ProbeRow]:
    """The directions through a tensor along which the claim could be compared."""
    return [
        probe
        for probe in probes
        if (probe.tensors is None or name in probe.tensors)
        and math.isfinite(probe.analytic)
        and math.isfinite(probe.numeric)
        and math.isfinite(probe.error)
    ]


def _ratios(probes: Sequence[ProbeRow]) -> Floats:
    gaps = np.array([abs(probe.analytic - probe.numeric) for probe in probes])
    bars = np.array([probe.error for probe in probes])
    with np.errstate(all="ignore"):
        return np.clip(np.where(gaps == 0.0, 0.0, gaps / bars), LEAST_RATIO, MOST_RATIO)
