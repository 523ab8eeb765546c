"""Reports with everything in them that a renderer may stumble over: for tests of every format."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np

import gradproof
from gradproof import Report
from gradproof.report.entries import Entries
from gradproof.report.model import (
    Customary,
    Finding,
    Plan,
    ProbeRow,
    Severity,
    Spread,
    StepRow,
    StepTable,
    TensorReport,
)
from gradproof.report.store import Result

#: Names that would act, if a format let them.
HOSTILE_NAMES = {
    "script": "<script>window.hacked = 1</script>",
    "image": "<img src=x onerror='window.hacked = 1'>",
    "closing": "</script></style></td></textarea><!--]]>",
    "template": "{{ 7 * 7 }}{% raw %}${7 * 7}",
    "quotes": '"\' onmouseover="window.hacked = 1" `',
    "control": "a\nb\r::error::c\t\x00\x07\x1b[31m\x9b2J\u2028\u2029",
    "direction": "\u202egnorw\u2066\u200f",
    "surrogate": "\ud800 and \udfff",
    "long": "x" * 10_000,
    "wide": "<&\u202e" * 3_000,
    "markdown": "|`*_[x](javascript:y)![i](http://z)# $x$ ~s~ @user https://example.com",
    "entities": "&lt;%0A::&amp;,file=x",
    "shell": "'; touch hacked; $(touch hacked) `touch hacked` \\",
    "empty": "",
}
#: Of numbers: no number, no end, the largest, the smallest, and zero of both signs.
HOSTILE_VALUES = (math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0)


def hostile_results() -> list[Result]:
    """A failed result for every hostile name, and others for tensors and figures of every kind."""
    named = [_result(name) for name in HOSTILE_NAMES.values()]
    return [*named, Result("odd", _odd_tensors()), Result("nothing", _nothing(), "cases.py", 1)]


@cache
def _wrong() -> Report:
    """A real failure of every entry, with the other tensors without a gradient or an entry."""
    point = {
        "w": np.linspace(0.5, 2.0, 6).reshape(2, 3),
        "none": np.zeros((0, 3)),
        "idle": np.ones(2),
    }
    return gradproof.check(
        lambda p: float(np.sum(np.sin(p["w"]))),
        point,
        lambda p: {"w": -np.cos(p["w"]), "none": p["none"], "idle": np.zeros(2)},
        coverage="full",
        steps="w[0, 1]",
    )


def _result(name: str) -> Result:
    return Result(name, _named(name), name, 7, f"pytest {name}")


def _named(name: str) -> Report:
    """A failure in which everything that a user may name has this name."""
    report = _wrong()
    entries = Entries.build(
        [name, "other"],
        [(2, 3), (2,)],
        tensor=[0, 0, 0, 1],
        flat_index=[0, 2, 5, 1],
        value=1.0,
        analytic=[1.0, -1.0, 0.0, 2.0],
        numeric=[-1.0, -1.0, 0.0, 2.0],
        error=1e-9,
        verdict=["mismatch", "match", "kink", "unresolved"],
        reason=[name, "", name, name],
    )
    tensor = replace(
        report.tensors["w"], name=name, reason=name, worst=entries.filter(tensor=name).worst(1)[0]
    )
    other = replace(report.tensors["idle"], name="other", verdict="pass")
    evidence: dict[str, object] = {name: name, "list": [name, {name: math.nan}], "ratio": -1.0}
    severities: tuple[Severity, ...] = ("bug", "warning", "info")
    return replace(
        report,
        reason=name,
        tensors={name: tensor, "other": other},
        entries=entries,
        findings=tuple(Finding(name, name, name, severity, evidence) for severity in severities),
        steps=tuple(replace(table, label=name, explanation=name) for table in report.steps),
        probes=(ProbeRow(1.0, -1.0, 1e-9, 1e-4, (name,)), ProbeRow(1.0, 1.0, 1e-9, 1e-4, None)),
        terms={name: _wrong()},
        settings={"cotangent": name, name: name},
        versions={"gradproof": name, name: "1"},
    )


def _odd_tensors() -> Report:
    """Tensors without entries, with zeros alone, with one entry, and with every odd value."""
    shapes = {"empty": (0, 3, 3, 3), "zero": (3, 3), "scalar": (), "odd": (8, 8), "deep": (1,) * 30}
    names = list(shapes)
    values = np.array(HOSTILE_VALUES)
    pairs = np.stack(np.meshgrid(values, values)).reshape(2, -1)
    tensor = np.repeat([1, 2, 3, 4], [9, 1, 64, 1])
    zeros = np.zeros(10)
    entries = Entries.build(
        names,
        list(shapes.values()),
        tensor=tensor,
        flat_index=[*range(9), 0, *range(64), 0],
        value=np.concatenate([zeros, pairs[0], [1e308]]),
        analytic=np.concatenate([zeros, pairs[0], [1e308]]),
        numeric=np.concatenate([zeros, pairs[1], [-1e308]]),
        error=np.concatenate([zeros, np.tile(np.abs(values), 8), [math.inf]]),
        verdict=["match"] * 10 + ["match", "mismatch", "kink", "unresolved"] * 16 + ["mismatch"],
        reason="",
    )
    report = _wrong()
    tensors = {name: _tensor(name, shapes[name], entries) for name in names}
    rows = tuple(StepRow(abs(value), value, value, value, value) for value in HOSTILE_VALUES)
    table = StepTable(
        "odd[0, 0]", math.nan, 1e308, math.inf, rows, math.nan, -math.inf, "unclear", ""
    )
    probes = tuple(ProbeRow(a, b, abs(a), abs(b), None) for a, b in pairs.T.tolist()[:20])
    return replace(
        report,
        tensors=tensors,
        entries=entries,
        findings=(Finding("odd", "odd", "odd", "bug", {"values": list(HOSTILE_VALUES)}),),
        norm_ratio=1e308,
        max_relative_error=math.nan,
        digits_agree=Spread(math.nan, math.nan, math.nan),
        seconds=math.inf,
        noise=math.inf,
        value=math.nan,
        confidence=math.nan,
        probes=probes,
        steps=(table, replace(table, rows=()), replace(table, label="empty")),
        plan=Plan(10**30, math.nan, 10**30),
        seed=2**63,
        settings={"resolution": math.nan, "max_seconds": math.inf, "known": {"a": 1e308}},
    )


def _tensor(name: str, shape: tuple[int, ...], entries: Entries) -> TensorReport:
    rows = entries.filter(tensor=name)
    none = Spread(math.nan, math.nan, math.nan)
    customary = Customary(math.nan, 0, 0, none, 0, math.inf, math.nan, math.inf)
    return replace(
        _wrong().tensors["w"],
        name=name,
        shape=shape,
        size=math.prod(shape),
        checked=len(rows),
        counts=rows.counts(),
        digits_agree=none,
        digits_attainable=none if name == "zero" else Spread(0.0, -math.inf, math.inf),
        detection_limit=math.inf,
        norm_ratio=math.nan,
        max_relative_error=1e308,
        worst=rows.worst(1)[0] if len(rows) else None,
        customary=(customary,),
    )


def _nothing() -> Report:
    """A report without a tensor: the model had no parameters."""
    report = _wrong()
    return replace(
        report,
        verdict="inconclusive",
        tensors={},
        entries=Entries.empty(),
        findings=(),
        steps=(),
        reason="",
    )
