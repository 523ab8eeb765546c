"""When a probe is due, and the options that all probes share."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from gradproof.arguments import as_labels, as_steps, demand, validate, validate_budget
from gradproof.check import check
from gradproof.outcome.trial import Settings

#: Options of `check` that can be given for all probes; its arguments, and what is for NumPy only,
#: cannot.
SHARED = inspect.signature(check).parameters.keys() - {
    *("f", "x", "grad", "kwargs", "loss", "f_batch", "terms", "engine", "layers"),
}


class Schedule:
    """Says when a probe is due: at step `burn_in`, and at every `every`-th one from there.

    Steps may be left out: a probe is then made at the next one that comes.

    Raises:
        InputError: a number cannot be used.
    """

    def __init__(self, every: int, burn_in: int) -> None:
        demand(_is_count(every) and every > 0, "a positive integer", "every", every)
        demand(_is_count(burn_in), "an integer that is not negative", "burn_in", burn_in)
        self._every, self._burn_in = int(every), int(burn_in)
        self._last = -1

    def is_due(self, step: int) -> bool:
        """Whether a probe is to be made at this step; true only once for each."""
        period = (step - self._burn_in) // self._every
        is_due = period > self._last
        self._last = max(self._last, period)
        return is_due


def checked_options(
    options: Mapping[str, Any],
    caller: str,
    *,
    on_report: object,
    on_fail: object,
    loss: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """The options for `check`, refused here and not hours later, at the first probe.

    Raises:
        InputError: an option cannot be used.
        TypeError: there is none of that name.
    """
    for name in options:
        if name not in SHARED:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")
    defaults = {name: inspect.signature(check).parameters[name].default for name in SHARED}
    given = {**defaults, **options}
    given["customary"] = as_steps(given["customary"])
    as_labels(given["steps"])
    validate(Settings(**{name: given[name] for name in Settings.__dataclass_fields__}))
    validate_budget(given["max_evaluations"], given["max_seconds"])
    demand(on_fail in ("log", "raise"), "'log' or 'raise'", "on_fail", on_fail)
    demand(on_report is None or callable(on_report), "a callable", "on_report", on_report)
    demand(loss is None or callable(loss), "a callable", "loss", loss)
    return dict(options)


def _is_count(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and int(value) >= 0
