"""Reports as text: what a reader sees first, in any console, with any name."""

import dataclasses
import io
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from gradproof.numerics import agreement
from gradproof.report.entries import Entries
from gradproof.report.model import (
    Customary,
    Finding,
    Report,
    Spread,
    StepRow,
    StepTable,
    TensorReport,
    Verdict,
)
from gradproof.report.steps_text import derivative_pair
from gradproof.report.text import (
    print_report,
    render_steps,
    render_table_of_tensors,
    render_text,
)

NAN = math.nan


def spread_of(digits: NDArray[Any]) -> Spread:
    if not digits.size:
        return Spread(NAN, NAN, NAN)
    return Spread(float(np.min(digits)), float(np.median(digits)), float(np.max(digits)))


def tensor_of(entries: Entries, name: str, verdict: Verdict, reason: str) -> TensorReport:
    shape = entries.shapes[entries.names.index(name)]
    rows = entries.filter(tensor=name)
    a, n = rows["analytic"], rows["numeric"]
    return TensorReport(
        name=name,
        shape=shape,
        size=math.prod(shape),
        checked=len(rows),
        verdict=verdict,
        reason=reason,
        counts=rows.counts(),
        digits_agree=spread_of(rows["digits_agree"]),
        digits_attainable=spread_of(rows["digits_attainable"]),
        detection_limit=2e-11 if len(rows) else NAN,
        norm_ratio=agreement.norm_ratio(a, n),
        max_relative_error=agreement.max_relative_error(a, n),
        sign_mismatches=agreement.sign_mismatches(a, n),
        worst=next(iter(rows.worst(1)), None),
    )


def report_of(
    entries: Entries,
    verdict: Verdict,
    reason: str,
    tensors: Mapping[str, tuple[Verdict, str]] | None = None,
    **changes: Any,
) -> Report:
    judged = tensors or {}
    a, n = entries["analytic"], entries["numeric"]
    report = Report(
        verdict=verdict,
        reason=reason,
        tensors={
            name: tensor_of(entries, name, *judged.get(name, ("pass", "")))
            for name in entries.names
        },
        entries=entries,
        findings=(),
        norm_ratio=agreement.norm_ratio(a, n),
        max_relative_error=agreement.max_relative_error(a, n),
        sign_mismatches=agreement.sign_mismatches(a, n),
        digits_agree=spread_of(entries["digits_agree"]),
        digits_attainable=spread_of(entries["digits_attainable"]),
        evaluations=3412,
        gradient_evaluations=5,
        seconds=1.234,
        noise=2.2e-16,
        seed=7,
        coverage="sample",
        resolution=1e-3,
        value=2.3025851,
    )
    return dataclasses.replace(report, **changes)


def customary(step: float, error: float, kinks: int = 0, without: float | None = None) -> Customary:
    without = error if without is None else without
    return Customary(
        step=step,
        checked=40,
        kinks=kinks,
        digits_agree=Spread(3.1, 9.8, 12.0),
        sign_mismatches=0,
        norm_ratio=error / 3,
        max_relative_error=error,
        max_relative_error_without_kinks=without,
    )


def step_table(label: str = "conv1.weight[3, 0, 2, 1]") -> StepTable:
    rows = (
        StepRow(1e-3, -0.012345308912, 3.7e-7, 3.7e-7, 2.5e-13),
        StepRow(1e-4, -0.012345675210, 3.7e-9, 3.7e-9, 2.5e-12),
        StepRow(2.0**-16, -0.012345678825, 8.7e-11, 8.6e-11, 1.6e-11),
        StepRow(1e-6, -0.012345678659, 2.5e-10, 3.7e-13, 2.5e-10),
    )
    return StepTable(
        label=label,
        analytic=-0.0123456789123,
        numeric=-0.0123456789124,
        error=3e-12,
        rows=rows,
        order=2.001,
        rounding_order=-0.98,
        cause="agrees",
        explanation="the difference falls a hundredfold from h to h/10 until rounding sets in",
    )


