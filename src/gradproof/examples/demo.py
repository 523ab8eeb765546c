"""The demo: what one sees with a fixed step, and what gradproof makes of it.

It prints a story for a reader who knows nothing of gradproof; the network is that of `digits_cnn`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, RenderableType
from rich.text import Text

from gradproof._errors import InputError
from gradproof.examples.layers import Array
from gradproof.examples.plants import PLANTS
from gradproof.examples.setting import Setting, prepare
from gradproof.numerics.agreement import digits_agree, sign_mismatches
from gradproof.report import build
from gradproof.report.entries import Entries
from gradproof.report.model import Report
from gradproof.report.steps_text import (
    Column,
    Page,
    heading,
    lay_out,
    spread,
    step_size,
    steps_of,
)
from gradproof.report.text import print_report

__all__ = ["STEP", "run_demo"]

#: The fixed step of most checks by hand.
STEP = 1e-4
#: Agreement in fewer digits than this looks like a bug.
FEW_DIGITS = 5
_STYLES = {"pass": "bold green", "fail": "bold red", "inconclusive": "bold yellow"}
_TERMS = {"data": "cross-entropy", "l2": "weight decay"}
#: How gradproof looks at entries, and at all of them together.
_METHODS = (
    "Each entry gets a step of its own, and its numeric value an error bar. The bar says how many "
    "digits of the value are good, the attainable ones; more agreement nobody can ask.\n",
    "All entries are moved together, along random directions, and what f does is compared with "
    "what the gradient says. A few dozen evaluations tell how large an error could have hidden.\n",
)
#: Per tensor, what backpropagation claims and the slopes at the fixed step.
ByHand = Mapping[str, tuple[Array, Array]]


def run_demo(
    console: Console,
    *,
    plant: str | None = None,
    dropout_on: bool = False,
    burn_in: int = 50,
    images: int = 32,
    seed: int = 1,
    **options: Any,
) -> Report:
    """Print the story on the console, and return the report that it tells of.

    Args:
        console: where to print.
        plant: one of `PLANTS`, a bug to put into the gradient.
        dropout_on: draw a new dropout mask at every call, so that the loss is random.
        burn_in: steps of training before the check, with the right gradient.
        images: how many images the loss is taken over.
        seed: of the weights, the training, the images and the check.
        options: more arguments for `gradproof.check`, such as coverage, steps and progress.

    Raises:
        InputError: an option cannot be used.
    """
    if plant is not None and plant not in PLANTS:
        raise InputError(f"Expected plant to be one of {', '.join(PLANTS)} but got plant={plant!r}")
    started = time.perf_counter()
    page = Page(console)
    if plant is not None:
        _say(page, f"Planted bug {plant!r}: {PLANTS[plant].description}.")
        _say(page, f"It makes the gradient of {', '.join(PLANTS[plant].tensors)} wrong.\n")
    setting = prepare(plant=plant, dropout_on=dropout_on, steps=burn_in, images=images, seed=seed)
    _say(page, _introduction(setting, burn_in, options.get("coverage") == "sample"))
    if dropout_on:
        _say(page, "Dropout is on, and draws new random numbers at every call, as in training.")
    report = setting.check(seed=seed, customary=(STEP,), **options)
    by_hand = _check_by_hand(setting, report, is_sample=report.coverage == "sample")
    _show_by_hand(page, by_hand)
    _show_report(page, report)
    _explain(page, by_hand, report)
    _show_terms(page, report)
    _show_steps(page, report)
    _close(page, report, plant, time.perf_counter() - started)
    return report


def _introduction(setting: Setting, burn_in: int, is_sample: bool) -> str:
    sizes = [gradient.size for gradient in setting.gradient().values()]
    count, (before, after) = len(setting.labels), setting.losses
    training = (
        f"Before that it is trained for {burn_in} steps, loss {before:.2f} -> {after:.2f}."
        if burn_in
        else f"It is untrained, with a loss of {after:.2f}."
    )
    return (
        "A small convolutional network reads handwritten digits; its backpropagation is written by "
        f"hand. Is it right? {'Some' if is_sample else 'Each'} of its {sum(sizes):,} weights and "
        f"biases, in {len(sizes)} tensors, {'are' if is_sample else 'is'} moved a little, and what "
        f"the loss (over {count} image{'s' * (count != 1)}) does is compared with the derivative "
        f"from backpropagation. {training}"
    )


def _check_by_hand(setting: Setting, report: Report, *, is_sample: bool) -> ByHand:
    """Those that were drawn, or all entries: also where the report has but a few, or none."""
    pairs = {}
    for name, gradient in setting.gradient().items():
        rows = report.entries.filter(tensor=name).flat_index
        flat = rows if is_sample and len(report.entries) else np.arange(gradient.size)
        pairs[name] = gradient.reshape(-1)[flat], setting.slopes(name, flat, STEP)
    return pairs


def _show_by_hand(page: Page, by_hand: ByHand) -> None:
    columns = (
        Column("tensor", "left"),
        Column("entries"),
        Column("digits agree\n min  med  max"),
        Column("opposite\nsigns"),
    )
    analytic, slopes = map(np.concatenate, zip(*by_hand.values(), strict=True))
    rows = [_figures(Text(name), *pair) for name, pair in by_hand.items()]
    total = _figures(Text("all", "bold"), analytic, slopes)
    _print(page, heading(f"What one sees with a fixed step h = {step_size(STEP)}"))
    _say(page, "Each weight w by itself: (f(w + h) - f(w - h)) / 2h against backpropagation.\n")
    _print(page, *lay_out(page, columns, [*rows, total], closing=1))
    some = _has_effect(analytic, slopes)
    if not some.all():
        _say(page, f"Left out: {np.count_nonzero(~some):,} that are 0 on both sides.", "dim")
    digits = digits_agree(analytic[some], slopes[some])
    most, least = int(digits.max(initial=0.0)), int(digits.min(initial=16.0))
    opposite = sign_mismatches(analytic, slopes)
    even = f", {opposite:,} not even in their sign" if opposite else ""
    some_agree = f"Some weights agree to {most} digits, some to {least or 'none'}"
    what = some_agree if most else "No weight agrees to a single digit"
    _say(page, f"\n{what}{even}. Close enough, or a bug?", "bold")


def _figures(name: Text, analytic: Array, slopes: Array) -> list[Text]:
    some = _has_effect(analytic, slopes)
    figures = build.customary(STEP, analytic[some], slopes[some], ~some[some])
    digits = spread(figures.digits_agree)
    return [name, Text(f"{figures.checked:,}"), digits, Text(f"{figures.sign_mismatches:,}")]


def _has_effect(analytic: Array, slopes: Array) -> NDArray[np.bool_]:
    """Which entries do anything: not those of dead units, or of those that dropout removed."""
    return np.logical_or(analytic, slopes)


def _show_report(page: Page, report: Report) -> None:
    """The report without the parts that the story tells in their own places."""
    _print(page, heading("What gradproof says"))
    _say(page, _METHODS[report.coverage == "probe"])
    tensors = {name: replace(t, customary=()) for name, t in report.tensors.items()}
    print_report(replace(report, tensors=tensors, customary=(), steps=(), terms={}), page.console)


def _explain(page: Page, by_hand: ByHand, report: Report) -> None:
    """What became of the entries that made one doubt."""
    if not len(report.entries) or report.coverage == "probe":
        return
    doubtful = {}
    for name, pair in by_hand.items():
        few = digits_agree(*pair) < FEW_DIGITS
        if few.any():
            doubtful[name] = report.entries.filter(tensor=name).filter(where=few)
    if doubtful:
        where = ", ".join(f"{len(part):,} in {name}" for name, part in doubtful.items())
        _say(page, f"\nOf the entries that agreed to fewer than {FEW_DIGITS} digits ({where}):")
        for line in _outcomes([*doubtful.values()]):
            _say(page, f"- {line}")


def _outcomes(parts: Sequence[Entries]) -> Iterable[str]:
    meanings = {
        "match": "agreed to {least:.1f} digits or more with gradproof's steps: h was to blame",
        "kink": "turned out to lie at a kink, which has two slopes: what lies between will do",
        "unresolved": "could not be resolved",
        "mismatch": "did not come to agree: the gradient is to blame",
    }
    for verdict, meaning in meanings.items():
        some = [part.filter(verdict=verdict) for part in parts]
        if count := sum(map(len, some)):
            least = min(float(e["digits_agree"].min()) for e in some if len(e))
            yield f"{count:,} {meaning.format(least=least)}."


def _show_terms(page: Page, report: Report) -> None:
    _print(page, heading("The terms of the loss, each by itself: a large one can hide a small one"))
    for name, term in report.terms.items():
        line = Text(f"{name} ({_TERMS[name]}, {term.value:.3g}): ")
        line.append(term.verdict.upper(), _STYLES[term.verdict])
        _print(page, line.append(": ").append_text(page.say(term.reason)))


def _show_steps(page: Page, report: Report) -> None:
    for table in report.steps:
        _print(page, heading("A closer look: the fixed step made shorter and shorter"))
        _print(page, *steps_of(table, page))


def _close(page: Page, report: Report, plant: str | None, seconds: float) -> None:
    wrong = [name for name, t in report.tensors.items() if t.verdict == "fail"]
    meaning = {
        "pass": "the gradient is right",
        "fail": f"the gradient of {', '.join(wrong) or 'the loss'} is wrong",
        "inconclusive": "the gradient could be neither confirmed nor refuted",
    }[report.verdict]
    line = Text.assemble("\n", (report.verdict.upper(), _STYLES[report.verdict]), f": {meaning}.")
    _print(page, line.append(f" It took {seconds:.1f} s in all."))
    if plant is not None:
        _say(page, _compare(PLANTS[plant].tensors, wrong))


def _compare(planted: Sequence[str], found: Sequence[str]) -> str:
    """Whether the tensors found wrong are those with the bug.

    >>> _compare(["a", "b"], ["b", "c"])
    'The planted bug was found in b; missed in a; c accused without cause.'
    """
    if set(planted) == set(found):
        return "These are exactly the tensors that the planted bug makes wrong."
    caught = ", ".join(name for name in planted if name in found)
    missed = ", ".join(name for name in planted if name not in found)
    accused = ", ".join(name for name in found if name not in planted)
    parts = [f"found in {caught}" if caught else "not found"]
    parts += [f"missed in {missed}"] if caught and missed else []
    parts += [f"{accused} accused without cause"] if accused else []
    return f"The planted bug was {'; '.join(parts)}."


def _say(page: Page, text: str, style: str = "") -> None:
    _print(page, Text(text, style))


def _print(page: Page, *parts: RenderableType) -> None:
    page.console.print(*parts, sep="\n")
