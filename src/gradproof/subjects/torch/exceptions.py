"""What an exception out of f says: a bug, the edge of a domain, or what vmap cannot do."""

from __future__ import annotations

from dis import opname
from pathlib import Path

import torch

#: Exceptions of f that say that a point lies outside of its domain.
OUTSIDE = (ArithmeticError, ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
_OF_KIND = (AssertionError, AttributeError, NotImplementedError, TypeError)
_TORCH = str(Path(torch.__file__).parent)


def is_own(error: Exception) -> bool:
    """Whether an exception was raised by a statement of f's own code, or is none of f's business.

    The others come from PyTorch: vmap cannot take f, or an operation refuses a number. Those that
    say that a point is outside of f's domain are not f's own either, nor those that may say that a
    batched tensor is not of the kind that f wants; if they mean more, f itself raises them again.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return True
    trace = error.__traceback__
    if trace is None or error.__context__ is not None or isinstance(error, (*OUTSIDE, *_OF_KIND)):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    if code.co_filename.startswith(_TORCH):
        return False
    return opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
