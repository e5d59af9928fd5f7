"""Bounds on what one spec may ask for. A spec always ends; these say how soon. Each can be raised by the caller."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    nodes: int = 250_000
    """Layers in the expanded network."""
    steps: int = 1_000_000
    """Statements executed while the network is expanded, and items that expressions loop over."""
    number: int = 2**63
    """Largest absolute value of a whole number."""
    items: int = 1_000_000
    """Longest list, in items, and longest string, in characters."""
    depth: int = 64
    """Deepest chain of block and function calls."""
    diagnostics: int = 50
    """How many errors are collected before giving up."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"the limit {field.name} is a whole number from 1 up, found {value!r}")
