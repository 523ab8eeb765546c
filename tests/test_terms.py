"""A function that is a sum: no term can hide another."""

from typing import Any

import numpy as np
import pytest
from tests.full import check

from gradproof import InputError

X = np.array([0.1, -0.4, 0.7, 0.2])
DATA = np.random.default_rng(0).normal(size=(8, 4))


def data(w: Any) -> Any:
    return np.sum(np.tanh(DATA @ w))


def data_grad(w: Any) -> Any:
    return DATA.T @ (1 - np.tanh(DATA @ w) ** 2)


def ridge(w: Any) -> Any:
    return 1e6 * np.sum(w * w)


def ridge_grad(w: Any) -> Any:
    return 2e6 * w


def total(w: Any) -> Any:
    return data(w) + ridge(w)


def total_grad(w: Any) -> Any:
    return data_grad(w) + ridge_grad(w)


def bent(w: Any) -> Any:
    """A small error in the data's part, far below the ridge's."""
    return data_grad(w) * np.array([1, 1, 1.01, 1]) + ridge_grad(w)


WAYS: dict[str, dict[str, Any]] = {
    "pairs": {"data": (data, data_grad), "ridge": (ridge, ridge_grad)},
    "functions": {"data": data, "ridge": ridge},
    "mixed": {"data": data, "ridge": (ridge, ridge_grad)},
}


@pytest.mark.parametrize("terms", WAYS.values(), ids=WAYS)
def test_right_terms_pass(terms: dict[str, Any]) -> None:
    report = check(total, X, total_grad, terms=terms)
    assert report.verdict == "pass"
    assert list(report.terms) == ["data", "ridge"]
    assert all(report.terms.values())
    assert not check(total, X, total_grad).terms


def test_error_in_the_data_hides_behind_a_large_regulariser() -> None:
    assert check(total, X, bent).verdict == "pass"


@pytest.mark.parametrize("way", ["functions", "mixed"])
def test_terms_bring_a_hidden_error_out_and_name_it(way: str) -> None:
    report = check(total, X, bent, terms=WAYS[way])
    assert report.verdict == "fail"
    assert report.reason.startswith("in the term 'data', x: wrong only at [2]")
    assert report.terms["data"].verdict == "fail"
    wrong = report.terms["data"].entries.filter(verdict="mismatch")
    assert [entry.name for entry in wrong] == ["x[2]"]
    assert wrong[0].relative_error == pytest.approx(0.01, rel=0.02)


def test_a_term_with_a_wrong_gradient_of_its_own_fails() -> None:
    terms = {"data": (data, lambda w: 1.01 * data_grad(w)), "ridge": (ridge, ridge_grad)}
    report = check(total, X, total_grad, terms=terms)
    assert report.verdict == "fail"
    assert report.terms["data"].verdict == "fail"
    assert report.terms["ridge"].verdict == "pass"


def test_errors_of_two_terms_that_cancel_in_the_total_fail() -> None:
    terms = {
        "data": (data, lambda w: data_grad(w) + 0.1),
        "squares": (lambda w: np.sum(w * w), lambda w: 2 * w - 0.1),
    }

    def f(w: Any) -> Any:
        return data(w) + np.sum(w * w)

    def grad(w: Any) -> Any:
        return data_grad(w) + 2 * w

    assert check(f, X, grad).verdict == "pass"
    report = check(f, X, grad, terms=terms)
    assert report.verdict == "fail"
    assert [term.verdict for term in report.terms.values()] == ["fail", "fail"]


def test_terms_that_do_not_add_up_decide_nothing() -> None:
    report = check(total, X, total_grad, terms={"data": (data, data_grad)})
    assert report.verdict == "inconclusive"
    (finding,) = report.findings
    assert finding.kind == "terms-do-not-add-up"
    assert "they are not its parts" in report.reason


def test_a_wrong_total_fails_though_its_terms_do_not_add_up() -> None:
    report = check(data, X, lambda w: -data_grad(w), terms={"other": (ridge, ridge_grad)})
    assert report.verdict == "fail"
    assert [f.kind for f in report.findings] == ["sign-flip", "terms-do-not-add-up"]


def test_large_terms_may_cancel() -> None:
    terms = {
        "up": (lambda w: 1e6 + data(w), data_grad),
        "down": (lambda w: np.sum(np.cos(w)) - 1e6, lambda w: -np.sin(w)),
    }
    report = check(
        lambda w: (1e6 + data(w)) + (np.sum(np.cos(w)) - 1e6),
        X,
        lambda w: data_grad(w) - np.sin(w),
        terms=terms,
    )
    assert report.verdict == "pass"


