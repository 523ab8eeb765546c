"""The example network's gradient is right, and its plants break what they say they break."""

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gradproof.examples.digits_cnn import PLANTS, DigitsCNN, burn_in, load_images
from gradproof.examples.layers import Array, Labels, Parameters
from gradproof.subjects.base import Places

COUNT = 16
BURN_INS = (0, 50)
SEEDS = (0, 1, 2)


@cache
def prepare(steps: int, seed: int = 0) -> tuple[Parameters, Array, Labels]:
    """Return parameters after ``steps`` of training, and some images with their labels."""
    rng = np.random.default_rng(seed)
    net = DigitsCNN()
    params, _ = burn_in(net, net.initial_parameters(rng), steps, rng)
    return params, *load_images(COUNT, rng)


def flatten(params: Parameters) -> dict[str, Array]:
    return {f"{name}.{key}": a for name, own in params.items() for key, a in own.items()}


def replace(params: Parameters, tensor: str, values: Array) -> Parameters:
    name, key = tensor.split(".")
    return params | {name: params[name] | {key: values}}


def perturb(values: NDArray[Any], entries: NDArray[np.intp], step: complex) -> NDArray[Any]:
    """Return copies of ``values`` along a new first axis, each moved in one of ``entries``."""
    moved = np.repeat(values[np.newaxis], len(entries), axis=0)
    moved.reshape(len(entries), -1)[np.arange(len(entries)), entries] += step
    return moved


def losses_nearby(
    net: DigitsCNN, params: Parameters, images: Array, labels: Labels, tensor: str, step: float
) -> Array:
    """Return the loss with each entry of ``tensor`` moved by ``step`` in its turn."""
    values = flatten(params)[tensor]
    moved = perturb(values, np.arange(values.size), step)
    repeated = {
        name: {key: np.broadcast_to(a, (values.size, *a.shape)) for key, a in own.items()}
        for name, own in params.items()
    }
    return net.loss_batch(replace(repeated, tensor, moved), images, labels)


def reference_loss(params: Parameters, images: Array, labels: Labels, l2: float) -> complex:
    """Return the loss without dropout, written afresh and for complex parameters as well.

    Branches are chosen by the real part, so a complex step never crosses a kink.
    """
    x = images.astype(complex)
    for name in ("conv1", "conv2"):
        weight, bias = params[name]["weight"], params[name]["bias"]
        height, width = x.shape[2:]
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        x = np.zeros((len(x), len(weight), height, width), complex) + bias[:, None, None]
        for i, j in np.ndindex(3, 3):
            shifted = padded[:, :, i : i + height, j : j + width]
            x += np.einsum("kc,nchw->nkhw", weight[:, :, i, j], shifted)
        x = np.where(x.real > 0, x, 0)
        windows = x.reshape(*x.shape[:2], height // 2, 2, width // 2, 2).swapaxes(3, 4)
        windows = windows.reshape(*windows.shape[:4], 4)
        winner = windows.real.argmax(axis=-1)
        x = np.take_along_axis(windows, winner[..., None], axis=-1)[..., 0]
    x = x.reshape(len(x), -1) @ params["fc1"]["weight"].T + params["fc1"]["bias"]
    x = np.where(x.real > 0, x, 0)
    scores = x @ params["fc2"]["weight"].T + params["fc2"]["bias"]
    hits = scores[np.arange(len(labels)), labels]
    decay = sum(np.sum(own["weight"] ** 2) for own in params.values())
    return complex(np.mean(np.log(np.exp(scores).sum(axis=1)) - hits) + l2 / 2 * decay)


@pytest.mark.parametrize("steps", BURN_INS)
def test_gradient_equals_complex_step_of_another_implementation(steps: int) -> None:
    params, images, labels = prepare(steps)
    net = DigitsCNN(dropout="off", l2=0.01)
    rng = np.random.default_rng(1)
    assert net.loss(params, images, labels) == pytest.approx(
        reference_loss(params, images, labels, 0.01).real, rel=1e-13
    )
    for tensor, gradient in flatten(net.gradient(params, images, labels)).items():
        values = flatten(params)[tensor]
        entries = rng.permutation(values.size)[:40]
        for entry, moved in zip(
            entries, perturb(values.astype(complex), entries, 1e-30j), strict=True
        ):
            nearby = reference_loss(replace(params, tensor, moved), images, labels, 0.01)
            derivative = nearby.imag / 1e-30
            assert gradient.flat[entry] == pytest.approx(derivative, rel=1e-10, abs=1e-13), tensor


@pytest.mark.parametrize("steps", BURN_INS)
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_gradient_equals_central_differences_of_the_loss(steps: int, seed: int) -> None:
    params, images, labels = prepare(steps, seed)
    net = DigitsCNN()
    step = 1e-6
    here = net.loss(params, images, labels)
    for tensor, gradient in flatten(net.gradient(params, images, labels)).items():
        after = losses_nearby(net, params, images, labels, tensor, step)
        before = losses_nearby(net, params, images, labels, tensor, -step)
        if steps == 0 and tensor == "conv1.bias":  # white paper lies exactly on ReLU's kink
            left, right = (here - before) / step, (after - here) / step
            assert np.all(np.abs(right - left) > 1e-4)
            np.testing.assert_allclose(gradient, left, rtol=0, atol=1e-5)
        else:
            numeric = ((after - before) / (2 * step)).reshape(gradient.shape)
            np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=2e-9, err_msg=tensor)


