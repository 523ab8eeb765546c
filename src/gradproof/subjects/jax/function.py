"""f as a function of arrays of real numbers, in the precision that it takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.subjects.jax.arguments import Arguments, bits, take_apart
from gradproof.subjects.jax.outputs import Outputs

#: What f raises where it does not take double precision, or an array in a float's place.
REFUSALS = (TypeError, ValueError, ArithmeticError)


class Function:
    """f, and a loss of what it returns, at arguments of which some leaves are checked.

    Attributes:
        arguments: in the precision in which f is called.
        outputs: what f returns.
        first: what it returned first.
        evaluations: made so far.
        is_double: whether everything takes place in double precision.
        less: names of the tensors that came in less.
        fixed_floats: whether Python's floats in x are constants, since f takes nothing else.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        x: object,
        kwargs: Mapping[str, Any],
        loss: Callable[[Any], Any] | None,
        *,
        promote: bool,
    ) -> None:
        self._f, self._loss = f, loss
        self._x64 = bool(jax.config.values["jax_enable_x64"])
        self.evaluations = 0
        self.fixed_floats = False
        self.is_double = promote
        given = [take_apart(f, x, kwargs, with_floats=True)]
        if 0 < given[0].floats < len(given[0].leaves):
            given.append(take_apart(f, x, kwargs, with_floats=False))
        self.less = tuple(leaf.name for leaf in given[0].leaves if bits(leaf.value.dtype) < 64)
        self.first = self._first_call(given)
        with self.session():
            self.outputs = Outputs(self.first)

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Double precision, or the user's setting where f stays in less; products unabridged."""
        with (
            jax.enable_x64(self.is_double or self._x64),
            jax.default_matmul_precision("highest"),
            jax.transfer_guard("allow"),
        ):
            yield

    def flat(self, values: Sequence[Any]) -> list[jax.Array]:
        """The outputs that count as flat real arrays; `values` may be tracers."""
        return self.outputs.flat(self._call(values))

    def at(self, values: Sequence[NDArray[Any]]) -> float:
        """The value at a point, from f itself."""
        return self.outputs.contract(self.flat([jnp.asarray(value) for value in values]))

    def guarded(self, values: Sequence[NDArray[Any]]) -> float:
        """The same, and NaN outside of f's domain."""
        try:
            return self.at(values)
        except InputError:
            raise
        except (ArithmeticError, ValueError):
            return np.nan

    def outputs_at(self, values: Sequence[NDArray[Any]]) -> list[jax.Array] | None:
        """The outputs that count, flat; None outside of f's domain."""
        self.evaluations += 1
        try:
            return self.flat([jnp.asarray(value) for value in values])
        except InputError:
            raise
        except (ArithmeticError, ValueError):
            return None

    def built(self, values: Sequence[NDArray[Any]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional and keyword arguments with `values` in their places."""
        return self.arguments.build([jnp.asarray(value) for value in values])

    def _call(self, values: Sequence[Any]) -> Any:
        args, kwargs = self.arguments.build(values)
        result = self._f(*args, **kwargs)
        return result if self._loss is None else self._loss(result)

    def _first_call(self, given: Sequence[Arguments]) -> object:
        """Call f in double precision, or else as x came; with varying floats, or else fixed ones.

        What f raises at last comes out as it is.
        """
        is_less = bool(self.less) or not self._x64
        precisions = [True, False] if self.is_double and is_less else [self.is_double]
        attempts = [(arguments, wide) for wide in precisions for arguments in given]
        for k, (arguments, self.is_double) in enumerate(attempts):
            self.arguments = arguments.in_precision(is_double=self.is_double)
            try:
                with self.session():
                    self.evaluations += 1
                    result = self._call([jnp.asarray(v) for v in self.arguments.values])
            except REFUSALS:
                if k == len(attempts) - 1:
                    raise
                continue
            if arguments is not given[-1]:
                fixed = given[-1].in_precision(is_double=self.is_double)
                if not self._is_traceable(self.arguments) and self._is_traceable(fixed):
                    self.arguments = fixed
            self.fixed_floats = self.arguments.floats < given[0].floats
            return result
        raise AssertionError

    def _is_traceable(self, arguments: Arguments) -> bool:
        def f(values: list[Any]) -> list[Any]:
            args, kwargs = arguments.build(values)
            result = self._f(*args, **kwargs)
            return [leaf for leaf in jax.tree_util.tree_leaves(result) if hasattr(leaf, "dtype")]

        try:
            with self.session():
                jax.eval_shape(f, list(arguments.values))
        except Exception:  # of whatever kind: JAX and f raise many
            return False
        return True
