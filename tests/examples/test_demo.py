"""The demo's story, told of a right gradient, of wrong ones, and of a random loss."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from gradproof import InputError, Report
from gradproof.examples.demo import run_demo
from gradproof.examples.plants import PLANTS
from gradproof.examples.setting import prepare
from gradproof.report.entries import Entries

QUICK: dict[str, Any] = {"images": 8, "burn_in": 10, "coverage": "sample"}


def tell(width: int = 80, **options: Any) -> tuple[Report, str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    report = run_demo(console, **options)
    assert isinstance(console.file, io.StringIO)
    return report, console.file.getvalue()


def unwrap(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def clean() -> tuple[Report, str]:
    """The demo as `gradproof demo` runs it."""
    return tell()


def test_the_clean_demo_passes_and_names_the_kinks_in_the_early_layers(
    clean: tuple[Report, str],
) -> None:
    report, _ = clean
    assert report.verdict == "pass"
    assert report.terms["data"].verdict == report.terms["l2"].verdict == "pass"
    assert "conv1.weight" in report.reason
    assert "conv1.bias" in report.reason
    assert "fc" not in report.reason


def test_the_story_comes_in_order(clean: tuple[Report, str]) -> None:
    _, text = clean
    story = unwrap(text)
    milestones = [
        "3,658 weights and biases, in 8 tensors",
        "over 32 images",
        "trained for 50 steps, loss 3.78 -> 1.19",
        "fixed step h = 1e-4",
        "Some weights agree to 12 digits, some to 1. Close enough, or a bug?",
        "PASS: ",
        "Of the entries that agreed to fewer than 5 digits (5 in conv1.weight, 1 in conv1.bias)",
        "data (cross-entropy, 1.11): PASS: ",
        "l2 (weight decay, 0.0814): PASS: ",
        "conv1.weight[",
        "kink: ",
        "PASS: the gradient is right. It took",
    ]
    assert [m for m in milestones if m not in story] == []
    where = [story.index(milestones[0])]
    for milestone in milestones[1:]:
        where.append(story.index(milestone, where[-1]))
    assert where == sorted(where)
    assert "Planted" not in story


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "options", [{}, {"plant": "stale-cache"}, {"burn_in": 0}], ids=["clean", "plant", "start"]
)
def test_no_line_is_longer_than_the_console(width: int, options: dict[str, Any]) -> None:
    _, text = tell(width, **QUICK | options)
    assert max(map(len, text.splitlines())) <= width


def test_the_fixed_step_is_judged_without_gradproof() -> None:
    setting = prepare(images=4, steps=5)
    net, h = setting.net, 1e-4

    def loss(offset: float) -> float:
        weight = setting.params["conv2"]["weight"].copy()
        weight[1, 2, 0, 1] += offset
        params = setting.params | {"conv2": setting.params["conv2"] | {"weight": weight}}
        return net.loss(params, setting.images, setting.labels)

    flat = np.array([np.ravel_multi_index((1, 2, 0, 1), (16, 8, 3, 3))])
    by_hand = (loss(h) - loss(-h)) / (2 * h)
    assert setting.slopes("conv2.weight", flat, h) == pytest.approx([by_hand], abs=1e-11)


def test_slopes_do_not_depend_on_how_many_are_taken_at_once() -> None:
    setting = prepare(images=2, steps=0)
    before = {name: a.copy() for name, a in setting.params["fc1"].items()}
    flat = np.arange(300)  # more than one chunk
    together = setting.slopes("fc1.weight", flat, 1e-4)
    alone = [setting.slopes("fc1.weight", flat[i : i + 1], 1e-4)[0] for i in (0, 255, 256, 299)]
    assert together[[0, 255, 256, 299]] == pytest.approx(alone, abs=1e-11)
    assert all(np.array_equal(a, before[name]) for name, a in setting.params["fc1"].items())


def test_a_planted_bug_is_announced_and_found_where_it_is() -> None:
    report, text = tell(**QUICK, plant="kernel-not-flipped")
    story = unwrap(text)
    assert story.startswith("Planted bug 'kernel-not-flipped': ")
    assert "It makes the gradient of conv1.weight, conv1.bias wrong." in story
    assert "did not come to agree: the gradient is to blame." in story
    assert "FAIL: the gradient of conv1.weight, conv1.bias is wrong." in story
    assert story.endswith("These are exactly the tensors that the planted bug makes wrong.")
    assert report.verdict == "fail"
    assert report.terms["data"].verdict == "fail"
    assert report.terms["l2"].verdict == "pass"


def test_a_bug_in_a_small_term_is_found_in_that_term() -> None:
    report, text = tell(**QUICK, plant="l2-doubled")
    assert report.terms["data"].verdict == "pass"
    assert report.terms["l2"].verdict == "fail"
    assert "l2 (weight decay, 0." in text


def test_dropout_left_on_is_the_finding_and_no_mismatch() -> None:
    report, text = tell(**QUICK, dropout_on=True)
    assert report.verdict == "inconclusive"
    assert [finding.kind for finding in report.findings] == ["nondeterministic"]
    story = unwrap(text)
    assert "Dropout is on, and draws new random numbers at every call" in story
    assert "No weight agrees to a single digit" in story
    assert "INCONCLUSIVE: the gradient could be neither confirmed nor refuted." in story


def test_untrained_the_biases_of_the_first_layer_lie_at_a_kink() -> None:
    report, text = tell(**QUICK | {"burn_in": 0})
    assert report.verdict == "pass"
    assert report.tensors["conv1.bias"].counts["kink"] == 8
    story = unwrap(text)
    assert "It is untrained, with a loss of" in story
    assert "8 turned out to lie at a kink" in story


def test_a_sample_is_not_called_everything() -> None:
    report, text = tell(**QUICK, samples=3)
    assert isinstance(report.entries, Entries)
    assert len(report.entries) == 24
    assert "Some of its 3,658 weights and biases" in unwrap(text)


def test_the_step_table_asked_for_is_shown() -> None:
    report, text = tell(**QUICK, steps="fc2.bias[3]")
    assert [table.label for table in report.steps] == ["fc2.bias[3]"]
    assert "fc2.bias[3]: analytic" in text


def test_one_seed_tells_one_story() -> None:
    first, again, other = (tell(**QUICK, seed=seed)[0] for seed in (3, 3, 4))
    assert first.entries == again.entries
    assert first.entries != other.entries
    assert first.seed == 3


def test_an_unknown_plant_is_refused_with_the_list() -> None:
    with pytest.raises(InputError, match=r"(?s)one-entry.*plant='nothing'") as caught:
        tell(plant="nothing")
    assert all(name in str(caught.value) for name in PLANTS)
