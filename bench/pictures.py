"""The pictures of the README and the documentation, drawn from real runs.

    python -m bench.pictures [--into docs/pictures]

`report.svg` is the report on the ten lines at the head of the README, which are taken from there;
`steps.svg` is what gradproof says of the first convolution of the demo's network, with the entry
that a fixed step gets wrong. A picture is complete in itself: rich's own frame asks a server for
its font, this one takes what the reader's machine has.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

import gradproof
from gradproof import Report
from gradproof.examples.layers import Parameters, Tensors
from gradproof.examples.setting import prepare
from gradproof.report.steps_text import Page, heading, steps_of
from gradproof.report.text import print_report, verdict_line

__all__ = ["PICTURES", "ROOT", "draw", "main", "words"]

ROOT = Path(__file__).parents[1]
WIDTH = 100
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
#: Parts of rich's frame that are left out or replaced.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_FORMAT = _FORMAT.replace("font-family: Fira Code, monospace;", f"font-family: {FONT};")


def report_picture(console: Console) -> None:
    """The report on the README's ten lines."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[0]
    made: list[Report] = []
    # The last line prints the report: here it is kept instead.
    exec(code, {"print": made.append})
    (report,) = made
    # The other picture shows steps.
    print_report(replace(report, probes=report.probes[-1:], steps=()), console)


def steps_picture(console: Console) -> None:
    """The verdict on the first convolution of the demo's network, and one entry's steps."""
    setting = prepare()
    net, images, labels = setting.net, setting.images, setting.labels

    def with_conv1(conv1: Tensors) -> Parameters:
        return {**setting.params, "conv1": conv1}

    report = gradproof.check(
        lambda conv1: net.loss(with_conv1(conv1), images, labels),
        setting.params["conv1"],
        lambda conv1: net.gradient(with_conv1(conv1), images, labels)["conv1"],
        coverage="full",
        customary=(1e-4,),
        steps="weight[6, 0, 2, 2]",
    )
    page = Page(console)
    console.print(verdict_line(report, page))
    console.print(heading("One of them, at shorter and shorter steps"))
    console.print(*steps_of(report.steps[0], page), sep="\n")


#: What draws each picture, and its title.
PICTURES = {
    "report.svg": (report_picture, "print(gradproof.check(loss, point, gradient))"),
    "steps.svg": (steps_picture, "gradproof demo: the first convolution"),
}


def draw(name: str) -> str:
    """One picture as SVG."""
    picture, title = PICTURES[name]
    console = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
        _environ={},
    )
    picture(console)
    return console.export_svg(title=title, code_format=_FORMAT, unique_id=name.partition(".")[0])


def words(svg: str) -> list[list[str]]:
    """The lines of a picture, each a list of its words.

    Numbers are masked, for their last digits and the seconds differ from machine to machine, and
    with them the lengths of rules and the widths of columns; a sign of their own says what colour
    the words have.
    """
    lines: dict[float, list[str]] = {}
    for style, y, text in re.findall(
        r'<text class="[\w-]*?-(r\d+)"[^>]* y="([\d.]+)"[^>]*>(.*?)</text>', svg, flags=re.DOTALL
    ):
        plain = text.replace("&#160;", " ")
        masked = re.sub(r"-{3,}", "---", re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?", "#", plain))
        lines.setdefault(float(y), []).extend([f"<{style}>", *masked.split()])
    return [line for _, line in sorted(lines.items()) if len(line) > 1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw all pictures into a folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        (options.into / name).write_text(draw(name), encoding="utf-8")
        print(options.into / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
