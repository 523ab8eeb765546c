"""A network of hand-written layers: what it leaves alone, what it shares, what it says of them."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from tests.full import check
from tests.subjects.hand_written import (
    CLASSES,
    FEATURES,
    HIDDEN,
    LABELS,
    STYLES,
    Array,
    Attributes,
    Objects,
    Tanh,
    X,
    disagreeing,
    memory,
    normal,
    softmax_loss,
)

from gradproof.subjects.layers.network import Network

LOSS = (softmax_loss, LABELS)


def two_layers(first: Any = None, second: Any = None) -> list[Any]:
    return [
        first or Attributes(FEATURES, HIDDEN, 1),
        Tanh(),
        second or Attributes(HIDDEN, CLASSES, 2),
    ]


def global_state() -> Any:
    state: Any = np.random.get_state()  # noqa: NPY002
    return state[1].tolist(), state[2:]


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize("style", [s for s in STYLES if "functions" not in s])
def test_layers_are_left_as_they_were(style: str, is_used: bool) -> None:
    make = STYLES[style][0]
    layers = [make(FEATURES, HIDDEN, 1), Tanh(), make(HIDDEN, CLASSES, 2)]
    if is_used and style != "memory":
        layers[0].backward(train(layers[0], X))
    before = pickle.dumps(layers)
    network = Network(layers, X, LOSS)
    network.grad(network.params)
    network.findings()
    disagreeing(network)
    assert len(network.tensors) == 4  # and no cache among them
    assert pickle.dumps(layers) == before


def train(layer: Any, x: Array) -> Array:
    """A step by the user before the check: caches and gradients are there."""
    run = layer.forward if hasattr(layer, "forward") else layer
    y = run(x, training=True) if type(layer).__name__ == "LeftBehind" else run(x)
    return np.ones_like(layer.output if y is None else y)


class Fails(Attributes):
    countdown = 2

    def backward(self, dy: Array) -> Array:
        super().backward(dy)
        self.b += 1.0
        raise RuntimeError("no backward pass")


def test_layers_are_left_as_they_were_when_one_raises() -> None:
    layers = two_layers(second=Fails(HIDDEN, CLASSES, 2))
    before = pickle.dumps(layers)
    state = global_state()
    with pytest.raises(RuntimeError, match="no backward pass") as caught:
        Network(layers, X, LOSS)
    assert caught.value.__notes__ == ["raised in layers[2].backward"]
    assert pickle.dumps(layers) == before
    assert global_state() == state


def test_parameters_are_copies() -> None:
    layers = two_layers()
    network = Network(layers, X, LOSS)
    value = network.f(network.params)
    network.params["attributes1"]["W"][...] = 0.0
    layers[0].W[...] = 0.0
    assert network.f(network.params) == value


def test_gradients_that_are_added_to_begin_at_zero() -> None:
    layers = two_layers(Objects(FEATURES, HIDDEN, 1), Objects(HIDDEN, CLASSES, 2))
    layers[0].weight.grad[...] = 100.0
    network = Network(layers, X, LOSS)
    once, twice = network.grad(network.params), network.grad(network.params)
    np.testing.assert_array_equal(once["objects1"]["weight"], twice["objects1"]["weight"])
    assert check(network.f, network.params, network.grad).verdict == "pass"


class UpdatesItself(Attributes):
    """Its backward pass makes the step of gradient descent, too."""

    def backward(self, dy: Array) -> Array:
        dx = super().backward(dy)
        self.W -= 0.1 * self.dW
        return dx


def test_layers_that_update_themselves_do_so_on_copies() -> None:
    network = Network(two_layers(UpdatesItself(FEATURES, HIDDEN, 1)), X, LOSS)
    assert check(network.f, network.params, network.grad).verdict == "pass"


def test_the_parameters_that_are_handed_over_are_left_alone() -> None:
    network = Network(two_layers(UpdatesItself(FEATURES, HIDDEN, 1)), X, LOSS)
    params = network.params
    network.grad(params)
    np.testing.assert_array_equal(params["updatesitself1"]["W"], layer_weight())


def layer_weight() -> Array:
    return Attributes(FEATURES, HIDDEN, 1).W


class RandomDropout:
    """Draws from NumPy's global generator."""

    keep = 0.5

    def forward(self, x: Array) -> Array:
        self.mask = (np.random.random(x.shape) < self.keep) / self.keep  # noqa: NPY002
        return x * self.mask

    def backward(self, dy: Array) -> Array:
        return dy * self.mask


