"""Numeric ± error against the claim, entry by entry."""

from typing import Any

import numpy as np
import pytest
from tests.full import check

from gradproof.coverage.request import Numeric, Request
from gradproof.numerics.estimate import Status, code
from gradproof.numerics.sampling import EPS
from gradproof.report.entries import VERDICTS
from gradproof.verdict import (
    BETWEEN,
    BLUNT,
    DIFFERS,
    DISPUTED,
    IMPRECISE,
    MATCHES,
    NOT_FINITE,
    OUTSIDE,
    REASONS,
    UNSEEN,
    Judgement,
    judge,
    of_tensor,
    overall,
)


def judged(
    claim: Any,
    numeric: Any = 1.0,
    error: Any = 1e-6,
    *,
    confirmed: bool = True,
    status: Status = Status.SMOOTH,
    half_jump: float = 0.0,
    rounding: float = 0.0,
    typical: float = 1.0,
    resolution: float = 1e-3,
    scale: float = 1.0,
    variation: float = 1.0,
    value: float = 1.0,
    unit: float = EPS,
) -> tuple[str, int]:
    """Verdict and reason's code of an entry beside a sound one of typical size."""

    def both(own: float, others: float) -> Any:
        return np.array([own, others])

    request = Request(
        center=np.ones(2),
        scale=both(scale, 1.0),
        wide=np.ones(2),
        claim=both(claim, typical),
        rounding=both(rounding, 0.0),
        typical=np.full(2, typical),
        group=np.zeros(2, dtype=np.intp),
        unit=np.full(2, unit),
    )
    found = Numeric(
        value=both(numeric, typical),
        error=both(error, 1e-12),
        half_jump=both(half_jump, 0.0),
        status=both(code(status), code(Status.SMOOTH)).astype(np.uint8),
        confirmed=np.array([confirmed, False]),
        variation=both(variation, 1.0),
        scale=both(scale, 1.0),
    )
    judgement: Judgement = judge(request, found, value=value, resolution=resolution)
    assert VERDICTS[judgement.verdict[1]] == "match"
    return VERDICTS[judgement.verdict[0]], int(judgement.reason[0])


def test_claim_within_the_bar_matches() -> None:
    assert judged(1.0) == ("match", MATCHES)
    assert judged(1.0 + 9e-7) == ("match", MATCHES)
    assert judged(1.0 - 9e-7) == ("match", MATCHES)


def test_claim_beyond_the_bar_is_a_mismatch_once_confirmed() -> None:
    assert judged(1.0 + 2e-6) == ("mismatch", DIFFERS)
    assert judged(1.0 + 2e-6, confirmed=False) == ("unresolved", DISPUTED)


def test_rounding_of_the_claim_widens_the_bar() -> None:
    assert judged(1.0 + 1e-5, rounding=2e-5)[0] == "match"
    assert judged(1.0 + 1e-5, rounding=2e-6)[0] == "mismatch"


