"""All checks of a session, told of elsewhere than in the terminal: in a page, and to GitHub."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gradproof.report.store import Result


class Session:
    """Gathers the results of a session, also from the workers of pytest-xdist, and writes them.

    Args:
        config: pytest's.
        html: the page to write.
        is_github: whether GitHub Actions reads what is printed.
    """

    def __init__(self, config: pytest.Config, html: Path | None, *, is_github: bool) -> None:
        self._config = config
        self._html = html
        self._is_github = is_github
        self._is_worker = hasattr(config, "workerinput")
        self._found: list[Result | str] = []
        self._failed: set[str] = set()
        self._told = ""

    def take(self, result: Result, one: dict[str, Any]) -> None:
        """Keep a result; in a worker, beside what else is known of its check: as plain data."""
        if self._html is None:
            result = replace(result, report=_without_entries(result.report))
        if self._is_worker:
            from gradproof.report.store import dump_results

            one["document"] = dump_results([result])
        else:
            self._found.append(result)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note which tests failed, and take what a worker sent along."""
        for one in getattr(report, "gradproof_checks", ()):
            if report.failed:
                self._failed.add(one["name"])
            if "document" in one and not self._is_worker:
                self._found.append(one.pop("document"))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the page, however the session ends."""
        if self._is_worker or self._html is None:
            return
        self._told, is_written = self._write_page(self._html)
        if not is_written and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    @pytest.hookimpl(trylast=True)  # below the plugin's own lines
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Tell where the page is, and annotate the tests that failed."""
        if self._told:
            terminalreporter.write_line(self._told)
        if not self._is_github or not self._found:
            return
        from gradproof.report.results import github, github_markdown, in_repository

        # What a test expected to fail is no news.
        told = [
            result
            for result in self._results()
            if result.report.verdict == "pass" or result.name in self._failed
        ]
        results = in_repository(told, os.environ.get("GITHUB_WORKSPACE"), self._config.rootpath)
        terminalreporter.ensure_newline()
        for line in github(results).splitlines():
            terminalreporter.write_line(line)
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary and results:
            try:
                with Path(summary).open("a", encoding="utf-8") as file:
                    file.write(github_markdown(results))
            except OSError as error:
                terminalreporter.write_line(f"gradproof: {summary} cannot be written: {error}")

    def _write_page(self, path: Path) -> tuple[str, bool]:
        from gradproof.report.html import render_html
        from gradproof.report.ranking import WORST_VERDICTS
        from gradproof.report.writing import write_whole

        results = sorted(self._results(), key=lambda one: WORST_VERDICTS.index(one.report.verdict))
        if not results:
            return f"gradproof: no gradients were checked, and {path} was not written", True
        page = render_html(results).encode("utf-8")
        try:
            write_whole(path, page)
        except OSError as error:
            return f"gradproof: {path} cannot be written: {error.strerror or error}", False
        count = f"{len(results):,} checks" if len(results) > 1 else "one check"
        return f"gradproof: {path} shows the report of {count}", True

    def _results(self) -> Iterator[Result]:
        from gradproof.report.store import read_results

        for found in self._found:
            if isinstance(found, str):
                yield from read_results(found)
            else:
                yield found


def _without_entries(report: Any) -> Any:
    """What GitHub is told needs no table of entries."""
    from gradproof.report.entries import Entries

    return replace(report, entries=Entries.empty(), steps=(), probes=(), terms={})
