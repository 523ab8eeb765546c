"""Numerical derivatives with error bars: functions of one real variable, NumPy only.

Everything works on *lanes*: many functions of one variable at once, arrays of shape
(lanes, rungs). `derivative` is the case of one lane.
"""

from gradproof.numerics.derivative import derivative
from gradproof.numerics.estimate import Estimate, Estimates, Rung, Status, estimate
from gradproof.numerics.noise import Noise, measure_noise

__all__ = [
    "Estimate",
    "Estimates",
    "Noise",
    "Rung",
    "Status",
    "derivative",
    "estimate",
    "measure_noise",
]
