"""The error over a tensor as an image, in units of the error bar."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, TwoSlopeNorm
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from gradproof.report.entries import Entries
from gradproof.report.figures import canvas
from gradproof.report.figures.unfold import Layout, layout

Floats = NDArray[np.float64]

#: The colours span at least these powers of ten around a difference as large as its bar.
LOWEST, HIGHEST = -3.0, 3.0
#: Beyond so many bars more is no worse.
MOST = 15.0
_MOST_LABELS, _MOST_LETTERS, _MOST_TICKS = 8, 60, 16
#: In images with more cells across, the worst is ringed: a frame would cover it.
_FINE = 40


def excess(entries: Entries) -> Floats:
    """|difference| / (error + rounding); 0 without a difference, infinite for NaN."""
    gap = np.abs(entries["difference"])
    with np.errstate(all="ignore"):
        ratio = np.where(gap == 0.0, 0.0, gap / (entries["error"] + entries["rounding"]))
    return np.where(np.isnan(ratio), np.inf, ratio)


def draw_map(
    axes: Axes, shape: tuple[int, ...], entries: Entries, worst: tuple[int, ...] | None
) -> None:
    """The map of a tensor of at least one entry; the entry `worst` gets a frame."""
    plan = layout(shape)
    with np.errstate(divide="ignore"):
        level = np.clip(np.log10(excess(entries)), LOWEST, MOST)
    cells = plan.worst(entries.flat_index, level)
    canvas.dress(axes, "|analytic - numeric| in error bars", *_axis_names(plan))
    axes.spines[:].set_visible(False)
    highest = max(HIGHEST, float(level.max(initial=0.0)))
    norm = TwoSlopeNorm(0.0, LOWEST, highest)
    extent = _extent(plan)
    style: dict[str, Any] = {
        "interpolation": "nearest",
        "origin": "upper",
        "extent": extent,
        "aspect": _aspect(plan),
    }
    # What is not covered by a colour has not been looked at, or is white and stands for no entry.
    unseen: dict[str, Any] = {
        "facecolor": canvas.PALE,
        "edgecolor": canvas.GREY,
        "hatch": "////",
        "lw": 0,
    }
    left, right, bottom, top = extent
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, zorder=-1, **unseen))
    masked = np.ma.masked_invalid(cells)
    drawn = axes.imshow(masked, cmap=colormaps["RdBu_r"], norm=norm, **style)
    outside = plan.outside()
    if outside.any():
        masked = np.ma.masked_where(~outside, outside)
        axes.imshow(masked, cmap=ListedColormap([canvas.PAPER]), **style)
    _label_tiles(axes, plan)
    if worst is not None:
        _frame(axes, plan, worst, extent)
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.85, pad=0.02)
    ticks = [t for t in (-3, 0, 3, 6, 9, 12, 15) if t <= highest]
    bar.set_ticks(ticks, labels=[_power(t) for t in ticks])
    bar.ax.tick_params(colors=canvas.INK, labelsize=canvas.SMALL - 1.0)
    bar.outline.set_visible(False)


def _aspect(plan: Layout) -> str:
    """Square cells, unless that made a matrix or a strip too thin to see."""
    height, width = plan.size
    return "equal" if plan.gap or 0.3 < height / width < 3.0 else "auto"


def _power(exponent: int) -> str:
    return {-3: "1/1000\nor less", 0: "1 bar"}.get(exponent, f"1e{exponent}")


def _axis_names(plan: Layout) -> tuple[str, str]:
    """What runs to the right and what runs down, and how much a cell stands for."""
    rank = len(plan.shape)
    if rank == 0:
        return "", ""
    if rank == 1:
        broken = f", in rows of {plan.grid[1] * plan.tile[1]:,}" if plan.grid[0] > 1 else ""
        names = [f"entry{broken}", ""]
    elif plan.count == 1:
        names = [f"axis {plan.axes[-1]}", f"axis {plan.axes[-2]}"]
    else:
        leading = ", ".join(map(str, plan.axes[:-2]))
        image = f"tiles: axes {plan.axes[-2]} (down) and {plan.axes[-1]}"
        if plan.is_grid:
            right = ", ".join(map(str, plan.axes[1:-2]))
            names = [f"axis {right}; {image}", f"axis {plan.axes[0]}"]
        else:
            plural = "axis" if rank == 3 else "axes"
            names = [f"one tile for each of {plural} {leading}; {image}", ""]
    rows, columns = plan.block
    if rows * columns > 1:
        names[0] += f"\na cell: the worst of {rows:,} x {columns:,} entries"
    return names[0], names[1]


def _extent(plan: Layout) -> tuple[float, float, float, float]:
    """In units of entries where the image is one matrix or strip, else in cells."""
    height, width = plan.size
    if not plan.gap and plan.grid[0] == 1:
        height, width = height * plan.block[0], width * plan.block[1]
    return (-0.5, width - 0.5, height - 0.5, -0.5)


def _label_tiles(axes: Axes, plan: Layout) -> None:
    rows, columns = plan.grid
    if not plan.gap:
        is_matrix = plan.count == 1 and len(plan.shape) > 1
        if not is_matrix or plan.size[0] == 1:
            axes.set_yticks([])
        if (len(plan.shape) != 1 and not is_matrix) or rows > 1 or plan.size[1] == 1:
            axes.set_xticks([])
        for axis in (axes.xaxis, axes.yaxis):
            if len(axis.get_ticklocs()):
                canvas.whole_numbers(axis)
        return
    down, right = plan.pitch
    if plan.is_grid:
        _ticks(axes.set_yticks, rows, down)
        _ticks(axes.set_xticks, columns, right, plan.size[1] / plan.size[0])
        return
    axes.set_xticks([])
    axes.set_yticks([])
    leading = tuple(plan.shape[axis] for axis in plan.axes[:-2])
    labels = [
        f"[{', '.join(str(int(i)) for i in np.unravel_index(number, leading))}]"
        for number in range(plan.count)
    ]
    if rows > _MOST_LABELS or columns * (len(labels[-1]) + 2) > _MOST_LETTERS:
        return
    # The first row's labels need room above the image.
    axes.set_ylim(plan.size[0] - 0.5, -0.5 - 0.06 * plan.size[0])
    for number, label in enumerate(labels):
        row, column = divmod(number, columns)
        axes.text(
            column * right - 0.5,
            row * down - 0.5,
            label,
            fontsize=7,
            color=canvas.INK,
            va="bottom",
        )


def _ticks(put: Callable[..., object], count: int, pitch: int, share: float = 1.0) -> None:
    """A number at the middle of every tile, or of every so many; fewer where it is narrow."""
    numbers = range(0, count, math.ceil(count / max(_MOST_TICKS * min(share, 1.0), 2.0)))
    put([n * pitch + (pitch - 2) / 2.0 for n in numbers], labels=[str(n) for n in numbers])


def _frame(
    axes: Axes, plan: Layout, worst: tuple[int, ...], extent: tuple[float, float, float, float]
) -> None:
    flat = int(np.ravel_multi_index(worst, plan.shape)) if worst else 0
    (row,), (column,) = plan.places(np.array([flat], np.intp))
    height, width = plan.size
    across = (extent[1] - extent[0]) / width
    down = (extent[2] - extent[3]) / height
    if max(height, width) > _FINE:
        middle = (extent[0] + (column + 0.5) * across, extent[3] + (row + 0.5) * down)
        ring: dict[str, Any] = {"mfc": "none", "mec": canvas.INK, "ms": 13, "mew": 1.5}
        axes.plot([middle[0]], [middle[1]], "o", clip_on=False, **ring)
        return
    axes.add_patch(
        Rectangle(
            (extent[0] + column * across, extent[3] + row * down),
            across,
            down,
            fill=False,
            edgecolor=canvas.INK,
            linewidth=2.0,
            clip_on=False,
        )
    )