def passing() -> Report:
    """Two kinks accepted in conv1, everything else to the last attainable digit."""
    entries = Entries.build(
        ["conv1.weight", "fc1.bias"],
        [(2, 1, 3, 3), (2,)],
        tensor=[0, 0, 0, 0, 1, 1],
        flat_index=[0, 4, 9, 17, 0, 1],
        value=0.5,
        analytic=[0.25, 0.5, 0.0123456789123, -3.5e-7, 1.25, 0.0],
        numeric=[0.125, 0.25, 0.0123456789124, -3.5000001e-7, 1.25, 0.0],
        error=[1e-12, 1e-12, 3e-13, 2e-14, 0.0, 0.0],
        verdict=["kink", "kink", "match", "match", "match", "match"],
        reason=2 * ["the analytic value lies between both one-sided slopes"] + 4 * [""],
    )
    rules = (customary(1e-4, 8e-4, 14, 2e-10), customary(1e-5, 3e-6, 2, 4e-8))
    report = report_of(
        entries,
        "pass",
        "all 6 entries agree to every attainable digit",
        findings=(
            Finding("float32-inside", "f rounds to float32: its noise is 6e-8", severity="warning"),
            Finding("kink", "14 entries cross a ReLU kink at h = 1e-4", tensor="conv1.weight"),
        ),
        customary=rules,
        steps=(step_table(),),
    )
    conv1 = dataclasses.replace(report.tensors["conv1.weight"], customary=rules)
    return dataclasses.replace(report, tensors={**report.tensors, "conv1.weight": conv1})


def failing(rows: int = 15) -> Report:
    """Every sign of conv2.weight flipped, one NaN in fc1.bias."""
    numeric = 0.0123456789123 * 1.1 ** np.arange(rows)
    entries = Entries.build(
        ["conv2.weight", "fc1.bias"],
        [(rows, 2), (4,)],
        tensor=[0] * rows + [1, 1],
        flat_index=[*range(rows), 2, 3],
        value=0.5,
        analytic=[*-numeric, -0.07, 1.5],
        numeric=[*numeric, NAN, 1.5],
        error=[*(numeric * 1e-11 / np.arange(1, rows + 1)), NAN, 1e-12],
        verdict=["mismatch"] * rows + ["unresolved", "match"],
        reason=["the gap stays as the step shrinks"] * rows + ["f(x+t) is NaN", ""],
    )
    sign = Finding(
        "sign-flip",
        f"ratio -1.0000000000 on {rows} of {rows} entries",
        tensor="conv2.weight",
        severity="bug",
        evidence={"ratio": -1.0, "entries": rows},
    )
    return report_of(
        entries,
        "fail",
        "conv2.weight has its sign flipped",
        {
            "conv2.weight": ("fail", f"{rows} of {rows} entries have the opposite sign"),
            "fc1.bias": ("inconclusive", "1 of 2 entries could not be resolved"),
        },
        findings=(sign, Finding("nan", "f is NaN near fc1.bias[2]", severity="warning")),
        terms={
            "data": passing(),
            "decay": report_of(Entries.empty(), "inconclusive", "no tensors"),
        },
    )


def random_f() -> Report:
    entries = Entries.build(
        ["w", "b"],
        [(2, 2), ()],
        tensor=[0, 0, 1],
        flat_index=[0, 3, 0],
        value=0.5,
        analytic=[-2.63e-4, 0.0147, -0.91],
        numeric=[-9.28e-5, 0.0121, -0.18],
        error=[1.9e-4, 2.8e-3, 0.76],
        verdict="unresolved",
        reason="the bar is as wide as the derivative",
    )
    unclear: tuple[Verdict, str] = ("inconclusive", "no entry could be resolved")
    return report_of(
        entries,
        "inconclusive",
        "f is random: two calls at one point differ by 0.03",
        {"w": unclear, "b": unclear},
        findings=(
            Finding("dropout-on", "switch dropout off, or fix its seed", severity="warning"),
        ),
        noise=0.021,
    )


