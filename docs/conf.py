"""How the documentation is built: `make docs`, into docs/_build/html.

The pages run gradproof while they are built, so that what they show is what it says today. The
finished pages are complete: a browser asks nobody else for fonts, scripts or formulas.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import gradproof
from gradproof.report.versions import versions_in_use

project = "gradproof"
author = "the gradproof authors"
copyright = author
version = release = versions_in_use()["gradproof"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
nitpicky = True

# -- pages that run ----------------------------------------------------------------------------

nb_execution_mode = "force"
nb_execution_timeout = 120
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_output_stderr = "error"
nb_merge_streams = True
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.mime_priority"]

# The cells' kernels find the commands of this environment, are quiet, follow nobody's own settings
# of IPython, and share two cores.
_ipython = Path(__file__).parent / "_build" / "ipython"
_profile = _ipython / "profile_default" / "ipython_kernel_config.py"
_profile.parent.mkdir(parents=True, exist_ok=True)
_profile.write_text("c.IPKernelApp.log_level = 'ERROR'\n", encoding="utf-8")
os.environ["IPYTHONDIR"] = str(_ipython)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COLUMNS"] = "92"

# -- reference -----------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
add_module_names = False
default_role = "code"  # what docstrings have between backticks

# -- looks ---------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "gradproof"
html_static_path = ["_static"]
html_css_files = ["gradproof.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # the search works without a server too
copybutton_prompt_text = r"^\$ |^>>> |^\.\.\. "
copybutton_prompt_is_regexp = True
pygments_style = "friendly"
pygments_dark_style = "monokai"


def _formula(translator: Any, node: nodes.Element) -> None:
    """A formula as MathML, which browsers set without any script."""
    is_block = isinstance(node, nodes.math_block)
    translator.body.append(tex2mathml(node.astext(), as_block=is_block))
    raise nodes.SkipNode


def _public(app: Any, env: Any, node: nodes.Element, content: nodes.Element) -> Any:
    """A name is documented where it is public, whichever module it comes from."""
    target = str(node.get("reftarget", ""))
    name = target.rpartition(".")[2]
    if target == f"gradproof.{name}" or name not in gradproof.__all__:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"gradproof.{name}", node, content
    )


def _plain_bars(app: Any, what: str, name: str, of: object, options: Any, lines: list[str]) -> None:
    """Docstrings write |x| for a size, which is no substitution here."""
    for number, line in enumerate(lines):
        parts = line.split("`")  # every second one is code
        parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
        lines[number] = "`".join(parts)


def _without_fields(
    app: Any, what: str, name: str, of: object, options: Any, signature: str | None, returns: Any
) -> Any:
    """Nobody makes reports or exceptions; their fields are listed on the page."""
    made_by_users = name == "gradproof.Case" or what not in ("class", "exception")
    return None if made_by_users or not signature else ("", None)


def setup(app: Any) -> None:
    """Hand Sphinx the functions above."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("missing-reference", _public)
    app.connect("autodoc-process-docstring", _plain_bars)
    app.connect("autodoc-process-signature", _without_fields)
