"""The scorecard is only worth what its labels are: each is confirmed without the code it labels.

A right gradient is compared with the complex step (no differences, no cancellation), with mpmath,
or, on a kink of a convex function, put to the inequality that defines a subgradient. A wrong one
must differ by what it says, and must be refutable from values of f in double precision.
"""

from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import optree
import pytest
from bench.cases import Case, correct_cases
from bench.scorecard import Judgement, as_vectors, customary_rules, score
from bench.wrong_cases import wrong_cases
from scipy import special

RIGHT = {case.name: case for case in correct_cases()}
WRONG = {case.name: case for case in wrong_cases()}
WEIGHTS = [1.0, -2.0, 0.7]  # of the three solvers

# Where f itself would lose the imaginary part: the same function, written for complex numbers.
ANALYTIC: dict[str, Callable[[Any], Any]] = {
    "float32-inside": RIGHT["mlp"].f,
    "float32-throughout": RIGHT["mlp"].f,
    "quantised-1e-9": lambda x: np.sum(np.sin(x) * np.exp(-x)),
    "signed-square-at-0": lambda x: np.sum(x * x * np.sign(x.real)),
    "abs-at-1e-7": lambda x: np.sum(x * np.sign(x.real)),
    "median": lambda x: np.sort(x)[3] ** 2 + np.sum(np.sin(x)),
    "sawtooth-near-jump": lambda x: np.sum((x - np.floor(x.real)) ** 2),
    "log-gamma": lambda x: np.sum(special.loggamma(x)),
    "cholesky-logdet": lambda m: np.log(np.linalg.det(m @ m.T + 1e-3 * np.eye(4))),
    "top-eigenvalue-gap-1e-4": lambda a: max(
        np.linalg.eigvals((a + a.T) / 2), key=lambda value: value.real
    ),
}

# Roots that f computes by iteration, u(p), found and differentiated by mpmath.
ROOTS: dict[str, Callable[[Any], Any]] = {
    "bisection-1e-8": lambda p: p - mpmath.lambertw(mpmath.exp(p)),
    "newton-1e-8": lambda p: mpmath.findroot(lambda u: u**3 + u - p, p / (1 + p * p)),
    "fixed-point-1e-8": lambda p: mpmath.findroot(lambda u: u - mpmath.sin(u) / 2 - p, p),
}

# How far a right gradient may be off, relative to the entry, where that is not 1e-9.
LOSS = {
    "versine-lossy-gradient": 1e-6,
    "root-difference-lossy-gradient": 1e-7,
    "saturated-tanh-lossy-gradient": 1e-7,
    "sigmoid-at-20-lossy-gradient": 1e-7,
    "float32-gradient": 1e-6,
    "float32-throughout": 1e-4,
    "bisection-1e-8": 1e-8,
    "fixed-point-1e-8": 1e-8,
    "inverse-condition-1e6": 1e-8,
}

# Entries that are zero but for rounding: how large they may be.
ROUNDING = {"least-squares-at-optimum": 1e-13, "bias-before-mean-subtraction": 1e-12}


def claim(case: Case) -> Any:
    return as_vectors(case)[2]


def by_complex_step(case: Case) -> Any:
    """Im f(x + ih) / h with h far below anything that could round."""
    f, x, _ = as_vectors(case)
    steps = 1e-200j * np.eye(x.size)
    return np.stack([np.imag(f(x + step)) / 1e-200 for step in steps], axis=-1)


def by_mpmath(case: Case) -> Any:
    root = ROOTS[case.name]
    with mpmath.workdps(40):
        return np.array(
            [w * float(mpmath.diff(root, p)) for w, p in zip(WEIGHTS, case.x, strict=True)]
        )


def reference(case: Case) -> Any:
    if case.name in ROOTS:
        return by_mpmath(case)
    f = ANALYTIC.get(case.name, case.f)
    return by_complex_step(Case(case.name, case.kind, f, _in_double(case.x), case.grad))


def _in_double(x: Any) -> Any:
    return optree.tree_map(lambda leaf: np.asarray(leaf, dtype=float), x)


def is_convex_kink(case: Case) -> bool:
    return case.kind == "kink-at" and not case.name.startswith("signed-square")


def subgradient_slack(case: Case) -> float:
    """Smallest f(y) - f(x) - g.(y - x) per |y - x|: negative where g is no subgradient."""
    f, x, g = as_vectors(case)
    draws = np.random.default_rng(0).normal(size=(200, x.size))
    directions = [*np.eye(x.size), *-np.eye(x.size), np.ones(x.size), -np.ones(x.size), *draws]
    return min(
        float(f(x + t * v) - f(x) - t * (g @ v)) / t / float(np.linalg.norm(v))
        for v in directions
        for t in (1.0, 1e-2, 1e-4)
    )


def test_there_are_enough_cases_with_names_of_their_own() -> None:
    assert len(RIGHT) == len(correct_cases()) >= 45
    assert len(WRONG) == len(wrong_cases()) >= 55
    assert not RIGHT.keys() & WRONG.keys()


def test_cases_are_the_same_every_time() -> None:
    for case, again in zip(correct_cases(), correct_cases(), strict=True):
        assert np.array_equal(claim(case), claim(again))