PASSING = """\
PASS: all 6 entries agree to every attainable digit

Findings
info     kink            conv1.weight: 14 entries cross a ReLU kink at h = 1e-4
warning  float32-inside  f rounds to float32: its noise is 6e-8

Tensors
                                           digits agree      attainable
tensor        shape    checked  verdict   min  med  max   min  med  max
-----------------------------------------------------------------------
conv1.weight  2x1x3x3     4/18  pass      0.3  3.9 11.1   7.2 10.9 11.4
fc1.bias      2              2  pass     15.9 15.9 15.9  15.9 15.9 15.9
-----------------------------------------------------------------------
all 2                     6/20  pass      0.3  9.3 15.9   7.2 11.2 15.9

              at a  sign mis-   norm  max rel.  detection  worst
tensor        kink    matches  ratio     error      limit  entry
-----------------------------------------------------------------------
conv1.weight     2          0   0.33      0.50    2.0e-11  [0, 0, 1, 1]
fc1.bias         0          0      0         0    2.0e-11  [0]
-----------------------------------------------------------------------
all 2            2          0   0.11      0.50

kink conv1.weight: 2 entries at a kink, such as [0, 0, 0, 0]: the analytic value
lies between both one-sided slopes; the other 2 agree to 7.5 digits or more

Rules of thumb (plain central differences with a fixed step h)
                      digits agree  sign mis-  kinks in
tensor        h      min  med  max    matches  x-h..x+h
-------------------------------------------------------
conv1.weight  1e-4   3.1  9.8 12.0          0     14/40
              1e-5   3.1  9.8 12.0          0      2/40
-------------------------------------------------------
all           1e-4   3.1  9.8 12.0          0     14/40
              1e-5   3.1  9.8 12.0          0      2/40

                    norm(g-n) /  largest rel.       without
tensor        h       norm(g+n)         error     the kinks
-----------------------------------------------------------
conv1.weight  1e-4  2.7e-4 poor   8.0e-4 poor  2.0e-10 good
              1e-5  1.0e-6 poor   3.0e-6 fair   4.0e-8 good
-----------------------------------------------------------
all           1e-4  2.7e-4 poor   8.0e-4 poor  2.0e-10 good
              1e-5  1.0e-6 poor   3.0e-6 fair   4.0e-8 good
In a word: norm(g-n)/norm(g+n) is good up to 1e-8, else poor (UFLDL expects
about 1e-9); a relative error is good up to 1e-7, fair up to 1e-4 (enough where
there are kinks), poor up to 1e-2, bad beyond (cs231n).
At h = 1e-4 the largest relative error is poor only where a kink lies between
x-h and x+h (14 of 40); elsewhere it is 2.0e-10: good.
At h = 1e-5 the largest relative error is fair only where a kink lies between
x-h and x+h (2 of 40); elsewhere it is 4.0e-8: good.

Error against step h (plain central differences)
conv1.weight[3, 0, 2, 1]: analytic -0.012345678912, numeric -0.012345678912 +-
3.0e-12
h         numeric at h    difference  truncation  rounding  larger part
-----------------------------------------------------------------------
1e-3     -0.012345308912      3.7e-7      3.7e-7   2.5e-13  truncation
1e-4     -0.012345675210      3.7e-9      3.7e-9   2.5e-12  truncation
1.53e-5  -0.012345678825     8.7e-11     8.6e-11   1.6e-11  truncation
1e-6     -0.012345678659     2.5e-10     3.7e-13   2.5e-10  rounding
The distance from the numeric value goes as h^2.00 where truncation rules (h^2
is the Cauchy remainder) and as h^-0.98 where rounding rules (h^-1 expected).
agrees: the difference falls a hundredfold from h to h/10 until rounding sets in

3,412 evaluations of f, 5 of the gradient; 1.2 s; f = 2.30259; noise 2.2e-16;
seed 7; coverage sample; resolution 1e-3
"""
FAILING = """\
FAIL: conv2.weight has its sign flipped

Findings
warning  nan        f is NaN near fc1.bias[2]
bug      sign-flip  conv2.weight: ratio -1.0000000000 on 15 of 15 entries

Tensors
                                              digits agree      attainable
tensor        shape  checked  verdict        min  med  max   min  med  max
--------------------------------------------------------------------------
conv2.weight  15x2     15/30  fail           0.0  0.0  0.0  11.0 11.9 12.2
fc1.bias      4          2/4  inconclusive   0.0  8.0 15.9   0.0  6.1 12.2
--------------------------------------------------------------------------
all 2                  17/34  fail           0.0  0.0 15.9   0.0 11.9 12.2

              at a  sign mis-   norm  max rel.  detection  worst
tensor        kink    matches  ratio     error      limit  entry
-----------------------------------------------------------------
conv2.weight     0         15    inf       2.0    2.0e-11  [7, 0]
fc1.bias         0          0    nan       nan    2.0e-11  [2]
-----------------------------------------------------------------
all 2            0         15    nan       nan

fail conv2.weight: 15 of 15 entries have the opposite sign
inconclusive fc1.bias: 1 of 2 entries could not be resolved

Entries that disagree or stay unresolved, the worst last
6 more (6 mismatch) are left out (verbose shows more).
entry            analytic                      difference  same  digits agree
verdict          numeric +- error              rel. error  sign    attainable
-----------------------------------------------------------------------------
conv2.weight    -0.02187112327955                  -0.044  no             0.0
[3, 0]           0.02187112327955 +- 3.1e-14          2.0                11.8
mismatch (1)
conv2.weight    -0.02405823560751                  -0.048  no             0.0
[3, 1]           0.02405823560751 +- 3.0e-14          2.0                11.9
mismatch (1)
conv2.weight    -0.02646405916826                  -0.053  no             0.0
[4, 0]           0.02646405916826 +- 2.9e-14          2.0                12.0
mismatch (1)
conv2.weight    -0.029110465085085                 -0.058  no             0.0
[4, 1]           0.029110465085085 +- 2.9e-14         2.0                12.0
mismatch (1)
conv2.weight    -0.032021511593594                 -0.064  no             0.0
[5, 0]           0.032021511593594 +- 2.9e-14         2.0                12.0
mismatch (1)
conv2.weight    -0.035223662752953                 -0.070  no             0.0
[5, 1]           0.035223662752953 +- 2.9e-14         2.0                12.1
mismatch (1)
conv2.weight    -0.038746029028248                 -0.077  no             0.0
[6, 0]           0.038746029028248 +- 3.0e-14         2.0                12.1
mismatch (1)
conv2.weight    -0.042620631931073                 -0.085  no             0.0
[6, 1]           0.042620631931073 +- 3.0e-14         2.0                12.1
mismatch (1)
conv2.weight    -0.046882695124181                 -0.094  no             0.0
[7, 0]           0.046882695124181 +- 3.1e-14         2.0                12.2
mismatch (1)
fc1.bias        -0.0700000                            nan  no             0.0
[2]              nan +- nan                           nan                 0.0
unresolved (2)
(1) the gap stays as the step shrinks
(2) f(x+t) is NaN

Terms, each checked by itself
data: PASS: all 6 entries agree to every attainable digit
decay: INCONCLUSIVE: no tensors

3,412 evaluations of f, 5 of the gradient; 1.2 s; f = 2.30259; noise 2.2e-16;
seed 7; coverage sample; resolution 1e-3
"""
RANDOM = """\
INCONCLUSIVE: f is random: two calls at one point differ by 0.03

Findings
warning  dropout-on  switch dropout off, or fix its seed

Tensors
                                         digits agree      attainable
tensor  shape   checked  verdict        min  med  max   min  med  max
---------------------------------------------------------------------
w       2x2         2/4  inconclusive   0.2  0.5  0.8   0.0  0.3  0.6
b       scalar        1  inconclusive   0.1  0.1  0.1   0.0  0.0  0.0
---------------------------------------------------------------------
all 2               3/5  inconclusive   0.1  0.2  0.8   0.0  0.0  0.6

        at a  sign mis-   norm  max rel.  detection  worst
tensor  kink    matches  ratio     error      limit  entry
-----------------------------------------------------------
w          0          0  0.097      0.65    2.0e-11  [1, 1]
b          0          0   0.67      0.80    2.0e-11  []
-----------------------------------------------------------
all 2      0          0   0.67      0.80

inconclusive w, b: no entry could be resolved

Entries that disagree or stay unresolved, the worst last
entry            analytic           difference  same  digits agree
verdict          numeric +- error   rel. error  sign    attainable
------------------------------------------------------------------
w               -2.63e-4               -1.7e-4  yes            0.2
[0, 0]          -9.28e-5 +- 1.9e-4        0.65                 0.0
unresolved (1)
w                0.0147                 2.6e-3  yes            0.8
[1, 1]           0.0121 +- 2.8e-3         0.18                 0.6
unresolved (1)
b               -0.910                   -0.73  yes            0.1
unresolved (1)  -0.180 +- 0.76            0.80                 0.0
(1) the bar is as wide as the derivative

3,412 evaluations of f, 5 of the gradient; 1.2 s; f = 2.30259; noise 0.021; seed
7; coverage sample; resolution 1e-3
"""


