"""What tests in all folders share."""

import os
import tempfile

# Runs pytest in a test, for the tests of the plugin.
pytest_plugins = ["pytester"]

# JAX takes longer to compile than for all the rest, and compiles the same in many tests. So what a
# process has compiled it keeps in a folder: one of its own, since JAX does not write to it in one
# step. All this is read when JAX is imported.
_compiled = tempfile.TemporaryDirectory(prefix="gradproof-jax-", ignore_cleanup_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"


def pytest_unconfigure() -> None:
    _compiled.cleanup()