def test_gradient_uses_the_mask_of_its_own_forward_pass() -> None:
    params, images, labels = prepare(50)
    net = DigitsCNN(dropout="unseeded")
    step = 1e-6
    after, before = (
        copy.deepcopy(net).loss(
            replace(params, "fc1.weight", params["fc1"]["weight"] + t), images, labels
        )
        for t in (step, -step)
    )
    gradient = copy.deepcopy(net).gradient(params, images, labels)
    assert gradient["fc1"]["weight"].sum() == pytest.approx((after - before) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("count", [1, 16, 37])
def test_batch_of_losses_equals_losses_one_by_one(count: int) -> None:
    params, images, labels = prepare(20)
    net = DigitsCNN()
    rng = np.random.default_rng(2)
    batch = {
        name: {key: a + 0.1 * rng.standard_normal((count, *a.shape)) for key, a in own.items()}
        for name, own in params.items()
    }
    one_by_one = [
        {name: {key: a[i] for key, a in own.items()} for name, own in batch.items()}
        for i in range(count)
    ]
    for together, alone in (
        (net.loss_batch(batch, images, labels), [net.loss(p, images, labels) for p in one_by_one]),
        (
            net.data_loss_batch(batch, images, labels),
            [net.data_loss(p, images, labels) for p in one_by_one],
        ),
        (net.l2_loss_batch(batch), [net.l2_loss(p) for p in one_by_one]),
    ):
        assert together.shape == (count,)
        np.testing.assert_allclose(together, alone, rtol=1e-13)


def test_loss_and_gradient_are_sums_of_data_and_l2() -> None:
    params, images, labels = prepare(20)
    net = DigitsCNN(l2=0.3)
    data, decay = net.data_loss(params, images, labels), net.l2_loss(params)
    assert net.loss(params, images, labels) == data + decay
    assert decay == pytest.approx(0.15 * sum(np.sum(p["weight"] ** 2) for p in params.values()))
    total = flatten(net.gradient(params, images, labels))
    data_part = flatten(net.data_gradient(params, images, labels))
    decay_part = flatten(net.l2_gradient(params))
    assert list(total) == list(flatten(params)) == list(data_part) == list(decay_part)
    for tensor in total:
        np.testing.assert_array_equal(total[tensor], data_part[tensor] + decay_part[tensor])
        if tensor.endswith("bias"):
            assert not decay_part[tensor].any()


def test_initial_parameters_have_the_documented_sizes() -> None:
    tensors = flatten(DigitsCNN().initial_parameters(np.random.default_rng(0)))
    assert {tensor: a.shape for tensor, a in tensors.items()} == {
        "conv1.weight": (8, 1, 3, 3),
        "conv1.bias": (8,),
        "conv2.weight": (16, 8, 3, 3),
        "conv2.bias": (16,),
        "fc1.weight": (32, 64),
        "fc1.bias": (32,),
        "fc2.weight": (10, 32),
        "fc2.bias": (10,),
    }
    assert sum(a.size for a in tensors.values()) == 3658
    assert {a.dtype for a in tensors.values()} == {np.dtype(np.float64)}


def test_images_are_different_digits_scaled_to_one() -> None:
    images, labels = load_images(200, np.random.default_rng(0))
    assert images.shape == (200, 1, 8, 8)
    assert (images.min(), images.max()) == (0.0, 1.0)
    assert set(labels) == set(range(10))
    assert len(np.unique(images.reshape(200, -1), axis=0)) > 190


@pytest.mark.parametrize("seed", SEEDS)
def test_burn_in_lowers_the_loss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = DigitsCNN()
    start = net.initial_parameters(rng)
    kept = copy.deepcopy(start)
    images, labels = load_images(500, rng)
    params, losses = burn_in(net, start, 40, rng)
    assert len(losses) == 40
    assert net.loss(params, images, labels) < 0.7 * net.loss(start, images, labels)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    for tensor, values in flatten(start).items():
        np.testing.assert_array_equal(values, flatten(kept)[tensor])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("steps", BURN_INS)
@pytest.mark.parametrize("plant", PLANTS)
def test_plant_changes_the_gradient_of_exactly_its_tensors(
    plant: str, steps: int, seed: int
) -> None:
    params, images, labels = prepare(steps, seed)
    net, planted = DigitsCNN(), DigitsCNN(plant=plant)
    sound = flatten(net.gradient(params, images, labels))
    broken = flatten(planted.gradient(params, images, labels))
    assert planted.loss(params, images, labels) == net.loss(params, images, labels)
    for tensor, gradient in sound.items():
        if tensor in PLANTS[plant].tensors:
            change = np.linalg.norm(broken[tensor] - gradient) / np.linalg.norm(gradient)
            assert change > 1e-4, tensor
        else:
            np.testing.assert_array_equal(broken[tensor], gradient, err_msg=tensor)


def wrong_stages(net: DigitsCNN, params: Parameters, images: Array, labels: Labels) -> list[str]:
    """Return the layers whose own backward does not fit their forward, in forward order.

    At a kink a claim is right between the two slopes. Where many entries tie, every one of them
    may be, and their sum not; it shows when all are moved alike, which leaves the ties.
    """
    wrong = []
    for stage in net.network(params, images, labels).stages(params):
        subject, grad = stage.open()
        for k, claim in enumerate(subject.claims(grad)):
            step, size = 1e-6, len(claim)
            alike = [np.zeros((1, len(x))) for x in subject.point]
            alike[k][:] = 1.0
            places = Places(np.full(size, k), np.arange(size))
            slopes = [
                np.append(
                    subject.at_entries(places, np.full(size, h)),
                    subject.along(alike, np.zeros(1, int), np.array([h]), subject.point),
                )
                for h in (step, -step)
            ]
            here = subject.value()
            ahead, behind = (slopes[0] - here) / step, (here - slopes[1]) / step
            claimed = np.append(claim, claim.sum())
            tolerance = 1e-5 * max(1.0, np.abs(ahead).max())
            is_below = claimed < np.minimum(ahead, behind) - tolerance
            is_above = claimed > np.maximum(ahead, behind) + tolerance
            if (is_below | is_above).any():
                wrong.append(stage.name)
    return wrong


@pytest.mark.parametrize(
    ("plant", "steps"),
    # Untrained there are ties, which one plant is about; the others are the same with and without.
    [(None, 0), ("maxpool-to-every-tie", 0), (None, 50), *((plant, 50) for plant in PLANTS)],
)
def test_only_the_part_with_the_plant_is_wrong_by_itself(plant: str | None, steps: int) -> None:
    params, images, labels = prepare(steps)
    found = wrong_stages(DigitsCNN(plant=plant), params, images[:2], labels[:2])
    part = None if plant is None else PLANTS[plant].part
    assert found == ([] if part in (None, "l2") else [part])


def test_the_network_of_layers_has_the_data_loss_and_its_gradient() -> None:
    params, images, labels = prepare(20)
    net = DigitsCNN()
    network = net.network(params, images, labels)
    assert network.tensors == tuple(flatten(params))
    assert network.f(params) == net.data_loss(params, images, labels)
    claims = flatten(network.grad(params))
    for tensor, gradient in flatten(net.data_gradient(params, images, labels)).items():
        np.testing.assert_array_equal(claims[tensor], gradient)
    assert network.constants["the batch size"] == COUNT


def test_unknown_plant_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="plant='no-such-bug'"):
        DigitsCNN(plant="no-such-bug")