@pytest.mark.parametrize(
    "case", [c for c in RIGHT.values() if not is_convex_kink(c)], ids=lambda case: case.name
)
def test_right_gradient_agrees_with_an_independent_one(case: Case) -> None:
    rtol, atol = LOSS.get(case.name, 1e-9), ROUNDING.get(case.name, 0.0)
    np.testing.assert_allclose(claim(case), reference(case), rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", LOSS)
def test_loss_allowed_to_a_right_gradient_is_not_idle(name: str) -> None:
    right = reference(RIGHT[name])
    assert np.max(np.abs(claim(RIGHT[name]) - right) / np.abs(right)) > 1e-3 * LOSS[name]


@pytest.mark.parametrize(
    "case", [c for c in RIGHT.values() if is_convex_kink(c)], ids=lambda case: case.name
)
def test_gradient_at_a_kink_is_a_subgradient(case: Case) -> None:
    assert subgradient_slack(case) > -1e-11


@pytest.mark.parametrize("case", RIGHT.values(), ids=lambda case: case.name)
def test_values_are_finite_and_the_claim_has_the_shape_of_x(case: Case) -> None:
    f, x, g = as_vectors(case)
    value = f(x)
    assert np.all(np.isfinite(value))
    assert np.shape(g) == (*np.shape(value), x.size)
    if case.f_batch is not None:
        stack = np.stack([case.x, 2 * case.x])
        np.testing.assert_allclose(case.f_batch(stack), [case.f(row) for row in stack], rtol=1e-12)


@pytest.mark.parametrize("case", WRONG.values(), ids=lambda case: case.name)
def test_wrong_gradient_is_wrong_by_what_it_says(case: Case) -> None:
    wrong, right = claim(case), claim(RIGHT[case.twin])
    assert case.bug
    assert not case.correct
    if np.isnan(case.size):
        assert not np.all(np.isfinite(wrong))
        return
    differ = wrong != right
    size = np.abs(wrong - right)[differ] / np.maximum(np.abs(wrong), np.abs(right))[differ]
    assert np.max(size) == pytest.approx(case.size, rel=0.02)


@pytest.mark.parametrize(
    "case", [c for c in WRONG.values() if not np.isnan(c.size)], ids=lambda case: case.name
)
def test_wrong_gradient_can_be_refuted_from_values_of_f(case: Case) -> None:
    if is_convex_kink(RIGHT[case.twin]):
        assert subgradient_slack(case) < -1e-2
    else:
        with np.errstate(all="ignore"):  # long steps leave the domain, and are no evidence
            assert any(shows_the_error(case, *place) for place in worst_entries(case))


def worst_entries(case: Case) -> Iterator[tuple[int, int]]:
    """Output and input of the entries most wrong, in relative terms."""
    wrong = np.atleast_2d(claim(case))
    right = np.atleast_2d(claim(RIGHT[case.twin]))
    size = np.maximum(np.abs(wrong), np.abs(right))
    relative = np.abs(wrong - right) / np.where(size == 0, 1.0, size)
    for flat in np.argsort(-relative, axis=None)[:5]:
        yield divmod(int(flat), wrong.shape[1])


def shows_the_error(case: Case, output: int, entry: int) -> bool:
    """Tell whether values of f near x settle on the right slope and exclude the claimed one.

    Settling means that over a decade of steps, whichever it is, the five-point formula stays
    within a fifth of the error around the right value.
    """
    f, x, wrong = as_vectors(case)
    error = (
        np.atleast_2d(wrong)[output, entry] - np.atleast_2d(reference_claim(case))[output, entry]
    )
    steps = (abs(x[entry]) or 1.0) * 10.0 ** (-0.5 * np.arange(25))
    axis = np.eye(x.size)[entry]

    def value(offset: float) -> Any:
        return np.atleast_1d(f(x + offset * axis)).astype(float)[output]

    numeric = np.array(
        [
            (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)
            for h in steps.tolist()
        ]
    )
    right = np.atleast_2d(reference_claim(case))[output, entry]
    close = np.abs(numeric - right) < abs(error) / 5
    return bool(np.any(close[:-2] & close[1:-1] & close[2:]))


def reference_claim(case: Case) -> Any:
    return claim(RIGHT[case.twin])


def test_score_names_false_alarms_misses_and_what_is_left_open() -> None:
    def crash(case: Case) -> Judgement:
        raise RuntimeError(case.name)

    tools: dict[str, Callable[[Case], Judgement]] = {
        "always": lambda case: Judgement("pass"),
        "never": lambda case: Judgement("fail"),
        "unsure": lambda case: Judgement("inconclusive", "no idea"),
        "crash": crash,
    }
    right, wrong = RIGHT["mlp"], WRONG["mlp/one-zero"]
    mistakes = {(o.tool, o.correct): o.mistake for o in score(tools, [right, wrong])}
    assert mistakes == {
        ("always", True): "",
        ("always", False): "miss",
        ("never", True): "false alarm",
        ("never", False): "",
        ("unsure", True): "inconclusive",
        ("unsure", False): "inconclusive",
        ("crash", True): "false alarm",
        ("crash", False): "miss",
    }


def test_customary_rules_judge_easy_cases_rightly_and_reject_nan() -> None:
    easy = [RIGHT["identity-1000"], WRONG["identity-1000/one-zero"]]
    easy += [WRONG["nested/nan"], WRONG["mlp/infinite"]]
    assert [o for o in score(customary_rules(), easy) if o.mistake] == []
