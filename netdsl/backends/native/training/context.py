"""What the native steps of a training Program are built with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from netdsl.backends.native.lower.context import Context, NoKernelError
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, View, aligned, dense_view
from netdsl.backends.native.target import Target
from netdsl.backends.numpy.training.work import Bench
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Forward, Saved

SCRATCH = 1 << 60
"""Where scratch memory begins, until it is made: far from all addresses, and from the bits of numbers near 1."""
LEAST_BLOCK = 32
"""Rows of channels that are summed up together at least."""
MOST_BLOCKS = 256
"""Blocks of such rows."""


@dataclass
class Training:
    """`context` says where tensors lie, `bench` where the values of weights and their gradients do.

    Scratch memory is one array for all steps, in which each takes what it needs from the start. How large it has to be
    is known when all steps are: until then its addresses are counted from SCRATCH, and `settled` makes them real.
    """

    context: Context
    bench: Bench
    used: int = 0
    most: int = 0
    keep: list[Any] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return self.context.target

    @property
    def threads(self) -> int:
        return self.context.threads

    def begin(self) -> None:
        """A step begins: scratch memory is used anew."""
        self.used = 0

    def take(self, count: int) -> int:
        """The address of room for `count` float32, at a line of the cache."""
        start = self.used
        self.used += -(-count // 16) * 16
        self.most = max(self.most, self.used)
        return SCRATCH + 4 * start

    def settled(self, steps: Sequence[NativeStep]) -> list[NativeStep]:
        """The steps with the addresses of scratch memory that there is."""
        room = aligned(self.most)
        moved = int(room.ctypes.data) - SCRATCH
        self.keep.append(room)
        end = SCRATCH + 4 * self.most
        for table in self.keep[:-1]:
            table[(table >= SCRATCH) & (table < end)] += moved
        return [
            replace(
                step,
                values={
                    name: value + moved if SCRATCH <= value < end else value for name, value in step.values.items()
                },
                keep=(*step.keep, self),
            )
            for step in steps
        ]

    def view(self, tensor: Tensor) -> View:
        """Where a tensor lies. Raises NoKernelError for more than two spatial axes."""
        return self.context.view(tensor)

    def rows(self, tensor: Tensor) -> View:
        """A tensor of any number of axes as rows of channels."""
        start = self.context.arena + self.context.offsets[tensor.buffer]
        return dense_view(start, tensor.size // tensor.shape[-1], 1, 1, tensor.shape[-1])

    def scratch_view(self, images: int, height: int, width: int, channels: int) -> View:
        """A map in scratch memory."""
        return dense_view(self.take(images * height * width * channels), images, height, width, channels)

    def saved(self, saved: Saved) -> int:
        """The address of saved numbers."""
        return self.context.arena + self.context.offsets[saved.buffer]

    def weight(self, step: Forward, name: str) -> Array:
        """The values of a weight, whose address stays. Raises NoKernelError where they do not follow each other."""
        array = self.bench.weights[step.weights[name]]
        if not array.flags.c_contiguous or array.dtype != np.float32:
            raise NoKernelError("a weight that is not in one piece")
        return array

    def gradient(self, step: Forward, name: str) -> Array:
        return self.bench.gradients[step.weights[name]]

    def table(self, numbers: Sequence[int]) -> int:
        """The address of 64-bit integers."""
        array = aligned(2 * len(numbers)).view(np.int64)
        array[:] = numbers
        self.keep.append(array)
        return int(array.ctypes.data)

    def block(self, rows: int, channels: int) -> tuple[int, int]:
        """How many rows are summed up together, and how many such blocks there are."""
        block = max(LEAST_BLOCK, -(-rows // MOST_BLOCKS), min(rows, 32768 // max(1, channels)))
        # All threads have something to do.
        block = max(1, min(block, -(-rows // (4 * self.threads))))
        return block, -(-rows // block)


def address(array: Array) -> int:
    """Where the numbers of an array begin."""
    return int(array.ctypes.data)
