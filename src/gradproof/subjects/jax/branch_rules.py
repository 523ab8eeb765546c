"""Which units of an operation take another branch at one point than at another.

A rule gets the operation's parameters and its inputs and outputs at two points, and returns arrays
that are true where a unit branches otherwise. Where two numbers tie at one point and not at the
other, that is another branch: one of the ways out of a tie crosses the kink.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

Arrays = Sequence[Any]
Parameters = Mapping[str, Any]
#: From an operation's parameters, inputs and outputs at one point to a code for each unit's branch.
Code = Callable[[Parameters, Arrays, Arrays], Arrays]


def differing(
    name: str, parameters: Parameters, one: Sequence[Arrays], other: Sequence[Arrays]
) -> list[Any]:
    """Where the operation `name` branches otherwise; `one` and `other` are (inputs, outputs).

    Whatever turns floating numbers into integers or booleans branches with its results:
    comparisons, argmax, conversions.
    """
    (inputs, outputs) = one
    if not any(_is_continuous(x) for x in inputs):
        return []
    if name in CODES:
        code = CODES[name]
        return _either(code(parameters, *one), code(parameters, *other))
    if name in SMOOTH:
        return []
    are_codes = [not _is_continuous(a) and _is_number(a) for a in outputs]
    return _either(
        *(
            [o for o, is_code in zip(side, are_codes, strict=True) if is_code]
            for side in (outputs, other[1])
        )
    )


def _either(one: Arrays, other: Arrays) -> list[Any]:
    """Where codes differ; those of the same units, which have one shape, together."""
    by_shape: dict[tuple[int, ...], Any] = {}
    for a, b in zip(one, other, strict=True):
        by_shape[a.shape] = by_shape.get(a.shape, False) | (a != b)
    return list(by_shape.values())


def is_opaque(name: str, parameters: Parameters, inputs: Arrays) -> bool:
    """Whether an operation may branch where it cannot be seen."""
    if not any(_is_continuous(x) for x in inputs):
        return False
    if name == "bitcast_convert_type":
        return not jnp.issubdtype(parameters["new_dtype"], jnp.inexact)
    return name in OPAQUE


def _is_continuous(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def _is_number(x: Any) -> bool:
    return x.dtype == bool or bool(jnp.issubdtype(x.dtype, jnp.integer))


def _side(x: Any, y: Any) -> Any:
    """Whether x is above y (1), below (-1) or ties with it (0)."""
    return (x > y).astype(jnp.int8) - (x < y).astype(jnp.int8)


def _sign(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    x = inputs[0]
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return [x == 0]
    return [_side(x, 0.0)]


def _clamped(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    low, x, high = inputs
    return [_side(x, low), _side(x, high)]


def _attaining(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    """Which element of each reduced slice attains the extreme: the first and the last one."""
    axes = tuple(parameters["axes"])
    is_extreme = inputs[0] == jnp.expand_dims(outputs[0], axes)
    kept = [axis for axis in range(is_extreme.ndim) if axis not in axes]
    shape = (*(is_extreme.shape[axis] for axis in kept), -1)
    flat = jnp.transpose(is_extreme, (*kept, *axes)).reshape(shape)
    if flat.shape[-1] == 0:
        return []
    return [jnp.argmax(flat, axis=-1), jnp.argmax(flat[..., ::-1], axis=-1)]


def _record(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    """Where a running extreme is attained anew."""
    return [inputs[0] == outputs[0]]


def _order(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    """The permutation, and which neighbours tie."""
    axis, keys = parameters["dimension"], parameters["num_keys"]
    places = lax.broadcasted_iota(jnp.int32, inputs[0].shape, axis)
    *_, order = lax.sort([*inputs, places], dimension=axis, is_stable=True, num_keys=keys)
    first = jnp.moveaxis(outputs[0], axis, 0)
    return [order, first[1:] == first[:-1]]


def _in_windows(is_larger: Callable[[Any, Any], Any]) -> Code:
    """Which element of each window attains the extreme: the first and the last one."""

    def code(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
        x = inputs[0]
        places = jnp.arange(x.size, dtype=jnp.int32).reshape(x.shape)
        worst = -jnp.inf if is_larger(1.0, 0.0) else jnp.inf
        none = jnp.int32(x.size)

        def better(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
            ties, wins = a[0] == b[0], is_larger(a[0], b[0])
            first = jnp.where(ties, jnp.minimum(a[1], b[1]), jnp.where(wins, a[1], b[1]))
            last = jnp.where(ties, jnp.maximum(a[2], b[2]), jnp.where(wins, a[2], b[2]))
            return jnp.where(wins, a[0], b[0]), first, last

        found = lax.reduce_window(
            (x, places, places),
            (jnp.asarray(worst, x.dtype), none, jnp.int32(-1)),
            better,
            window_dimensions=parameters["window_dimensions"],
            window_strides=parameters["window_strides"],
            padding=parameters["padding"],
            base_dilation=parameters["base_dilation"],
            window_dilation=parameters["window_dilation"],
        )
        return list(found[1:])

    return code


def _quotient(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    x, y = inputs
    return [jnp.round((x - outputs[0]) / y)]


def _half_plane(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    """The angle jumps where y changes its sign at negative x."""
    y, x = inputs
    return [jnp.where(x < 0.0, _side(y, 0.0), 2)]


def _results(parameters: Parameters, inputs: Arrays, outputs: Arrays) -> Arrays:
    return outputs


CODES: dict[str, Code] = {
    **dict.fromkeys(("max", "min"), lambda p, inputs, outputs: [_side(*inputs)]),
    **dict.fromkeys(("reduce_max", "reduce_min"), _attaining),
    **dict.fromkeys(("cummax", "cummin"), _record),
    **dict.fromkeys(("floor", "ceil", "round"), _results),
    **dict.fromkeys(("abs", "sign"), _sign),
    "clamp": _clamped,
    "sort": _order,
    "reduce_window_max": _in_windows(lambda a, b: a > b),
    "reduce_window_min": _in_windows(lambda a, b: a < b),
    "rem": _quotient,
    "atan2": _half_plane,
}

#: Whose integers and booleans are no branches: whether numbers are finite, pivots of a matrix that
#: is solved for or inverted all the same.
SMOOTH = frozenset({"is_finite", "lu", "geqrf", "lu_pivots_to_permutation"})

#: Whose branches cannot be seen: functions of the host's, hand-written kernels, selections by a
#: function or by another tensor.
OPAQUE = frozenset(
    {
        "pure_callback",
        "io_callback",
        "ffi_call",
        "pallas_call",
        "reduce",
        "reduce_window",
        "scatter_max",
        "scatter-max",
        "scatter_min",
        "scatter-min",
        "scatter_apply",
        "select_and_scatter",
        "select_and_scatter_add",
        "select_and_gather_add",
        "shard_map",
    }
)

#: Functions of JAX's that branch inside and are smooth as wholes.
SMOOTH_CALLS = frozenset({"logaddexp", "logaddexp2"})


def is_shift(jaxpr: Any, position: int) -> bool:
    """Whether a maximum is but subtracted before exp, as in softmax: the result is smooth in it."""
    equation = jaxpr.eqns[position]
    operand = equation.invars[0]
    chain = {equation.outvars[0]}
    for later in jaxpr.eqns[position + 1 :]:
        used = [v for v in later.invars if not hasattr(v, "val") and v in chain]
        if not used:
            continue
        name = later.primitive.name
        if name in _PASSING:
            chain.update(later.outvars)
        elif name == "sub" and later.invars[0] is operand:
            return any(
                e.primitive.name == "exp" and e.invars[0] is later.outvars[0] for e in jaxpr.eqns
            )
    return False


_PASSING = frozenset(
    {"max", "broadcast_in_dim", "reshape", "is_finite", "select_n", "stop_gradient", "squeeze"}
)
