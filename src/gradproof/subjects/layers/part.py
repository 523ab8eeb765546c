"""One layer as the network sees it, whatever style it is written in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradproof._errors import InputError
from gradproof.subjects.layers.twins import twin

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = dict[str, Array]


class Part(ABC):
    """A layer with its state. It is used once, forward then backward, and then thrown away.

    What is to be used again is copied before (`renewed`), so that every use begins with the state
    that the user's layer has.

    Attributes:
        where: as messages call it: `layers['conv1']`.
        forward_name: as messages call its forward pass: `layers['conv1'].forward`.
        backward_name: as messages call its backward pass.
        kind: name of its class or function.
        memory: what a layer returned from its forward pass for its backward pass.
    """

    #: Names of the attributes that a copy must have copies of.
    _state: ClassVar[tuple[str, ...]] = ()

    def __init__(self, where: str, kind: str) -> None:
        self.where, self.kind = where, kind
        self.forward_name, self.backward_name = f"{where}.forward", f"{where}.backward"
        self.memory: Any = None

    def twin(self, memo: dict[int, Any]) -> Self:
        """A copy with copies of all that changes when it is used (see `twins.twin`)."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        for name in self._state:
            setattr(new, name, twin(getattr(self, name), memo))
        return new

    def learn(self, x: Array) -> Array:
        """Run once at `x`, on a copy, to see what can only be seen then; return the output."""
        return self.twin({}).forward(x)

    @abstractmethod
    def parameters(self) -> Arrays:
        """The parameters by name, not copied. A dot in a name leads to a part of the layer."""

    @abstractmethod
    def put(self, name: str, value: Array) -> None:
        """Make `value` the parameter `name`."""

    def buffers(self) -> Iterable[Array]:
        """Arrays that a backward pass may add its gradients to."""
        return ()

    def clear(self) -> None:
        """Make gradients 0 that are no arrays."""
        return

    @abstractmethod
    def gradients(self) -> Arrays:
        """What the backward pass claimed for the parameters, each in the parameter's shape."""

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """The output at `x`."""

    @abstractmethod
    def backward(self, dy: Array) -> Array | None:
        """The gradient in x that the layer claims, given `dy`, that in its output; None for none.

        Call it once, after `forward`.
        """

    def numbers(self) -> Mapping[str, float]:
        """Numbers that the layer was made with, such as a dropout's keep probability."""
        return {}


def renewed(parts: Sequence[Part], values: Sequence[Mapping[str, Array]]) -> list[Part]:
    """Copies with other parameters and with gradients of zero, as an optimiser leaves them.

    Copied together, since layers may share objects: a generator, a weight, themselves. A gradient
    that a layer adds to is zeroed in double precision if the parameter is in double precision.
    """
    memo: dict[int, Any] = {}
    alive: list[Array] = []  # so that no other array gets an id that is in the memo
    for part, own in zip(parts, values, strict=True):
        for buffer in part.buffers():
            dtype = np.result_type(buffer, *own.values())
            memo.setdefault(id(buffer), np.zeros(buffer.shape, dtype))
            alive.append(buffer)
        for name, array in part.parameters().items():
            # Whatever refers to this array, by whatever name, will refer to the new one.
            memo[id(array)] = own[name]
            alive.append(array)
    copies = [part.twin(memo) for part in parts]
    for part, own in zip(copies, values, strict=True):
        part.clear()
        now = part.parameters()
        for name, value in own.items():
            if now[name] is not value:
                part.put(name, value)
    return copies


def numbers_of(attributes: Mapping[Any, Any]) -> dict[str, float]:
    """Those of the attributes that a gradient could be wrong by: no bool, not 0, not 1.

    >>> numbers_of({"keep": 0.8, "stride": 1, "training": True, "mode": "max"})
    {'keep': 0.8}
    """
    return {
        str(name): float(value)
        for name, value in attributes.items()
        if isinstance(value, (int, float, np.number))
        and not isinstance(value, (bool, complex, np.complexfloating))
        and np.isfinite(value)
        and value not in (0, 1)
    }


def as_output(result: object, name: str) -> Array:
    """The array that a forward pass returned.

    Raises:
        InputError: it is none, or not of real numbers.
    """
    if isinstance(result, np.ndarray) and result.dtype.kind in "fiub":
        return result
    raise InputError(f"Expected {name} to return one array of real numbers but got {told(result)}")


def as_gradient(result: object, shape: tuple[int, ...], what: str) -> Array:
    """A gradient in the shape of what it is the gradient in.

    One that NumPy would subtract from it all the same, as (1, 3) from (3,) without being spread,
    is reshaped.

    Raises:
        InputError: it is no array of real numbers, or has another shape.
    """
    gradient = np.asarray(result) if isinstance(result, (np.generic, float, int)) else result
    if not isinstance(gradient, np.ndarray) or gradient.dtype.kind not in "fiub":
        raise InputError(f"Expected {what} of shape {shape} but got {told(result)}")
    if gradient.shape == shape:
        return gradient
    if not _is_as_good(gradient.shape, shape):
        raise InputError(f"Expected {what} of shape {shape} but got shape {gradient.shape}")
    return gradient.reshape(shape)


def _is_as_good(came: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether an array of shape `came` is subtracted from one of `shape` entry by entry.

    >>> _is_as_good((3,), (1, 3)), _is_as_good((3,), (3, 1)), _is_as_good((1, 3), (3,))
    (True, False, False)
    """
    return len(came) < len(shape) and shape == (1,) * (len(shape) - len(came)) + came


def told(value: object) -> str:
    """What came, for a message.

    >>> told((np.ones((2, 3)), None))
    'a tuple of array (2, 3), None'
    """
    if isinstance(value, np.ndarray):
        return f"array {value.shape}" + ("" if value.dtype.kind in "fiub" else f" {value.dtype}")
    if isinstance(value, (tuple, list)) and len(value) <= 6:
        return f"a {type(value).__name__} of {', '.join(map(told, value))}"
    return "None" if value is None else f"an object of {type(value)}"
