"""Everything global that a training depends on is the same after a probe as before it."""

from __future__ import annotations

import random
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks, saved_tensors_hooks
from torch.utils._python_dispatch import _disable_current_modes

from gradproof.subjects.torch.held import FOREIGN
from gradproof.subjects.torch.surroundings import surroundings

#: Kinds of devices that autocast may be on for.
DEVICES = ("cpu", "cuda", "mps", "xpu")
#: Longer containers are data, and not searched for generators.
MOST_HELD = 100


@contextmanager
def untouched(generators: Iterable[object] = ()) -> Iterator[None]:
    """Around a probe: random numbers, modes and flags are put back at its end.

    Within it are off: autocast, anomaly detection, hooks on saved tensors, modes that look at every
    operation (as activation checkpointing has them, or a counter of operations), and compilation.

    Args:
        generators: others than the global ones, whose states are put back too.
    """
    with ExitStack() as stack:
        stack.enter_context(surroundings(is_double=False))
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if _are_tensors_packed():
            stack.enter_context(saved_tensors_hooks(_as_it_is, _as_it_is))
        if torch._C._len_torch_dispatch_stack():
            stack.enter_context(_disable_current_modes())
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # A compiled part would be compiled anew for its copy, until Dynamo's limit is reached.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        for generator in generators:
            stack.callback(_keep(generator))
        yield


def _are_tensors_packed() -> bool:
    """Whether hooks on saved tensors are on, which this asks by trying to refuse them."""
    try:
        with disable_saved_tensors_hooks("asked only whether there are any"):
            return False
    except RuntimeError:
        return True


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def generators_of(model: nn.Module, *functions: object) -> list[object]:
    """Random generators in the globals and closures of the model's own methods, and of functions.

    Also those in dicts, lists and tuples there.

    Those that a module holds are copied with it; these are shared with the copy, which draws from
    them.
    """
    waiting: list[object] = [*functions, *{type(part) for part in model.modules()}]
    seen: dict[int, object] = {}
    found = []
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if _is_generator(one):
            found.append(one)
        elif isinstance(one, types.MethodType | staticmethod | classmethod):
            waiting.append(one.__func__)
        elif isinstance(one, types.FunctionType) and not _is_foreign(one):
            waiting += _named(one)
        elif isinstance(one, type) and not _is_foreign(one):
            waiting += [*one.__bases__, *vars(one).values()]
        elif isinstance(one, dict | list | tuple) and len(one) <= MOST_HELD:
            waiting += one.values() if isinstance(one, dict) else one
    return found


def _is_foreign(thing: types.FunctionType | type) -> bool:
    return (thing.__module__ or "").partition(".")[0] in FOREIGN


def _named(function: types.FunctionType) -> Iterator[object]:
    """What a function's globals and closure hold under the names that it uses."""
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        yield from (function.__globals__.get(name) for name in code.co_names)
        waiting += [c for c in code.co_consts if isinstance(c, types.CodeType)]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue


def _is_generator(thing: object) -> bool:
    kinds = (np.random.Generator, np.random.RandomState, torch.Generator, random.Random)
    return isinstance(thing, kinds) and not isinstance(thing, random.SystemRandom)


def _keep(generator: Any) -> Callable[[], object]:
    """What puts the generator back into the state that it is in now."""
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, random.Random):
        own = generator.getstate()
        return lambda: generator.setstate(own)
    now = generator.get_state()
    return lambda: generator.set_state(now)
