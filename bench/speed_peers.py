"""gradproof beside JAX's checker, scipy's and numdifftools, on functions that each can take.

Rosenbrock's function in NumPy with a gradient written by hand (for JAX the same in jax.numpy,
differentiated by JAX), and the loss of a small network in JAX. Each tool gets the right gradient,
which is timed, and one with an entry of median size 1 % too large. All run on their defaults, in
double precision, after an untimed run of the same.

`scipy.optimize.check_grad` returns the norm of the difference, of which the user must know how
much is too much; numdifftools estimates a derivative with an error bar, and here it is counted
how many entries of the claim lie within.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.flatten_util
import jax.test_util
import numpy as np
import numpy.typing as npt
from bench.timing import Counted, timed
from jax import numpy as jnp
from scipy import optimize

import gradproof

__all__ = ["Compared", "Said", "Subject", "compare", "network", "rosenbrock"]

Vector = npt.NDArray[np.float64]
#: Below this many seconds a run is repeated and the fastest counts.
QUICK = 1.0


@dataclass(frozen=True)
class Subject:
    """A function in two forms: of one NumPy vector with its gradient, and of a JAX pytree.

    `is_jax` says which of them gradproof gets; in the second JAX's own gradient is checked.
    """

    name: str
    f: Callable[[Vector], float]
    gradient: Callable[[Vector], Vector]
    x: Vector
    jax_f: Callable[[Any], Any]
    jax_x: Any
    is_jax: bool


@dataclass(frozen=True)
class Said:
    """What a tool said, after so many evaluations of f, and what its error bar is."""

    verdict: str
    evaluations: int
    bar: str


@dataclass(frozen=True)
class Compared:
    """One tool on one function: what it took, and what it says of each of the two gradients."""

    subject: str
    tool: str
    entries: int
    seconds: float
    evaluations: int
    right: str
    wrong: str
    bar: str


def rosenbrock(entries: int) -> Subject:
    """Rosenbrock's function of so many variables, at a random point."""
    x = np.random.default_rng(0).normal(size=entries)

    def value(numbers: Any) -> Callable[[Any], Any]:
        return lambda x: numbers.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    def gradient(x: Vector) -> Vector:
        gap, g = x[1:] - x[:-1] ** 2, np.zeros_like(x)
        g[:-1] = -400 * x[:-1] * gap - 2 * (1 - x[:-1])
        g[1:] += 200 * gap
        return g

    name = f"Rosenbrock, {entries:,} variables"
    return Subject(name, value(np), gradient, x, value(jnp), x, is_jax=False)


def network(inputs: int = 16, hidden: int = 32, rows: int = 32) -> Subject:
    """Half the squared error of a network of one hidden tanh layer."""
    rng = np.random.default_rng(0)
    data, target = rng.normal(size=(rows, inputs)), rng.normal(size=rows)
    params = {
        "w": rng.normal(size=(inputs, hidden)) / np.sqrt(inputs),
        "b": rng.normal(size=hidden),
        "out": rng.normal(size=hidden) / np.sqrt(hidden),
    }

    def loss(params: Any) -> Any:
        predicted = jnp.tanh(data @ params["w"] + params["b"]) @ params["out"]
        return 0.5 * jnp.sum((predicted - target) ** 2)

    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        value = jax.jit(lambda vector: loss(unravel(vector)))
        gradient = jax.jit(jax.grad(lambda vector: loss(unravel(vector))))
    return Subject(
        f"network in JAX, {flat.size:,} weights",
        lambda vector: float(value(vector)),
        lambda vector: np.asarray(gradient(vector)),
        np.asarray(flat),
        jax.jit(loss),
        params,
        is_jax=True,
    )


# -- the tools ---------------------------------------------------------------------------------

Tool = Callable[[Subject, bool], Said]


def compare(subject: Subject, *, warm: bool = True) -> list[Compared]:
    """Put every tool to both gradients of one function; `warm` after an untimed run."""
    with jax.enable_x64(True):
        return [_compared(subject, name, tool, warm) for name, tool in _TOOLS.items()]


