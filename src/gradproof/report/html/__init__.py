"""Reports as one HTML file that works offline and lets nothing in or out."""

from gradproof.report.html.page import render_html

__all__ = ["render_html"]
