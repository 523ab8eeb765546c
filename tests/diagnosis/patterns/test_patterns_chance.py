"""What must not be explained; nothing is explained by accident, or for want of a matcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnosis.patterns.fields import (
    CONSTANTS,
    PARAMETER,
    activation,
    assert_agrees,
    convolution,
    field,
    linear,
    normal,
)

from gradproof.diagnosis.patterns import explain as explaining
from gradproof.diagnosis.patterns.explain import explain
from gradproof.diagnosis.patterns.field import (
    INCOMING,
    RETURNED,
    SECOND_CALL,
    Alternative,
    Field,
)
from gradproof.examples.layers import Array

SHAPES = [(), (1,), (2,), (5,), (2, 2), (3, 3), (3, 4), (4, 2, 3, 3), (3, 5, 5, 2), (30, 20)]
#: Kinds that say where, or that something is 0, and are true whatever the rest is.
PLAIN = {"unexplained", "block"}


def random_field(seed: int, *, sparse: bool = False) -> Field:
    """A right gradient, and a claim that is wrong at random at some or all entries."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    right = rng.standard_normal(shape) * np.exp(rng.integers(3) * rng.standard_normal(shape))
    if sparse:
        right = right * (rng.random(shape) < 0.4)
    junk = rng.standard_normal(shape)
    off = right * (1.0 + 0.05 * junk)
    some = np.where(rng.random(shape) < 0.3, junk, right)
    claim = (junk, off, some)[rng.integers(3)]
    return field(
        right,
        claim,
        bar=float(10.0 ** rng.choice([-12.0, -8.0, -4.0, -2.0, -0.5])),
        count=None if rng.random() < 0.5 else int(rng.integers(1, 30)),
        arrays={PARAMETER: rng.standard_normal(shape), INCOMING: rng.standard_normal(shape)},
        seed=seed,
    )


@pytest.mark.parametrize("start", range(0, 200, 50))
def test_errors_at_random_are_not_explained(start: int) -> None:
    kinds = [explain(random_field(seed))[0].kind for seed in range(start, start + 50)]
    assert set(kinds) <= PLAIN


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=80, deadline=None, derandomize=True, database=None)
def test_no_explanation_leaves_what_was_found(seed: int, sparse: bool) -> None:
    seen = random_field(seed, sparse=sparse)
    found = explain(seen)
    assert len(found) >= 1
    for explanation in found:
        assert_agrees(seen, explanation)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (), (4,)])
def test_nothing_looked_at_is_unexplained(shape: tuple[int, ...]) -> None:
    seen = field(normal(*shape), 2.0 * normal(*shape), at=[])
    (found,) = explain(seen)
    assert found.kind == "unexplained"
    assert "agrees at all 0 entries" in found.message


def test_a_right_claim_is_unexplained_and_said_to_agree() -> None:
    (found,) = explain(field(linear(), linear()))
    assert found.kind == "unexplained"
    assert found.message == "the claim agrees at all 48 entries looked at"


def test_the_unexplained_shows_the_worst_entries() -> None:
    claim = normal(6, 8)
    (found,) = explain(field(linear(), claim))
    assert found.kind == "unexplained"
    worst = found.evidence["worst"]
    assert isinstance(worst, list)
    gap = np.abs(claim - linear())
    place = np.unravel_index(gap.argmax(), gap.shape)
    assert worst[0]["index"] == f"[{place[0]}, {place[1]}]"
    assert worst[0]["claim"] == claim[place]
    assert len(worst) == 5


def test_an_infinite_bar_everywhere_says_nothing() -> None:
    seen = field(linear(), 2.0 * linear())
    seen.error[:] = np.inf
    assert [e.kind for e in explain(seen)] == ["unexplained"]


def test_nothing_that_was_given_is_changed() -> None:
    x = normal(6, 8)
    seen = field(linear(), linear() + 0.1 * x, arrays={PARAMETER: x})
    for array in (seen.claim, seen.numeric, seen.error, seen.index, *seen.arrays.values()):
        array.flags.writeable = False
    assert explain(seen)[0].kind == "extra-term"


def test_a_large_tensor_is_explained_from_few_entries() -> None:
    right = normal(1000, 1000)
    arrays = {PARAMETER: normal(1000, 1000, seed=2)}
    (found,) = explain(field(right, right / 5.0, count=8, arrays=arrays))
    assert found.kind == "factor"
    assert found.message.endswith(": 0.2 is 1 over the batch size")
    assert explain(field(right, right.T, count=8, arrays=arrays))[0].kind == "transposed"
    junk = np.where(normal(1000, 1000, seed=3) > 0.0, right, right[::-1, ::-1] ** 2)
    assert explain(field(right, junk, count=64, arrays=arrays))[0].kind == "unexplained"


def test_a_long_vector_is_no_matter_of_slices() -> None:
    right = normal(200_000)
    assert explain(field(right, normal(200_000, seed=2), count=12))[0].kind == "unexplained"


