"""Proofreads gradients: is this gradient right, how sure is that, and where is it wrong?"""

import importlib
import random
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradproof._errors import GradientMismatch, GradproofError, Inconclusive, InputError
    from gradproof.case import Case
    from gradproof.check import assert_gradients, check
    from gradproof.numerics.derivative import derivative
    from gradproof.numerics.estimate import Estimate
    from gradproof.report.model import Finding, Report
    from gradproof.report.store import load
    from gradproof.training.watch import watch

__all__ = [
    "Case",
    "Estimate",
    "Finding",
    "GradientMismatch",
    "GradproofError",
    "Inconclusive",
    "InputError",
    "Report",
    "assert_gradients",
    "check",
    "check_layers",
    "derivative",
    "load",
    "watch",
]

# Names are imported when they are first asked for: `gradproof --help` needs no NumPy.
_HOMES = {
    "Case": "gradproof.case",
    "Estimate": "gradproof.numerics.estimate",
    "Finding": "gradproof.report.model",
    "GradientMismatch": "gradproof._errors",
    "GradproofError": "gradproof._errors",
    "Inconclusive": "gradproof._errors",
    "InputError": "gradproof._errors",
    "Report": "gradproof.report.model",
    "assert_gradients": "gradproof.check",
    "check": "gradproof.check",
    "check_layers": "gradproof.check",
    "derivative": "gradproof.numerics.derivative",
    "load": "gradproof.report.store",
    "watch": "gradproof.training.watch",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    state = random.getstate()
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    finally:
        # rich draws a number when it is imported; the caller's random numbers stay what they were.
        random.setstate(state)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # Importing the module gradproof.check would put it where the function of that name belongs.
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
