"""A walk through a jaxpr to the operations with rules of their own, and what reaches them.

Zeros are added to the outputs of each of them: the derivative with respect to these is the
cotangent that reaches it in the backward pass of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gradproof.subjects.jax.stage_calls import bound, called
from gradproof.subjects.jax.stage_names import scopes

#: Positions of operations, each within the one before.
Path = tuple[int, ...]
#: By the number of a call: whether it took place, and its inputs that are not known outside.
Records = dict[int, tuple[Any, list[Any]]]
Taps = Mapping[int, Sequence[Any]]
#: The path to a jaxpr, and the number of loops around it.
Within = tuple[Path, int]


@dataclass(frozen=True)
class Known:
    """What is known of a value before anything is evaluated.

    Attributes:
        is_moved: whether the gradient with respect to f's tensors passes through it.
        tensor: the position of the tensor of f's that it is, or None.
        is_outer: whether it is the same in all turns of all loops, and not made in a branch.
    """

    is_moved: bool
    tensor: int | None
    is_outer: bool


@dataclass(frozen=True)
class Place:
    """Where in f an operation is.

    Attributes:
        path: to it.
        scopes: names of jax.named_scope, and of jitted functions in brackets.
        turns: of the loops around it.
        is_outer: whether it is in no loop and no branch.
    """

    path: Path = ()
    scopes: tuple[str, ...] = ()
    turns: tuple[int, ...] = ()
    is_outer: bool = True

    def at(self, position: int, equation: Any) -> Place:
        """The place of an operation."""
        return replace(self, path=(*self.path, position), scopes=self.scopes + scopes(equation))


@dataclass(frozen=True, eq=False)
class Call:
    """An operation with a rule of its own.

    Attributes:
        equation: it.
        place: where it is.
        inputs: what is known of them.
    """

    equation: Any
    place: Place
    inputs: tuple[Known, ...]


class Survey:
    """The operations of a jaxpr with rules of their own, through which its gradient passes.

    Attributes:
        calls: they, in the order of evaluation.
        numbers: their numbers, by their paths.
    """

    def __init__(self, jaxpr: Any, is_wanted: Callable[[Any], bool]) -> None:
        """Walk `jaxpr`, all inputs of which are tensors of f's."""
        self._is_wanted = is_wanted
        self._is_counting = True
        self.calls: list[Call] = []
        self.numbers: dict[Path, int] = {}
        self._around: set[Path] = set()
        tensors = [Known(True, k, True) for k in range(len(jaxpr.invars))]
        self._walk(jaxpr, tensors, Place())

    def below(self, path: Path) -> list[int]:
        """Numbers of the calls within the operation at `path`."""
        return [n for p, n in self.numbers.items() if p[: len(path)] == path]

    def is_around(self, path: Path) -> bool:
        """Whether there are calls within the operation at `path`."""
        return path in self._around

    def _walk(self, jaxpr: Any, args: Sequence[Known], place: Place) -> list[Known]:
        constant = Known(False, None, True)
        known: dict[Any, Known] = dict.fromkeys(jaxpr.constvars, constant)
        known.update(zip(jaxpr.invars, args, strict=True))

        def read(atom: Any) -> Known:
            return constant if hasattr(atom, "val") else known[atom]

        for position, equation in enumerate(jaxpr.eqns):
            inputs = [read(atom) for atom in equation.invars]
            outputs = self._equation(equation, inputs, place.at(position, equation))
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Any, inputs: Sequence[Known], place: Place) -> list[Known]:
        name, params = equation.primitive.name, equation.params
        is_moved = any(
            known.is_moved and is_inexact(atom)
            for known, atom in zip(inputs, equation.invars, strict=True)
        )
        moved = [is_moved and is_inexact(v) for v in equation.outvars]
        if is_moved and self._is_wanted(equation):
            if self._is_counting:
                self.numbers[place.path] = len(self.calls)
                self._around.update(place.path[:length] for length in range(len(place.path)))
                self.calls.append(Call(equation, place, tuple(inputs)))
            if name == "stop_gradient":
                moved = [False]
        elif (inner := called(equation)) is not None:
            if name in ("jit", "pjit"):
                place = replace(place, scopes=(*place.scopes, f"({params['name']})"))
            return self._walk(inner[0], inputs, place)
        elif name == "cond":
            moved = self._cond(params, inputs, place)
        elif name == "scan":
            moved = self._scan(params, inputs, place)
        elif name == "stop_gradient":
            moved = [False]
        return [Known(m, None, place.is_outer) for m in moved]

    def _cond(self, params: Mapping[str, Any], inputs: Sequence[Known], place: Place) -> list[bool]:
        moved = [False] * len(params["branches"][0].jaxpr.outvars)
        for k, branch in enumerate(params["branches"]):
            within = replace(place, path=(*place.path, k), is_outer=False)
            outputs = self._walk(branch.jaxpr, inputs[1:], within)
            moved = [m or out.is_moved for m, out in zip(moved, outputs, strict=True)]
        return moved

    def _scan(self, params: Mapping[str, Any], inputs: Sequence[Known], place: Place) -> list[bool]:
        body, fixed, carried = params["jaxpr"].jaxpr, params["num_consts"], params["num_carry"]
        within = replace(place, turns=(*place.turns, params["length"]), is_outer=False)
        moved = [known.is_moved for known in inputs[fixed:]]
        was_counting, self._is_counting = self._is_counting, False
        while True:
            args = [*inputs[:fixed], *(Known(m, None, False) for m in moved)]
            outputs = [out.is_moved for out in self._walk(body, args, within)]
            carry = [a or b for a, b in zip(moved[:carried], outputs[:carried], strict=True)]
            if carry == moved[:carried]:
                break
            moved[:carried] = carry
        self._is_counting = was_counting
        if was_counting:
            self._walk(body, args, within)
        return [*carry, *outputs[carried:]]


