"""Runs of pytest in a test, for the tests of the plugin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import gradproof.check
import gradproof.report.brief_text
import gradproof.testing  # noqa: F401 - here, so that no run imports NumPy anew

Run = Callable[..., pytest.RunResult]
#: Warnings are errors; Hypothesis would take a second for its summary.
PLAIN = ("-W", "error", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
#: The surroundings of a job of GitHub Actions, where these tests themselves may run.
GITHUB = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE")

MODULE = """
import random

import numpy as np
import pytest

from gradproof import GradientMismatch, Inconclusive, InputError

POINT = {"w": np.array([0.3, -0.2, 0.5]), "b": np.array([0.1, 0.2])}


def f(p):
    return np.sum(np.sin(p["w"])) + np.sum(p["b"] ** 3)


def right(p):
    return {"w": np.cos(p["w"]), "b": 3 * p["b"] ** 2}


def wrong(p):
    return {"w": -np.cos(p["w"]), "b": 3 * p["b"] ** 2}


def jitter(p):
    return f(p) + random.random()
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Writes a module of tests below the functions above, and runs it; warnings are errors."""
    for name in GITHUB:
        monkeypatch.delenv(name, raising=False)

    def run_tests(tests: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=MODULE + tests)
        return pytester.runpytest_inprocess(*PLAIN, *arguments)

    return run_tests


PASS = "def test_it(gradproof):\n    gradproof.check(f, POINT, right)\n"
FAIL = "def test_it(gradproof):\n    gradproof.check(f, POINT, wrong)\n"
SEVERAL = """
def test_several(gradproof):
    gradproof.check(f, POINT, right)
    gradproof.check(f, POINT, right, coverage="full")
    gradproof.check(f, POINT, wrong)
def test_none(gradproof):
    assert gradproof.reports == []
def test_plain():
    pass
"""
#: What the summary says of them with -v.
LINES = (
    r"pass +test_it.py::test_several  +detection limit \de-\d+ +\d+ evaluations  \d.\d\d s",
    r"pass +test_it.py::test_several \(2\)  +1\d\.\d digits at worst +\d+ evaluations  \d.\d\d s",
    r"fail +test_it.py::test_several \(3\)  +0\.0 digits at worst +\d+ evaluations  \d.\d\d s",
    r"2 pass, 1 fail; \d+ evaluations, \d.\d\d s",
)
