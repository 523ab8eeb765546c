"""A check leaves JAX and the arrays as they were, also when f raises."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax._src.core import trace_state_clean
from numpy.typing import NDArray

import gradproof
from gradproof.report.model import Report

Arrays = dict[str, Any]
CONFIG: Any = jax.config


class Fuse:
    """Counts the calls of f, and raises from a given one on."""

    def __init__(self, blows_at: int | None = None, error: BaseException | None = None) -> None:
        self.calls = 0
        self.blows_at = blows_at
        self.error = error or RuntimeError("the fuse blew")

    def burn(self) -> None:
        self.calls += 1
        if self.blows_at is not None and self.calls >= self.blows_at:
            raise self.error


@jax.custom_vjp
def squashed(x: Any) -> Any:
    """The tangent hyperbolic with a rule of its own."""
    return jnp.tanh(x)


squashed.defvjp(lambda x: (jnp.tanh(x), x), lambda x, grad: (grad / jnp.cosh(x) ** 2,))


def traced(fuse: Fuse) -> Callable[[Arrays], Any]:
    def f(x: Arrays) -> Any:
        fuse.burn()
        noise = jax.random.normal(x["key"], (4,))
        return squashed(x["weight"] @ x["row"] + x["bias"]) * (1.0 + 0.1 * noise)

    return f


def untraceable(fuse: Fuse) -> Callable[[Arrays], Any]:
    """Looks at a number, which neither jit nor vmap allows."""
    smooth = traced(fuse)

    def f(x: Arrays) -> Any:
        output = smooth(x)
        return output if float(jax.lax.stop_gradient(output).sum()) < 1e9 else 2.0 * output

    return f


FUNCTIONS = {"traced": traced, "untraceable": untraceable}


def build_point() -> Arrays:
    """JAX's arrays beside NumPy's, a key and an integer, in single precision."""
    rng = np.random.default_rng(0)
    return {
        "weight": jnp.asarray(rng.standard_normal((4, 3)), jnp.float32),
        "bias": rng.standard_normal(4).astype(np.float32),
        "row": jnp.asarray(rng.standard_normal(3), jnp.float32),
        "key": jax.random.key(0),
        "count": 3,
    }


def observe(x: Mapping[str, Any]) -> dict[str, object]:
    """Everything that a check could leave changed, by name."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 - it is to be seen whether it moves
    seen: dict[str, object] = {
        "jax_enable_x64": CONFIG.jax_enable_x64,
        "dtype of new arrays": (jnp.zeros(1).dtype, jnp.asarray(1.0).dtype, jnp.arange(2).dtype),
        "configuration": dict(CONFIG.values),
        "no trace": trace_state_clean(),
        "arithmetic": type(jnp.add(1.0, 1.0)),
        "Python's generator": random.getstate(),
        "NumPy's generator": (kind, np.asarray(keys).tobytes(), *rest),
        "warning filters": list(warnings.filters),
        "NumPy's errors": np.geterr(),
    }
    for name, value in x.items():
        seen[name] = (id(value), _content(value))
    return seen


def _content(value: Any) -> object:
    if isinstance(value, jax.Array):
        if value.is_deleted():
            return "deleted"
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        return str(value.dtype), np.asarray(value).tobytes()
    if isinstance(value, np.ndarray):
        return value.dtype, value.tobytes(), value.flags.writeable
    return value


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


@pytest.fixture(params=[False, True], ids=["x64 off", "x64 on"])
def x64(request: pytest.FixtureRequest) -> Iterator[bool]:
    """The user's own setting; where a test fails, the next one shall not see what it left."""
    was = CONFIG.jax_enable_x64
    CONFIG.update("jax_enable_x64", request.param)
    with warnings.catch_warnings(), np.errstate():
        yield request.param
    CONFIG.update("jax_enable_x64", was)


def check(function: str, fuse: Fuse, x: Arrays) -> Report:
    return gradproof.check(FUNCTIONS[function](fuse), x, coverage="full")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_check_changes_nothing(function: str, x64: bool) -> None:
    x = build_point()
    before = observe(x)
    report = check(function, Fuse(), x)
    assert changed(before, observe(x)) == []
    assert before["jax_enable_x64"] is x64
    assert report.verdict == "pass", report.reason
    assert sum(tensor.checked for tensor in report.tensors.values()) == 19


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("when", ["first", "middle", "last"])
def test_a_check_changes_nothing_when_f_raises(function: str, when: str, x64: bool) -> None:
    whole = Fuse()
    check(function, whole, build_point())
    at = {"first": 1, "middle": min(10, (1 + whole.calls) // 2), "last": whole.calls}[when]
    fuse, x = Fuse(at), build_point()
    before = observe(x)
    with pytest.raises(RuntimeError) as caught:
        check(function, fuse, x)
    assert caught.value is fuse.error
    assert changed(before, observe(x)) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_check_changes_nothing_when_it_is_interrupted(function: str, x64: bool) -> None:
    fuse, x = Fuse(2, KeyboardInterrupt()), build_point()
    before = observe(x)
    with pytest.raises(KeyboardInterrupt) as caught:
        check(function, fuse, x)
    assert caught.value is fuse.error
    assert changed(before, observe(x)) == []


def test_the_loop_calls_f_at_every_evaluation(x64: bool) -> None:
    fuse = Fuse()
    report = check("untraceable", fuse, build_point())
    assert fuse.calls >= report.evaluations > 38


def test_no_tracer_leaks(x64: bool) -> None:
    with jax.checking_leaks():
        report = check("traced", Fuse(), build_point())
    assert report.verdict == "pass", report.reason


def test_a_leak_would_be_seen() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x)
        return x

    with pytest.raises(Exception, match="Leaked"), jax.checking_leaks():
        jax.jit(f)(1.0)


def _write(x: Arrays) -> None:
    array: NDArray[Any] = x["bias"]
    array[0] += 1.0


ALTERATIONS: dict[str, Callable[[Arrays], Any]] = {
    "jax_enable_x64": lambda x: CONFIG.update("jax_enable_x64", not CONFIG.jax_enable_x64),
    "configuration": lambda x: CONFIG.update("jax_debug_nans", True),
    "Python's generator": lambda x: random.random(),
    "NumPy's generator": lambda x: np.random.random(),  # noqa: NPY002
    "warning filters": lambda x: warnings.simplefilter("ignore", DeprecationWarning),
    "NumPy's errors": lambda x: np.seterr(divide="raise"),
    "bias": _write,
    "weight": lambda x: x["weight"].delete(),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_alteration_would_be_seen(name: str, x64: bool) -> None:
    x = build_point()
    before = observe(x)
    assert changed(before, observe(x)) == []
    try:
        ALTERATIONS[name](x)
        assert name in changed(before, observe(x))
    finally:
        CONFIG.update("jax_debug_nans", False)
