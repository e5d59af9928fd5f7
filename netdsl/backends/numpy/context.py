"""What the forms of steps are built with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from netdsl.backends.numpy.blocks import PRODUCT_BYTES, Block, blocks
from netdsl.backends.numpy.memory import Array, Memory, Scratch
from netdsl.program.ir import Step, Tensor


@dataclass
class Context:
    """The memory of a Program, and the weights that have been packed for it or for another shape of its inputs.

    Each thread has a context of its own with its own scratch memory, and builds its share of every step.
    """

    memory: Memory
    packs: dict[Any, Array]
    share: int = 0
    """Which share of a step this context builds, counted from 0."""
    shares: int = 1
    """Into how many shares the step at hand is cut."""
    products: int = 1
    """How many threads a matrix product uses."""
    scratch: Scratch = field(default_factory=Scratch)

    def product_blocks(self, images: int, rows: int, row_bytes: int, least_rows: int) -> list[Block]:
        """Blocks of matrix products: threads that share one want more of it."""
        return self.blocks(images, rows, row_bytes, PRODUCT_BYTES * self.products, least_rows * self.products)

    def blocks(self, images: int, rows: int, row_bytes: int, most_bytes: int, least_rows: int = 1) -> list[Block]:
        """The blocks of this share; see `blocks.blocks`."""
        if self.shares > 1:
            # At least one block for each share, all of about the same size.
            each = -(-rows * images // self.shares)
            most_bytes, least_rows = min(most_bytes, each * row_bytes), min(least_rows, each)
        found = list(blocks(images, rows, row_bytes, most_bytes, least_rows))
        return found[len(found) * self.share // self.shares : len(found) * (self.share + 1) // self.shares]

    def view(self, tensor: Tensor) -> Array:
        return self.memory.view(tensor)

    def maps(self, tensor: Tensor) -> Array:
        return self.memory.maps(tensor)

    def packed(self, step: Step, form: str, make: Callable[[], Array]) -> Array:
        """The weights of a step in the order that a form reads them; made once for all Programs of a network."""
        key = (step.node.address, form, step.layer)
        if key not in self.packs:
            self.packs[key] = make()
        return self.packs[key]
