import io
import sys

import pytest

from gradproof.report.progress import plan_line, progress_bar


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


def test_a_line_stands_before_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradproof.report.progress.PATIENCE", -1.0)
    terminal = on_a_terminal(monkeypatch)
    with progress_bar(True, "about 2,100 evaluations, 12 s, 34 MB") as update:
        update(3, 10)
        update(15, 10)
    shown = terminal.getvalue()
    assert shown.count("about 2,100 evaluations, 12 s, 34 MB") == 1
    assert shown.index("about 2,100") < shown.index("checking")


def test_a_quick_check_shows_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    with progress_bar(True, "about 2,100 evaluations, 12 s, 34 MB") as update:
        update(3, 10)
    assert "about" not in terminal.getvalue()


@pytest.mark.parametrize(
    ("seconds", "memory", "expected"),
    [
        (0.0123, 1000, "0.012 s, 1 MB"),
        (3.21, 34_400_000, "3.2 s, 34 MB"),
        (119.0, 1_900_000_000, "119 s, 1900 MB"),
        (150.0, 2_400_000_000, "2.5 min, 2.4 GB"),
        (3000.0, 10**8, "50 min, 100 MB"),
        (5.0 * 3600.0, 10**8, "5 h, 100 MB"),
        (30.0 * 3600.0, 10**8, "30 h, 100 MB"),
        (40.0 * 86400.0, 3 * 10**11, "40 days, 300 GB"),
        (float("nan"), 10**8, "time unknown, 100 MB"),
    ],
)
def test_the_line_has_units_that_fit(seconds: float, memory: int, expected: str) -> None:
    assert plan_line(1234, seconds, memory) == f"about 1,234 evaluations, {expected}"