class OwnDropout(RandomDropout):
    """Draws from a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)

    def forward(self, x: Array) -> Array:
        self.mask = (self.rng.random(x.shape) < self.keep) / self.keep
        return x * self.mask


@pytest.mark.parametrize("dropout", [RandomDropout, OwnDropout])
def test_random_numbers_are_the_same_at_every_call(dropout: Any) -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1), "dropout": dropout()}
    np.random.seed(5)  # noqa: NPY002
    state = global_state()
    network = Network(layers, X, LOSS)
    assert check(network.f, network.params, network.grad).verdict == "pass"
    assert disagreeing(network) == []
    (finding,) = network.findings()
    assert (finding.kind, finding.evidence["modules"]) == ("seed-fixed", ("dropout",))
    assert global_state() == state


class Unrepeatable(RandomDropout):
    def forward(self, x: Array) -> Array:
        self.mask = (np.random.default_rng().random(x.shape) < self.keep) / self.keep
        return x * self.mask


def test_what_stays_random_is_named() -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1), "dropout": Unrepeatable()}
    network = Network(layers, X, LOSS)
    assert network.random_parts() == ("dropout",)


class InPlace:
    def forward(self, x: Array) -> Array:
        self.mask = x <= 0.0
        x[self.mask] = 0.0
        return x

    def backward(self, dy: Array) -> Array:
        dy[self.mask] = 0.0
        return dy


def test_a_layer_that_changes_its_input_spoils_the_layer_before_as_it_does_in_use() -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1), "tanh": Tanh(), "relu": InPlace()}
    network = Network(layers, X, LOSS)
    assert disagreeing(network) == []
    kinds = {finding.kind: finding.evidence for finding in network.findings()}
    assert kinds == {"mutates-input": {"layers": ("relu",)}}


def test_a_layer_used_twice_has_one_cache_and_one_gradient() -> None:
    shared = Tanh()
    layers = [Attributes(FEATURES, HIDDEN, 1), shared, Attributes(HIDDEN, HIDDEN, 2), shared]
    layers.append(Attributes(HIDDEN, CLASSES, 3))
    network = Network(layers, X, LOSS)
    claim = network.grad(network.params)["attributes1"]["b"].sum()
    ahead, behind = network.params, network.params
    ahead["attributes1"]["b"] += 1e-6
    behind["attributes1"]["b"] -= 1e-6
    slope = (network.f(ahead) - network.f(behind)) / 2e-6
    assert abs(claim - slope) > 1e-3 * abs(slope)
    assert disagreeing(network) == []
    (finding,) = network.findings()
    assert (finding.kind, finding.evidence) == ("shared-layer", {"layers": ("tanh1", "tanh2")})


class Stack(Objects):
    """A layer that may be used several times, since it keeps every input."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__(inputs, outputs, seed)
        self.inputs: list[Array] = []

    def forward(self, x: Array) -> Array:
        self.inputs.append(x)
        return super().forward(x)

    def backward(self, dy: Array) -> Array:
        self.x = self.inputs.pop()
        return super().backward(dy)


def test_a_layer_that_may_be_used_twice_is_right() -> None:
    shared = Stack(FEATURES, FEATURES, 1)
    layers = [shared, Tanh(), shared, Attributes(FEATURES, CLASSES, 2)]
    network = Network(layers, X, LOSS)
    assert network.tensors[:2] == ("stack1.weight", "stack1.bias")
    assert len(network.tensors) == 4
    assert check(network.f, network.params, network.grad).verdict == "pass"
    again = network.stages(network.params)[2]
    assert again.tensors == {"weight": "stack1.weight", "bias": "stack1.bias"}


