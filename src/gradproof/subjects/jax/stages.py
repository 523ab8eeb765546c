"""The parts of f with a rule of differentiation that somebody wrote, where f uses them.

The operations of f are evaluated once more, forwards and backwards, with zeros added to what each
part returns. The derivative with respect to these zeros is the cotangent that reaches the part.
Both passes are compiled together, and cost about what f's gradient costs.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    inner_jaxprs,
    is_custom,
    is_suspect,
)
from gradproof.subjects.jax.stage_names import function_name, input_names
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
        """The inputs that are checked."""
        return [self.inputs[k] for k, *_ in self.checked]

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
            for k in same:
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
    except Exception:  # f looks at numbers, or a rule needs what JAX has only while it traces f
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
    numbers = [np.asarray(x) for x in part.point]
    is_finite = all(np.isfinite(_wide(a)).all() for a in [*numbers, *part.cotangents])
    is_reached = any(np.any(np.asarray(c) != 0) for c in part.cotangents)
    return part if is_finite and is_reached and any(a.size for a in numbers) else None


def _with_inner(part: Part) -> list[Part]:
    """A part and the parts of it that its rule makes use of."""
    inner = called(part.call.equation)
    if inner is None or not _holds(inner[0]):
        return [part]
    point = part.point
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
    plain = _names(parts)
    times, seen = Counter(plain), Counter[str]()
    names: dict[Part, str] = {}
    for part, name in zip(parts, plain, strict=True):
        seen[name] += 1
        names[part] = f"{name} (call {seen[name]})" if times[name] > 1 else name
    return [_stage(part, names, tensors, make) for part in parts]


def _names(parts: Sequence[Part]) -> list[str]:
    """The function of each part after the scopes that it is in and the jitted functions.

    What is around all parts alike, such as f itself, is left out.
    """
    around = [[*_around(part)] for part in parts]
    while all(around) and len({scopes[0] for scopes in around}) == 1:
        if not around[0][0].startswith("("):
            break
        around = [scopes[1:] for scopes in around]
    names = []
    for part, scopes in zip(parts, around, strict=True):
        own = function_name(part.call.equation)
        path = [re.sub(r"^\((.*)\)$", r"\1", scope) for scope in scopes]
        if path[-1:] == [own]:
            path.pop()
        names.append("/".join([*path, own]))
    return names


def _around(part: Part) -> Iterator[str]:
    if part.container is not None:
        yield from _around(part.container)
        yield function_name(part.container.call.equation)
    yield from part.call.place.scopes


def _stage(
    part: Part, names: Mapping[Part, str], tensors: Sequence[str], make: MakeSubject
) -> Stage:
    equation, container = part.call.equation, part.container
    primitive = equation.primitive.name
    if primitive in CUSTOM:
        kind = f"{CUSTOM[primitive]} {function_name(equation)}"
    else:
        kind = f"equation {primitive}"
    inputs = input_names(equation, len(part.inputs))
    same = {}
    for k, *_ in part.checked:
        tensor = part.tensor(k)
        if tensor is not None:
            same[inputs[k]] = tensors[tensor]
    inside = None if container is None else names[container]
    return Stage(names[part], kind, inside, same, partial(_open, part, inputs, make))


def _open(part: Part, names: Sequence[str], make: MakeSubject) -> tuple[Any, object]:
    point = OrderedDict((names[k], part.inputs[k]) for k, *_ in part.checked)

    def f(x: dict[str, Any]) -> Any:
        return part.by_rule(list(x.values()))

    def gradient(x: dict[str, Any], cotangent: Any) -> Any:
        # Not left to the subject, which compiles it: parts are many, and few gradients needed.
        return jax.vjp(f, x)[1](cotangent)[0]

    return make(f, point, part.cotangents), gradient


def _is_wanted(equation: Any) -> bool:
    return is_custom(equation) or is_suspect(equation)


def _holds(jaxpr: Any) -> bool:
    """Whether there may be parts in a jaxpr."""
    return any(
        _is_wanted(equation) or any(map(_holds, inner_jaxprs(equation.params)))
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