def _needed() -> dict[str, tuple[str, Callable[[], Field]]]:
    """For each matcher a mistake that no other one explains in the same words."""
    g, x = linear(), normal(6, 8)
    square, rows = linear(6, 6), linear(8, 6)
    kernel, image = convolution(), activation()
    kept = normal(*image.shape, seed=9) > 0.0
    sign = np.where(normal(*image.shape) > 0.0, 1.0, 0.2)
    pairs = normal(6, 5, 2)
    corner, last, ends = kernel.copy(), kernel.copy(), g.copy()
    corner[0, :2, 0] = 3.0 * kernel[0, :2, 0] + 1.0
    last[-1] = 0.0
    ends[:, 0] *= 3.3
    centred = x - x.mean(axis=0)
    by_statistics = g - g.mean(axis=0) - centred * (g * centred).mean(axis=0)
    old = Alternative("stale", "x is old", x.ravel(), 1e-9 * np.abs(x).ravel())

    def of(right: Any, claim: Any, **options: Any) -> Callable[[], Field]:
        return lambda: field(right, claim, **options)

    def with_x(right: Array, claim: Array) -> Callable[[], Field]:
        return of(right, claim, arrays={PARAMETER: x})

    return {
        "match_zero": ("zero", of(g, 0.0 * g)),
        "match_no_gradient": ("extra-term", of(0.0 * g, g)),
        "match_factor": ("factor", of(g, 3.3 * g)),
        "match_term": ("missing-term", with_x(g + 0.1 * x, g)),
        "match_alternative": ("stale", of(g, x, alternatives=[old])),
        "match_array_factor": ("factor", with_x(g, g * x)),
        "match_places": ("transposed", of(square, square.T)),
        "match_accumulated": ("accumulated", of(g, g + x, arrays={SECOND_CALL: 2.0 * g + x})),
        "match_array": ("stale", of(g, x, arrays={"the gradient of before": x})),
        "match_conjugate": ("conjugate", of(pairs, pairs * [1.0, -1.0])),
        "match_zero_slice": ("zero", of(kernel, last, at=[3, 50, 100])),
        "match_unsummed": ("not-summed", of(np.tile(g.sum(1)[:, None], 8), g)),
        "match_constant": ("not-summed", of(g, np.tile(g[:, :1], 8))),
        "match_mean_of_incoming": (
            "not-summed",
            of(g, np.full(g.shape, x.mean()), count=20, arrays={INCOMING: x}),
        ),
        "match_factor_of_one_term": ("factor", with_x(g + x, 3.3 * g + x)),
        "match_clipped": ("clipped", of(g, g.clip(-0.3, 0.3))),
        "match_precision": ("precision", of(g, g.astype(np.float32))),
        "match_mask": (
            "mask",
            of(image * sign, image * sign**2, arrays={PARAMETER: normal(*image.shape)}, count=24),
        ),
        "match_masked": (
            "mask",
            of(
                image * kept,
                image * (image > 0.0),
                arrays={PARAMETER: kept - 0.5, INCOMING: image},
            ),
        ),
        "match_two_ratios": ("mask", of(image * kept, image)),
        "match_block": ("block", of(g, ends)),
        "match_operand": ("transposed", of(square**2, square * square.T, arrays={"y": square})),
        "match_order": ("misplaced", of(rows, rows[[1, 2, 0, 3, 4, 5, 7, 6]])),
        "match_factor_by_slice": ("factor", of(g, g * np.arange(1.5, 7.5)[:, None])),
        "match_term_by_slice": ("missing-term", of(g - g.mean(1)[:, None], g)),
        "match_two_terms_by_slice": ("missing-term", with_x(by_statistics, g)),
        "match_product": (
            "missing-term",
            of(
                x * (g - (g * x).sum(1)[:, None]),
                g * x * (1.0 - x),
                arrays={RETURNED: x, INCOMING: g},
            ),
        ),
        "match_misplaced": (
            "misplaced",
            of(g, g.ravel()[np.random.default_rng(0).permutation(48)].reshape(6, 8)),
        ),
        "match_place": ("block", of(kernel, corner)),
    }


NEEDED = _needed()


def _without(name: str, matchers: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(m for m in matchers if m.__name__ != name)


@pytest.mark.parametrize("name", NEEDED)
def test_each_matcher_is_needed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, build = NEEDED[name]
    found = explain(build())[0]
    assert found.kind == kind
    for stage in ("_WHOLE", "_FREE"):
        monkeypatch.setattr(explaining, stage, _without(name, getattr(explaining, stage)))
    monkeypatch.setattr(explaining, "_INSIDE", _without(name, explaining._INSIDE))
    assert explain(build())[0].message != found.message


def test_every_matcher_has_a_mistake_that_needs_it() -> None:
    names = {m.__name__ for m in (*explaining._WHOLE, *explaining._FREE)}
    assert names == set(NEEDED)


def test_a_block_is_explained_by_what_a_whole_tensor_is_explained_by() -> None:
    right = convolution()
    for factor, inside in ((-1.0, "sign-flip"), (3.3, "factor"), (7.0, "accumulated")):
        claim = right.copy()
        claim[1] *= factor
        found = explain(field(right, claim, constants=CONSTANTS))[0]
        assert (found.kind, found.evidence["inside"]) == ("block", inside)
    right = activation()
    claim = right.copy()
    claim[1] = right[1, ::-1]
    found = explain(field(right, claim))[0]
    assert (found.kind, found.evidence["inside"]) == ("block", "flipped-kernel")
    assert "wrong only in [1, :, :, :]" in found.message
    assert found.corrected == pytest.approx(right.ravel())