@pytest.mark.parametrize(
    ("make", "golden"), [(passing, PASSING), (failing, FAILING), (random_f, RANDOM)]
)
def test_reports_read_as_they_did(make: Callable[[], Report], golden: str, tmp_path: Path) -> None:
    actual = render_text(make(), width=80) + "\n"
    if actual != golden:
        saved = tmp_path / f"{make.__name__}.txt"
        saved.write_text(actual, encoding="ascii")
        pytest.fail(f"the text has changed; what it is now:\n{actual}\nsaved as {saved}")


def many_tensors(count: int, prefix: str = "encoder.layers.") -> Report:
    names = [f"{prefix}{i}.weight" for i in range(count)]
    entries = Entries.build(
        names,
        [(64, 3, 7, 7)] * count,
        tensor=np.arange(count),
        flat_index=63 * 147 + np.arange(count) % 147,
        value=0.0,
        analytic=-np.pi,
        numeric=-np.pi + 1e-10 * np.arange(count),
        error=1e-6,
        verdict="match",
    )
    report = report_of(entries, "pass", "all agree")
    rules = (customary(1e-4, 1e-3, 4, 1e-9), customary(1e-5, 1e-8))
    tensors = {k: dataclasses.replace(t, customary=rules) for k, t in report.tensors.items()}
    return dataclasses.replace(report, tensors=tensors, customary=rules)