@pytest.mark.parametrize("claim", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("confirmed", [True, False])
@pytest.mark.parametrize("status", Status)
def test_claim_that_is_no_number_is_always_a_mismatch(
    claim: float, confirmed: bool, status: Status
) -> None:
    numeric = np.nan if status in (Status.UNDEFINED, Status.UNRESOLVED) else 1.0
    found = judged(claim, numeric, np.inf, confirmed=confirmed, status=status)
    assert found == ("mismatch", NOT_FINITE)


def test_wide_bar_is_unresolved() -> None:
    assert judged(1.0, error=2e-3) == ("unresolved", BLUNT)
    assert judged(1.0, error=2e-3, resolution=3e-3)[0] == "match"


def test_wide_bar_hides_no_mismatch() -> None:
    assert judged(3.0, error=0.5)[0] == "mismatch"
    assert judged(-1.0, error=0.5)[0] == "mismatch"


def test_bar_is_measured_against_the_typical_value_of_the_tensor() -> None:
    assert judged(1e-6, 1e-6, 5e-4, typical=1.0)[0] == "match"
    assert judged(1e-6, 1e-6, 5e-4, typical=1e-6, value=0.0)[0] == "unresolved"


def test_entry_of_no_effect_matches_a_claim_of_none() -> None:
    assert judged(0.0, 0.0, 1e-9, typical=1e-12, variation=1.0) == ("match", UNSEEN)


def test_entry_of_no_effect_does_not_match_a_claim_of_some() -> None:
    assert judged(1.0, 0.0, 1e-9)[0] == "mismatch"


@pytest.mark.parametrize("status", [Status.UNRESOLVED, Status.UNDEFINED])
def test_entry_without_a_numeric_value_is_unresolved(status: Status) -> None:
    found = judged(1.0, np.nan, np.inf, status=status)
    assert found == ("unresolved", REASONS.index(status.value))


@pytest.mark.parametrize("claim", [0.0, 0.5, 1.0, 2.0])
def test_claim_between_the_slopes_of_a_kink_is_a_kink(claim: float) -> None:
    found = judged(claim, 1.0, half_jump=1.0, status=Status.KINK, confirmed=False)
    assert found == ("kink", BETWEEN)


@pytest.mark.parametrize("claim", [-0.1, 2.1, -5.0])
@pytest.mark.parametrize("half_jump", [1.0, -1.0])
def test_claim_outside_the_slopes_of_a_kink_is_a_mismatch(claim: float, half_jump: float) -> None:
    found = judged(claim, 1.0, half_jump=half_jump, status=Status.KINK)
    assert found == ("mismatch", OUTSIDE)


def test_claim_right_to_single_precision_matches_and_says_so() -> None:
    assert judged(1.0 + 1e-7, error=1e-12) == ("match", IMPRECISE)
    assert judged(1.0 + 2e-7, error=1e-12)[0] == "mismatch"
    assert judged(1e-3 * (1 + 2e-7), 1e-3, error=1e-15)[0] == "mismatch"


@pytest.mark.parametrize(
    ("unit", "name"), [(2.0**-23, "float32"), (2.0**-10, "float16"), (2.0**-7, "bfloat16")]
)
def test_the_format_that_sets_the_limit_is_named(unit: float, name: str) -> None:
    verdict, reason = judged(1.0, error=2e-3, unit=unit)
    assert (verdict, REASONS[reason]) == ("unresolved", f"{name} inputs: {REASONS[BLUNT]}")
    verdict, reason = judged(1.0 + 2e-6, confirmed=False, unit=unit)
    assert (verdict, REASONS[reason]) == ("unresolved", f"{name} inputs: {REASONS[DISPUTED]}")
    verdict, reason = judged(1.0, np.nan, np.inf, status=Status.UNRESOLVED, unit=unit)
    assert REASONS[reason] == f"{name} inputs: {Status.UNRESOLVED.value}"
    # What is settled needs no excuse.
    assert judged(1.0, unit=unit) == ("match", MATCHES)
    assert judged(3.0, unit=unit) == ("mismatch", DIFFERS)


def test_an_effect_below_some_spacings_of_coarse_numbers_is_none() -> None:
    assert judged(0.0, 0.0, 5e-6, typical=1e-12)[0] == "unresolved"
    assert judged(0.0, 0.0, 5e-6, typical=1e-12, unit=2.0**-23) == ("match", UNSEEN)
    # But no more than the resolution asked for.
    assert judged(0.0, 0.0, 5e-3, typical=1e-12, unit=2.0**-7)[0] == "unresolved"


def test_failure_prevails_over_doubt_and_doubt_over_success() -> None:
    assert overall([]) == "pass"
    assert overall(["pass", "pass"]) == "pass"
    assert overall(["pass", "inconclusive", "pass"]) == "inconclusive"
    assert overall(["inconclusive", "fail", "pass"]) == "fail"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "pass"),
        (["match", "kink"], "pass"),
        (["match", "unresolved"], "inconclusive"),
        (["unresolved", "mismatch", "match"], "fail"),
    ],
)
def test_verdict_of_a_tensor_is_that_of_its_worst_entry(entries: list[str], expected: str) -> None:
    codes = np.array([VERDICTS.index(verdict) for verdict in entries], dtype=np.uint8)
    assert of_tensor(codes) == expected


def test_every_reason_is_a_sentence_of_its_own() -> None:
    assert len(set(REASONS)) == len(REASONS)


# -- through the whole of a check --------------------------------------------------------------

X = np.array([0.3, -1.2, 2.0, 0.8])


def sines(x: Any) -> Any:
    return np.sum(np.sin(x))


@pytest.mark.parametrize("error", [3e-8, -3e-8, 1e-8])
def test_error_of_single_precision_passes_with_a_finding(error: float) -> None:
    report = check(sines, X, lambda x: np.cos(x) * (1 + error))
    assert report.verdict == "pass"
    (finding,) = report.findings
    assert finding.kind == "precision"
    assert finding.severity == "info"
    assert finding.evidence == {"x": 4}


@pytest.mark.parametrize("error", [1e-6, -1e-6, 1e-5])
def test_error_beyond_single_precision_fails(error: float) -> None:
    report = check(sines, X, lambda x: np.cos(x) * (1 + error))
    assert report.verdict == "fail"
    assert report.entries.counts()["mismatch"] == 4


def test_gradient_in_single_precision_passes() -> None:
    assert check(sines, X, lambda x: np.cos(x.astype(np.float32)))


def test_no_false_alarm_among_a_hundred_thousand_entries() -> None:
    """Accidents of one in ten thousand would happen ten times here."""
    rng = np.random.default_rng(0)
    names = [f"layer{k}" for k in range(100)]
    weights = {name: rng.normal() for name in names}
    x = {name: rng.normal(size=1000) for name in names}

    def layer(name: str, leaf: Any) -> Any:
        return weights[name] * np.sum(np.tanh(leaf), axis=-1)

    def many(points: Any) -> Any:
        # A tensor in which nothing moves comes as one, broadcast: it need not be summed again.
        still = {name for name, leaf in points.items() if leaf.strides[0] == 0}
        parts = (layer(n, leaf[0] if n in still else leaf) for n, leaf in points.items())
        return sum(parts, start=np.zeros(len(points[names[0]])))

    def one(point: Any) -> Any:
        return sum(layer(name, leaf) for name, leaf in point.items())

    def grad(point: Any) -> Any:
        return {name: weights[name] * (1 - np.tanh(leaf) ** 2) for name, leaf in point.items()}

    report = check(one, x, grad, f_batch=many)
    assert report.entries.counts()["match"] == 100_000
    assert report.verdict == "pass"
