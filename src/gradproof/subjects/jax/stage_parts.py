"""A part of f with its inputs and the cotangents that reach it.

The operations of f are evaluated once more, forwards and backwards, with zeros added to what each
part returns. The derivative with respect to these zeros is the cotangent that reaches the part.
Both passes are compiled together, and cost about what f's gradient costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.jax.arguments import spacing
from gradproof.subjects.jax.stage_calls import (
    bound,
    called,
    inner_jaxprs,
    is_custom,
    is_suspect,
)
from gradproof.subjects.jax.stage_walk import Call, Survey, Tapped, is_inexact
from gradproof.subjects.jax.tracing import Traced


@dataclass(frozen=True, eq=False)
class Part:
    """A call with its inputs and the cotangents of its outputs in f.

    Attributes:
        call: it.
        turns: how often it takes place in a loop; 0 outside of loops.
        inputs: of the call; of all turns, along a first axis, where they differ.
        is_stacked: which inputs those are.
        cotangents: of the floating outputs, of all turns.
        container: the call in the body of which it is.
        kept: of each floating output the entries that count, where not all do.
    """

    call: Call
    turns: int
    inputs: list[Any]
    is_stacked: list[bool]
    cotangents: list[Any]
    container: Part | None
    kept: tuple[NDArray[np.intp] | None, ...] = ()

    @property
    def checked(self) -> list[list[int]]:
        """Positions of the inputs through which f's gradient passes; of the same one together."""
        positions: dict[Any, list[int]] = {}
        pairs = zip(self.call.inputs, self.call.equation.invars, strict=True)
        for k, (known, variable) in enumerate(pairs):
            if known.is_moved and is_inexact(variable):
                positions.setdefault(variable, []).append(k)
        return list(positions.values())

    @property
    def point(self) -> list[Any]:
        """The inputs that are checked; 0 where they are no finite numbers, which is constant."""
        return [_without_infinite(self.inputs[k]) for k, *_ in self.checked]

    def tensor(self, k: int) -> int | None:
        """The position of the tensor of f's that an input is, if it is one."""
        found = self.call.inputs[k].tensor
        if found is None or self.container is None:
            return found
        return self.container.tensor(self.container.checked[found][0])

    def outputs(self, values: Sequence[Any], evaluate: Callable[[list[Any]], list[Any]]) -> Any:
        """The floating outputs with `values` for the inputs that are checked.

        Args:
            values: of the inputs that are checked.
            evaluate: the call, or what stands in for it.
        """
        inputs = list(self.inputs)
        for same, value in zip(self.checked, values, strict=True):
            moved = _with_infinite(value, self.inputs[same[0]])
            for k in same:
                inputs[k] = moved
        if not self.turns:
            return _floating(self.call, evaluate(inputs))

        def turn(each: list[Any]) -> list[Any]:
            own = iter(each)
            pairs = zip(inputs, self.is_stacked, strict=True)
            return _floating(self.call, evaluate([next(own) if s else x for x, s in pairs]))

        stacked = [x for x, s in zip(inputs, self.is_stacked, strict=True) if s]
        if stacked:
            return jax.lax.map(turn, stacked)
        return jax.lax.map(lambda _: turn([]), jnp.arange(self.turns))

    def by_rule(self, values: Sequence[Any]) -> Any:
        """The outputs, with the rule that is checked."""
        outputs = self.outputs(values, partial(bound, self.call.equation))
        return [_kept(y, k) for y, k in zip_longest(outputs, self.kept)]

    @property
    def reaching(self) -> list[Any]:
        """Cotangents of what `by_rule` returns."""
        return [_kept(c, k) for c, k in zip_longest(self.cotangents, self.kept)]

    def gradient(self) -> list[Any]:
        """What the rule makes of the cotangents."""
        _, pull = jax.vjp(lambda *values: self.by_rule(values), *self.point)
        return list(pull(self.reaching))

    def by_body(self, values: Sequence[Any]) -> Any:
        """The outputs, differentiated through the operations of the function itself."""
        inner = called(self.call.equation)
        assert inner is not None
        return self.outputs(values, lambda inputs: jax.core.eval_jaxpr(*inner, *inputs))


