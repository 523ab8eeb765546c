"""The reference has all public names and all fields of a report."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from tests.docs.pages import DOCS

import gradproof
from gradproof.report.model import TensorReport

PAGE = (DOCS / "api.md").read_text(encoding="utf-8")


def terms(text: str) -> list[str]:
    """What is defined in lists of `term, term` above `: its meaning`."""
    lines = re.findall(r"^([\w, ]+)\n: ", text, re.MULTILINE)
    return [term for line in lines for term in line.split(", ")]


def test_every_public_name_is_documented_once() -> None:
    documented = re.findall(r"\.\. auto\w+:: gradproof\.(\w+)$", PAGE, re.MULTILINE)
    assert sorted(documented) == gradproof.__all__


@pytest.mark.parametrize(
    ("kind", "start", "end"),
    [
        (gradproof.Report, "The fields of a report:", "Of a tensor,"),
        (TensorReport, "Of a tensor,", "```{eval-rst}"),
    ],
)
def test_every_field_is_documented_once(kind: type, start: str, end: str) -> None:
    part = PAGE.partition(start)[2].partition(end)[0]
    assert sorted(terms(part)) == sorted(field.name for field in fields(kind))
