"""The time that a Program takes at least.

    t = sum over its steps of max(bytes / copy bandwidth, FLOPs / speed of matrix products)

Bytes: each step reads its inputs, residual and weights once and writes its output once, as the numbers lie in memory.
FLOPs: two for each multiply-accumulate, and what the layer counts besides. Both ceilings are measured on the device
(`ceilings`). Steps that are fused beyond what the Program's passes do may beat it. Training: forward steps as above;
backward steps read what came in and what they need again, write their gradients, and compute for each gradient what the
forward step computed; the update reads and writes float32 parameters, gradients and the optimiser's vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netdsl.backends.cupy.precision import PRECISIONS
from netdsl.program.ir import Program, Tensor
from netdsl.program.training.ir import Backward, Forward, Sum, TrainingProgram
from on_gpu.book import Book


@dataclass(frozen=True)
class Ceilings:
    bytes_per_second: float
    flops_per_second: float

    def milliseconds(self, size: float, flops: float) -> float:
        return 1e3 * max(size / self.bytes_per_second, flops / self.flops_per_second)


def ceilings(book: Book, precision: str) -> Ceilings | None:
    """What was measured; None where it has not been."""
    part = book.part("ceilings")
    copy, product = part.get("copy", {}), part.get(f"matmul {precision}", {})
    if "bytes_per_second" not in copy or "flops_per_second" not in product:
        return None
    return Ceilings(copy["bytes_per_second"], product["flops_per_second"])


def flops(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> int:
    cost = layer.cost([tensor.type for tensor in inputs], output.type)
    return 0 if cost is None else (2 * cost.macs + cost.flops) * output.batch


def step_cost(step: Any, itemsize: int) -> tuple[int, int]:
    """Bytes and FLOPs of a step of inference."""
    weights = sum(array.size for array in step.weights.values() if array.dtype.kind == "f")
    numbers = sum(tensor.size for tensor in step.reads) + step.output.size + weights
    return numbers * itemsize, flops(step.layer, step.inputs, step.output)


def inference(program: Program, precision: str, at: Ceilings) -> float:
    """Milliseconds of a Program."""
    size = PRECISIONS[precision].itemsize
    return sum(at.milliseconds(*step_cost(step, size)) for step in program.steps)


def training(program: TrainingProgram, parameters: int, vectors: int, precision: str, at: Ceilings) -> float:
    """Milliseconds of a step; `vectors` are those of the optimiser."""
    size, total = PRECISIONS[precision].itemsize, 0.0
    for step in program.steps:
        if isinstance(step, Forward):
            numbers = sum(tensor.size for tensor in step.inputs) + step.output.size
            total += at.milliseconds(numbers * size, flops(step.layer, step.core, step.output))
        elif isinstance(step, Backward):
            ahead = step.forward
            numbers = step.dy.size + sum(tensor.size for tensor in step.dx if tensor is not None)
            numbers += sum(tensor.size for tensor in ahead.inputs) if step.reads_inputs else 0
            numbers += ahead.output.size if step.reads_output else 0
            ways = sum(tensor is not None for tensor in step.dx[: len(ahead.core)]) + bool(step.wanted)
            total += at.milliseconds(numbers * size, ways * flops(ahead.layer, ahead.core, ahead.output))
        elif isinstance(step, Sum):
            total += at.milliseconds(3 * step.output.size * size, step.output.size)
    # Weight, gradient and vectors are read, weight and vectors written; the gradient has been written before.
    return total + at.milliseconds(4 * parameters * (4 + 2 * vectors), 4 * parameters)
