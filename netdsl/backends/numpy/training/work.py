"""What a step of a training Program becomes: calls that run in turn, and calls that threads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netdsl.backends.numpy.blocks import BLOCK_BYTES, Block, Task, blocks
from netdsl.backends.numpy.memory import Array, Memory, Scratch
from netdsl.backends.numpy.workers import CREW
from netdsl.ir.layer import Draw
from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.program.ir import Planned, Tensor
from netdsl.program.training.ir import Forward, Saved


@dataclass
class Work:
    """The calls of one step, as stages that follow each other; the shares of a stage run side by side."""

    name: str
    stages: list[list[list[Task]]] = field(default_factory=list)

    def once(self, *tasks: Task) -> None:
        """A stage of one share."""
        self.stages.append([list(tasks)])

    def shared(self, shares: list[list[Task]]) -> None:
        """A stage; shares without calls are left out."""
        self.stages.append([tasks for tasks in shares if tasks])

    def run(self) -> None:
        for shares in self.stages:
            if len(shares) == 1:
                for task in shares[0]:
                    task()
            elif shares:
                CREW.run([_all(tasks) for tasks in shares])


def _all(tasks: list[Task]) -> Task:
    def run() -> None:
        # NumPy's handling of overflow belongs to a thread, so each states it.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for task in tasks:
                task()

    return run


class Bench:
    """What steps are built with: memory, the values of weights, and where their gradients go.

    `weights` and `gradients` are arrays by full name, laid out as PyTorch does; they stay the same arrays while the
    Program lives, and are read and written at each step.
    """

    def __init__(
        self, program: Planned, weights: Mapping[str, Array], gradients: Mapping[str, Array], threads: int
    ) -> None:
        self.memory = Memory(program)
        self.weights, self.gradients = weights, gradients
        self.threads = threads
        self.scratches = [Scratch() for _ in range(threads)]
        self.extras: dict[str, tuple[Any, ...]] = {}
        """By the name of a step: what its layer keeps for its backward outside of the arena."""
        self.draw: Callable[[str], Draw] | None = None
        """The random numbers of a node in this step."""

    def restart(self) -> None:
        """A step begins: scratch memory is used anew."""
        for scratch in self.scratches:
            scratch.restart()

    def view(self, tensor: Tensor) -> Array:
        return self.memory.view(tensor)

    def maps(self, tensor: Tensor) -> Array:
        return self.memory.maps(tensor)

    def rows(self, tensor: Tensor) -> Array:
        """A tensor as a matrix (N positions, C)."""
        return self.view(tensor).reshape(-1, tensor.shape[-1])

    def saved(self, saved: Saved) -> Array:
        """Saved numbers, as a vector."""
        start = self.memory.program.buffers[saved.buffer].offset // BYTES_PER_ELEMENT
        count = -(-saved.bytes // BYTES_PER_ELEMENT)
        stretch = self.memory.arena[start : start + count]
        return stretch if saved.item == BYTES_PER_ELEMENT else stretch.view(np.uint8)[: saved.count]

    def weights_of(self, step: Forward) -> dict[str, Array]:
        """The values of a step's weights, by their own names."""
        return {name: self.weights[full] for name, full in step.weights.items()}

    def gradient(self, step: Forward, name: str) -> Array:
        """Where the gradient of a weight goes."""
        return self.gradients[step.weights[name]]

    def cut(self, images: int, rows: int, row_bytes: int, most_bytes: int, least_rows: int = 1) -> list[list[Block]]:
        """The blocks of each share: see `blocks.blocks`."""
        shares = self.threads
        each = -(-rows * images // shares)
        if shares > 1:
            most_bytes, least_rows = min(most_bytes, each * row_bytes), min(least_rows, each)
        found = list(blocks(images, rows, row_bytes, most_bytes, least_rows))
        return [found[len(found) * share // shares : len(found) * (share + 1) // shares] for share in range(shares)]

    def stretches(self, count: int, row_bytes: int, most_bytes: int = BLOCK_BYTES) -> list[list[slice]]:
        """The slices of `count` rows that each share goes through."""
        return [[slice(block.r0, block.r1) for block in share] for share in self.cut(1, count, row_bytes, most_bytes)]


def put(target: Array, value: Array, add: bool) -> None:
    """Writes or adds a gradient."""
    if add:
        target += value
    else:
        target[...] = value
