"""How much memory of a device a network takes, and the largest batch that fits: known without a device.

The arena is planned exactly as it will be. Weights count once, as they are packed. Two things are allowances, since
they depend on the kernels that are chosen and on the driver: scratch memory, and what CUDA and its libraries take for
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from netdsl.ir.types import BYTES_PER_ELEMENT
from netdsl.passes.values import Weights
from netdsl.program.ir import Program
from netdsl.program.layout import device_aligned, layout
from netdsl.program.training.ir import Forward, TrainingProgram

WORKSPACE_BYTES = 256 * 2**20
"""Allowance: scratch memory of kernels, and of the libraries of matrix products."""
RESERVE_BYTES = 768 * 2**20
"""Allowance: the context of CUDA, code of kernels and libraries."""
MOST_BYTES = 2.0**60
"""No device has more."""
MOST_BATCH = 2**20
"""A larger batch is not looked for."""


@dataclass(frozen=True)
class DevicePlan:
    """Bytes on a device."""

    batch: int
    arena: int
    """All tensors, each as long as it is needed."""
    weights: int
    staging: int
    """Inputs and outputs as they cross the bus, two batches of each."""
    optimizer: int = 0
    """Training: float32 weights, gradients, and what the optimiser keeps."""
    workspace: int = WORKSPACE_BYTES
    reserve: int = RESERVE_BYTES

    @property
    def total(self) -> int:
        return self.arena + self.weights + self.staging + self.optimizer + self.workspace + self.reserve

    def parts(self) -> dict[str, int]:
        """By name, those that are there."""
        found = {
            "arena": self.arena, "weights": self.weights, "optimizer": self.optimizer,
            "inputs and outputs": self.staging, "scratch (allowance)": self.workspace,
            "CUDA (allowance)": self.reserve,
        }  # fmt: skip
        return {name: size for name, size in found.items() if size}


def inference_plan(program: Program, itemsize: int, *, packed: bool = False, reserve: bool = True) -> DevicePlan:
    """What a Program takes when a number has `itemsize` bytes. `packed`: its weights are on the device already;
    `reserve`: count what CUDA takes, which is gone where a device says how much is free."""
    weights = 0
    met: set[str] = set()
    for step in program.steps:
        if packed or step.node.address in met:
            continue
        met.add(step.node.address)
        for name in step.weights:
            shape = step.weights.shape(name) if isinstance(step.weights, Weights) else step.weights[name].shape
            # Vectors (biases, scales) stay in float32.
            weights += device_aligned(prod(shape) * (itemsize if len(shape) > 1 else BYTES_PER_ELEMENT))
    crossing = sum(tensor.bytes for tensor in (*program.inputs.values(), *program.outputs.values()))
    return DevicePlan(
        program.batch, layout(program, itemsize).bytes, weights, 2 * crossing,
        reserve=RESERVE_BYTES if reserve else 0,
    )  # fmt: skip


def training_plan(program: TrainingProgram, itemsize: int, parameters: int, slots: int) -> DevicePlan:
    """What a step of training takes. `parameters` are learned; an optimiser keeps `slots` numbers for each (1 for
    momentum, 2 for Adam). Weights and gradients are float32, and beside them lie weights as they are multiplied."""
    crossing = sum(tensor.bytes for tensor in program.inputs.values())
    numbers = BYTES_PER_ELEMENT * parameters
    return DevicePlan(
        program.batch, layout(program, itemsize, _sizes(program, itemsize)).bytes,
        itemsize * parameters if itemsize != BYTES_PER_ELEMENT else 0, 2 * crossing, (2 + slots) * numbers,
    )  # fmt: skip


def _sizes(program: TrainingProgram, itemsize: int) -> list[int]:
    """Bytes of each buffer: what steps save beside tensors stays as it is."""
    saved = {
        each.buffer for step in program.steps if isinstance(step, Forward) for each in step.saved.values()
    }  # fmt: skip
    return [
        buffer.bytes if buffer.number in saved else buffer.bytes // BYTES_PER_ELEMENT * itemsize
        for buffer in program.buffers
    ]


def largest_batch(plan: Callable[[int], DevicePlan], budget: int, guess: int = 1) -> int:
    """The largest batch whose plan takes at most `budget` bytes, 0 where not even one image fits. Memory grows with the
    batch almost in proportion: every second try is where a straight line says, the others halve what is left."""
    totals: dict[int, int] = {0: 0}

    def total(batch: int) -> int:
        if batch not in totals:
            totals[batch] = plan(batch).total
        return totals[batch]

    low, high = 0, max(1, guess)
    while total(high) <= budget:
        if high >= MOST_BATCH:
            return high
        each = max(1, (total(high) - total(low)) // (high - low))
        low, high = high, min(max(high + 1, high + (budget - total(high)) // each + 1), MOST_BATCH)
    straight = True
    while high - low > 1:
        middle = (low + high) // 2
        if straight and low:
            middle = low + (budget - total(low)) * (high - low) // (total(high) - total(low))
        straight = not straight
        middle = min(max(middle, low + 1), high - 1)
        low, high = (middle, high) if total(middle) <= budget else (low, middle)
    return low


def bytes_of(text: str) -> int:
    """`8GiB`, `500 MB`, `1.5g` as bytes; units of 1024 but for KB, MB, GB, TB. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?) *([a-z]*)", text.strip().lower(), re.ASCII)
    factors = {"": 1, "b": 1}
    for power, letter in enumerate("kmgt", start=1):
        factors |= {letter: 1024**power, f"{letter}ib": 1024**power, f"{letter}b": 1000**power}
    if found is None or found[2] not in factors or not 0 < float(found[1]) < MOST_BYTES:
        raise ValueError(text)
    return int(float(found[1]) * factors[found[2]])
