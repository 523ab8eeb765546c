import io
import sys

import pytest

from gradproof.report.progress import progress_bar


class Terminal(io.StringIO):
    """Standard error as a terminal has it."""

    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # Called in the test itself: pytest sets standard error anew after the fixtures.
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return stream


def test_a_function_is_told_as_it_is() -> None:
    seen = []
    with progress_bar(lambda done, expected: seen.append((done, expected))) as update:
        update(1, 10)
        update(20, 10)
    assert seen == [(1, 10), (20, 10)]


def test_no_progress_is_shown_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.report.progress.PATIENCE", -1.0)
    terminal = on_a_terminal(monkeypatch)
    with progress_bar(False) as update:
        update(1, 10)
    assert terminal.getvalue() == ""


def test_a_quick_check_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress_bar(True) as update:
        for done in range(10):
            update(done, 10)
    assert "checking" not in terminal.getvalue()


def test_a_slow_check_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.report.progress.PATIENCE", -1.0)
    terminal = on_a_terminal(monkeypatch)
    with progress_bar(True) as update:
        update(3, 10)
        update(15, 10)
    shown = terminal.getvalue()
    assert "checking" in shown
    assert "15/15" in shown


def test_a_log_file_gets_no_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradproof.report.progress.PATIENCE", -1.0)
    for name in ("TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    with progress_bar(True) as update:
        update(3, 10)
    assert capsys.readouterr() == ("", "")


def test_the_bar_goes_away_when_the_check_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.report.progress.PATIENCE", -1.0)
    terminal = on_a_terminal(monkeypatch)
    bar = progress_bar(True)
    bar.__enter__()(3, 10)
    assert "checking" in terminal.getvalue()
    interrupt = KeyboardInterrupt()
    assert not bar.__exit__(KeyboardInterrupt, interrupt, None)
    show_cursor, erase_line = "\x1b[?25h", "\x1b[2K"
    assert show_cursor in terminal.getvalue()
    assert terminal.getvalue().endswith(erase_line)
