"""A network of hand-written layers as a function of its parameters, and its layers as stages."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from gradproof._errors import InputError
from gradproof.report.model import Finding
from gradproof.subjects.base import Stage
from gradproof.subjects.layers import about
from gradproof.subjects.layers.adapters import as_part
from gradproof.subjects.layers.draws import Draws
from gradproof.subjects.layers.losses import as_loss
from gradproof.subjects.layers.naming import layer_names, lookup, nested, tensor_names
from gradproof.subjects.layers.objects import ObjectPart
from gradproof.subjects.layers.part import Array, Arrays, Part, as_gradient, renewed
from gradproof.subjects.layers.stage import Place, Use

#: Nested parameters: {layer: {name: array}}, with further levels for layers in layers.
Params: TypeAlias = dict[str, Any]
#: A layer's position and the name that a parameter has in it.
_Place: TypeAlias = tuple[int, str]


class Network:
    """Layers one after the other, and a loss.

    The layers are copied once and never touched. Every call begins with copies of that copy: with
    the caches, the generators and the running averages that the layers had, and with gradients of
    zero, as an optimiser leaves them; so layers that add to their gradients are right. NumPy's
    global generator, where layers draw from it, is put where it was at the start, and back.

    Args:
        layers: in forward order, a sequence or a dict by name (see `as_part`).
        x: the network's input. Integers, such as the rows of an embedding, are constants.
        loss: of the last layer's output (see `as_loss`); {name: loss} gives it a name.
        constants: numbers that a gradient is often wrong by (see `Subject`).

    Attributes:
        names: of the layers, and of the loss at last.
        constants: those given, then the dimensions of x.

    Raises:
        InputError: a layer fits no style, or what it returns does not fit the others.
    """

    def __init__(
        self,
        layers: Sequence[object] | Mapping[str, object],
        x: Array,
        loss: object,
        *,
        constants: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub" or x.size == 0:
            raise InputError(f"Expected an array of numbers but got x={reprlib.repr(x)}")
        dimensions = {f"dimension {i} of x": float(n) for i, n in enumerate(x.shape)}
        # What somebody told comes first: it is what a number is called that is both.
        self.constants: Mapping[str, float] = {**(constants or {}), **dimensions}
        self._x = x.copy()
        given = _by_place(layers)
        parts = [as_part(layer, where) for where, layer in given.items()]
        self.names: tuple[str, ...] = (
            tuple(map(str, layers))
            if isinstance(layers, Mapping)
            else tuple(layer_names(parts, [*given.values()]))
        )
        name, last, where = "loss", loss, "loss"
        if isinstance(loss, Mapping):
            if len(loss) != 1:
                raise InputError(f"Expected one loss but got loss={reprlib.repr(loss)}")
            ((name, last),) = loss.items()
        if name in self.names:
            name = f"{name} function"
        self.names = (*self.names, name)
        self._parts = _copied([*parts, as_loss(last, where)])
        self._draws = Draws()
        with self._draws.noticed():
            self._learn()
        self._owners = self._find_owners()
        owned = self._owned()
        numbered = self._nested({at: k for k, at in enumerate(owned)})
        self._tensors = {owned[k]: name for k, name in tensor_names(numbered).items()}
        if not self._tensors:
            raise InputError(
                "Expected parameters with gradients in at least one layer (W and dW, params and "
                f"grads, parameters()) but found none in {', '.join(self.names[:-1])}"
            )
        self.grad(self.params)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The parameters' names in f."""
        return tuple(self._tensors.values())

    @property
    def params(self) -> Params:
        """Copies of all parameters, {layer: {name: array}}."""
        own = [part.parameters() for part in self._parts]
        return self._nested({(i, name): own[i][name].copy() for i, name in self._owned()})

    def f(self, params: Params) -> float:
        """The loss."""
        with self._draws.replayed():
            return float(self._run(self._values(params))[-1].y)

    def grad(self, params: Params) -> Params:
        """What the layers' backward passes claim for the parameters, in their structure.

        What several layers share is summed over them, as an optimiser would find it.
        """
        with self._draws.replayed():
            uses = self._run(self._values(params))
            self._pull(uses)
        return self._gathered(uses)

    def stages(self, params: Params) -> Sequence[Stage]:
        """The layers where they are used, in forward order, and the loss at last.

        Each is a function of its `input` and of its own parameters. The input of the first is
        among them if it is made of floats and the layer's backward returns a gradient for it.
        Its claims are those of the layer's own backward pass, given the cotangent that reaches it
        in the network's; a random one where that is zero everywhere or not finite.
        """
        values = self._values(params)
        with self._draws.replayed():
            uses = self._run(values, is_recorded=True)
            cotangents, first = self._pull(uses)
        takes_input = [first is not None, *(True for _ in uses[1:])]
        stages = []
        for i, (name, use) in enumerate(zip(self.names, uses, strict=True)):
            place = Place(
                name=name,
                use=use,
                cotangent=cotangents[i],
                own=values[i],
                takes_input=takes_input[i],
                constants=self.constants,
            )
            if values[i] or takes_input[i]:
                owners = self._owners[i]
                tensors = {n: self._tensors[owners[own]] for n, own in place.names().items()}
                stages.append(Stage(name, use.part.kind, None, tensors, place.open))
        return stages

    def random_parts(self) -> tuple[str, ...]:
        """Names of the layers whose results differ between two calls that begin alike."""
        return about.random_parts(self.names, self._recorded())

    def findings(self) -> tuple[Finding, ...]:
        """What is to be known of the layers: random numbers, writing to inputs, lost gradients."""
        uses = self._recorded()
        return (
            *about.replays(self.names, uses),
            *about.writes(self.names, uses),
            *about.unclaimed(self.names, uses),
            *about.repeats(self.names, self._parts),
        )

    # -- below: one pass -----------------------------------------------------------------------

    def _run(self, values: Sequence[Arrays], *, is_recorded: bool = False) -> list[Use]:
        """A forward pass; if `is_recorded`, what it takes to repeat each layer is kept."""
        x, uses = self._x.copy(), []
        for part in renewed(self._parts, values):
            before, draws = part, self._draws
            given = x
            if is_recorded:
                before, draws, given = part.twin({}), draws.now(), x.copy()
            y = part.forward(x)
            uses.append(Use(before, part, given, y, draws))
            x = y
        return uses

    def _pull(self, uses: Sequence[Use]) -> tuple[list[Array], Array | None]:
        """The backward pass: the cotangents that reach the layers, and the gradient in x."""
        cotangents: list[Array] = []
        dy: Array | None = np.ones(())
        for use in reversed(uses):
            assert dy is not None
            cotangents.append(dy.copy())
            dx = use.ran.backward(dy)
            if use is uses[0] and (dx is None or self._x.dtype.kind != "f"):
                dy = None
            else:
                dy = as_gradient(dx, use.x.shape, f"{use.ran.backward_name} to return dx")
        return cotangents[::-1], dy

    def _recorded(self) -> list[Use]:
        with self._draws.replayed():
            return self._run(self._values(self.params), is_recorded=True)

    # -- below: which parameter is whose -------------------------------------------------------

    def _learn(self) -> None:
        x = self._x.copy()
        for part in self._parts[:-1]:
            x = part.learn(x)
        objects = [part for part in self._parts if isinstance(part, ObjectPart)]
        for part in objects:
            part.keep_to(other.layer for other in objects)

    def _find_owners(self) -> list[dict[str, _Place]]:
        """For each layer, by parameter's name, whose it is: of several that share it, the first's.

        A layer that is used again has nothing of its own.
        """
        first: dict[object, _Place] = {}
        owners = []
        held = [part.parameters() for part in self._parts]  # alive, so that ids differ
        for i, part in enumerate(self._parts):
            own: dict[str, _Place] = {}
            for name, array in held[i].items():
                same_layer = (id(part.layer), name) if isinstance(part, ObjectPart) else None
                place = first.get(same_layer) or first.get(id(array)) or (i, name)
                first.setdefault(same_layer or id(array), place)
                first.setdefault(id(array), place)
                own[name] = place
            owners.append(own)
        return owners

    def _owned(self) -> list[_Place]:
        return [at for i, own in enumerate(self._owners) for at in own.values() if at[0] == i]

    def _nested(self, values: Mapping[_Place, Any]) -> Params:
        by_layer: dict[int, dict[str, Any]] = {}
        for (i, name), value in values.items():
            by_layer.setdefault(i, {})[name] = value
        return {self.names[i]: nested(own) for i, own in by_layer.items()}

    def _values(self, params: Params) -> list[Arrays]:
        """Copies of the parameters for each layer; what is shared is one array."""
        values = {
            (i, name): np.array(lookup(params[self.names[i]], name)) for i, name in self._owned()
        }
        return [{name: values[at] for name, at in own.items()} for own in self._owners]

    def _gathered(self, uses: Sequence[Use]) -> Params:
        sums: dict[_Place, Array] = {}
        seen: dict[int, Array] = {}
        layers: set[int] = set()
        for use, own in zip(uses, self._owners, strict=True):
            if isinstance(use.ran, ObjectPart):
                if id(use.ran.layer) in layers:
                    continue  # it has one gradient, whatever it was used for
                layers.add(id(use.ran.layer))
            for name, gradient in use.ran.gradients().items():
                if id(gradient) in seen:
                    continue
                seen[id(gradient)] = gradient
                at = own[name]
                sums[at] = sums[at] + gradient if at in sums else gradient.copy()
        return self._nested({at: sums[at] for at in self._owned()})


def _by_place(layers: object) -> dict[str, object]:
    """The layers by what messages call them."""
    if isinstance(layers, Mapping):
        found = {f"layers[{key!r}]": layer for key, layer in layers.items()}
    elif isinstance(layers, (list, tuple)):
        found = {f"layers[{i}]": layer for i, layer in enumerate(layers)}
    else:
        raise InputError(f"Expected a list or dict of layers but got layers={reprlib.repr(layers)}")
    if not found:
        raise InputError(f"Expected at least one layer but got layers={layers!r}")
    return found


def _copied(parts: list[Part]) -> list[Part]:
    """All together, since they may share objects."""
    memo: dict[int, Any] = {}
    copies = []
    for part in parts:
        try:
            copies.append(part.twin(memo))
        except Exception as error:
            raise InputError(
                f"Expected layers that copy.deepcopy can copy, so that yours are left alone, but "
                f"got {part.where}: {error}"
            ) from error
    return copies
