"""What is to be known of hand-written layers beside whether their gradients are right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradproof.report.model import Finding
from gradproof.subjects.layers.objects import ObjectPart
from gradproof.subjects.layers.part import Array, Arrays, Part, renewed
from gradproof.subjects.layers.stage import Use


def random_parts(names: Sequence[str], uses: Sequence[Use]) -> tuple[str, ...]:
    """Layers whose results differ between two calls that begin alike, or in succession."""
    differ = tuple(
        name
        for name, use in zip(names, uses, strict=True)
        if not _is_same(_again(use)[1], _again(use)[1])
    )
    return differ or _changing(names, uses)


def replays(names: Sequence[str], uses: Sequence[Use]) -> Iterator[Finding]:
    """On layers that give something else when they are called again: random numbers, or a state."""
    if found := _changing(names, uses):
        message = (
            f"{', '.join(found)} {'gives' if len(found) == 1 else 'give'} another result when "
            "called again (random numbers, or a state that is kept); the layers' own evaluations "
            "all begin from the state that they are in, so that the gradient of one draw is checked"
        )
        yield Finding("seed-fixed", message, evidence={"modules": found})


def _changing(names: Sequence[str], uses: Sequence[Use]) -> tuple[str, ...]:
    found = []
    for name, use in zip(names, uses, strict=True):
        (part,) = renewed([use.part], [_own(use.part)])
        with use.draws.replayed():
            first = part.forward(use.x.copy()).copy()
            if not _is_same(first, part.forward(use.x.copy())):
                found.append(name)
    return tuple(found)


def writes(names: Sequence[str], uses: Sequence[Use]) -> Iterator[Finding]:
    """On forward passes that write to their input, which an earlier layer may have kept."""
    found = []
    for name, use in zip(names, uses, strict=True):
        x = use.x.copy()
        _again(use, x)
        if not _is_same(x, use.x):
            found.append(name)
    if found:
        message = (
            f"{', '.join(found)} {'changes' if len(found) == 1 else 'change'} the input in place; "
            "where the layer before has kept that array for its own backward pass, its gradient "
            "becomes wrong"
        )
        yield Finding("mutates-input", message, evidence={"layers": tuple(found)})


def unclaimed(names: Sequence[str], uses: Sequence[Use]) -> Iterator[Finding]:
    """On arrays that the loss depends on and that have no gradient by any name that is known."""
    for name, use in zip(names, uses, strict=True):
        if arrays := _unclaimed(use):
            message = (
                f"{name}'s output depends on {', '.join(arrays)}, for which no gradient was found "
                f"({', '.join('d' + a for a in arrays)}, grads, ...): taken for constant, and not "
                "checked"
            )
            yield Finding("no-gradient", message, evidence={"layer": name, "arrays": arrays})


def _unclaimed(use: Use) -> tuple[str, ...]:
    """Arrays beside a layer's parameters that its output depends on."""
    if not isinstance(use.part, ObjectPart):
        return ()
    _, y = _again(use)
    found = []
    for slot in use.part.constants:
        (part,) = renewed([use.part], [_own(use.part)])
        assert isinstance(part, ObjectPart)
        array = slot.read(part.layer)
        array += 1e-3 * (np.abs(array).max() or 1.0)
        try:
            with use.draws.replayed():
                depends = not _is_same(part.forward(use.x.copy()), y)
        except Exception:  # the layer refuses other values: nothing can be said of it
            continue
        if depends:
            found.append(slot.name)
    return tuple(found)


def repeats(names: Sequence[str], parts: Sequence[Part]) -> Iterator[Finding]:
    """On a layer that is used twice, and has one cache."""
    first: dict[int, str] = {}
    for name, part in zip(names, parts, strict=True):
        if isinstance(part, ObjectPart):
            other = first.setdefault(id(part.layer), name)
            if other != name:
                message = (
                    f"{name} is the same object as {other}: what it keeps in its forward pass for "
                    f"{other}'s backward pass, {name}'s forward pass replaces"
                )
                evidence = {"layers": (other, name)}
                yield Finding("shared-layer", message, evidence=evidence)


def _again(use: Use, x: Array | None = None) -> tuple[Part, Array]:
    return use.again(_own(use.part), use.x.copy() if x is None else x)


def _own(part: Part) -> Arrays:
    return {name: array.copy() for name, array in part.parameters().items()}


def _is_same(one: Array, other: Array) -> bool:
    return np.array_equal(one, other, equal_nan=True)
