"""The parts of f with a rule of differentiation that somebody wrote, where f uses them.

The operations of f are evaluated once more, forwards and backwards, with zeros added to what each
part returns. The derivative with respect to these zeros is the cotangent that reaches the part.
Both passes are compiled together, and cost about what f's gradient costs.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.base import Stage
from gradproof.subjects.jax.arguments import spacing
from gradproof.subjects.jax.stage_calls import (
    CUSTOM,
    bound,
    called,
    function_name,
    input_names,
    is_custom,
    is_suspect,
)
from gradproof.subjects.jax.stage_walk import Call, Survey, Tapped, is_inexact
from gradproof.subjects.jax.tracing import Traced

Arrays = Sequence[NDArray[Any]]
#: From a function of a dict of arrays, the dict, and cotangents of what it returns, to a subject.
MakeSubject = Callable[[Callable[[dict[str, Any]], Any], dict[str, Any], list[Any]], Any]


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
    """

    call: Call
    turns: int
    inputs: list[Any]
    is_stacked: list[bool]
    cotangents: list[Any]
    container: Part | None

    @property
    def checked(self) -> list[int]:
        """Positions of the inputs through which f's gradient passes."""
        pairs = zip(self.call.inputs, self.call.equation.invars, strict=True)
        return [k for k, (known, v) in enumerate(pairs) if known.is_moved and is_inexact(v)]

    @property
    def name(self) -> str:
        """Its scope and its function."""
        place = self.call.place
        own = function_name(self.call.equation)
        return f"{place.scope}/{own}" if place.scope else own

    def outputs(self, values: Sequence[Any], evaluate: Callable[[list[Any]], list[Any]]) -> Any:
        """The floating outputs with `values` for the inputs that are checked.

        Args:
            values: of the inputs that are checked.
            evaluate: the call, or what stands in for it.
        """
        inputs = list(self.inputs)
        for k, value in zip(self.checked, values, strict=True):
            inputs[k] = value
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
        return self.outputs(values, partial(bound, self.call.equation))

    def by_body(self, values: Sequence[Any]) -> Any:
        """The outputs, differentiated through the operations of the function itself."""
        inner = called(self.call.equation)
        assert inner is not None
        return self.outputs(values, lambda inputs: jax.core.eval_jaxpr(*inner, *inputs))


def stages(
    flat: Callable[[Sequence[Any]], Any],
    point: Arrays,
    cotangents: Sequence[Any],
    names: Sequence[str],
    make: MakeSubject,
) -> list[Stage]:
    """The parts of `flat` as `Stage`s, in the order of evaluation, each before those inside it.

    A part is a call of a function with a custom_vjp or custom_jvp rule that is not JAX's own, under
    jit, remat, vmap, cond (in the branch taken) and scan; or, with a kind that begins with
    `equation`, another operation whose derivative somebody decided on: stop_gradient, a primitive
    of one's own. A part in a loop is one part for all turns: what it gets and returns in each is
    stacked along a first axis. What f's gradient does not pass through is no part, nor are inputs
    through which it does not pass.

    A function with a rule may itself call such functions. They are parts too if the rule makes use
    of theirs: if it gives what differentiating the function through its own operations gives.

    Args:
        flat: f's flat outputs at a point.
        point: where f is looked at.
        cotangents: of its outputs.
        names: of its tensors.
        make: what makes a subject of a part.
    """
    try:
        traced = Traced(flat, point)
        survey = Survey(traced.jaxpr, _is_wanted)
        if not survey.calls:
            return []
        parts, _ = _capture(traced, survey, point, cotangents, None)
        parts = [part for own in parts for part in _with_inner(own)]
    except ZeroDivisionError:
        return []
    return _named(parts, names, make)


def _capture(
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
    numbers = [np.asarray(inputs[k]) for k in part.checked]
    is_finite = all(np.isfinite(_wide(a)).all() for a in [*numbers, *part.cotangents])
    is_reached = any(np.any(np.asarray(c) != 0) for c in part.cotangents)
    return part if is_finite and is_reached and any(a.size for a in numbers) else None


def _with_inner(part: Part) -> list[Part]:
    """A part and the parts of it that its rule makes use of."""
    inner = called(part.call.equation)
    if inner is None or not _holds(inner[0]):
        return [part]
    point = [part.inputs[k] for k in part.checked]
    try:
        traced = Traced(part.by_body, point)
        survey = Survey(traced.jaxpr, _is_wanted)
        parts, gradient = _capture(traced, survey, point, part.cotangents, part)
        claimed = jax.vjp(lambda *values: part.by_rule(values), *point)[1](part.cotangents)
    except Exception:  # the function itself cannot be differentiated
        return [part]
    if not all(map(_are_close, gradient, claimed)):
        return [part]
    return [part, *(each for own in parts for each in _with_inner(own))]


def _named(parts: Sequence[Part], tensors: Sequence[str], make: MakeSubject) -> list[Stage]:
    names: dict[Part, str] = {}
    times, seen = Counter(part.name for part in parts), Counter[str]()
    for part in parts:
        seen[part.name] += 1
        several = times[part.name] > 1
        names[part] = f"{part.name} (call {seen[part.name]})" if several else part.name
    found = []
    for part in parts:
        equation, place = part.call.equation, part.call.place
        inside = names[part.container] if part.container is not None else place.function
        is_own = part.container is None and inside in names.values()
        primitive = equation.primitive.name
        custom = primitive in CUSTOM
        kind = f"{CUSTOM[primitive]} {function_name(equation)}" if custom else primitive
        inputs = input_names(equation, len(part.inputs))
        same = {
            inputs[k]: tensors[tensor]
            for k in part.checked
            if (tensor := part.call.inputs[k].tensor) is not None and part.container is None
        }
        found.append(
            Stage(
                names[part],
                kind if custom else f"equation {kind}",
                None if is_own or not inside else inside,
                same,
                partial(_open, part, inputs, make),
            )
        )
    return found


def _open(part: Part, names: Sequence[str], make: MakeSubject) -> tuple[Any, object]:
    x = OrderedDict((names[k], part.inputs[k]) for k in part.checked)
    return make(lambda x: part.by_rule(list(x.values())), x, part.cotangents), None


def _is_wanted(equation: Any) -> bool:
    return is_custom(equation) or is_suspect(equation)


def _holds(jaxpr: Any) -> bool:
    """Whether there may be parts in a jaxpr."""
    for equation in jaxpr.eqns:
        if _is_wanted(equation):
            return True
        values = jax.tree_util.tree_leaves(equation.params, is_leaf=lambda v: hasattr(v, "eqns"))
        if any(hasattr(v, "eqns") and _holds(getattr(v, "jaxpr", v)) for v in values):
            return True
    return False


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
