import numpy as np
import pytest
from numpy.typing import NDArray
from tests.full import check

from gradproof import examine
from gradproof.coverage.probe import Probes

Array = NDArray[np.float64]


def wave(x: Array) -> float:
    return float(np.sum(np.sin(x)))


def wrong_somewhere(x: Array) -> Array:
    gradient = np.cos(x)
    gradient[77] *= 1.01
    return gradient


POINT = np.random.default_rng(0).normal(size=500)


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_entry_that_was_not_drawn_fails_all_the_same(seed: int) -> None:
    report = check(wave, POINT, wrong_somewhere, coverage="sample", samples=3, seed=seed)
    assert report.verdict == "fail"
    if not len(report.entries.filter(verdict="mismatch")):
        assert [finding.kind for finding in report.findings] == ["not-drawn"]


def test_without_the_probes_a_wrong_entry_that_was_not_drawn_would_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Probes, "contradict", property(lambda self: np.zeros(2, dtype=bool)))
    report = check(wave, POINT, wrong_somewhere, coverage="sample", samples=3, seed=0)
    assert report.verdict == "pass"


@pytest.mark.parametrize("seed", range(20))
def test_a_right_gradient_passes_by_sample(seed: int) -> None:
    assert check(wave, POINT, np.cos, coverage="sample", samples=3, seed=seed).verdict == "pass"


def test_steps_of_an_entry_that_is_not_there_are_refused_before_anything_is_climbed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examine, "climb", None)
    with pytest.raises(ValueError, match=r"Expected an entry of shape \(500,\) but got steps="):
        check(wave, POINT, np.cos, steps="x[500]")


def test_a_term_may_bring_its_own_batch() -> None:
    calls = []

    def alone(x: Array) -> float:
        calls.append(1)
        return float(np.sum(x**2))

    terms = {
        "wave": (wave, np.cos, lambda x: np.sin(x).sum(axis=1)),
        "square": (alone, lambda x: 2 * x, lambda x: (x**2).sum(axis=1)),
    }
    report = check(
        lambda x: wave(x) + np.sum(x**2), POINT, lambda x: np.cos(x) + 2 * x, terms=terms
    )
    assert report.verdict == "pass"
    assert [term.verdict for term in report.terms.values()] == ["pass", "pass"]
    assert len(calls) < 10