class Tapped:
    """The evaluation of a jaxpr, with numbers added to what the calls return.

    Attributes:
        outer: the inputs of the calls that are known outside of loops and branches, by the number
            of the call and the position.
    """

    def __init__(self, survey: Survey) -> None:
        self._survey = survey
        self.outer: dict[int, dict[int, Any]] = {n: {} for n in range(len(survey.calls))}

    def run(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        args: Sequence[Any],
        taps: Taps,
        within: Within = ((), 0),
    ) -> tuple[list[Any], Records]:
        """The outputs, and what the calls got.

        Args:
            jaxpr: all of f's, or a part of it.
            consts: its constants.
            args: its inputs.
            taps: what is added to the outputs of the calls, by their numbers.
            within: the path to `jaxpr`, and the number of loops around it.
        """
        path, loops = within
        values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, args, strict=True))
        records: Records = {}

        def read(atom: Any) -> Any:
            return np.asarray(atom.val, atom.aval.dtype) if hasattr(atom, "val") else values[atom]

        for position, equation in enumerate(jaxpr.eqns):
            here = (*path, position), loops
            inputs = [read(atom) for atom in equation.invars]
            outputs, found = self._equation(equation, inputs, taps, here)
            values.update(zip(equation.outvars, outputs, strict=True))
            records.update(found)
        return [read(atom) for atom in jaxpr.outvars], records

    def _equation(
        self, equation: Any, inputs: list[Any], taps: Taps, here: Within
    ) -> tuple[list[Any], Records]:
        name, params = equation.primitive.name, equation.params
        number = self._survey.numbers.get(here[0])
        if number is not None:
            outputs = bound(equation, inputs)
            own = iter(taps[number])
            tapped = [y + next(own) if is_inexact(y) else y for y in outputs]
            return tapped, {number: (np.True_, self._record(number, inputs))}
        if not self._survey.is_around(here[0]):
            return bound(equation, inputs), {}
        if name == "cond":
            return self._cond(params, inputs, taps, here)
        if name == "scan":
            return self._scan(params, inputs, taps, here)
        inner = called(equation)
        assert inner is not None
        return self.run(*inner, inputs, taps, here)

    def _record(self, number: int, inputs: Sequence[Any]) -> list[Any]:
        rest = []
        call = self._survey.calls[number]
        for k, (known, value) in enumerate(zip(call.inputs, inputs, strict=True)):
            if known.is_outer:
                self.outer[number][k] = value
            else:
                rest.append(lax.stop_gradient(value))
        return rest

    def _cond(
        self, params: Mapping[str, Any], inputs: list[Any], taps: Taps, here: Within
    ) -> tuple[list[Any], Records]:
        every = self._survey.below(here[0])
        none = {number: self._nothing(number, here[1]) for number in every}

        def taken(k: int) -> Callable[[], tuple[list[Any], Records]]:
            branch = params["branches"][k]

            def run() -> tuple[list[Any], Records]:
                within = (*here[0], k), here[1]
                outputs, found = self.run(branch.jaxpr, branch.consts, inputs[1:], taps, within)
                return outputs, {**none, **found}

            return run

        branches = [taken(k) for k in range(len(params["branches"]))]
        outputs, found = lax.switch(jnp.asarray(inputs[0], jnp.int32), branches)
        return outputs, found

    def _nothing(self, number: int, loops: int) -> tuple[Any, list[Any]]:
        """The record of a call in a branch that is not taken, `loops` loops deep."""
        call = self._survey.calls[number]
        turns = call.place.turns[loops:]
        rest = [
            lax.full((*turns, *atom.aval.shape), 0, atom.aval.dtype)
            for atom, known in zip(call.equation.invars, call.inputs, strict=True)
            if not known.is_outer
        ]
        return np.zeros(turns, bool), rest

    def _scan(
        self, params: Mapping[str, Any], inputs: list[Any], taps: Taps, here: Within
    ) -> tuple[list[Any], Records]:
        closed, fixed, carried = (params[k] for k in ("jaxpr", "num_consts", "num_carry"))
        constants = inputs[:fixed]
        mine = {number: list(taps[number]) for number in self._survey.below(here[0])}

        def turn(carry: list[Any], each: tuple[list[Any], Taps]) -> tuple[Any, Any]:
            xs, own = each
            args = [*constants, *carry, *xs]
            within = here[0], here[1] + 1
            outputs, found = self.run(closed.jaxpr, closed.consts, args, own, within)
            return outputs[:carried], (outputs[carried:], found)

        carry, (ys, found) = lax.scan(
            turn,
            inputs[fixed : fixed + carried],
            (inputs[fixed + carried :], mine),
            length=params["length"],
            reverse=params["reverse"],
        )
        return [*carry, *ys], found


def is_inexact(value: Any) -> bool:
    """Whether a value, or the value of a variable, is of floating or complex numbers."""
    dtype = getattr(getattr(value, "aval", value), "dtype", None)
    return dtype is not None and bool(jnp.issubdtype(dtype, jnp.inexact))
