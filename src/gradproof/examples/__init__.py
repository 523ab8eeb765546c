"""Subjects to try gradproof on."""