class Slope:
    """A number as a parameter, for several uses."""

    def __init__(self) -> None:
        self.alpha, self.dalpha = 0.5, 0.0
        self.inputs: list[Array] = []

    def forward(self, x: Array) -> Array:
        self.inputs.append(x)
        return self.alpha * x

    def backward(self, dy: Array) -> Array:
        self.dalpha += float((dy * self.inputs.pop()).sum())
        return self.alpha * dy


def test_a_number_may_be_used_twice() -> None:
    slope = Slope()
    layers = [slope, Attributes(FEATURES, CLASSES, 2), slope]
    network = Network(layers, X, LOSS)
    assert network.tensors[0] == "slope1.alpha"
    assert len(network.tensors) == 3
    assert check(network.f, network.params, network.grad).verdict == "pass"


class Around:
    """A layer that has another one."""

    def __init__(self, inner: Stack) -> None:
        self.inner = inner

    def forward(self, x: Array) -> Array:
        return np.tanh(self.inner.forward(x))

    def backward(self, dy: Array) -> Array:
        y = np.tanh(self.inner.inputs[-1] @ self.inner.weight.data + self.inner.bias.data)
        return self.inner.backward(dy * (1.0 - y**2))


def test_two_layers_may_have_the_same_one() -> None:
    inner = Stack(FEATURES, FEATURES, 1)
    layers = [Around(inner), Around(inner), Attributes(FEATURES, CLASSES, 2)]
    network = Network(layers, X, LOSS)
    assert network.tensors[:2] == ("around1.inner.weight", "around1.inner.bias")
    assert len(network.tensors) == 4
    assert check(network.f, network.params, network.grad).verdict == "pass"


def test_weights_that_two_layers_share_are_one_parameter() -> None:
    first, second = Attributes(FEATURES, FEATURES, 1), Attributes(FEATURES, FEATURES, 2)
    second.W = first.W
    layers = [first, Tanh(), second, Attributes(FEATURES, CLASSES, 3)]
    network = Network(layers, X, LOSS)
    assert network.tensors[:3] == ("attributes1.W", "attributes1.b", "attributes2.b")
    assert check(network.f, network.params, network.grad).verdict == "pass"


def test_two_plain_layers_may_share_their_parameters() -> None:
    layer, own = memory(FEATURES, FEATURES, 1)
    layers = [(layer, own), Tanh(), (layer, own), Attributes(FEATURES, CLASSES, 3)]
    network = Network(layers, X, LOSS)
    assert network.tensors[:2] == ("memory1.weight", "memory1.bias")
    assert check(network.f, network.params, network.grad).verdict == "pass"


class Frozen(Attributes):
    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__(inputs, outputs, seed)
        self.shift, self.unused = normal(outputs, seed=8), np.ones(3)

    def forward(self, x: Array) -> Array:
        return super().forward(x) + self.shift


def test_arrays_without_a_gradient_are_named_where_they_matter() -> None:
    network = Network({"first": Frozen(FEATURES, CLASSES, 1)}, X, LOSS)
    (finding,) = network.findings()
    assert (finding.kind, finding.evidence["arrays"]) == ("no-gradient", ("shift",))
    assert "dshift" in finding.message


class Particular(Frozen):
    def forward(self, x: Array) -> Array:
        if not np.array_equal(self.shift, normal(len(self.shift), seed=8)):
            raise ValueError("shift")
        return super().forward(x)


def test_a_layer_that_refuses_other_constants_is_not_asked_further() -> None:
    assert Network({"first": Particular(FEATURES, CLASSES, 1)}, X, LOSS).findings() == ()


