"""Two results side by side: which tensors got better and which got worse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import RenderableType
from rich.text import Text

from gradproof.report.model import Report, TensorReport, Verdict
from gradproof.report.ranking import WORST_VERDICTS
from gradproof.report.steps_text import VERDICT_STYLES, Column, Page, heading, lay_out, number
from gradproof.report.store import Result

Judgement = Literal["better", "same", "worse"]

#: Other seeds and other machines move a limit and digits by less than this.
LIMIT_FACTOR = 10.0
DIGITS = 1.0

_STYLES = {"better": "green", "same": "", "worse": "bold red"}


@dataclass(frozen=True)
class Change:
    """One tensor before and after; None where it is not there."""

    case: str
    tensor: str
    before: TensorReport | None
    after: TensorReport | None
    judgement: Judgement


def changes(before: Sequence[Result], after: Sequence[Result]) -> list[Change]:
    """Every tensor of both, judged.

    Worse is a worse verdict; or with the same verdict and the same coverage a detection limit more
    than ten times as large, or more than one digit less where the worst entry agrees (if entries
    were compared in both). A tensor that is gone is worse, and so is a new one that does not pass.
    Two results with a single case each are compared whatever the cases are called.
    """
    found = []
    for case, (old, new) in pairs(before, after).items():
        olds, news = ({} if r is None else r.tensors for r in (old, new))
        for name in dict.fromkeys([*olds, *news]):
            a, b = olds.get(name), news.get(name)
            is_alike = old is not None and new is not None and old.coverage == new.coverage
            found.append(Change(case, name, a, b, judge(a, b, is_alike=is_alike)))
    return found


def pairs(
    before: Sequence[Result], after: Sequence[Result]
) -> dict[str, tuple[Report | None, Report | None]]:
    """The reports of every case, before and after; a single case on either side is one pair."""
    if len(before) == len(after) == 1:
        old, new = before[0].name, after[0].name
        name = new if old in (new, "") else f"{old} -> {new}"
        return {name: (before[0].report, after[0].report)}
    olds, news = ({result.name: result.report for result in some} for some in (before, after))
    return {name: (olds.get(name), news.get(name)) for name in dict.fromkeys([*olds, *news])}


def judge(
    before: TensorReport | None, after: TensorReport | None, *, is_alike: bool = True
) -> Judgement:
    """Whether a tensor is better or worse off than it was.

    Figures count only if both were checked alike: limits of entries and of probes differ by nature.
    """
    if before is None:
        return "worse" if after is not None and after.verdict != "pass" else "same"
    if after is None:
        return "worse"
    gain = _gain(before.verdict, after.verdict)
    if gain:
        return "better" if gain > 0 else "worse"
    if not is_alike:
        return "same"
    a, b = (_limit(tensor) for tensor in (before, after))
    gained, lost = b * LIMIT_FACTOR < a, a * LIMIT_FACTOR < b
    # NaN, no entry compared, is neither more nor less.
    more = after.digits_agree.minimum - before.digits_agree.minimum
    if lost or more < -DIGITS:
        return "worse"
    return "better" if gained or more > DIGITS else "same"


def render_changes(
    before: Sequence[Result],
    after: Sequence[Result],
    *,
    width: int = 100,
    color: bool = False,
    encoding: str = "ascii",
) -> str:
    """The comparison as text: how many got worse, then the tensors that are not the same."""
    page = Page.in_memory(width, color=color, verbose=False, encoding=encoding)
    return page.text(*_parts(before, after, page))


def is_worse(before: Sequence[Result], after: Sequence[Result]) -> bool:
    """Whether a tensor or the verdict of a case got worse."""
    if any(change.judgement == "worse" for change in changes(before, after)):
        return True
    return any(_verdict_fell(old, new) for old, new in pairs(before, after).values())


def _parts(
    before: Sequence[Result], after: Sequence[Result], page: Page
) -> Iterator[RenderableType]:
    all_of_them = changes(before, after)
    counts = {kind: sum(c.judgement == kind for c in all_of_them) for kind in _STYLES}
    word = "WORSE" if is_worse(before, after) else "BETTER" if counts["better"] else "SAME"
    line = Text(word, _STYLES[word.lower()])
    told = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    yield line.append(f": of {len(all_of_them)} tensors {told}", "")
    yield heading("Cases")
    yield from lay_out(page, _columns("case", "evaluations"), _cases(before, after, page))
    moved = [change for change in all_of_them if change.judgement != "same"]
    if moved:
        yield heading("Tensors that are better or worse, the worst last")
        moved.sort(key=lambda change: change.judgement)
        rows = [_row(change, page, len(pairs(before, after)) > 1) for change in moved]
        yield from lay_out(page, _columns("tensor", "digits", "detection\nlimit"), rows)


def _columns(first: str, *others: str) -> list[Column]:
    kinds = [Column(first, "left"), Column("", "left"), Column("verdict", "left")]
    return [*kinds, *(Column(name, "left") for name in others)]


def _cases(before: Sequence[Result], after: Sequence[Result], page: Page) -> list[list[Text]]:
    rows = []
    for case, (old, new) in pairs(before, after).items():
        word = "gone" if new is None else "new" if old is None else ""
        rows.append(
            [
                page.name(case or "check"),
                Text(word),
                _verdicts(old, new),
                _arrow(*("-" if r is None else f"{r.evaluations:,}" for r in (old, new))),
            ]
        )
    return rows


def _row(change: Change, page: Page, with_case: bool) -> list[Text]:
    a, b = change.before, change.after
    name = page.name(f"{change.case}: {change.tensor}" if with_case else change.tensor)
    return [
        name,
        Text(change.judgement, _STYLES[change.judgement]),
        _verdicts(a, b),
        _arrow(*(_digits(t) for t in (a, b))),
        _arrow(*("-" if t is None else number(t.detection_limit) for t in (a, b))),
    ]


def _verdicts(before: Report | TensorReport | None, after: Report | TensorReport | None) -> Text:
    a, b = ("-" if one is None else one.verdict for one in (before, after))
    text = _arrow(a, b)
    text.stylize(VERDICT_STYLES.get(b, ""))
    return text


def _arrow(before: str, after: str) -> Text:
    return Text(before if before == after else f"{before} -> {after}")


def _digits(tensor: TensorReport | None) -> str:
    least = math.nan if tensor is None else tensor.digits_agree.minimum
    return "-" if math.isnan(least) else f"{least:.1f}"


def _limit(tensor: TensorReport) -> float:
    # Without a limit nothing would have been seen.
    limit = tensor.detection_limit
    return math.inf if math.isnan(limit) else limit


def _verdict_fell(before: Report | None, after: Report | None) -> bool:
    if before is None:
        return after is not None and after.verdict != "pass"
    return after is None or WORST_VERDICTS.index(after.verdict) < WORST_VERDICTS.index(
        before.verdict
    )


def _gain(before: Verdict, after: Verdict) -> int:
    """Above 0 if the verdict got better, below if worse."""
    return WORST_VERDICTS.index(after) - WORST_VERDICTS.index(before)
