"""Figures: what is drawn, what is said where nothing can be, and that nothing else is touched."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradproof
from gradproof import InputError, Report
from gradproof.report.entries import VERDICTS, Entries
from gradproof.report.figures.unfold import layout
from gradproof.report.model import ProbeRow, StepRow

matplotlib = pytest.importorskip("matplotlib")

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOSTILE = (
    "<script>alert(1)</script>",
    r"a\nb" "\r\x00\x1b[31m\u2028\ud800$\\frac$",
    "x" * 10_000,
    "\u3042\U0001f600",
)
NAN, INF = math.nan, math.inf


def kinks() -> Report:
    x = np.array([1e-5, 1.0, 2.0])
    return gradproof.check(
        lambda x: float(np.sum(np.abs(x)) + np.sum(x**3)),
        x,
        lambda x: np.sign(x) + 3 * x**2,
        coverage="full",
        steps=["x[0]", "x[1]"],
    )


def wrong() -> Report:
    x = {"kernel": np.linspace(-1.0, 1.0, 48).reshape(4, 3, 2, 2), "bias": np.full(4, 0.3)}

    def gradient(x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        g = {name: np.cos(value) for name, value in x.items()}
        g["kernel"][2, 1] *= -1.0
        return g

    return gradproof.check(
        lambda x: float(sum(np.sum(np.sin(v)) for v in x.values())), x, gradient, coverage="full"
    )


def certified() -> Report:
    return gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones((30, 4)), np.cos)


def made_up(shape: tuple[int, ...], rows: Sequence[int], analytic: float = 1.0) -> Report:
    """A report of one tensor "w" in which the last of these rows is wrong."""
    base = certified()
    numeric = np.ones(len(rows))
    claim = np.append(numeric[1:], [analytic] * bool(len(rows)))
    entries = Entries.build(
        ["w"],
        [shape],
        tensor=0,
        flat_index=list(rows),
        value=numeric,
        analytic=claim,
        numeric=numeric,
        error=1e-9,
        verdict=np.where(claim == numeric, 0, 1),
    )
    size = int(np.prod(shape))
    tensor = replace(base.tensors["x"], name="w", shape=shape, size=size, checked=len(rows))
    return replace(base, tensors={"w": tensor}, entries=entries, probes=())


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()  # lays out all there is, and measures every letter
    return figure


def words(figure: Figure) -> str:
    from matplotlib.text import Text

    found = figure.findobj(match=lambda artist: isinstance(artist, Text))
    return "\n".join(text.get_text() for text in found if isinstance(text, Text))


def headings(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def cells(figure: Figure) -> np.ma.MaskedArray[Any, Any]:
    image = figure.axes[0].get_images()[0].get_array()
    assert isinstance(image, np.ma.MaskedArray)
    return image


def test_steps_show_the_parts_the_fits_the_kinks_and_the_words() -> None:
    report = kinks()
    kink, smooth = (drawn(report.plot_steps(table.label)) for table in report.steps)
    assert "a kink lies between x - h and x + h" in words(kink)
    assert "goes as h^2.00 (expected h^2)" in words(smooth)
    assert "(expected 1/h)" in words(smooth)
    for table, figure in zip(report.steps, (kink, smooth), strict=True):
        said = " ".join(words(figure).split())
        assert table.explanation in said
        assert f"{table.cause}:" in said
        assert "error bar of the numeric value" in said
    (axes,) = smooth.axes
    differences = [row.difference for row in reversed(report.steps[1].rows)]
    assert any(np.array_equal(line.get_ydata(), differences) for line in axes.get_lines())
    assert report.plot_steps().texts[0].get_text() == "x[0]: error against step"


def test_a_tensor_is_drawn_as_map_histogram_and_scatter() -> None:
    figure = drawn(wrong().plot_tensor("kernel"))
    assert headings(figure) == [
        "|analytic - numeric| in error bars",
        "digits",
        "analytic against numeric",
    ]
    said = words(figure)
    assert "kernel (4 x 3 x 2 x 2): FAIL" in said
    assert "48 of 48 entries (44 match, 4 mismatch)" in said
    assert "mismatch: 4" in said
    # Kernels of 2 x 2 with a line between them: the wrong one is the one beyond its bars.
    image = np.ma.filled(cells(figure), np.nan)
    assert image.shape == (4 * 3 - 1, 3 * 3 - 1)
    beyond = np.argwhere(image > 0.0).tolist()
    assert beyond == [[6, 3], [6, 4], [7, 3], [7, 4]]


def test_the_worst_tensor_is_the_default() -> None:
    report = wrong()
    assert "kernel (" in words(report.plot_tensor())
    tensors = dict(reversed(list(report.tensors.items())))
    assert "kernel (" in words(replace(report, tensors=tensors).plot_tensor())


def test_what_was_not_looked_at_is_hatched_and_said() -> None:
    figure = drawn(made_up((4, 5), [0, 7, 19], 2.0).plot_tensor())
    assert "3 of 20 entries" in words(figure)
    assert "Hatched: not looked at" in words(figure)
    assert np.count_nonzero(np.ma.getmaskarray(cells(figure))) == 17
    assert figure.axes[0].patches[0].get_hatch()


def test_a_certified_tensor_has_limits_and_directions_and_no_empty_plots() -> None:
    report = certified()
    figure = drawn(report.plot_tensor("x"))
    assert headings(figure) == ["detection limits", "random directions through it"]
    assert "0 of 120 entries" in words(figure)
    assert f"agree: {len(report.probes)}" in words(figure)
    # No limits at all are no plot.
    without = replace(report.tensors["x"], detection_limit=NAN)
    figure = replace(report, tensors={"x": without}).plot_tensor()
    assert headings(figure) == ["random directions through it"]


@pytest.mark.parametrize(
    ("shape", "rows"),
    [
        ((), [0]),
        ((1,), [0]),
        ((70,), [0, 69]),
        ((2_000_000,), [0, 1_999_999]),
        ((5000, 3), [0, 14_999]),
        ((1, 9), [8]),
        ((3, 4, 5), [0, 59]),
        ((3, 3, 1, 8), [0, 71]),
        ((2, 1, 3, 2, 2), [23]),
        ((600, 512, 3, 3), [0, 2_764_799]),
    ],
)
def test_the_worst_entry_is_on_the_map_whatever_the_rank(
    shape: tuple[int, ...], rows: list[int]
) -> None:
    plan = layout(shape)
    cells = plan.worst(np.array(rows), np.arange(float(len(rows))))
    assert np.nanmax(cells) == len(rows) - 1
    # Places of different entries are different, but where a cell stands for several.
    assert np.count_nonzero(~np.isnan(cells)) == len(rows)
    assert not plan.outside()[~np.isnan(cells)].any()
    assert max(plan.size) <= 400
    small = np.arange(min(int(np.prod(shape)), 3000))
    if plan.block == (1, 1):
        assert len(set(zip(*(p.tolist() for p in plan.places(small)), strict=True))) == len(small)
        assert np.count_nonzero(~plan.outside()) == np.prod(shape)


def test_maps_of_odd_shapes_can_be_drawn() -> None:
    from gradproof.report.figures.canvas import new_figure
    from gradproof.report.figures.heatmap import draw_map

    figure = new_figure(9.0, 4.0)
    shapes = (((1, 9), [8]), ((3, 3, 1, 8), [0, 71]), ((70, 1), [1, 4]), ((5, 2, 2), [19]))
    for place, (shape, rows) in enumerate(shapes):
        entries = made_up(shape, rows, 2.0).entries
        (worst,) = entries.worst(1)
        draw_map(figure.add_subplot(2, 2, place + 1), shape, entries, worst.index)
    assert "[4]" in words(drawn(figure))


def test_numbers_at_the_ends_of_the_range_are_drawn() -> None:
    ends = [NAN, INF, -INF, 1e308, -1e308, 5e-324, 0.0, -0.0]
    base = made_up((8,), range(8))
    entries = Entries.build(
        ["w"],
        [(8,)],
        tensor=0,
        flat_index=range(8),
        value=0.0,
        analytic=ends,
        numeric=ends[::-1],
        error=[NAN, INF, 0.0, 1e308, 1.0, 1.0, 0.0, 5e-324],
        verdict=np.arange(8) % len(VERDICTS),
    )
    probes = tuple(ProbeRow(a, 1.0, e, 1e-5, None) for a, e in zip(ends, ends[::-1], strict=True))
    said = words(drawn(replace(base, entries=entries, probes=probes).plot_tensor()))
    assert "Not finite, and so not in the scatter: 6" in said
    nothing = replace(entries, analytic=np.full(8, NAN))
    figure = replace(base, entries=nothing).plot_tensor()
    assert "analytic against numeric" not in headings(figure)


def test_a_numeric_value_of_the_opposite_sign_and_close_to_overflow_is_drawn() -> None:
    zero = StepRow(0.0, 0.0, 1.0, NAN, 1.0)
    rows = (StepRow(1e-2, -1e308, 1e308, NAN, 1e308), StepRow(INF, 0.0, 1.0, NAN, 1.0), zero)
    table = replace(kinks().steps[0], numeric=1e308, rows=rows)
    drawn(replace(kinks(), steps=(table,)).plot_steps())


@pytest.mark.parametrize(
    "numbers",
    [
        [(1e-2, NAN, NAN, NAN, NAN)] * 2,
        [(1e-2, 1.0, 0.0, NAN, 0.0), (1e-3, 1.0, 0.0, NAN, 0.0)],
        [(1e-2, 1e308, 1e308, INF, 5e-324), (1e-3, INF, INF, INF, INF)],
        [],
    ],
    ids=["nan", "zero", "huge", "none"],
)
def test_step_tables_of_odd_numbers_are_drawn(numbers: list[tuple[float, ...]]) -> None:
    base = kinks()
    for cause in ("kink", "truncation"):
        table = replace(
            base.steps[0],
            label=HOSTILE[1],
            cause=cause,
            explanation=HOSTILE[1],
            rows=tuple(StepRow(*row) for row in numbers),
            order=2.0,
            rounding_order=-1.0,
            error=0.0,
        )
        figure = drawn(replace(base, steps=(table,)).plot_steps())
        assert len(figure.axes) == any(math.isfinite(row[2]) for row in numbers)


def test_names_are_text_and_nothing_else() -> None:
    base = wrong()
    tensor = base.tensors["kernel"]
    tensors = {name: replace(tensor, name=name, reason=name) for name in HOSTILE}
    report = replace(
        base,
        tensors=tensors,
        probes=certified().probes,
        entries=Entries.empty(HOSTILE, [(2,)] * len(HOSTILE)),
    )
    for name in HOSTILE:
        said = words(drawn(report.plot_tensor(name)))
        assert len(said) < 5000
        assert "\x1b" not in said
        assert "\ud800" not in said


def test_a_tensor_without_entries_says_so() -> None:
    figure = drawn(made_up((0, 3), []).plot_tensor())
    assert "It has no entries." in words(figure)
    assert figure.axes == []


def test_unknown_names_are_refused_with_those_there_are() -> None:
    report = kinks()
    with pytest.raises(InputError, match=r"one of 'x\[0\]', 'x\[1\]' but got label='y'"):
        report.plot_steps("y")
    with pytest.raises(InputError, match="name to be one of 'x' but got name='y'"):
        report.plot_tensor("y")
    with pytest.raises(InputError, match="a report with a table of steps but it has none: check"):
        certified().plot_steps()
    with pytest.raises(InputError, match="a report with tensors but it has none"):
        replace(report, tensors={}).plot_tensor()
    many = dict.fromkeys((*HOSTILE, *map(str, range(50))), report.tensors["x"])
    with pytest.raises(InputError) as caught:
        replace(report, tensors=many).plot_tensor("z" * 10_000)
    assert len(str(caught.value)) < 1000


def test_a_notebook_shows_it_without_pyplot() -> None:
    figure = kinks().plot_steps()
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_no_setting_is_changed_and_a_style_of_the_users_does_not_hide_anything() -> None:
    report = wrong()
    with matplotlib.rc_context({"text.color": "white", "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        figure = drawn(report.plot_tensor())
        assert dict(matplotlib.rcParams) == before
    assert figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    assert {text.get_color() for text in figure.texts} == {"#1a1a1a", "#D55E00"}


def pixels(report: Report) -> Any:
    buffer = io.BytesIO()
    report.plot_tensor().savefig(buffer, format="rgba")
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(-1, 4)


def test_what_is_saved_is_the_same_under_a_dark_style_and_where_images_begin_below() -> None:
    report = made_up((4, 4), range(14))
    plain = pixels(report)
    settings = {"savefig.facecolor": "black", "savefig.edgecolor": "black", "image.origin": "lower"}
    with matplotlib.rc_context(settings):
        assert np.array_equal(pixels(report), plain)


SCRIPT = """
import sys
import numpy as np
import gradproof
report = gradproof.check(lambda x: float(x @ x), np.ones(3), lambda x: 2 * x, coverage="full")
str(report)
assert "matplotlib" not in sys.modules
report.plot_steps(), report.plot_tensor()
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
for name in list(sys.modules):
    if name.startswith(("matplotlib", "gradproof.report.figures")):
        del sys.modules[name]
sys.modules["matplotlib"] = None
for plot in (report.plot_steps, report.plot_tensor):
    try:
        plot()
    except ImportError as error:
        print(error)
"""


def test_matplotlib_is_imported_when_it_is_needed_and_named_where_it_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        f"Report.{name}() needs matplotlib: pip install 'gradproof[plot]'"
        for name in ("plot_steps", "plot_tensor")
    ]