@pytest.mark.parametrize("cotangent", [None, np.array([1.0, -2.0, 0.5, 1.0])])
def test_terms_of_an_array_are_seen_through_one_cotangent(cotangent: Any) -> None:
    terms: dict[str, Any] = {
        "sine": (np.sin, lambda w, c: c * np.cos(w)),
        "square": lambda w: w * w,
        "cube": lambda w: w**3,
    }

    def f(w: Any) -> Any:
        return np.sin(w) + w * w + w**3

    def jacobian(w: Any) -> Any:
        return np.diag(np.cos(w) + 2 * w + 3 * w**2)

    report = check(f, X, jacobian, terms=terms, cotangent=cotangent)
    assert report.verdict == "pass"
    assert report.findings == ()


def test_a_term_may_bring_its_own_f_batch() -> None:
    calls = []

    def many(w: Any) -> Any:
        calls.append(len(w))
        return np.sum(np.tanh(w @ DATA.T), axis=1)

    def one(w: Any) -> Any:
        return many(w[None])[0]

    plain = check(one, X, data_grad, terms={"data": (one, data_grad)})
    alone = len(calls)
    batched = check(one, X, data_grad, terms={"data": (one, data_grad, many)}, f_batch=many)
    assert batched.verdict == "pass"
    # Matrix products of one row and of many are summed in another order.
    one_by_one, at_once = (r.terms["data"].entries["numeric"] for r in (plain, batched))
    np.testing.assert_allclose(at_once, one_by_one, rtol=1e-7)
    assert len(calls) - alone < alone / 2


def test_a_wrong_f_batch_of_a_term_is_named() -> None:
    terms = {"data": (data, data_grad, lambda w: np.sum(np.cos(w), axis=1))}
    with pytest.raises(InputError, match=r"In terms\['data'\]: Expected f_batch to agree with f"):
        check(data, X, data_grad, terms=terms)


def test_terms_of_the_same_sample_of_entries() -> None:
    w = np.linspace(0.1, 1, 50)
    report = check(
        lambda w: np.sum(np.sin(w)) + np.sum(w * w),
        w,
        lambda w: np.cos(w) + 2 * w,
        terms={"sine": lambda w: np.sum(np.sin(w)), "square": lambda w: np.sum(w * w)},
        coverage="sample",
        samples=5,
    )
    assert report.verdict == "pass"
    drawn = report.entries["index"].tolist()
    assert len(drawn) == 5
    assert all(term.entries["index"].tolist() == drawn for term in report.terms.values())


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.3, 1.0])
def test_any_slope_at_the_kink_of_a_lasso_may_be_claimed(slope: float) -> None:
    w = np.array([0.0, 0.5, 0.0, -0.3])

    def lasso(w: Any) -> Any:
        return np.sum(np.abs(w))

    def grad(w: Any) -> Any:
        return data_grad(w) + np.where(w == 0, slope, np.sign(w))

    report = check(lambda w: data(w) + lasso(w), w, grad, terms={"data": data, "lasso": lasso})
    assert report.verdict == "pass"
    assert report.entries.counts()["kink"] == 2
    assert [entry.index for entry in report.terms["data"].entries] == [(1,), (3,)]


def test_a_random_term_accuses_nobody() -> None:
    rng = np.random.default_rng(0)
    terms = {"data": data, "noise": lambda w: 1e-3 * rng.normal()}
    report = check(lambda w: data(w) + 1e-3 * rng.normal(), X, data_grad, terms=terms)
    assert report.verdict == "inconclusive"
    assert [finding.kind for finding in report.findings] == ["nondeterministic"]


def test_a_term_that_is_nan_decides_nothing() -> None:
    terms = {"data": (data, data_grad), "nothing": (lambda w: np.nan, ridge_grad)}
    report = check(data, X, data_grad, terms=terms)
    assert report.verdict == "inconclusive"
    assert report.reason == "the term 'nothing' is inconclusive by itself"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([data], r"Expected a dict of functions but got terms=\["),
        ({1: data}, "Expected a string as the name of a term but got terms="),
        ({"data": 3}, r"Expected a function or a tuple \(function, gradient\).*terms\['data'\]=3"),
        ({"data": [data, data_grad]}, r"Expected a function or a tuple .* terms\['data'\]=\["),
        ({"data": (data,)}, r"Expected a function or a tuple .* terms\['data'\]="),
        ({"data": (data, np.ones(2))}, r"In terms\['data'\]: Expected shape \(4,\) but got grad"),
        ({"data": (data, None)}, r"In terms\['data'\]: Expected grad in the structure of x"),
        ({"data": lambda w: None}, r"In terms\['data'\]: Expected f to return a real number"),
        ({"data": np.tanh}, r"Expected terms\['data'\] to return f's shape \(\) but got \(4,\)"),
    ],
)
def test_term_that_cannot_be_used_is_named(terms: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check(data, X, data_grad, terms=terms)


def test_a_report_with_terms_can_be_printed() -> None:
    text = str(check(total, X, bent, terms=WAYS["functions"]))
    assert "data" in text
    assert "ridge" in text
