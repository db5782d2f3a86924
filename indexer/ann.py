"""Which search structure an index of a given size gets."""

from __future__ import annotations


def choose_method(count: int, dim: int) -> str:
    """The method for ``count`` rows of ``dim`` numbers: every one of them is read."""
    return "flat"
