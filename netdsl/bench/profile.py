"""Where the time of a back-end goes: every step of a Program, timed by itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.compiled import CompiledModel
from netdsl.bench.engines import Array
from netdsl.program.ir import Program, Step

PEAK_SIZE = 1024
"""Rows, columns and length of the matrix product whose speed counts as the peak."""


class StepTime(NamedTuple):
    """One step, or what is done before the first and after the last."""

    name: str
    kernel: str
    shape: tuple[int, ...]
    """Of its output: (N, *spatial, C)."""
    seconds: float
    flops: int


class Profile(NamedTuple):
    steps: list[StepTime]
    peak: float
    """FLOP/s of a large matrix product in NumPy, on as many threads."""

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)


def profile(model: CompiledModel, inputs: Mapping[str, Array], threads: int, seconds: float) -> Profile:
    """Runs the Program step by step for about `seconds`; medians. Steps that are timed alone find their inputs where
    the one before left them, and pay a little for the clock."""
    batch = len(next(iter(inputs.values())))
    program = model.program(batch)
    executable: Any = model.backend.build(program, threads, {})
    executable(inputs)
    parts: list[tuple[str, Callable[[], Any]]] = executable.parts(inputs)
    times: list[list[float]] = [[] for _ in parts]
    end = time.perf_counter() + seconds
    while not times[0] or time.perf_counter() < end:
        for (_, part), found in zip(parts, times, strict=True):
            start = time.perf_counter()
            part()
            found.append(time.perf_counter() - start)
    kernels = dict(zip((step.name for step in program.steps), executable.kernels, strict=True))
    return Profile(_rows(program, kernels, [name for name, _ in parts], times), peak(threads))


def _rows(program: Program, kernels: Mapping[str, str], names: list[str], times: list[list[float]]) -> list[StepTime]:
    """One row for each step; what belongs to none has one for itself."""
    seconds: dict[str, float] = {}
    for name, found in zip(names, times, strict=True):
        seconds[name] = seconds.get(name, 0.0) + statistics.median(found)
    steps = {step.name: step for step in program.steps}
    return [
        StepTime(
            name, kernels.get(name, "copy"), steps[name].output.shape if name in steps else (), spent,
            _flops(steps[name]) if name in steps else 0,
        )
        for name, spent in seconds.items()
    ]  # fmt: skip


def _flops(step: Step) -> int:
    """2 MACs and everything else, of the whole batch."""
    cost = step.layer.cost([tensor.type for tensor in step.inputs], step.output.type)
    return 0 if cost is None else (2 * cost.macs + cost.flops) * step.output.batch


def peak(threads: int) -> float:
    """FLOP/s of a large matrix product on so many threads: what a kernel can hope for on this machine."""
    from netdsl.backends.numpy.blas import product_threads

    a = np.random.default_rng(0).standard_normal((PEAK_SIZE, PEAK_SIZE), dtype=np.float32)
    out = np.empty_like(a)
    best = np.inf
    with product_threads(threads):
        for _ in range(12):
            start = time.perf_counter()
            np.matmul(a, a, out=out)
            best = min(best, time.perf_counter() - start)
    return 2.0 * PEAK_SIZE**3 / best
