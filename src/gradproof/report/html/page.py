"""The page: templates, styles and scripts put together, under a policy that allows nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import jinja2
from markupsafe import Markup

from gradproof.report.escape import one_line
from gradproof.report.html import words
from gradproof.report.html.payload import script_json
from gradproof.report.html.step_plot import kind_of
from gradproof.report.html.view import view_of
from gradproof.report.store import Result

#: Pieces of the inline style and script, in the order in which they are put together.
STYLES = ("base", "tables", "plots", "print")
SCRIPTS = (
    "numbers",
    "data",
    "dom",
    "colours",
    "unfold",
    "layout",
    "heatmap",
    "histogram",
    "scatter",
    "entries",
    "tensors",
    "panel",
    "main",
)
#: Letters of any one text; longer ones lose their middle.
LONGEST = 20_000


def render_html(results: Sequence[Result], title: str = "Gradient report") -> str:
    """The reports as one page, to be written as UTF-8 and opened from anywhere.

    It holds all that it shows, asks for nothing from the network and runs its own script alone;
    without a script the verdicts, findings, tables of tensors and step plots are still there. The
    same results give the same page, byte for byte. Up to `payload.MOST_ENTRIES` entries are in it;
    of more, the worst of each tensor. 100,000 entries take about 7 MB.

    Args:
        results: what is shown, in this order; with several of them an index stands first.
        title: of the page.
    """
    style, script = _together("style", STYLES, "css"), _script()
    page = _environment().get_template("page.html.j2")
    return page.render(
        title=title,
        view=view_of(results),
        policy=content_security_policy(style, script),
        style=Markup(style),
        script=Markup(script),
    )


def content_security_policy(style: str, script: str) -> str:
    """What the page may do: run this script, use this style, show its own icon."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digest(script)}",
            f"style-src {_digest(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            # No text may become markup, whatever the script does.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _digest(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


@cache
def _script() -> str:
    return f'\n"use strict";\n{{\n{_together("script", SCRIPTS, "js")}}}\n'


@cache
def _together(folder: str, names: tuple[str, ...], ending: str) -> str:
    root = files("gradproof.report.html").joinpath(folder)
    texts = (root.joinpath(f"{name}.{ending}").read_text("utf-8") for name in names)
    return "\n".join(texts)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gradproof.report.html"),
        autoescape=True,
        finalize=_shown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in words.__all__}
    environment.filters["kind_of"] = kind_of
    environment.filters["script_json"] = lambda value: Markup(script_json(value))
    return environment


def _shown(value: object) -> object:
    """Every text of the templates' passes here: no control characters, nothing that turns it."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return one_line(value, LONGEST)
    return value
