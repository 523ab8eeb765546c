"""Checks of JAX's functions from end to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from tests.full import check

from gradproof import InputError
from gradproof.report.model import Report

W = np.random.default_rng(0).normal(size=(3, 4))
DATA = np.random.default_rng(1).normal(size=(6, 4))


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


def mlp(layers: Any, x: Any) -> Any:
    for layer in layers[:-1]:
        x = jax.nn.relu(x @ layer["weight"] + layer["bias"])
    return x @ layers[-1]["weight"] + layers[-1]["bias"]


def parameters(*sizes: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    return [
        {"weight": rng.normal(size=pair) / pair[0] ** 0.5, "bias": 0.1 * rng.normal(size=pair[1])}
        for pair in pairwise(sizes)
    ]


def scanned(w: Any) -> Any:
    return lax.scan(lambda h, x: (jnp.tanh(h @ w.T @ w + x),) * 2, jnp.zeros(4), DATA)


def looped(w: Any) -> Any:
    return lax.fori_loop(0, 3, lambda _, y: jnp.sin(y) + w, w)


def branched(w: Any) -> Any:
    return lax.cond(w[0, 0] > 0.0, jnp.sin, jnp.cos, w)


SMOOTH: dict[str, Callable[..., Any]] = {
    "jit": jax.jit(lambda w: jnp.tanh(w).sum(0)),
    "scan": scanned,
    "fori_loop": looped,
    "cond": branched,
    "checkpoint": jax.checkpoint(lambda w: jnp.sin(w) ** 2),
    "vmap": jax.vmap(lambda row: jnp.linalg.norm(row)),
    "integer outputs": lambda w: {"top": lax.top_k(w, 2), "best": jnp.argmax(w)},
    "its own gradient": jax.grad(lambda w: jnp.sum(jnp.tanh(w) ** 3)),
    "fft": lambda w: jnp.fft.fft(w),
    "softmax": lambda w: jax.nn.log_softmax(w),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_jaxs_own_gradient_passes(name: str) -> None:
    report = check(SMOOTH[name], jnp.asarray(W))
    assert report.verdict == "pass", report.reason
    (tensor,) = report.tensors.values()
    assert tensor.checked == W.size


def test_a_network_with_kinks_beside_passes() -> None:
    layers = parameters(4, 8, 8, 3)
    # A unit 1e-6 from its kink, and one right on it.
    first = DATA[0] @ layers[0]["weight"]
    layers[0]["bias"][0] = 1e-6 - first[0]
    layers[0]["bias"][1] = -first[1]
    report = check(lambda p: mlp(p, DATA), jax.tree.map(jnp.asarray, layers))
    assert report.verdict == "pass", report.reason
    counts = report.tensors["x.0.bias"].counts
    assert counts["kink"] + counts["match"] == 8


def test_a_network_is_checked_in_double_precision_whatever_it_came_in() -> None:
    layers = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), parameters(4, 6, 3))
    report = check(lambda p: jnp.tanh(mlp(p, DATA)), layers)
    assert report.verdict == "pass", report.reason
    assert list(report.tensors) == ["x.0.bias", "x.0.weight", "x.1.bias", "x.1.weight"]
    assert report.tensors["x.0.weight"].digits_agree.median > 8
    assert "single-precision" in kinds(report)
    assert jnp.zeros(1).dtype == np.float32


def test_a_sample_of_entries_is_checked() -> None:
    report = check(
        lambda p: mlp(p, DATA).sum(),
        jax.tree.map(jnp.asarray, parameters(4, 30, 3)),
        coverage="sample",
        samples=5,
    )
    assert report.verdict == "pass", report.reason
    assert {t.checked for t in report.tensors.values()} == {3, 5}


def sine_with(backward: Callable[..., Any]) -> Callable[..., Any]:
    @jax.custom_vjp
    def sine(x: Any) -> Any:
        return jnp.sin(x)

    sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (backward(x, g),))
    return sine


def sine_with_tangent(forward: Callable[..., Any]) -> Callable[..., Any]:
    @jax.custom_jvp
    def sine(x: Any) -> Any:
        return jnp.sin(x)

    sine.defjvp(lambda x, t: (jnp.sin(x[0]), forward(x[0], t[0])))
    return sine


@pytest.mark.parametrize("make", [sine_with, sine_with_tangent])
@pytest.mark.parametrize("is_jitted", [False, True])
def test_a_custom_rule_passes_if_it_is_right_and_fails_if_not(
    make: Callable[..., Any], is_jitted: bool
) -> None:
    right = make(lambda x, g: g * jnp.cos(x))
    wrong = make(lambda x, g: g * jnp.cos(x) * (1.0 + 1e-5))
    if is_jitted:
        right, wrong = jax.jit(right), jax.jit(wrong)
    assert check(right, W).verdict == "pass"
    assert check(wrong, W).verdict == "fail"


def test_one_wrong_entry_is_found() -> None:
    wrong = sine_with(lambda x, g: (g * jnp.cos(x)).at[1, 2].multiply(-1.0))
    report = check(wrong, W)
    assert report.verdict == "fail"
    assert report.tensors["x"].counts["mismatch"] == 1
    assert report.tensors["x"].worst is not None
    assert report.tensors["x"].worst.index == (1, 2)


def test_a_gradient_that_is_given_is_checked() -> None:
    def f(p: Any) -> Any:
        return jnp.sum(jnp.sin(p["w"]) * p["s"])

    x = {"w": jnp.asarray(W), "s": jnp.float32(1.5)}
    assert check(f, x, jax.grad(f)).verdict == "pass"
    report = check(f, x, lambda p: {"w": jnp.cos(p["w"]), "s": jnp.sin(p["w"]).sum()})
    assert report.verdict == "fail"
    assert report.tensors["s"].verdict == "pass"
    assert report.tensors["w"].verdict == "fail"


def test_a_conjugated_gradient_fails() -> None:
    def f(z: Any) -> Any:
        return jnp.sum(jnp.abs(z) ** 2 + jnp.real(z**3))

    z = jnp.asarray(DATA[0] + 1j * DATA[1])
    assert check(f, z).verdict == "pass"
    assert check(f, z, jax.grad(f)).verdict == "pass"
    assert check(f, z, lambda z: jnp.conj(jax.grad(f)(z))).verdict == "fail"


def test_a_key_is_constant_and_repeats_its_numbers() -> None:
    def of_both(w: Any, key: Any) -> Any:
        return jnp.where(jax.random.bernoulli(key, 0.5, w.shape), 2.0 * jnp.sin(w), 0.0)

    dropout: Any = of_both

    for key in (jax.random.key(0), jax.random.PRNGKey(0)):
        report = check(dropout, (jnp.asarray(W), key))
        assert report.verdict == "pass", report.reason
        assert list(report.tensors) == ["w"]


def test_a_function_that_draws_numbers_anew_is_inconclusive() -> None:
    rng = np.random.default_rng(0)
    report = check(lambda w: w * rng.normal(), jnp.asarray(W))
    assert report.verdict == "inconclusive"
    assert "nondeterministic" in kinds(report)


def test_what_is_detached_is_found() -> None:
    report = check(lambda w: jnp.sin(w) * lax.stop_gradient(w), jnp.asarray(W))
    assert report.verdict == "fail"


def test_half_precision_that_is_kept_is_not_called_wrong() -> None:
    w = jnp.asarray(W, jnp.float16)
    report = check(lambda w: jnp.sum(w * w), w, promote=False)
    assert report.verdict == "inconclusive"
    assert kinds(report)[:2] == ["single-precision"] * 2


def test_a_function_of_the_host_is_checked_one_point_at_a_time() -> None:
    def f(w: Any) -> Any:
        return np.sin(np.asarray(w))

    def grad(w: Any, cotangent: Any) -> Any:
        return np.cos(np.asarray(w)) * cotangent

    report = check(f, jnp.asarray(W), grad)
    assert report.verdict == "pass", report.reason
    assert "one-by-one" in kinds(report)
    wrong = check(f, jnp.asarray(W), lambda w, cotangent: 2 * grad(w, cotangent))
    assert wrong.verdict == "fail"


def test_a_loss_and_keywords_are_taken() -> None:
    def of_all(w: Any, x: Any, *, scale: Any, mode: str) -> Any:
        assert mode == "train"
        return jnp.tanh(x @ w.T) * scale

    layer: Any = of_all

    report = check(
        layer,
        (jnp.asarray(W), jnp.asarray(DATA)),
        kwargs={"scale": jnp.float32(2.0), "mode": "train"},
        loss=lambda y: jnp.mean(y**2),
    )
    assert report.verdict == "pass", report.reason
    assert list(report.tensors) == ["w", "x", "scale"]
    assert report.value == pytest.approx(np.mean((2.0 * np.tanh(DATA @ W.T)) ** 2), rel=1e-6)


def test_terms_share_the_point_and_the_weights() -> None:
    def data(w: Any) -> Any:
        return jnp.sin(w) * 1e3

    def penalty(w: Any) -> Any:
        return 1e-3 * w**2

    report = check(
        lambda w: data(w) + penalty(w),
        jnp.asarray(W),
        terms={"data": (data, None), "l2": (penalty, None)},
    )
    assert report.verdict == "pass", report.reason


def test_an_exception_of_f_comes_out_and_leaves_the_setting() -> None:
    calls = []

    def f(w: Any) -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise RuntimeError("mine")
        return jnp.sin(w) * float(w[0, 0])

    before = dict(jax.config.values)
    with pytest.raises(RuntimeError, match="mine"):
        check(f, jnp.asarray(W), lambda w, cotangent: cotangent)
    assert dict(jax.config.values) == before


def test_gradproof_does_not_import_jax() -> None:
    code = "import sys, gradproof; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_module_of_equinox_is_a_tree() -> None:
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(4, 2, 5, 1, key=jax.random.key(0))
    report = check(lambda m: jax.vmap(m)(jnp.asarray(DATA)), model)
    assert report.verdict == "pass", report.reason
    assert "layers.0.weight" in report.tensors


def test_variables_of_flax_are_a_tree() -> None:
    linen = pytest.importorskip("flax.linen")
    net = linen.Sequential([linen.Dense(5), jnp.tanh, linen.Dense(2)])
    variables = net.init(jax.random.key(0), jnp.asarray(DATA))
    report = check(lambda v: net.apply(v, jnp.asarray(DATA)), variables)
    assert report.verdict == "pass", report.reason
    assert "params.layers_0.kernel" in report.tensors


def test_a_function_of_numpys_arrays_that_returns_jaxs_needs_no_gradient() -> None:
    assert check(lambda x: jnp.sum(jnp.sin(x)), np.ones(3)).verdict == "pass"


def test_finding_out_what_a_function_returns_leaves_its_argument_as_it_is() -> None:
    def doubles(x: Any) -> Any:
        x *= 2.0
        return np.sum(x)

    x = np.ones(3)
    with pytest.raises(InputError, match="grad=None"):
        check(doubles, x)
    assert x.tolist() == [1.0, 1.0, 1.0]
