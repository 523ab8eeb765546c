"""Where evaluations run."""

from gradproof.engines.serial import Engine, serial

__all__ = ["Engine", "serial"]
