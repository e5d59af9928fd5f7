"""What the forms of steps are built with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from netdsl.backends.numpy.memory import Array, Memory, Scratch
from netdsl.program.ir import Step, Tensor


@dataclass
class Context:
    """The memory of a Program, and the weights that have been packed for it or for another shape of its inputs."""

    memory: Memory
    packs: dict[Any, Array]
    scratch: Scratch = field(default_factory=Scratch)

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