@pytest.mark.parametrize("make", [passing, failing, random_f, lambda: many_tensors(30)])
@pytest.mark.parametrize("width", [80, 100, 133, 200])
def test_no_line_is_wider_than_asked_for(make: Callable[[], Report], width: int) -> None:
    lines = render_text(make(), width=width, verbose=True).split("\n")
    assert len(lines) > 10
    assert max(map(len, lines)) <= width
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_thirty_tensors_take_one_line_each(width: int) -> None:
    text = render_table_of_tensors(many_tensors(30), width=width)
    for i in range(30):
        # Once in each part of the table, with the name in one piece.
        assert text.count(f"encoder.layers.{i}.weight ") == text.count("\ntensor ")
    assert text.count("\n") < text.count("\ntensor ") * (30 + 6)


def test_the_verdict_comes_first_and_the_bookkeeping_last() -> None:
    lines = render_text(failing()).split("\n")
    assert lines[0] == "FAIL: conv2.weight has its sign flipped"
    assert lines[-2].startswith("3,412 evaluations of f, 5 of the gradient; 1.2 s; f = 2.30259;")
    last = " ".join(lines[-2:])
    assert "noise 2.2e-16; seed 7; coverage sample; resolution 1e-3" in last


def flowing(text: str) -> str:
    """The text without its line breaks."""
    return " ".join(text.split())


def test_findings_end_with_the_worst() -> None:
    text = render_text(failing())
    assert text.index("f is NaN near") < text.index("ratio -1.0000000000")
    assert "conv2.weight: ratio -1.0" in text


def test_a_finding_names_its_tensor_once() -> None:
    findings = (
        Finding("one", "both slopes differ", tensor="b"),
        Finding("two", "the sign of conv2.b is flipped", tensor="b"),
        Finding("three", "b is zero", tensor="b"),
        Finding("four", "b[3] is zero", tensor="b"),
    )
    text = render_text(dataclasses.replace(passing(), findings=findings))
    assert "b: both slopes differ" in text
    assert "b: the sign of conv2.b" in text
    assert "b: b is zero" not in text
    assert "b: b[3]" not in text


def test_evidence_is_shown_on_request() -> None:
    assert "[ratio = -1.0; entries = 15]" not in flowing(render_text(failing()))
    assert "[ratio = -1.0; entries = 15]" in flowing(render_text(failing(), verbose=True))


