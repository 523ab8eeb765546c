"""What a report was made with."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib import metadata

#: Named only where they were in use; asking imports none of them.
FRAMEWORKS = ("torch", "jax")


def versions_in_use() -> dict[str, str]:
    """Versions of gradproof, Python, NumPy and the frameworks loaded, and the machine's system.

    >>> versions_in_use()["numpy"] == metadata.version("numpy")
    True
    """
    used = ("gradproof", "numpy", *(name for name in FRAMEWORKS if name in sys.modules))
    return {
        **{name: _version(name) for name in used},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


@cache
def _version(package: str) -> str:
    # Its file is parsed anew at every question, which takes a tenth of a small check.
    return metadata.version(package)
