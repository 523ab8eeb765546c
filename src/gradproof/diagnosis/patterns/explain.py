"""Placeholder until the real one is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradproof.diagnosis.patterns.field import Field, Floats


@dataclass(frozen=True)
class Explanation:
    kind: str
    message: str
    evidence: Mapping[str, object]
    corrected: Floats | None


def explain(field: Field) -> list[Explanation]:
    return [Explanation("unexplained", "no known mistake explains it", {}, None)]
