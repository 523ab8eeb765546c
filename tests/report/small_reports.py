"""A report of each verdict, for the tests of what is written of results."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

import gradproof
from gradproof import Report


@cache
def right() -> Report:
    return gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones(3), np.cos)


@cache
def wrong() -> Report:
    return gradproof.check(lambda x: float(np.sum(np.sin(x))), np.ones(3), lambda x: -np.cos(x))


def unsure() -> Report:
    return replace(right(), verdict="inconclusive", reason="f is random")
