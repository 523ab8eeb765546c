"""A walk through a jaxpr at two points at once, counting units that branch otherwise.

Each operation is evaluated at both points where its inputs differ, so that its branches are
compared where they are taken and nothing has to be kept. Loops and conditions are walked too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gradproof.subjects.jax.branch_rules import SMOOTH_CALLS, differing, is_opaque, is_shift
from gradproof.subjects.jax.stage_calls import CALLS as PLAIN_CALLS

#: A value at both points; the same object twice where it cannot differ.
Pair = tuple[Any, Any]
#: The number of units that branch otherwise, by the name and the line of their site.
Counts = dict[tuple[str, str], Any]

#: Operations that do nothing but call a function; here rules of one's own make no difference.
CALLS = PLAIN_CALLS | {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"}
CALLED = ("jaxpr", "call_jaxpr", "call", "fun_jaxpr")

#: Files that f is not written in.
_FOREIGN = tuple(os.path.dirname(path) + os.sep for path in (jax.__file__, __file__))


class UntraceableError(Exception):
    """An operation may branch unseen."""


@dataclass(frozen=True)
class Site:
    """Where in f an operation is.

    Attributes:
        scope: names of jax.named_scope, and so of modules.
        call: the innermost function of JAX's that is called, such as relu.
        function: the user's function that does so, where there is neither.
        line: of the user's, which does so.
    """

    scope: str = ""
    call: str = ""
    function: str = ""
    line: str = ""

    def run(
        self, jaxpr: Any, consts: Sequence[Any], args: Sequence[Pair]
    ) -> tuple[list[Pair], Counts]:
        """Evaluate at both points, and count units that branch otherwise."""
        values: dict[Any, Pair] = {}
        counts: Counts = {}
        done: set[Any] = set()

        def read(atom: Any) -> Pair:
            if not hasattr(atom, "val"):
                return values[atom]
            number = np.asarray(atom.val, atom.aval.dtype)
            return number, number

        values.update(zip(jaxpr.constvars, ((c, c) for c in consts), strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))
        live = _live(jaxpr)
        for position, equation in enumerate(jaxpr.eqns):
            if not live[position]:
                continue
            inputs = [read(atom) for atom in equation.invars]
            outputs, found = self._equation(jaxpr, position, inputs, done)
            values.update(zip(equation.outvars, outputs, strict=True))
            _add(counts, found)
        return [read(atom) for atom in jaxpr.outvars], counts

    def _equation(
        self, jaxpr: Any, position: int, inputs: list[Pair], done: set[Any]
    ) -> tuple[list[Pair], Counts]:
        equation = jaxpr.eqns[position]
        name, parameters = equation.primitive.name, equation.params
        here = self._at(equation)
        called = _called(equation)
        call = _name_of(called[0].debug_info.func_name) if called is not None else ""
        if called is not None and call not in SMOOTH_CALLS:
            return replace(here, call=call or here.call).run(*called, inputs)
        one, other = ([pair[k] for pair in inputs] for k in (0, 1))
        if called is not None:
            ends = [jax.core.eval_jaxpr(*called, *side) for side in (one, other)]
            return list(zip(*ends, strict=True)), {}
        if all(a is b for a, b in inputs):
            return [(value, value) for value in _bind(equation, one)], {}
        if name == "cond":
            return here._cond(parameters, inputs)
        if name == "while":
            return here._while(parameters, inputs)
        if name == "scan":
            return here._scan(parameters, inputs)
        if is_opaque(name, parameters, [jnp.asarray(x) for x in one]):
            raise UntraceableError(name)
        results = _bind(equation, one), _bind(equation, other)
        counts: Counts = {}
        key = (name, tuple(map(_key, equation.invars)), str(parameters))
        if key not in done and not (name == "reduce_max" and is_shift(jaxpr, position)):
            done.add(key)
            arrays = ([jnp.asarray(x) for x in side] for side in (one, other))
            found = zip(arrays, results, strict=True)
            units = differing(name, parameters, *found)
            if units:
                total = sum(jnp.sum(unit, dtype=jnp.int32) for unit in units)
                counts[here._named(name)] = total
        return list(zip(*results, strict=True)), counts

    def _cond(self, parameters: Mapping[str, Any], inputs: list[Pair]) -> tuple[list[Pair], Counts]:
        (one, other), args = inputs[0], inputs[1:]
        last = len(parameters["branches"]) - 1
        one, other = (jnp.clip(jnp.asarray(i, jnp.int32), 0, last) for i in (one, other))
        counts: Counts = {self._named("cond"): jnp.asarray(one != other, jnp.int32)}
        results = []
        for k, branch in enumerate(parameters["branches"]):
            outputs, found = self.run(branch.jaxpr, branch.consts, args)
            results.append(outputs)
            is_taken = (one == k) & (other == k)
            _add(counts, {site: jnp.where(is_taken, n, 0) for site, n in found.items()})
        outputs = []
        for each in zip(*results, strict=True):
            sides = zip((one, other), zip(*each, strict=True), strict=True)
            a, b = (
                lax.select_n(index, *map(jnp.asarray, side)) if last else side[0]
                for index, side in sides
            )
            outputs.append((a, b))
        return outputs, counts

    def _scan(self, parameters: Mapping[str, Any], inputs: list[Pair]) -> tuple[list[Pair], Counts]:
        closed, fixed, carried = (parameters[k] for k in ("jaxpr", "num_consts", "num_carry"))
        constants = inputs[:fixed]

        def turn(carry: list[Pair], xs: list[Pair]) -> tuple[Any, Any]:
            outputs, counts = self.run(closed.jaxpr, closed.consts, [*constants, *carry, *xs])
            return outputs[:carried], (outputs[carried:], counts)

        start = [_as_arrays(pair) for pair in inputs[fixed : fixed + carried]]
        carry, (ys, counts) = lax.scan(
            turn,
            start,
            [_as_arrays(pair) for pair in inputs[fixed + carried :]],
            length=parameters["length"],
            reverse=parameters["reverse"],
        )
        total = {site: jnp.sum(n, dtype=jnp.int32) for site, n in counts.items()}
        return [tuple(pair) for pair in [*carry, *ys]], total

    def _while(
        self, parameters: Mapping[str, Any], inputs: list[Pair]
    ) -> tuple[list[Pair], Counts]:
        test, body = parameters["cond_jaxpr"], parameters["body_jaxpr"]
        first, second = parameters["cond_nconsts"], parameters["body_nconsts"]
        for_test, for_body = inputs[:first], inputs[first : first + second]
        start = [_as_arrays(pair) for pair in inputs[first + second :]]

        def goes_on(side: int, state: list[Pair]) -> Any:
            args = [pair[side] for pair in [*for_test, *state]]
            return jnp.asarray(jax.core.eval_jaxpr(test.jaxpr, test.consts, *args)[0])

        def turn(state: list[Pair]) -> tuple[list[Pair], Counts]:
            return self.run(body.jaxpr, body.consts, [*for_body, *state])

        sites = jax.eval_shape(lambda state: turn(state)[1], start)

        def step(carry: Any) -> Any:
            state, running, is_other, counts = carry
            after, found = turn(state)
            moved: list[Pair] = [
                (jnp.where(running[0], new[0], old[0]), jnp.where(running[1], new[1], old[1]))
                for new, old in zip(after, state, strict=True)
            ]
            both = running[0] & running[1]
            total = {site: n + jnp.where(both, found[site], 0) for site, n in counts.items()}
            running = [running[k] & goes_on(k, moved) for k in (0, 1)]
            return moved, running, is_other | (running[0] != running[1]), total

        running = [goes_on(k, start) for k in (0, 1)]
        initial = (
            start,
            running,
            running[0] != running[1],
            {site: jnp.int32(0) for site in sites},
        )
        state, _, is_other, counts = lax.while_loop(
            lambda carry: carry[1][0] | carry[1][1], step, initial
        )
        turns = {self._named("while"): is_other.astype(jnp.int32)}
        _add(turns, counts)
        return [tuple(pair) for pair in state], turns

    def _at(self, equation: Any) -> Site:
        # jvp(net)/layer1 is net/layer1 in a function that differentiates.
        own = re.sub(r"\w+\(([^()]*)\)", r"\1", str(equation.source_info.name_stack))
        scope = "/".join(part for part in (self.scope, *own.split("/")) if part)
        if self.line:
            return replace(self, scope=scope)
        function, line = _source(equation)
        return replace(self, scope=scope, function=function, line=line)

    def _named(self, operation: str) -> tuple[str, str]:
        where = "/".join(part for part in (self.scope, self.call) if part) or self.function
        return f"{where} ({operation})" if where else operation, self.line


def _source(equation: Any) -> tuple[str, str]:
    """The function and the line of the user's that an operation comes from."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        if not frame.file_name.startswith(_FOREIGN):
            return _name_of(
                frame.function_name
            ), f"{os.path.basename(frame.file_name)}:{frame.line_num}"
    return "", ""


