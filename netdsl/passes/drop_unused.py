"""What no output needs is left out, and so are values that no node owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from netdsl.passes.bound import Bound, bind


@dataclass(frozen=True)
class DropUnused:
    """Always legal. Inputs stay, because whoever runs the network gives them."""

    name: ClassVar[str] = "drop_unused"

    def apply(self, bound: Bound) -> Bound:
        return bind(bound.network, bound.values)
