"""A real browser without a window, for tests of pages: what a page does there is written down.

Debian's chromium, driven by playwright. Where there is none the tests are skipped, unless the
environment variable GRADPROOF_NEEDS_BROWSER is 1, as in continuous integration: then they fail.

    @pytest.fixture(scope="module")
    def browser() -> Iterator[Browser]:
        with open_browser() as browser:
            yield browser

    def test_something(browser: Browser, tmp_path: Path) -> None:
        with visit(browser, tmp_path / "report.html") as page:
            page.get_by_text("...").click()
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: By a variable, since where a test needs a browser, none is a failure and no reason to skip it.
NEEDED = "GRADPROOF_NEEDS_BROWSER"
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser; one for each module of tests is enough."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if os.environ.get(NEEDED) == "1":
            pytest.fail(f"Expected chromium to be installed where {NEEDED}=1 but found none")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def visit(
    browser: Browser,
    file: Path,
    fragment: str = "",
    *,
    width: int = 1280,
    height: int = 900,
    scheme: Literal["light", "dark"] = "light",
    has_script: bool = True,
) -> Iterator[Page]:
    """The page of a file, without a network; at the end it must have done nothing amiss.

    Nothing amiss: no error and no warning in the console (a breach of the page's own
    Content-Security-Policy is one), no exception, no request but for the file itself.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=has_script,
        offline=True,
    )
    page = context.new_page()
    amiss: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: amiss.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: amiss.append(f"exception: {error}"))
    page.on("dialog", lambda dialog: amiss.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: requests.append(request.url))
    page.on("popup", lambda popup: amiss.append(f"popup: {popup.url}"))
    try:
        page.goto(file.as_uri() + fragment)
        yield page
        assert not amiss, amiss
        beyond = [url for url in requests if url.partition("#")[0] != file.as_uri()]
        beyond = [url for url in beyond if not url.startswith("data:")]
        assert not beyond, beyond
    finally:
        context.close()
