"""What was asked, and everything that was found out about one function and one claim."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gradproof.coverage.request import Numeric, Request
from gradproof.diagnosis.preflight import Claim, Value
from gradproof.report.model import Finding
from gradproof.subjects.base import Codes, Places, Subject


@dataclass(frozen=True)
class Settings:
    """What the caller asked for."""

    coverage: str
    samples: int
    resolution: float
    confidence: float
    seed: int
    customary: tuple[float, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Trial:
    """Everything that was found out about one function and one claim.

    `steps` are the rows of the entries whose error is to be tabulated against the step, for each of
    the settings' labels; `lacking` the entries that the budget did not suffice for.
    """

    subject: Subject
    value: Value
    claim: Claim
    places: Places
    request: Request
    numeric: Numeric
    noise: float
    reach: float
    steps: tuple[Codes, ...]
    findings: tuple[Finding, ...]
    lacking: NDArray[np.bool_]