def capture(
    traced: Traced,
    survey: Survey,
    point: Sequence[Any],
    cotangents: Sequence[Any],
    container: Part | None,
) -> tuple[list[Part], list[Any]]:
    """The parts of a function that a cotangent reaches, and the function's gradient."""
    counted = [k for k, c in enumerate(cotangents) if np.any(np.asarray(c) != 0)]

    def passes(constants: Any, point: Any, weights: Any) -> Any:
        tapped = Tapped(survey)

        def run(point: Any, taps: Any) -> Any:
            outputs, records = tapped.run(traced.jaxpr, constants, point, taps)
            return [outputs[k] for k in counted], (records, tapped.outer)

        taps = {n: _zeros(call) for n, call in enumerate(survey.calls)}
        _, pull, (records, outer) = jax.vjp(run, list(point), taps, has_aux=True)
        gradient, reaching = pull(weights)
        return gradient, reaching, records, outer

    weights = [jnp.asarray(cotangents[k]) for k in counted]
    results = jax.jit(passes)(traced.constants, [jnp.asarray(p) for p in point], weights)
    gradient, reaching, records, outer = results
    parts = []
    for number, call in enumerate(survey.calls):
        took_place, rest = records[number]
        part = _part(call, took_place, rest, outer[number], reaching[number], container)
        if part is not None:
            parts.append(part)
    return parts, list(gradient)


def _part(
    call: Call,
    took_place: Any,
    rest: Sequence[Any],
    outer: dict[int, Any],
    reaching: Sequence[Any],
    container: Part | None,
) -> Part | None:
    """A call with what was recorded; None where nothing is to be checked."""
    which = np.flatnonzero(np.asarray(took_place).reshape(-1))
    depth, turns = len(call.place.turns), len(which)
    if not turns:
        return None

    def taken(array: Any) -> Any:
        """What belongs to the turns in which the call took place; without an axis for one turn."""
        if not depth:
            return array
        flat = array.reshape(-1, *array.shape[depth:])[which]
        return flat if turns > 1 else flat[0]

    own = iter(rest)
    inputs = [
        outer[k] if known.is_outer else taken(next(own)) for k, known in enumerate(call.inputs)
    ]
    part = Part(
        call,
        turns if depth and turns > 1 else 0,
        inputs,
        [not known.is_outer for known in call.inputs],
        [taken(c) for c in reaching],
        container,
    )
    is_known = all(np.isfinite(_wide(c)).all() for c in part.cotangents)
    is_reached = any(np.any(np.asarray(c) != 0) for c in part.cotangents)
    return part if is_known and is_reached and any(x.size for x in part.point) else None


def with_inner(part: Part) -> list[Part]:
    """A part and the parts of it that its rule makes use of."""
    inner = called(part.call.equation)
    if inner is None or not _holds(inner[0]):
        return [part]
    point = part.point
    try:
        traced = Traced(part.by_body, point)
        survey = Survey(traced.jaxpr, is_wanted)
        parts, gradient = capture(traced, survey, point, part.cotangents, part)
        claimed = part.gradient()
    except Exception:  # the function itself cannot be differentiated
        return [part]
    if not all(map(_are_close, gradient, claimed)):
        return [part]
    return [part, *(each for own in parts for each in with_inner(own))]


def is_wanted(equation: Any) -> bool:
    """Whether somebody decided on its derivative."""
    return is_custom(equation) or is_suspect(equation)


def _holds(jaxpr: Any) -> bool:
    """Whether there may be parts in a jaxpr."""
    return any(
        is_wanted(equation) or any(map(_holds, inner_jaxprs(equation.params)))
        for equation in jaxpr.eqns
    )


def _floating(call: Call, outputs: Sequence[Any]) -> list[Any]:
    pairs = zip(outputs, call.equation.outvars, strict=True)
    return [y for y, variable in pairs if is_inexact(variable)]


def _zeros(call: Call) -> list[Any]:
    turns, outvars = call.place.turns, call.equation.outvars
    return [jnp.zeros((*turns, *v.aval.shape), v.aval.dtype) for v in outvars if is_inexact(v)]


def _are_close(one: Any, other: Any) -> bool:
    """Whether two gradients are the same but for rounding."""
    a, b = _wide(one).ravel(), _wide(other).ravel()
    unit = np.sqrt(spacing(one.dtype))
    return bool(np.linalg.norm(a - b) <= unit * np.linalg.norm(a))


def _wide(array: Any) -> NDArray[Any]:
    """In double precision; bfloat16 is no number of NumPy's."""
    given = np.asarray(array)
    return given if given.dtype.kind == "c" else given.astype(np.float64)


def _without_infinite(array: Any) -> Any:
    is_finite = np.isfinite(_wide(array))
    return array if is_finite.all() else np.where(is_finite, array, 0).astype(array.dtype)


def _with_infinite(value: Any, array: Any) -> Any:
    """`value` with what is no finite number in `array`."""
    is_finite = np.isfinite(_wide(array))
    return value if is_finite.all() else jnp.where(is_finite, value, array)


def _kept(array: Any, which: NDArray[np.intp] | None) -> Any:
    return array if which is None else array.reshape(-1)[which]
