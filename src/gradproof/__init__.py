"""gradproof proofreads gradients: is this gradient right, how sure is that, and where is it wrong?"""

from gradproof._errors import GradientMismatch, GradproofError, Inconclusive, InputError
from gradproof.check import assert_gradients, check
from gradproof.numerics.derivative import derivative
from gradproof.numerics.estimate import Estimate
from gradproof.report.model import Finding, Report

__all__ = [
    "Estimate",
    "Finding",
    "GradientMismatch",
    "GradproofError",
    "Inconclusive",
    "InputError",
    "Report",
    "assert_gradients",
    "check",
    "derivative",
]
