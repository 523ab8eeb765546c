"""The other checkers are asked rightly: they judge what is easy as their users would expect."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from bench.cases import Case, correct_cases
from bench.customary import customary_rules
from bench.peers import PEERS, as_code
from bench.wrong_cases import wrong_cases

CASES = {case.name: case for case in [*correct_cases(), *wrong_cases()]}
# A vector, a dict of tensors, nested containers with a number, a matrix, a Jacobian, no axes.
EASY = ("rosenbrock", "mlp", "nested", "layer-norm", "tanh-layer-jacobian", "array-of-no-axes")
PLAIN = ("rosenbrock/stale", "mlp/no-activation-slope", "nested/nan", "tanh-layer-jacobian/rows")


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "autograd" and importlib.util.find_spec("autograd") is None:
        pytest.skip("autograd is installed for the bench alone")
    return name


@pytest.mark.parametrize("name", EASY)
def test_an_easy_right_gradient_passes(peer: str, name: str) -> None:
    said = PEERS[peer](CASES[name])
    assert said.verdict == "pass"
    assert said.evaluations >= 2


@pytest.mark.parametrize("name", PLAIN)
def test_a_plainly_wrong_gradient_fails(peer: str, name: str) -> None:
    said = PEERS[peer](CASES[name])
    assert said.verdict == "fail"
    assert said.reason


def test_gradcheck_says_what_its_rule_says_when_written_out_in_numpy() -> None:
    written_out = customary_rules()["gradcheck"]
    for case in CASES.values():
        if case.kind in ("smooth", "ill-scaled", "kink-at", "jacobian"):
            assert PEERS["torch"](case).verdict == written_out(case).verdict, case.name


def test_autograd_leaves_the_global_generator_as_it_was() -> None:
    pytest.importorskip("autograd")
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    PEERS["autograd"](CASES["rosenbrock"])
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    np.testing.assert_array_equal(before["state"]["key"], after["state"]["key"])
    assert before["state"]["pos"] == after["state"]["pos"]


def test_a_claimed_jacobian_is_contracted_with_the_cotangent() -> None:
    case = CASES["tanh-layer-jacobian"]
    cotangent = np.arange(4.0)
    code = as_code(case)
    (product,) = code.product(code.arrays, cotangent)
    np.testing.assert_allclose(product, np.einsum("o,oij->ij", cotangent, case.grad(case.x)))


def test_a_claim_is_scaled_by_the_cotangent_of_a_number_and_keeps_each_precision() -> None:
    x = {"a": np.ones(2, np.float32), "b": 1.5}
    claim = {"a": np.full(2, 1.5), "b": 2.0}
    case = Case("two", "", lambda x: np.sum(x["a"]) * x["b"], x, claim)
    code = as_code(case)
    products = code.product(code.arrays, np.asarray(3.0))
    assert [product.dtype for product in products] == [np.float32, np.float64]
    np.testing.assert_array_equal(products[0], [4.5, 4.5])
    assert products[1] == 6.0
