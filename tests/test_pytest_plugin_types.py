"""The fixture's type, as users annotate it: a type checker reads this file, and pytest runs it."""

from __future__ import annotations

import subprocess
import sys
from typing import assert_type

import numpy as np
import pytest

from gradproof import GradientMismatch, Report
from gradproof.testing import GradientChecks


def test_the_fixture_has_a_type(gradproof: GradientChecks) -> None:
    assert isinstance(gradproof, GradientChecks)
    report = gradproof.check(np.sin, 1.0, np.cos, coverage="full")
    assert_type(report, Report)
    assert_type(gradproof.reports, list[Report])
    assert gradproof.reports == [report]


def test_without_a_test_the_verdict_and_the_reason_are_said() -> None:
    checks = GradientChecks({"coverage": "full"})
    with pytest.raises(GradientMismatch, match=r"^FAIL: x: the claim has the opposite sign"):
        checks.check(np.sin, 1.0, lambda x: -np.cos(x))
    assert [report.coverage for report in checks.reports] == ["full"]


def test_the_type_needs_no_pytest() -> None:
    code = "import sys, gradproof.testing; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
