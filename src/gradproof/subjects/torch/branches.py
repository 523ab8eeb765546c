"""Which branches an evaluation took: the masks, indices and whole parts of all its operations.

f(x - t), f(x) and f(x + t) lie on one smooth piece where every branch that f took is the same in
all three. Where branches differ, a kink (or a jump) may lie between, and the sites that differ say
where: which module, and how many of its units.

A dispatch mode sees what reaches PyTorch's dispatcher. It does not see inside a kernel written by
the user, inside NumPy, or what Python decides by a float taken out with `.item()`, unless the
decision leads to other operations.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gradproof.subjects.torch.branch_masks import label, mask_before, masks_after

#: Stands for a site in `crossed` where the operations themselves are others.
CONTROL_FLOW = "control flow"


@dataclass(frozen=True, eq=False)
class Branches:
    """What one evaluation took.

    Attributes:
        sites: one name for each branching operation, in order of execution: the innermost module
            that ran and the operation, "layer1.0.relu (relu)", or "relu" outside of any module. The
            second operation with the same name has " #2" behind it.
        masks: which branch each unit took, one boolean or integer tensor for each site, on the
            device where the operation ran. One element is one unit.
        operations: every operation, branching or not: which one, where, and its whole-number
            arguments (the bounds of a slice, a size). Two lists differ where control flow does.
        positions: where in `operations` each site is.
    """

    sites: tuple[str, ...]
    masks: tuple[Tensor, ...]
    operations: tuple[tuple[Hashable, ...], ...]
    positions: tuple[int, ...]


def trace(run: Callable[[], object], module: nn.Module | None) -> Branches:
    """The branches taken while `run` runs once, without a graph.

    Compiled functions run uncompiled, and fused kernels that hide a ReLU (the fast path of
    transformer layers, cuDNN's RNN) are switched off meanwhile, so that their branches are seen.
    A function that fills a cache or compiles something when first called should have been called
    before: else its second trace shows other operations than its first.

    Args:
        run: evaluates the function; its result is dropped.
        module: names the sites. Its submodules carry hooks while `run` runs. None: no names.

    Raises:
        Exception: whatever `run` raises; hooks, modes and switches are as before all the same.
    """
    tracer = _Tracer()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        # Nothing is compiled yet where the compiler is not loaded, which takes a second or more.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_unfused(module))
        if module is not None:
            stack.enter_context(_named(module, tracer.running))
        stack.enter_context(tracer)
        run()
    return tracer.branches()


def crossed(before: Branches, after: Branches) -> dict[str, int]:
    """How many units took another branch, at each site where some did.

    Where the operations themselves differ (control flow that depends on the data, or an array of
    another shape), units cannot be matched up from there on: what differs before is counted, and
    the key "control flow" stands for the rest with a count of 1.

    Args:
        before: the branches of one evaluation.
        after: those of another evaluation of the same function.

    Returns:
        Sites in order of execution; empty where both evaluations took the same branches.
    """
    shared = _shared_length(before.operations, after.operations)
    flows_apart = shared < max(len(before.operations), len(after.operations))
    sites: list[str] = []
    changes: list[Tensor] = []
    rows = zip(before.sites, before.positions, before.masks, after.masks, strict=False)
    for site, position, one, other in rows:
        if position >= shared:
            break
        if one.shape != other.shape:
            flows_apart = True
            continue
        sites.append(site)
        changes.append((one != other).sum())
    # One transfer for all sites: on a GPU each would wait for the device.
    counts = torch.stack([c.to(changes[0].device) for c in changes]).tolist() if changes else []
    result = {site: int(count) for site, count in zip(sites, counts, strict=True) if count}
    if flows_apart:
        result[CONTROL_FLOW] = 1
    return result


def _shared_length(
    before: tuple[tuple[Hashable, ...], ...], after: tuple[tuple[Hashable, ...], ...]
) -> int:
    """How many operations both begin with."""
    if before == after:
        return len(before)
    length = 0
    for one, other in zip(before, after, strict=False):
        if one != other:
            break
        length += 1
    return length


class _Tracer(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation, and the masks of the branching ones."""

    # torch.cond and its like reach __torch_dispatch__ too.
    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Have the compiler not loaded for this mode: it is told to keep out anyway."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.running: list[str] = []
        self._operations: list[tuple[Hashable, ...]] = []
        self._records: list[tuple[int, str, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        where = self.running[-1] if self.running else ""
        position = len(self._operations)
        self._operations.append((func, where, *_whole_numbers(args)))
        if isinstance(func, torch._ops.HigherOrderOperator):
            # The functions handed over (the two arms of torch.cond) run under this mode again.
            return func(*[self._traced(arg) for arg in args], **kwargs)
        # An in-place operation overwrites what decides: look at it before.
        before = mask_before(func, args, kwargs)
        out = func(*args, **kwargs)
        found = [before] if before is not None else masks_after(func, args, kwargs, out)
        if found:
            site = f"{where} ({label(func)})" if where else label(func)
            self._records += [(position, site, mask) for mask in found]
        elif func is torch.ops.aten.mul.Tensor and out.dtype is torch.bool:
            self._forget_isfinite()
        return out

    def branches(self) -> Branches:
        """What was recorded, with sites that occur several times numbered."""
        met: Counter[str] = Counter()
        sites = []
        for _, site, _ in self._records:
            met[site] += 1
            sites.append(site if met[site] == 1 else f"{site} #{met[site]}")
        return Branches(
            sites=tuple(sites),
            masks=tuple(mask for _, _, mask in self._records),
            operations=tuple(self._operations),
            positions=tuple(position for position, _, _ in self._records),
        )

    def _traced(self, arg: Any) -> Any:
        if not callable(arg) or isinstance(arg, Tensor):
            return arg

        def again(*args: Any, **kwargs: Any) -> Any:
            with self:
                return arg(*args, **kwargs)

        return again

    def _forget_isfinite(self) -> None:
        """Drop the sign that isfinite's own abs left: nothing depends on it.

        From here torch.isfinite is (x == x) * (x.abs() != inf), in either order of evaluation.
        """
        last = self._operations[-4:-1]
        names = [label(operation[0]) for operation in last]
        if sorted(names) == ["abs", "eq", "ne"]:
            sign = len(self._operations) - 4 + names.index("abs")
            self._records = [record for record in self._records if record[0] != sign]


def _whole_numbers(args: tuple[Any, ...]) -> Iterator[Hashable]:
    """The whole-number arguments: they say which elements an operation takes."""
    for arg in args:
        if type(arg) is int:
            yield arg
        elif type(arg) is list and arg and type(arg[0]) is int:
            yield tuple(arg)


@contextlib.contextmanager
def _named(module: nn.Module, running: list[str]) -> Iterator[None]:
    """Keep the names of the modules that run in `running`, the innermost one last."""
    handles = []
    try:
        for name, part in module.named_modules():
            # A scripted module takes no hooks: its operations count to the module that calls it.
            if isinstance(part, torch.jit.ScriptModule):
                continue

            def enter(_module: nn.Module, _args: Any, name: str = name) -> None:
                running.append(name)

            def leave(_module: nn.Module, _args: Any, _out: Any, name: str = name) -> None:
                if running and running[-1] == name:
                    running.pop()

            handles.append(part.register_forward_pre_hook(enter, prepend=True))
            # Also when the module raises and an outer one catches it.
            handles.append(part.register_forward_hook(leave, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def _unfused(module: nn.Module | None) -> Iterator[None]:
    """Without the kernels that run a ReLU unseen."""
    fast = torch.backends.mha.get_fastpath_enabled()
    cudnn = torch.backends.cudnn.enabled
    parts = () if module is None else module.modules()
    hides = any(isinstance(part, nn.RNNBase) and part.mode == "RNN_RELU" for part in parts)
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        if hides:
            torch.backends.cudnn.enabled = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        if hides:
            torch.backends.cudnn.enabled = cudnn
