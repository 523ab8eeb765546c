"""Killed while it writes, the command line leaves the old file or none under the final name."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

CASES = "import gradproof\ncase = gradproof.Case(lambda x: x * x, 3.0, lambda x: 2 * x)\n"
TEST = (
    "def test_it(gradproof):\n"
    "    gradproof.check(lambda x: x * x, 3.0, lambda x: 2 * x, coverage='full')\n"
)
#: All of the content has been handed to the system, and it is not yet under the final name.
KILLED = "import os, signal, sys\nos.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
COMMAND = f"{KILLED}from gradproof.cli import main\nmain()"
PYTEST = f"{KILLED}import pytest\npytest.main(['-p', 'no:cacheprovider', *sys.argv[1:]])"


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("program", "arguments", "old"),
    [
        (COMMAND, ("check", "cases.py", "--save"), "old"),
        (COMMAND, ("check", "cases.py", "--format", "json", "--output"), "old"),
        (COMMAND, ("check", "cases.py", "--html"), None),
        (PYTEST, ("test_it.py", "--gradproof-html"), "old"),
    ],
    ids=["save", "output", "html", "pytest"],
)
def test_a_killed_writer_leaves_no_half_file(
    tmp_path: Path, program: str, arguments: tuple[str, ...], old: str | None
) -> None:
    (tmp_path / "cases.py").write_text(CASES)
    (tmp_path / "test_it.py").write_text(TEST)
    final = tmp_path / "final"
    if old is not None:
        final.write_text(old)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "final"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr + done.stdout
    assert (final.read_text() if final.exists() else None) == old
    assert [file for file in tmp_path.iterdir() if file.suffix == ".tmp"], "it was writing"