class BatchNorm:
    """Running averages follow the data; in training they are not used."""

    def __init__(self, features: int) -> None:
        self.gamma, self.beta = normal(features, seed=5), normal(features, seed=6)
        self.running_mean = np.zeros(features)

    def forward(self, x: Array, train: bool = True) -> Array:
        mean = x.mean(axis=0) if train else self.running_mean
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        self.deviation = x.std(axis=0) if train else 1.0
        self.normal = (x - mean) / self.deviation
        return self.gamma * self.normal + self.beta

    def backward(self, dy: Array) -> Array:
        self.dgamma, self.dbeta = (dy * self.normal).sum(axis=0), dy.sum(axis=0)
        g = dy * self.gamma
        dx: Array = g - g.mean(axis=0) - self.normal * (g * self.normal).mean(axis=0)
        return dx / self.deviation


def test_flags_are_left_at_their_defaults_and_running_averages_alone() -> None:
    norm = BatchNorm(HIDDEN)
    layers = [Attributes(FEATURES, HIDDEN, 1), norm, Tanh(), Attributes(HIDDEN, CLASSES, 2)]
    network = Network(layers, X, LOSS)
    assert disagreeing(network) == []
    assert check(network.f, network.params, network.grad).verdict == "pass"
    assert network.findings() == ()
    assert not norm.running_mean.any()


def test_stages_say_what_they_are() -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1), "dropout": OwnDropout()}
    network = Network(layers, X, {"cross_entropy": LOSS}, constants={"the batch size": 6.0})
    first, dropout, loss = network.stages(network.params)
    assert [s.name for s in (first, dropout, loss)] == [*network.names]
    assert [s.kind for s in (first, dropout, loss)] == ["Attributes", "OwnDropout", "softmax_loss"]
    assert first.tensors == {"W": "first.W", "b": "first.b"}
    assert not dropout.tensors
    assert loss.name == "cross_entropy"
    subject, _ = first.open()
    assert subject.names == ("input", "W", "b")
    assert subject.constants["the batch size"] == 6.0
    assert subject.constants["dimension 1 of first's input"] == FEATURES
    assert network.constants["dimension 0 of x"] == 6.0
    assert next(iter(network.constants)) == "the batch size"


def test_stages_are_contracted_with_the_cotangents_of_the_networks_own_backward_pass() -> None:
    first_layer = Attributes(FEATURES, CLASSES, 1)
    network = Network({"first": first_layer, "tanh": Tanh()}, X, LOSS)
    y = np.tanh(X @ first_layer.W + first_layer.b)
    _, gradient = softmax_loss(y, LABELS)
    first, tanh, loss = (stage.open()[0] for stage in network.stages(network.params))
    np.testing.assert_allclose(tanh.cotangent, gradient)
    np.testing.assert_allclose(first.cotangent, gradient * (1.0 - y**2))
    assert loss.value() == network.f(network.params)


def test_stages_follow_the_parameters() -> None:
    network = Network({"first": Attributes(FEATURES, CLASSES, 1)}, X, LOSS)
    moved = {"first": {"W": np.zeros((FEATURES, CLASSES)), "b": np.ones(CLASSES)}}
    subject, grad = network.stages(moved)[0].open()
    np.testing.assert_array_equal(subject.point[2], 1.0)
    elsewhere = subject.claims(grad, at=[subject.point[0], subject.point[1] + 1, subject.point[2]])
    assert not np.array_equal(elsewhere[0], subject.claims(grad)[0])


class Dead(Tanh):
    def backward(self, dy: Array) -> Array:
        return 0.0 * dy


def test_a_layer_that_no_cotangent_reaches_is_checked_with_a_random_one() -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1, "W"), "dead": Dead()}
    assert disagreeing(Network(layers, X, LOSS)) == [("first", "W"), ("dead", "input")]


def test_names_come_from_classes_functions_or_the_layers_themselves() -> None:
    layers = two_layers()
    assert Network(layers, X, LOSS).names == ("attributes1", "tanh1", "attributes2", "loss")
    for layer, name in zip(layers, ("fc1", "activation", "fc2"), strict=True):
        layer.name = name
    assert Network(layers, X, LOSS).names == ("fc1", "activation", "fc2", "loss")


def test_a_network_can_be_copied() -> None:
    network = Network(two_layers(), X, LOSS)
    assert copy.deepcopy(network).f(network.params) == network.f(network.params)