def test_ten_wrong_entries_are_listed_the_worst_last_and_the_others_counted() -> None:
    text = render_text(failing(200))
    assert "191 more (191 mismatch) are left out" in text
    assert text.count("mismatch (1)") == 9
    table = text[text.index("Entries that disagree") :]
    assert table.index("conv2.weight[99, 0]") < table.index("conv2.weight[99, 1]")
    assert table.index("conv2.weight[99, 1]") < table.index("fc1.bias[2]")
    assert render_text(failing(200), verbose=True).count("mismatch (1)") == 99


def test_right_entries_are_not_listed() -> None:
    text = flowing(render_text(passing()))
    assert "Entries that disagree" not in text
    assert "conv1.weight: 2 entries at a kink, such as [" in text
    assert "the analytic value lies between" in text
    assert "the other 2 agree to 7.5 digits or more" in text


def test_a_kink_is_named_as_the_reason_of_a_bad_rule_of_thumb() -> None:
    text = flowing(render_text(passing()))
    assert "At h = 1e-4 the largest relative error is poor only where a kink lies between" in text
    assert "(14 of 40); elsewhere it is 2.0e-10: good." in text


def test_a_rule_that_contradicts_the_verdict_is_said_to_be_none_of_it() -> None:
    report = dataclasses.replace(passing(), customary=(customary(1e-4, 0.5),))
    text = flowing(render_text(report))
    assert "this rule alone would have called the gradient bad" in text
    wrong = dataclasses.replace(report, verdict="fail")
    assert "this rule alone" not in flowing(render_text(wrong))


@pytest.mark.parametrize(
    ("error", "word"),
    [(1e-9, "good"), (1e-7, "good"), (1e-5, "fair"), (1e-3, "poor"), (0.1, "bad"), (NAN, "bad")],
)
def test_relative_errors_are_judged_as_cs231n_does(error: float, word: str) -> None:
    rule = customary(1e-5, error)
    report = dataclasses.replace(passing(), customary=(rule,), tensors={})
    line = next(line for line in render_text(report).split("\n") if line.startswith("all "))
    assert line.split()[-1] == word
    ratio = "good" if error / 3 <= 1e-8 else "bad" if math.isnan(error) else "poor"
    assert line.split()[-5] == ratio


def test_where_every_entry_has_a_kink_nothing_is_judged_without_them() -> None:
    report = dataclasses.replace(passing(), customary=(customary(1e-4, 0.5, 40, NAN),), tensors={})
    line = next(line for line in render_text(report).split("\n") if line.startswith("all "))
    assert line.endswith("0.50 bad          -")


def test_many_tensors_are_cut_to_the_worst_unless_verbose() -> None:
    report = many_tensors(100)
    text = render_text(report)
    assert "60 more tensors, none of them worse, are left out" in text
    assert "88 more tensors, none of them worse, are left out" in text
    assert "encoder.layers.99.weight" in text  # the largest relative error
    assert "encoder.layers.10.weight" not in render_table_of_tensors(report)
    assert "left out" not in render_text(report, verbose=True)


def test_a_failing_tensor_is_never_cut() -> None:
    report = many_tensors(100)
    name = "encoder.layers.3.weight"
    failed = dataclasses.replace(report.tensors[name], verdict="fail")
    report = dataclasses.replace(report, tensors={**report.tensors, name: failed})
    assert name in render_table_of_tensors(report)


def test_an_empty_report_still_says_what_happened() -> None:
    text = render_text(report_of(Entries.empty(), "inconclusive", "there is nothing to check"))
    lines = text.split("\n")
    assert lines[0] == "INCONCLUSIVE: there is nothing to check"
    assert len(lines) == 4


def test_an_empty_tensor_has_dashes_not_perfect_agreement() -> None:
    report = report_of(Entries.empty(["none"], [(0, 3)]), "inconclusive", "nothing checked")
    table = render_table_of_tensors(report, width=200)
    row = table.split("\n")[-1]
    assert row.split() == ["none", "0x3", "0", "pass", *6 * ["-"], "0", "0", *4 * ["-"]]


