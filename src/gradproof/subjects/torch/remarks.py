"""What is to be known of f and of how it was evaluated."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from gradproof.report.model import Finding
from gradproof.subjects.torch.batches import Batches
from gradproof.subjects.torch.claims import EPS, spacing
from gradproof.subjects.torch.function import Function


def about_precision(
    function: Function, outputs: dict[str, Tensor], refused: str | None
) -> Iterator[Finding]:
    """On double precision: reached, refused, or lost on the way."""
    if function.is_promoted:
        message = (
            "some tensors are in less than double precision; a copy in double precision is "
            "checked, where a derivative can be told from rounding"
        )
        yield Finding("single-precision", message)
    kept = [
        f"{name} ({str(tensor.dtype).removeprefix('torch.')})"
        for name, tensor in zip(function.names, function.tensors, strict=True)
        if spacing(tensor) > EPS
    ]
    if kept:
        why = (
            "promote=False" if refused is None else f"f does not take double precision ({refused})"
        )
        message = f"{why}; {', '.join(kept[:4])} stay as they are, and few digits can be attained"
        yield Finding("single-precision", message, evidence={"tensors": tuple(kept)})
    less = {str(t.dtype).removeprefix("torch.") for t in outputs.values() if spacing(t) > EPS}
    if less and not kept:
        message = (
            f"f returns {', '.join(sorted(less))}: it computes in less than double precision "
            "somewhere, and few digits can be attained"
        )
        yield Finding("single-precision", message, evidence={"dtypes": tuple(sorted(less))})


def about_memory(function: Function) -> Iterator[Finding]:
    """On writing to tensors, and on entries that share memory."""
    if function.mutates:
        message = (
            f"f writes to its tensors in place ({', '.join(function.mutates[:4])}); they are put "
            "back after every call, and the caller's own are as they were"
        )
        yield Finding("mutates-input", message, evidence={"tensors": function.mutates})
    if function.expanded:
        message = (
            f"the entries of {', '.join(function.expanded[:4])} share memory (expand); in the copy "
            "that is checked each moves by itself"
        )
        yield Finding("expanded", message, evidence={"tensors": function.expanded})


def about_padding(names: list[str]) -> Iterator[Finding]:
    """On rows that have no gradient by design."""
    if names:
        message = (
            f"the row padding_idx of {', '.join(names)} is taken for a constant, as autograd takes "
            "it by design"
        )
        yield Finding("padding", message, evidence={"tensors": tuple(names)})


def about_iterations(function: Function) -> Iterator[Finding]:
    """On spectral norm's vectors, which have no gradient by design."""
    if function.iterations:
        names = tuple(function.iterations)
        message = (
            f"spectral_norm of {', '.join(names[:4])} is in training mode: its vectors u and v are "
            "taken for constants, as autograd takes them by design"
        )
        yield Finding("spectral-norm", message, evidence={"weights": names})


def about_randomness(function: Function) -> Iterator[Finding]:
    """On random numbers, drawn alike at every evaluation."""
    if not function.is_random:
        return
    names = tuple(dropouts(function))
    where = f" ({', '.join(names[:4])})" if names else ""
    message = (
        f"f draws random numbers{where}; they are the same at every evaluation, so that the "
        "gradient of this one draw is checked"
    )
    yield Finding("dropout-on" if names else "seed-fixed", message, evidence={"modules": names})


def about_batches(batches: Batches) -> Iterator[Finding]:
    """On evaluations one by one."""
    if batches.looped:
        message = (
            f"evaluated point by point, which is slow ({', '.join(batches.looped[:4])}): vmap does "
            f"not take f ({batches.reason})"
        )
        evidence = {"tensors": tuple(batches.looped), "reason": batches.reason}
        yield Finding("one-by-one", message, evidence=evidence)


def about_outputs(disconnected: tuple[str, ...]) -> Iterator[Finding]:
    """On outputs that autograd takes for constants though they change with x."""
    if disconnected:
        names = ", ".join(f"f(x){path}" for path in disconnected)
        message = (
            f"{names} changes with x, but autograd takes it for a constant (detached, or computed "
            "without a graph); if that is meant, leave it out: a cotangent in the structure of the "
            "outputs with None there"
        )
        evidence = {"outputs": disconnected}
        yield Finding("disconnected", message, severity="bug", evidence=evidence)


def dropouts(function: Function) -> Iterator[str]:
    """Names of the modules whose dropout is on."""
    for root, module in function.modules.items():
        for name, part in module.named_modules(prefix=root):
            rate = getattr(part, "p", getattr(part, "dropout", 0.0))
            known = (nn.modules.dropout._DropoutNd, nn.MultiheadAttention)
            is_dropout = isinstance(part, known) or not list(part.children())
            if part.training and is_dropout and isinstance(rate, float) and rate > 0.0:
                yield f"{name} ({type(part).__name__})" if name else type(part).__name__
