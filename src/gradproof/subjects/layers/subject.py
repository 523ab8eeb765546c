"""A function of NumPy arrays that is made of hand-written layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradproof._errors import InputError
from gradproof.report.model import Finding
from gradproof.subjects.base import Stage
from gradproof.subjects.layers.network import Network
from gradproof.subjects.numpy import ArraySubject


class NetworkSubject(ArraySubject):
    """The function of a network's parameters, with its layers as stages.

    Args:
        network: whose layers f is made of; f may be more than its loss, as by a weight decay.
        options: those of `ArraySubject`.

    Raises:
        InputError: f is not a function of the network's parameters.
    """

    def __init__(self, network: Network, *options: Any, **named: Any) -> None:
        super().__init__(*options, **named)
        self._network = network
        self.constants = network.constants
        missing = [name for name in network.tensors if name not in self.names]
        if missing:
            raise InputError(
                "Expected x to have the parameters of the network's layers, "
                f"{', '.join(network.tensors)}, but got {', '.join(self.names)}"
            )

    def stages(self, grad: object) -> Sequence[Stage]:
        """The layers and the loss (see `Subject`)."""
        shaped = (flat.reshape(s) for flat, s in zip(self.point, self.shapes, strict=True))
        return self._network.stages(self.tree.unflatten(list(shaped)))

    def findings(self) -> tuple[Finding, ...]:
        """On f, and on the layers if it is they who are called (see `Subject`)."""
        of_layers = self._network.findings() if self._f == self._network.f else ()
        return (*super().findings(), *of_layers)

    def random_parts(self) -> tuple[str, ...]:
        """The layers whose results differ between two calls (see `Subject`)."""
        return super().random_parts() or self._network.random_parts()
