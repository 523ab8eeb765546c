"""Hand-written layers of every style: f, the claims, and each layer by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.full import check
from tests.subjects.hand_written import (
    CLASSES,
    FEATURES,
    HIDDEN,
    LABELS,
    STYLES,
    Array,
    Attributes,
    Block,
    Memory,
    Objects,
    Tanh,
    X,
    disagreeing,
    memory,
    network_of,
    normal,
    softmax_loss,
)

import gradproof
from gradproof.subjects.layers.network import Network


@pytest.mark.parametrize("style", STYLES)
def test_a_right_network_passes_in_every_entry(style: str) -> None:
    network = network_of(style)
    weight, bias = STYLES[style][1]
    report = check(network.f, network.params, network.grad)
    assert report.verdict == "pass", report.reason
    expected = [f"{layer}.{name}" for layer in ("first", "second") for name in (weight, bias)]
    assert list(report.tensors) == expected
    assert len(report.entries) == FEATURES * HIDDEN + HIDDEN + HIDDEN * CLASSES + CLASSES
    assert network.findings() == ()


@pytest.mark.parametrize("style", STYLES)
def test_every_layer_of_a_right_network_agrees_with_itself(style: str) -> None:
    assert disagreeing(network_of(style)) == []


@pytest.mark.parametrize("quantity", ["input", "weight", "bias"])
@pytest.mark.parametrize("style", STYLES)
def test_exactly_the_wrong_quantity_of_the_wrong_layer_disagrees(style: str, quantity: str) -> None:
    name = dict(zip(("weight", "bias"), STYLES[style][1], strict=True)).get(quantity, quantity)
    assert disagreeing(network_of(style, name)) == [("second", name)]


@pytest.mark.parametrize("style", STYLES)
def test_the_claim_is_what_the_layers_leave_after_a_backward_pass(style: str) -> None:
    networks = network_of(style, STYLES[style][1][0]), network_of(style)
    wrong, right = (n.grad(n.params)["second"] for n in networks)
    (w, b), (also_w, also_b) = (list(flat(claims)) for claims in (wrong, right))
    np.testing.assert_array_equal(w, 2.0 * also_w)
    np.testing.assert_array_equal(b, also_b)


def flat(claims: Any) -> Any:
    for claim in claims.values():
        yield from flat(claim) if isinstance(claim, dict) else [claim]


@pytest.mark.parametrize("style", STYLES)
def test_f_follows_the_parameters(style: str) -> None:
    network = network_of(style)
    first, second = STYLES["attributes"][0], network_of("attributes")
    assert network.f(network.params) == second.f(second.params)
    moved = [
        {layer: shifted(own, 0.1) for layer, own in n.params.items()} for n in (network, second)
    ]
    assert network.f(moved[0]) == second.f(moved[1]) != second.f(second.params)
    assert callable(first)


def shifted(own: Any, by: float) -> Any:
    return {k: shifted(v, by) if isinstance(v, dict) else v + by for k, v in own.items()}


@pytest.mark.parametrize("wrong", ["", "steps[0].W", "last.b", "input"])
def test_layers_in_a_layer_are_parameters_of_it(wrong: str) -> None:
    layers = {"block": Block(FEATURES, CLASSES, 3, wrong)}
    network = Network(layers, X, (softmax_loss, LABELS))
    assert network.tensors == (
        "block.steps[0].W",
        "block.steps[0].b",
        "block.last.W",
        "block.last.b",
    )
    assert disagreeing(network) == ([("block", wrong)] if wrong else [])


def test_a_layer_that_is_held_twice_is_counted_once() -> None:
    block = Block(FEATURES, CLASSES, 3)
    block.also_first = block.steps[0]  # type: ignore[attr-defined]
    network = Network({"block": block}, X, (softmax_loss, LABELS))
    subject, _ = network.stages(network.params)[0].open()
    assert subject.names == ("input", "steps[0].W", "steps[0].b", "last.W", "last.b")


def test_a_parameter_may_be_called_input() -> None:
    _, own = memory(FEATURES, CLASSES, 1)
    renamed = InputAsName(), {"input": own["weight"], "bias": own["bias"]}
    network = Network({"gates": renamed}, X, (softmax_loss, LABELS))
    subject, _ = network.stages(network.params)[0].open()
    assert subject.names == ("layer_input", "input", "bias")
    assert network.stages(network.params)[0].tensors["input"] == "gates.input"
    assert disagreeing(network) == []


class InputAsName(Memory):
    """Its weight is called input, for the gate that it belongs to."""

    def __init__(self) -> None:
        super().__init__("")

    def forward(self, x: Array, own: Mapping[str, Array]) -> tuple[Array, Array]:
        return super().forward(x, {"weight": own["input"], "bias": own["bias"]})

    def backward(
        self, dy: Array, memory: Array, own: Mapping[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        dx, claims = super().backward(dy, memory, {"weight": own["input"], "bias": own["bias"]})
        return dx, {"input": claims["weight"], "bias": claims["bias"]}


def test_a_layer_that_knows_its_neighbours_does_not_own_them() -> None:
    layers: list[Any] = [
        Attributes(FEATURES, HIDDEN, 1),
        Tanh(),
        Attributes(HIDDEN, CLASSES, 2),
    ]
    layers[2].dW, layers[2].db = np.zeros((HIDDEN, CLASSES)), np.zeros(CLASSES)
    for one, following in pairwise(layers):
        one.following, following.before = following, one
    network = Network(layers, X, (softmax_loss, LABELS))
    assert network.tensors == ("attributes1.W", "attributes1.b", "attributes2.W", "attributes2.b")
    assert check(network.f, network.params, network.grad).verdict == "pass"


class Scalar:
    """A slope of one number, and settings that look like a number and its gradient."""

    def __init__(self) -> None:
        self.alpha, self.dalpha = 0.25, 7.0
        self.t, self.dt = 3.0, 0.5

    def forward(self, x: Array) -> Array:
        self.x = x
        return np.where(x > 0.0, x, self.alpha * x) * self.t * self.dt

    def backward(self, dy: Array) -> Array:
        dy = dy * self.t * self.dt
        self.dalpha += float((dy * self.x)[self.x <= 0.0].sum())
        return np.where(self.x > 0.0, dy, self.alpha * dy)


def test_a_plain_number_can_be_a_parameter() -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1), "prelu": Scalar()}
    network = Network(layers, X, (softmax_loss, LABELS))
    assert network.tensors == ("first.W", "first.b", "prelu.alpha")
    assert check(network.f, network.params, network.grad).verdict == "pass"


class Embedding:
    def __init__(self) -> None:
        self.W = normal(7, CLASSES, seed=4)

    def forward(self, index: NDArray[np.int64]) -> Array:
        self.index = index
        y: Array = self.W[index]
        return y

    def backward(self, dy: Array) -> None:
        self.dW = np.zeros_like(self.W)
        np.add.at(self.dW, self.index, dy)


def test_equal_numbers_of_two_layers_are_two_parameters() -> None:
    layers = [Attributes(FEATURES, CLASSES, 1), *(Scalar() for _ in range(20))]
    assert len(Network(layers, X, LOSSES["value and gradient"](1.0)).tensors) == 22


def test_integers_at_the_start_are_constants_and_need_no_gradient() -> None:
    network = Network({"words": Embedding()}, np.arange(6), (softmax_loss, LABELS))
    first, last = network.stages(network.params)
    assert first.open()[0].names == ("W",)
    assert last.open()[0].names == ("input",)
    assert disagreeing(network) == []


def max_pool_forward(x: Array, pool_param: dict[str, int]) -> tuple[Array, Any]:
    size = pool_param["size"]
    windows = x.reshape(len(x), -1, size)
    return windows.max(axis=2), (windows, pool_param)


def max_pool_backward(dout: Array, cache: Any) -> Array:
    windows, _ = cache
    dx: Array = np.zeros_like(windows)
    np.put_along_axis(dx, windows.argmax(axis=2)[..., None], dout[..., None], axis=2)
    return dx.reshape(len(dx), -1)


def test_functions_may_have_settings_and_no_parameters() -> None:
    layers = [
        STYLES["functions"][0](FEATURES, 2 * CLASSES, 1),
        (max_pool_forward, max_pool_backward, {"size": 2}),
    ]
    network = Network(layers, X, (softmax_loss, LABELS))
    assert network.names == ("affine1", "max_pool1", "loss")
    assert disagreeing(network) == []
    pool = network.stages(network.params)[1]
    assert (pool.kind, pool.open()[0].constants["max_pool1.size"]) == ("max_pool", 2.0)


def test_a_setting_of_a_function_is_called_as_its_argument_is() -> None:
    def scaled_forward(x: Array, keep: float) -> tuple[Array, float]:
        return keep * x, keep

    def scaled_backward(dout: Array, keep: float) -> Array:
        return keep * dout

    layers = [
        STYLES["functions"][0](FEATURES, CLASSES, 1),
        (scaled_forward, scaled_backward, 0.8),
    ]
    _, scaled, _ = (network := Network(layers, X, (softmax_loss, LABELS))).stages(network.params)
    assert scaled.open()[0].constants["scaled1.keep"] == 0.8


class Half:
    """The sum of squares as an object; `backward` takes what its signature says."""

    def __init__(self, wrong: float = 1.0) -> None:
        self.wrong = wrong

    def forward(self, y: Array) -> Any:
        self.y = y
        return 0.5 * np.sum(y**2)

    def backward(self) -> Any:
        return self.wrong * self.y


class HalfFrom(Half):
    def backward(self, dout: float = 1.0) -> Any:
        return self.wrong * dout * self.y


class HalfDistance(Half):
    def forward(self, y: Array, target: Array) -> Any:  # type: ignore[override]
        return 0.5 * np.sum((y - target) ** 2)

    def backward(self, y: Array, target: Array) -> Any:  # type: ignore[override]
        return self.wrong * (y - target)


class HalfDistanceKept(HalfDistance):
    def forward(self, y: Array, target: Array) -> Any:  # type: ignore[override]
        self.y = y
        return super().forward(y, target)

    def backward(self, target: Array) -> Any:  # type: ignore[override]
        return self.wrong * (self.y - target)


class HalfDistanceRemembered(HalfDistance):
    def forward(self, y: Array, target: Array) -> Any:  # type: ignore[override]
        return super().forward(y, target), y

    def backward(self, memory: Array, target: Array) -> Any:  # type: ignore[override]
        return self.wrong * (memory - target)


class HalfUpstream(Half):
    def __call__(self, y: Array) -> Any:
        return super().forward(y)

    forward = None  # type: ignore[assignment]

    def backward(self, upstream: float) -> Any:  # type: ignore[override]
        return self.wrong * upstream * self.y


TARGET = np.zeros((6, CLASSES))
LOSSES: dict[str, Callable[[float], Any]] = {
    "a pair": lambda wrong: (lambda y: 0.5 * np.sum(y**2), lambda y: wrong * y),
    "a pair with targets": lambda wrong: (
        lambda y, t: 0.5 * np.sum((y - t) ** 2),
        lambda y, t: wrong * (y - t),
        TARGET,
    ),
    "value and gradient": lambda wrong: lambda y: (0.5 * np.sum(y**2), wrong * y),
    "an object": Half,
    "an object that may be given 1": HalfFrom,
    "an object that must be given 1": HalfUpstream,
    "an object and its targets": lambda wrong: (HalfDistance(wrong), TARGET),
    "an object that keeps its input": lambda wrong: (HalfDistanceKept(wrong), TARGET),
    "an object with a memory": lambda wrong: (HalfDistanceRemembered(wrong), TARGET),
}


@pytest.mark.parametrize("style", LOSSES)
def test_a_loss_may_be_written_in_any_of_these_ways(style: str) -> None:
    layers = {"first": Attributes(FEATURES, CLASSES, 1)}
    right, wrong = (Network(layers, X, LOSSES[style](factor)) for factor in (1.0, 2.0))
    assert right.f(right.params) == wrong.f(wrong.params)
    assert right.f(right.params) == pytest.approx(
        0.5 * np.sum((X @ layers["first"].W + layers["first"].b) ** 2)
    )
    assert disagreeing(right) == []
    assert disagreeing(wrong) == [("loss", "input")]


def to(dtype: type[np.floating[Any]], layer: Any) -> Any:
    """The layer with arrays of another dtype, all rounded to single precision."""
    for holder in (layer, layer.weight, layer.bias) if isinstance(layer, Objects) else (layer,):
        for name, value in vars(holder).items():
            if isinstance(value, np.ndarray):
                setattr(holder, name, value.astype(np.float32).astype(dtype))
    return layer


@pytest.mark.parametrize("make", [Attributes, Objects])
def test_single_precision_is_checked_in_double(make: Callable[..., Any]) -> None:
    single, double = (
        Network(
            [to(dtype, layer) for layer in (make(FEATURES, HIDDEN, 1), make(HIDDEN, CLASSES, 2))],
            X.astype(np.float32).astype(dtype),
            (softmax_loss, LABELS),
        )
        for dtype in (np.float32, np.float64)
    )
    report = check(single.f, single.params, single.grad)
    assert report.verdict == "pass"
    claims = zip(flat(single.grad(double.params)), flat(double.grad(double.params)), strict=True)
    for claim, other in claims:
        np.testing.assert_array_equal(claim, other)


def test_check_layers_names_the_layer() -> None:
    layers = [Attributes(FEATURES, HIDDEN, 1), Tanh(), Attributes(HIDDEN, CLASSES, 2, "input")]
    report = gradproof.check_layers(layers, X, (softmax_loss, LABELS))
    assert report.verdict == "fail"
    bugs = [f for f in report.findings if f.severity == "bug"]
    assert [(f.evidence["layer"], f.evidence["quantity"]) for f in bugs] == [
        ("attributes2", "input")
    ]
