"""The network of `digits_cnn` at one point of its training, as something to be checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradproof.check import check
from gradproof.examples.digits_cnn import DigitsCNN, burn_in, load_images
from gradproof.examples.layers import Array, Labels, Parameters
from gradproof.report.model import Report

__all__ = ["Setting", "prepare"]

#: Networks evaluated in one call.
CHUNK = 256


@dataclass(frozen=True)
class Setting:
    """A network, the parameters at which its gradient is checked, and the images of its loss.

    ``losses`` are those before and after the training that led to the parameters.
    """

    net: DigitsCNN
    params: Parameters
    images: Array
    labels: Labels
    losses: tuple[float, float]

    def loss_batch(self, params: Parameters) -> Array:
        """Return the losses of many networks."""
        return self.net.loss_batch(params, self.images, self.labels)

    def gradient(self) -> dict[str, Array]:
        """Return what backpropagation claims, under the names that a report gives tensors."""
        nested = self.net.gradient(self.params, self.images, self.labels)
        return {f"{layer}.{key}": a for layer, own in nested.items() for key, a in own.items()}

    def check(self, *, coverage: str = "full", **options: Any) -> Report:
        """Check the gradient of the loss and of its two terms, as any user of gradproof would."""
        net, images, labels = self.net, self.images, self.labels
        return check(
            lambda params: net.loss(params, images, labels),
            self.params,
            lambda params: net.gradient(params, images, labels),
            coverage=coverage,
            f_batch=self.loss_batch,
            terms={
                "data": (
                    lambda params: net.data_loss(params, images, labels),
                    lambda params: net.data_gradient(params, images, labels),
                    lambda params: net.data_loss_batch(params, images, labels),
                ),
                "l2": (net.l2_loss, net.l2_gradient, net.l2_loss_batch),
            },
            layers=net.network(self.params, images, labels),
            **options,
        )

    def slopes(self, tensor: str, flat_indices: NDArray[np.intp], h: float) -> Array:
        """Return (f(w + h) - f(w - h)) / 2h for entries w of a tensor, as one does by hand."""
        layer, key = tensor.split(".")
        slopes = np.empty(len(flat_indices))
        for start in range(0, len(flat_indices), CHUNK):
            some = slice(start, start + CHUNK)
            entries = flat_indices[some]
            networks = np.arange(len(entries))
            stacked = {
                name: {k: np.repeat(a[np.newaxis], len(entries), axis=0) for k, a in own.items()}
                for name, own in self.params.items()
            }
            weights = stacked[layer][key].reshape(len(entries), -1)  # a view
            here = weights[networks, entries]
            weights[networks, entries] = here + h
            ahead = self.loss_batch(stacked)
            weights[networks, entries] = here - h
            slopes[some] = (ahead - self.loss_batch(stacked)) / (2.0 * h)
        return slopes


def prepare(
    *,
    plant: str | None = None,
    dropout_on: bool = False,
    steps: int = 50,
    images: int = 32,
    seed: int = 1,
) -> Setting:
    """Train for some steps with the right gradient, then plant the bug or leave dropout random."""
    rng = np.random.default_rng(seed)
    sound = DigitsCNN()
    start = sound.initial_parameters(rng)
    params, _ = burn_in(sound, start, steps, rng)
    pixels, labels = load_images(images, rng)
    losses = sound.loss(start, pixels, labels), sound.loss(params, pixels, labels)
    net = DigitsCNN(plant=plant, dropout="unseeded" if dropout_on else "fixed")
    return Setting(net, params, pixels, labels, losses)
