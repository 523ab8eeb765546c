"""Probes of the gradient while a network trains, which leave the training as it is.

It stands above `check`, which it calls on copies, and is the only part beside `subjects.torch` that
imports PyTorch: it has to hook into PyTorch's own training.
"""

import importlib
import random

_state = random.getstate()
try:
    # rich, which it imports, draws a number for every style that it makes.
    importlib.import_module("gradproof.check")
finally:
    # A training that imports this after it was seeded is the same.
    random.setstate(_state)