def test_fixed_dropout_repeats_and_unseeded_does_not() -> None:
    params, images, labels = prepare(20)
    fixed, unseeded = DigitsCNN(dropout="fixed"), DigitsCNN(dropout="unseeded")
    off, keep_all = DigitsCNN(dropout="off"), DigitsCNN(keep=1.0)
    arguments = (params, images, labels)
    assert fixed.loss(*arguments) == fixed.loss(*arguments)
    assert fixed.loss(*arguments) != DigitsCNN(seed=1).loss(*arguments)
    assert unseeded.loss(*arguments) != unseeded.loss(*arguments)
    assert off.loss(*arguments) == keep_all.loss(*arguments) != fixed.loss(*arguments)
    first, second = fixed.gradient(*arguments), fixed.gradient(*arguments)
    np.testing.assert_array_equal(first["fc1"]["weight"], second["fc1"]["weight"])


def test_unseeded_dropout_draws_a_mask_for_each_network_of_a_batch() -> None:
    params, images, labels = prepare(20)
    twice = {
        name: {key: np.stack([a, a]) for key, a in own.items()} for name, own in params.items()
    }
    first, second = DigitsCNN(dropout="unseeded").loss_batch(twice, images, labels)
    assert first != second
    first, second = DigitsCNN(dropout="fixed").loss_batch(twice, images, labels)
    assert first == pytest.approx(second, rel=1e-14)
