"""The planted bugs, each with its correct twin."""

from __future__ import annotations

from tests.torch import (
    planted_conditions,
    planted_entries,
    planted_graphs,
    planted_layers,
    planted_operations,
    planted_points,
)
from tests.torch.planted_case import Plant

PLANTS: tuple[Plant, ...] = (
    *planted_entries.PLANTS,
    *planted_layers.PLANTS,
    *planted_operations.PLANTS,
    *planted_points.PLANTS,
    *planted_conditions.PLANTS,
    *planted_graphs.PLANTS,
)
