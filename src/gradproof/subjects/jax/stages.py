"""The parts of f with a rule of differentiation that somebody wrote, where f uses them."""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from gradproof.subjects.base import Stage
from gradproof.subjects.jax.stage_calls import CUSTOM
from gradproof.subjects.jax.stage_names import function_name, input_names
from gradproof.subjects.jax.stage_nan import not_finite
from gradproof.subjects.jax.stage_parts import Part, capture, is_wanted, with_inner
from gradproof.subjects.jax.stage_walk import Survey
from gradproof.subjects.jax.tracing import Traced

Arrays = Sequence[NDArray[Any]]
#: From a function of a dict of arrays, the dict, and cotangents of what it returns, to a subject.
MakeSubject = Callable[[Callable[[dict[str, Any]], Any], dict[str, Any], list[Any]], Any]


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

    Where f's gradient holds NaN or infinity, the operations that make it of finite numbers are
    parts too, of the kind `equation`: a root of 0, the branch that a `where` does not take.

    Args:
        flat: f's flat outputs at a point.
        point: where f is looked at.
        cotangents: of its outputs.
        names: of its tensors.
        make: what makes a subject of a part.
    """
    for function in (flat, partial(_folded, flat)):
        try:
            return _named(_parts(function, point, cotangents), names, make)
        except Exception:
            # f's own code is traced, which looks at numbers, or its rules at what is traced (see
            # _folded), and JAX has no class for what that raises; then f has no parts.
            continue
    return []


def _parts(
    flat: Callable[[Sequence[Any]], Any], point: Arrays, cotangents: Sequence[Any]
) -> list[Part]:
    traced = Traced(flat, point)
    survey = Survey(traced.jaxpr, is_wanted)
    parts, gradient = capture(traced, survey, point, cotangents, None)
    parts = [part for own in parts for part in with_inner(own)]
    if not all(np.isfinite(g).all() for g in gradient):
        parts += not_finite(traced, point, cotangents)
    return parts


def _folded(flat: Callable[[Sequence[Any]], Any], values: Sequence[Any]) -> Any:
    """The same with what does not depend on `values` computed while it is traced.

    A rule may refer to arrays that f makes where it defines it. They must be arrays when the rule
    is called, which is after f has been traced.
    """
    with jax.ensure_compile_time_eval():
        return flat(values)


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
    own = (names[k] for k, *_ in part.checked)
    point = OrderedDict(zip(own, part.point, strict=True))

    def f(x: dict[str, Any]) -> Any:
        return part.by_rule(list(x.values()))

    def gradient(x: dict[str, Any], cotangent: Any) -> Any:
        # Not left to the subject, which compiles it: parts are many, and few gradients needed.
        return jax.vjp(f, x)[1](cotangent)[0]

    return make(f, point, part.reaching), gradient
