"""Sizes that gradients are wrong by: of which array, and under which name."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradproof.subjects.jax.subject import JaxSubject

PARAMS = {"b": np.zeros(2), "w": np.ones((3, 2))}
DATA, LABELS = np.ones((7, 3)), np.zeros(7, int)


def constants(f: Any, x: Any) -> dict[str, float]:
    return dict(JaxSubject(f, x, rng=np.random.default_rng(0)).constants)


def loss(params: Any, x: Any, labels: Any = LABELS) -> Any:
    scores = jax.nn.log_softmax(x @ params["w"] + params["b"])
    return -jnp.take_along_axis(scores, labels[:, None], axis=1).mean()


BATCH = "the batch size (first dimension of `{}`)"


def test_the_batch_is_what_data_and_labels_share() -> None:
    found = constants(loss, (PARAMS, DATA, LABELS))
    assert found == {BATCH.format("x"): 7.0, "the second dimension of `x`": 3.0}


def test_or_what_no_parameter_has_inside() -> None:
    def mean_square(params: Any, x: Any) -> Any:
        return jnp.mean((x @ params["w"] - params["b"]) ** 2)

    assert constants(mean_square, (PARAMS, DATA))[BATCH.format("x")] == 7.0


def test_or_what_the_value_begins_with() -> None:
    def layer(x: Any, w: Any) -> Any:
        return x @ w

    assert constants(layer, (DATA, PARAMS["w"])) == {
        BATCH.format("x"): 7.0,
        "the second dimension of `x`": 3.0,
        "the last dimension of the output": 2.0,
    }


def test_data_that_a_function_holds_are_seen() -> None:
    x, labels = DATA, LABELS
    assert constants(lambda p: loss(p, x, labels), PARAMS)[BATCH.format("x")] == 7.0
    assert constants(jax.jit(lambda p: loss(p, DATA)), PARAMS)[BATCH.format("DATA")] == 7.0
    assert constants(partial(loss, x=DATA), PARAMS)[BATCH.format("x")] == 7.0


def test_numbers_that_a_function_holds_are_told() -> None:
    keep, on = 0.75, True
    assert constants(lambda x: x / keep if on else x, np.array(2.0)) == {"`keep`": 0.75}
    assert constants(partial(lambda x, rate: x * rate, rate=0.1), np.array(2.0)) == {"`rate`": 0.1}


def test_images_have_channels_and_pixels() -> None:
    found = constants(lambda x: x.mean((1, 2)), np.ones((2, 5, 5, 3)))
    assert found[BATCH.format("x")] == 2.0
    assert found["the number of channels (last dimension of `x`)"] == 3.0
    assert found["the number of pixels (height times width of `x`)"] == 25.0


def test_numbers_have_no_sizes_and_those_of_complex_arrays_are_their_own() -> None:
    assert constants(lambda x: x**2, np.array(2.0)) == {}
    assert constants(jnp.abs, np.ones((3, 4), complex)) == {
        BATCH.format("x"): 3.0,
        "the second dimension of `x`": 4.0,
    }