def test_nan_is_shown_as_nan() -> None:
    text = render_text(failing())
    assert "unresolved (2)" in text
    assert " nan +- nan" in text
    table = render_table_of_tensors(failing(), width=200).split("\n")
    row = next(line for line in table if line.startswith("fc1.bias"))
    assert row.split()[-4:] == ["nan", "nan", "2.0e-11", "[2]"]


HOSTILE = {
    "markup": "[red]w[/red]",
    "broken markup": "w[/]",
    "emoji": "w:smile:",
    "newline": "w\nPASS: all is well\r\tx",
    "escape": "w\x1b[31m\x1b]0;title\x07",
    "bidi": "w\u202etfel",
    "surrogate": "w\udc80",
    "letters": "gewicht_\u03b2\u2202\u6f22",
    "long": "block." * 2000 + "weight",
    "blank": "",
    "spaces": "a b  c",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("width", [80, 100])
def test_names_are_data(kind: str, width: int) -> None:
    name = HOSTILE[kind]
    entries = dataclasses.replace(failing().entries, names=(name, "fc1.bias"))
    report = report_of(
        entries,
        "fail",
        f"{name} is wrong",
        {name: ("fail", f"{name} is wrong")},
        findings=(Finding(name, f"{name} is wrong", tensor=name, evidence={name: name}),),
        customary=(customary(1e-4, 0.1),),
        steps=(step_table(name),),
        terms={name: passing()},
    )
    text = render_text(report, width=width, verbose=True)
    assert text.isascii()
    assert set(text) - {"\n"} <= {chr(i) for i in range(32, 127)}
    lines = text.split("\n")
    assert max(map(len, lines)) <= width
    assert not any(line.startswith("PASS") for line in lines)
    assert len(text) < 40_000
    for encoding in ("utf-8", "latin-1", "ascii"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding)
        print_report(report, Console(file=stream, width=width), verbose=True)
        stream.flush()  # a name that cannot be encoded would have raised


def test_markup_in_names_is_printed_not_obeyed() -> None:
    name = HOSTILE["markup"]
    entries = dataclasses.replace(failing().entries, names=(name, "fc1.bias"))
    assert f"FAIL: {name}" in render_text(report_of(entries, "fail", f"{name} is wrong"))
    assert name in render_table_of_tensors(report_of(entries, "fail", ""))


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    name = HOSTILE["long"]
    entries = dataclasses.replace(failing().entries, names=(name, "fc1.bias"))
    text = render_table_of_tensors(report_of(entries, "fail", ""), width=200)
    assert "block.block.block.bl" in text
    assert "..." in text
    assert name not in text


def test_a_string_is_ascii_and_a_utf8_console_gets_its_letters() -> None:
    entries = dataclasses.replace(failing().entries, names=("\u03b2", "fc1.bias"))
    report = report_of(entries, "fail", "\u03b2 is wrong")
    assert str(report) == render_text(report)
    assert "FAIL: \\u03b2 is wrong" in str(report)
    assert "+-" in str(report)
    assert "FAIL: \u03b2 is wrong" in render_text(report, encoding="utf-8")
    stream = io.StringIO()  # rich takes it for utf-8
    print_report(report, Console(file=stream, width=100))
    assert "\n\u03b2[3, 0] " in stream.getvalue()
    assert " \u00b1 " in stream.getvalue()


def test_colour_is_off_by_default_and_changes_no_letter() -> None:
    plain = render_text(failing())
    coloured = render_text(failing(), color=True)
    assert "\x1b" not in plain
    assert "\x1b[1;31mFAIL\x1b[0m: conv2.weight" in coloured
    uncoloured = Text.from_ansi(coloured).plain
    assert "\n".join(line.rstrip() for line in uncoloured.split("\n")) == plain


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = render_text(failing()), render_text(failing(), color=True)
    settings = {"COLUMNS": "40", "FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "dumb"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert (render_text(failing()), render_text(failing(), color=True)) == expected


@pytest.mark.parametrize(
    ("analytic", "numeric", "error", "shown"),
    [
        # -log10(3e-12 / 0.0123) is 9.6: 9 digits are justified, two more are shown.
        (-0.0123456789123, -0.0123456789124, 3e-12, "-0.012345678912 -0.012345678912"),
        (1.25e-7, -1.25e-7, 1e-12, "1.250000e-7 -1.250000e-7"),
        (0.0, 0.5, 1e-6, "0 0.5000000"),
        (1e-9, 0.5, 1e-6, "1.000000e-9 5.000000e-1"),  # not 0.0000000
        (2.0, 2.0, 0.0, "2.0000000000000000 2.0000000000000000"),
        (123456.789, 123456.5, 0.5, "123456.8 123456.5"),
        (1e300, -1e300, 5e289, "1.00000000000e300 -1.00000000000e300"),
        (1e-3, -2e-4, 1e-3, "0.00100 -0.00020"),  # lost in its bar: the bar's own decimals
        (0.07, NAN, NAN, "0.0700000 nan"),
        (math.inf, 1.0, 1e-9, "inf 1.0000000000"),
        (NAN, NAN, NAN, "nan nan"),
    ],
)
def test_both_derivatives_have_one_notation_and_the_digits_of_the_bar(
    analytic: float, numeric: float, error: float, shown: str
) -> None:
    assert " ".join(derivative_pair(analytic, numeric, error)).split() == shown.split()


def test_step_tables_can_be_rendered_alone() -> None:
    text = render_steps(step_table())
    lines = text.split("\n")
    assert lines[0] == (
        "conv1.weight[3, 0, 2, 1]: analytic -0.012345678912, numeric -0.012345678912 +- 3.0e-12"
    )
    assert lines[4].split() == [
        "1e-4",
        "-0.012345675210",
        "3.7e-9",
        "3.7e-9",
        "2.5e-12",
        "truncation",
    ]
    assert lines[5].startswith("1.53e-5 ")
    assert "as h^2.00 where truncation rules" in text
    assert lines[-1].startswith("agrees: the difference falls a hundredfold")


def test_the_step_table_of_a_tensor_has_no_numeric_column() -> None:
    rows = tuple(dataclasses.replace(row, numeric=NAN) for row in step_table().rows)
    table = dataclasses.replace(
        step_table("conv1.weight"),
        analytic=NAN,
        numeric=NAN,
        error=NAN,
        rows=rows,
        order=NAN,
        rounding_order=NAN,
    )
    text = render_steps(table)
    assert text.startswith("conv1.weight: root mean squares over its entries\n")
    assert "numeric" not in text
    assert "nan" not in text
    assert "The error goes" not in text


def test_a_step_table_without_rows_is_no_error() -> None:
    table = dataclasses.replace(step_table(), rows=(), order=NAN, rounding_order=NAN)
    assert "agrees: " in render_steps(table)


def test_only_some_step_tables_are_shown_unless_verbose() -> None:
    tables = tuple(step_table(f"w[{i}]") for i in range(9))
    report = dataclasses.replace(passing(), steps=tables)
    assert "5 more step tables are left out" in render_text(report)
    assert "w[8]: analytic" in render_text(report, verbose=True)


def test_terms_have_their_verdict_and_reason() -> None:
    text = render_text(failing())
    assert "data: PASS: all 6 entries agree to every attainable digit" in text
    assert "decay: INCONCLUSIVE: no tensors" in text


@pytest.mark.parametrize("width", [10, 40, 60])
def test_a_narrow_console_loses_no_digit(width: int) -> None:
    text = render_text(failing(), width=width)
    assert text.isascii()
    squeezed = "".join(text.split())
    assert "3,412evaluationsoff" in squeezed


def test_a_hundred_thousand_rows_are_rendered_at_once() -> None:
    rows = 100_000
    numeric = np.full(rows, 2.0)
    entries = Entries.build(
        ["w"],
        [(rows,)],
        tensor=0,
        flat_index=np.arange(rows),
        value=0.0,
        analytic=numeric * 1.5,
        numeric=numeric,
        error=1e-9,
        verdict=["mismatch", "kink"] * (rows // 2),
        reason="so be it",
    )
    report = report_of(entries, "fail", "wrong")
    start = time.perf_counter()
    text = render_text(report)
    assert time.perf_counter() - start < 2.0
    assert "49,990 more (49,990 mismatch) are left out" in text
    assert "50,000 entries at a kink" in text
