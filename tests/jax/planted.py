"""Planted bugs in custom rules of JAX, each with its correct twin."""

from __future__ import annotations

from tests.jax import planted_entries, planted_jvp, planted_vjp
from tests.jax.planted_case import Plant

PLANTS: tuple[Plant, ...] = (
    *planted_entries.PLANTS,
    *planted_vjp.PLANTS,
    *planted_jvp.PLANTS,
)