def _name_of(function: str) -> str:
    """A function's own name, of a path to it; a lambda has none."""
    name = function.rsplit(".", 1)[-1]
    return "" if name.startswith("<") else name


def _bind(equation: Any, inputs: Sequence[Any]) -> list[Any]:
    result = equation.primitive.bind(*inputs, **equation.params)
    return list(result) if equation.primitive.multiple_results else [result]


def _called(equation: Any) -> tuple[Any, Sequence[Any]] | None:
    """The jaxpr that an operation calls, and its constants."""
    if equation.primitive.name not in CALLS:
        return None
    for name in CALLED:
        inner = equation.params.get(name)
        if hasattr(inner, "consts") and hasattr(inner, "jaxpr"):
            return inner.jaxpr, inner.consts
        if hasattr(inner, "eqns"):
            return inner, ()
    raise UntraceableError(equation.primitive.name)


def _live(jaxpr: Any) -> list[bool]:
    """Which operations have a result that is used: others may branch as they like."""
    used = {atom for atom in jaxpr.outvars if not hasattr(atom, "val")}
    live = [False] * len(jaxpr.eqns)
    for position in reversed(range(len(jaxpr.eqns))):
        equation = jaxpr.eqns[position]
        if any(variable in used for variable in equation.outvars):
            live[position] = True
            used.update(atom for atom in equation.invars if not hasattr(atom, "val"))
    return live


def _key(atom: Any) -> object:
    return str(atom.val) if hasattr(atom, "val") else atom


def _as_arrays(pair: Pair) -> Pair:
    return jnp.asarray(pair[0]), jnp.asarray(pair[1])


def _add(counts: Counts, more: Counts) -> None:
    for site, count in more.items():
        counts[site] = counts[site] + count if site in counts else count
