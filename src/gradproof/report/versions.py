"""What a report was made with."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

#: Named only where they were in use; asking imports none of them.
FRAMEWORKS = ("torch", "jax")


def versions_in_use() -> dict[str, str]:
    """Versions of gradproof, Python, NumPy and the frameworks loaded, and the machine's system.

    >>> versions_in_use()["numpy"] == metadata.version("numpy")
    True
    """
    found = {"gradproof": metadata.version("gradproof"), "python": platform.python_version()}
    for name in ("numpy", *(one for one in FRAMEWORKS if one in sys.modules)):
        found[name] = str(getattr(sys.modules.get(name), "__version__", "")) or metadata.version(
            name
        )
    return {**found, "system": f"{platform.system()} {platform.machine()}"}
