"""A check that has been written down, to be run by the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gradproof._errors import InputError
from gradproof.check import check
from gradproof.report.model import Report


@dataclass(frozen=True, init=False, eq=False)
class Case:
    """The arguments of `check`, for `gradproof check cases.py`.

    >>> import numpy as np
    >>> def case_sine():
    ...     return Case(lambda x: np.sum(np.sin(x)), np.ones(3), np.cos, coverage="full")
    >>> case_sine().check().verdict
    'pass'
    """

    f: Callable[..., Any]
    x: Any
    grad: Any
    options: Mapping[str, Any]

    def __init__(self, f: Callable[..., Any], x: Any, grad: Any = None, **options: Any) -> None:
        for name, value in (("f", f), ("x", x), ("grad", grad)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "options", MappingProxyType(options))

    def check(self, **options: Any) -> Report:
        """Run it; options given here go before the case's own.

        Raises:
            InputError: an option is none of `check`'s, or an argument cannot be used.
        """
        chosen = {**self.options, **options}
        known = list(inspect.signature(check).parameters)[3:]
        unknown = next((name for name in chosen if name not in known), None)
        if unknown is not None:
            raise InputError(f"Expected options in [{', '.join(known)}] but got {unknown!r}")
        return check(self.f, self.x, self.grad, **chosen)
