"""Which kind of subject a function and its arguments make; loads no framework by itself."""

from __future__ import annotations

import copy
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np

from gradproof._errors import InputError
from gradproof.subjects.base import Subject
from gradproof.subjects.layers.network import Network
from gradproof.subjects.layers.subject import NetworkSubject
from gradproof.subjects.numpy import ArraySubject
from gradproof.tree import take_apart

Engine = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Maker(Protocol):
    """Makes a subject of a function at an x that is known already."""

    def __call__(
        self, f: Callable[..., Any], f_batch: Callable[[Any], Any] | None, cotangent: Any = None, /
    ) -> Subject:
        """The subject."""
        ...


def maker(
    f: object,
    x: object,
    *,
    kwargs: Mapping[str, Any],
    loss: Callable[[Any], Any] | None,
    promote: bool,
    rng: np.random.Generator,
    engine: Engine | None,
    has_grad: bool,
    layers: Network | None = None,
) -> Maker:
    """What makes subjects of functions like `f` at `x`.

    Args:
        f: a function.
        x: where.
        kwargs: keyword arguments of f, for the frameworks.
        loss: a function of what f returns, for the frameworks.
        promote: whether to check in double precision what came in less.
        rng: for what is drawn.
        engine: runs chunks of evaluations, for NumPy.
        has_grad: whether a gradient is claimed.
        layers: hand-written ones that f is made of, for NumPy.

    A function of NumPy's arrays that returns JAX's is one of JAX if nothing is claimed for it
    (`has_grad`).

    Raises:
        InputError: an argument is for the frameworks only, or for NumPy only.
    """
    if not isinstance(kwargs, Mapping):
        raise InputError(f"Expected a dict but got kwargs={reprlib.repr(kwargs)}")
    kind = _framework(f, (x, dict(kwargs)))
    if kind is None and not has_grad and "jax" in sys.modules and _returns_jax(f, x, kwargs):
        from gradproof.subjects.jax.subject import JaxSubject

        kind = JaxSubject
    if kind is not None and layers is not None:
        raise InputError(f"Expected layers with NumPy's arrays only but got x={reprlib.repr(x)}")
    if kind is None:
        for name, given in (("kwargs", kwargs), ("loss", loss)):
            if given:
                raise InputError(
                    f"Expected PyTorch's tensors or JAX's arrays where {name} is given but got "
                    f"x={reprlib.repr(x)}"
                )

    def make(
        f: Callable[..., Any], f_batch: Callable[[Any], Any] | None, cotangent: Any = None, /
    ) -> Subject:
        if kind is None:
            array_subject = ArraySubject if layers is None else partial(NetworkSubject, layers)
            return array_subject(
                f,
                x,
                f_batch=f_batch,
                cotangent=cotangent,
                promote=promote,
                rng=rng,
                engine=engine or map,
            )
        for name, given in (("engine", engine), ("f_batch", f_batch)):
            if given is not None:
                raise InputError(
                    f"Expected {name} for NumPy's arrays only (PyTorch and JAX have batches and "
                    f"threads of their own) but got {name}={reprlib.repr(given)}"
                )
        return kind(f, x, kwargs=kwargs, loss=loss, promote=promote, cotangent=cotangent, rng=rng)

    return make


def _framework(f: object, arguments: object) -> Callable[..., Subject] | None:
    """The subject of the framework that is meant; one that is not loaded is not."""
    if "torch" in sys.modules and _is_torch(f, arguments):
        from gradproof.subjects.torch.subject import TorchSubject

        return TorchSubject
    if "jax" in sys.modules and _is_jax(f, arguments):
        from gradproof.subjects.jax.subject import JaxSubject

        return JaxSubject
    return None


def _returns_jax(f: object, x: object, kwargs: Mapping[str, Any]) -> bool:
    jax = sys.modules["jax"]
    if not callable(f):
        return False
    try:
        # Copies: f may write to its arguments.
        arguments, keywords = copy.deepcopy((x if type(x) is tuple else (x,), dict(kwargs)))
        result = f(*arguments, **keywords)
    except Exception:  # whatever it is, the check itself will meet it
        return False
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(result))


def _is_torch(f: object, arguments: object) -> bool:
    torch = sys.modules["torch"]
    is_function = isinstance(f, type) and issubclass(f, torch.autograd.Function)
    if is_function or isinstance(f, torch.nn.Module):
        return True
    return any(isinstance(leaf, torch.Tensor) for leaf in take_apart(arguments, root="x").leaves)


def _is_jax(f: object, arguments: object) -> bool:
    jax = sys.modules["jax"]
    if isinstance(f, (jax.custom_vjp, jax.custom_jvp, type(jax.jit(abs)))):
        return True
    return any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(arguments))
