"""What all figures have in common: size, colours, and text that is safe to draw.

Colours are set here one by one, so that a figure reads the same under any style of the user's. They
are those of Okabe and Ito, which can be told apart with every kind of colour vision.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from gradproof.report.escape import one_line

BLUE, VERMILION, ORANGE, GREEN = "#0072B2", "#D55E00", "#E69F00", "#009E73"
PURPLE, INK, GREY, PALE, PAPER = "#CC79A7", "#1a1a1a", "#767676", "#d9d9d9", "#ffffff"
VERDICT_COLOURS = {"pass": GREEN, "fail": VERMILION, "inconclusive": "#8f6200"}
#: Letters of a name; points of the title and of the small print.
NAME, TITLE, SMALL = 60, 12.0, 9.0
#: The smallest and the largest size that is drawn, so that margins and ticks beyond do not
#: overflow, and the largest ratio on one axis.
LEAST, MOST, WIDEST = 1e-250, 1e250, 1e40
_LETTERS_PER_INCH = 13.5


class ReportFigure(Figure):
    """A figure that a notebook shows also where nobody imported pyplot."""

    def savefig(self, fname: Any, *, transparent: bool | None = None, **kwargs: Any) -> None:
        """Save it on its own paper, where a style of the user's, as dark ones do, has another."""
        if not transparent:
            kwargs = {"facecolor": PAPER, "edgecolor": PAPER, **kwargs}
        super().savefig(fname, transparent=transparent, **kwargs)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches; it belongs to no backend and no window."""
    return ReportFigure(
        figsize=(width, height), dpi=110, layout="constrained", facecolor=PAPER, edgecolor=PAPER
    )


def title(figure: Figure, text: str, notes: Sequence[str], colour: str = INK) -> None:
    """The title, and below it sentences in small print, broken to the figure's width."""
    height = float(figure.get_figheight())
    letters = int(float(figure.get_figwidth()) * _LETTERS_PER_INCH)
    lines = [line for note in notes for line in textwrap.wrap(drawable(note), letters)]
    line_height = 1.25 * 1.17 * SMALL
    used = 0.0
    for what, size, weight, tint, points in (
        (drawable(text), TITLE, "bold", colour, 2.0 * TITLE),
        ("\n".join(lines), SMALL, "normal", INK, line_height * len(lines) + 4.0),
    ):
        y = 1.0 - (used + 6.0) / 72.0 / height
        style: dict[str, Any] = {
            "fontsize": size,
            "fontweight": weight,
            "color": tint,
            "linespacing": 1.25,
        }
        plain(figure.text(0.01, y, what, ha="left", va="top", **style))
        used += points
    # Constrained layout keeps the plots clear of titles and labels, but not of these.
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0.0, 0.0, 1.0, 1.0 - (used + 6.0) / 72.0 / height))


def dress(axes: Axes, heading: str = "", x: str = "", y: str = "") -> None:
    """Headings, labels and colours of one plot."""
    axes.set_facecolor(PAPER)
    axes.tick_params(which="both", colors=INK, labelsize=SMALL)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    axes.spines[["top", "right"]].set_visible(False)
    for text in (
        axes.set_title(heading, fontsize=10, color=INK, loc="left"),
        axes.set_xlabel(x, fontsize=SMALL, color=INK),
        axes.set_ylabel(y, fontsize=SMALL, color=INK),
    ):
        plain(text)


def legend(axes: Axes, columns: int = 1, *, is_below: bool = False) -> None:
    """The legend, if something is labelled; below the plot it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        return
    style: dict[str, Any] = {
        "fontsize": SMALL - 1.0,
        "labelcolor": INK,
        "facecolor": PAPER,
        "edgecolor": PALE,
        "ncols": columns,
    }
    if is_below:
        # The figure's own: constrained layout then makes room for it.
        box = axes.figure.legend(handles, labels, loc="outside lower center", **style)
    else:
        box = axes.legend(handles, labels, loc="best", framealpha=0.85, **style)
    for text in box.get_texts():
        plain(text)


def whole_numbers(axis: Axis) -> None:
    """Ticks at whole numbers alone."""
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def plain(text: Text) -> None:
    """Nothing in the text is mathematics or TeX, whatever signs are in it."""
    text.set_parse_math(False)
    text.set_usetex(False)


def drawable(text: str) -> str:
    """The text on one line, with an escape for every letter that the font lacks."""
    font = get_font(findfont(FontProperties()))
    return "".join(
        c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode("ascii")
        for c in one_line(text)
    )