def _compared(subject: Subject, name: str, tool: Tool, warm: bool) -> Compared:
    run = timed(lambda: tool(subject, False))
    if warm:
        run = timed(lambda: tool(subject, False), 3 if run.seconds < QUICK else 1)
    said, wrong = run.result, tool(subject, True)
    return Compared(
        subject.name,
        name,
        subject.x.size,
        run.seconds,
        said.evaluations,
        said.verdict,
        wrong.verdict,
        said.bar,
    )


def _gradproof(subject: Subject, wrong: bool, coverage: str) -> Said:
    if subject.is_jax:
        f = _bent(subject) if wrong else subject.jax_f
        report = gradproof.check(f, subject.jax_x, coverage=coverage)
        evaluations = report.evaluations
    else:
        counted = Counted(subject.f)
        report = gradproof.check(counted, subject.x, _claim(subject, wrong), coverage=coverage)
        evaluations = counted.calls
    worst = [tensor.worst for tensor in report.tensors.values() if tensor.verdict == "fail"]
    limit = max(tensor.detection_limit for tensor in report.tensors.values())
    bar = f"to {limit:.0e} of each tensor" if coverage == "probe" else "each entry"
    places = ", ".join(f"{entry.name}" for entry in worst if entry is not None)
    return Said(f"{report.verdict}: {places}" if places else report.verdict, evaluations, bar)


def _jax(subject: Subject, wrong: bool, mode: str) -> Said:
    f = Counted(_bent(subject) if wrong else subject.jax_f)
    try:
        jax.test_util.check_grads(  # type: ignore[no-untyped-call]
            f, (subject.jax_x,), order=1, modes=[mode]
        )
    except AssertionError:
        return Said("fail", f.calls, "none")
    return Said("pass", f.calls, "none")


def _scipy(subject: Subject, wrong: bool) -> Said:
    f = Counted(subject.f)
    distance = optimize.check_grad(f, _claim(subject, wrong), subject.x)
    return Said(f"{distance:.1e}", f.calls, "none")


def _numdifftools(subject: Subject, wrong: bool) -> Said:
    import numdifftools  # here, so that the tests of the others run without it

    f = Counted(subject.f)
    found = numdifftools.Gradient(f, full_output=True)(subject.x)
    gap = np.abs(_claim(subject, wrong)(subject.x) - found.estimate)
    within = int(np.sum(gap <= np.ravel(found.error_estimate)))
    return Said(f"{within:,} of {gap.size:,} within", f.calls, "each entry")


_TOOLS: dict[str, Tool] = {
    'gradproof, coverage="probe"': lambda subject, wrong: _gradproof(subject, wrong, "probe"),
    'gradproof, coverage="full"': lambda subject, wrong: _gradproof(subject, wrong, "full"),
    "jax check_grads, reverse": lambda subject, wrong: _jax(subject, wrong, "rev"),
    "jax check_grads, forward": lambda subject, wrong: _jax(subject, wrong, "fwd"),
    "scipy check_grad": _scipy,
    "numdifftools Gradient": _numdifftools,
}


# -- the wrong gradient ------------------------------------------------------------------------


def _factors(subject: Subject) -> Vector:
    factors = np.ones_like(subject.x)
    by_size = np.argsort(np.abs(subject.gradient(subject.x)))
    factors[by_size[len(by_size) // 2]] = 1.01
    return factors


def _claim(subject: Subject, wrong: bool) -> Callable[[Vector], Vector]:
    if not wrong:
        return subject.gradient
    factors = _factors(subject)
    return lambda x: subject.gradient(x) * factors


def _bent(subject: Subject) -> Callable[[Any], Any]:
    """The same function of a pytree, with a rule of its own for the derivative."""
    _, unravel = jax.flatten_util.ravel_pytree(subject.jax_x)
    factors = unravel(jnp.asarray(_factors(subject)))
    bend = jax.custom_jvp(lambda x: x)

    @bend.defjvp
    def rule(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Any, Any]:
        return primals[0], jax.tree.map(jnp.multiply, tangents[0], factors)

    return lambda x: subject.jax_f(bend(x))
