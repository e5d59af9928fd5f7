"""Our CUDA kernels in a network, as the compiler sees them: no GPU is needed.

    python benchmarks/gpu_kernels.py [efficientnet_b0 ...] [--batch 256] [--storage bfloat16] [--architecture sm_90]
        [--variants all|first] [--bandwidth 4300] [--format text|json]

For each step that one of our kernels computes: registers of a thread, bytes that spill for want of them, shared memory
of a block, warps that a processor holds beside each other (as far as registers go), and the bytes that must cross the
memory bus, each number once. `floor` is the time that these bytes take at the bandwidth (GB/s); no time was measured.
The compiler is NVRTC (pip install nvidia-cuda-nvrtc) or nvcc.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

import netdsl
from netdsl.backends.cupy.choice import CANDIDATES, candidate
from netdsl.backends.cupy.kernels.candidates.base import Family
from netdsl.backends.cupy.kernels.compilers import Resources, compilers, resources
from netdsl.backends.cupy.kernels.kernel import Kernel, Work
from netdsl.passes import bind, run
from netdsl.program.ir import Program
from netdsl.program.lower import lower
from netdsl.weights.inventory import inventory

NETWORKS = ("mobilenet_v2", "efficientnet_b0")


@dataclass(frozen=True)
class Row:
    step: str
    variant: str
    kernel: Kernel
    work: Work
    times: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--storage", choices=["float32", "float16", "bfloat16"], default="bfloat16")
    parser.add_argument("--architecture", default="sm_90")
    parser.add_argument("--variants", choices=["all", "first"], default="first")
    parser.add_argument("--bandwidth", type=float, default=4300.0)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    options = parser.parse_args()
    found = compilers()
    if not found:
        sys.exit("neither NVRTC (pip install nvidia-cuda-nvrtc) nor nvcc is here")
    compiler = next(iter(found.values()))
    result: dict[str, Any] = {
        "compiler": compiler.name,
        "architecture": options.architecture,
        "storage": options.storage,
    }
    for name in options.networks:
        rows = list(rows_of(program_of(name, options.batch), options.storage, options.variants == "all"))
        facts = resources((row.kernel for row in rows), options.architecture, compiler)
        result[name] = [line(row, facts[row.kernel.entry], options.bandwidth) for row in rows]
    print(json.dumps(result, indent=2) if options.format == "json" else as_text(result))


def program_of(name: str, batch: int) -> Program:
    """The steps of a network; the numbers of its weights do not matter."""
    network = netdsl.load(name).network
    values = {full: np.zeros(slot.weight.shape, slot.weight.dtype) for full, slot in inventory(network).items()}
    return lower(run(bind(network, values)), network.input_types(), batch)


def rows_of(program: Program, storage: str, every: bool) -> Iterator[Row]:
    """Each kernel once, with how often it is launched."""
    seen: Counter[tuple[str, str, str]] = Counter()
    first: dict[tuple[str, str, str], Row] = {}
    at = 0
    while at < len(program.steps):
        count = 1
        for candidate_name in CANDIDATES:
            offered = candidate(candidate_name) if candidate_name.startswith("kernel ") else None
            covered = offered.covers(program, at) if isinstance(offered, Family) else 0
            if not covered:
                continue
            steps = program.steps[at : at + covered]
            try:
                forms = offered.forms(steps, storage)
            except ValueError:
                continue
            for form in forms if every else forms[:1]:
                for kernel in form.work.kernels:
                    key = (offered.name, form.variant, kernel.entry)
                    seen[key] += 1
                    first.setdefault(key, Row(steps[0].name, form.variant, kernel, form.work, 0))
            count = covered
            break
        at += count
    for key, row in first.items():
        yield Row(row.step, row.variant, row.kernel, row.work, seen[key])


def line(row: Row, facts: Resources, bandwidth: float) -> dict[str, Any]:
    threads = prod(row.kernel.block)
    alone = len(row.work.kernels) == 1
    return {
        "step": row.step,
        "kernel": row.kernel.name,
        "variant": row.variant,
        "times": row.times,
        "grid": row.kernel.grid,
        "block": "x".join(map(str, row.kernel.block)),
        "registers": facts.registers,
        "spills": facts.spills,
        "shared": facts.shared,
        "warps": facts.blocks(threads) * -(-threads // 32),
        "MB": round(row.work.bytes / 1e6, 1) if alone else None,
        "floor us": round(row.work.bytes / bandwidth / 1e3, 1) if alone else None,
    }


def as_text(result: dict[str, Any]) -> str:
    lines = [f"{result['compiler']}, {result['architecture']}, {result['storage']}"]
    for name, rows in result.items():
        if not isinstance(rows, list):
            continue
        columns = list(rows[0]) if rows else []
        table = [columns, *[["" if row[key] is None else str(row[key]) for key in columns] for row in rows]]
        widths = [max(len(cells[place]) for cells in table) for place in range(len(columns))]
        lines += ["", name]
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in table
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
