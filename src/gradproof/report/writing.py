"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that under its name there is what was there before, or all of the content.

    It is written beside its place and moved there when it is on the disk. What is no ordinary file,
    such as /dev/stdout, is written to as it is.

    Raises:
        OSError: it cannot be written; nothing was changed.
    """
    final = Path(os.path.realpath(path))
    try:
        if final.exists() and not final.is_file():
            final.write_bytes(content)
        else:
            _replace(final, content)
    except OSError as error:
        # Named as the caller named it.
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _replace(final: Path, content: bytes) -> None:
    beside = final.with_name(f".gradproof-{secrets.token_hex(8)}.tmp")
    try:
        # Not by tempfile: its files are their owner's alone, and these are as any other.
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, final)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
