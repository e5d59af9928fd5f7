"""Our throughput and latency, a thousand replays, where the time goes; and the peers', each in a process of its own."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import netdsl
from on_gpu import peers, roofline
from on_gpu.book import Item, Record
from on_gpu.setup import Setup, images, settled

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0")
PLAYED_NETWORKS = ("lenet5",)
BATCHES = (256, 1)
REPLAYS = 1000
LATENCY_RUNS = 200
MOST_STEPS = 40
"""Steps of a profile that are kept: those that take the most time."""


def wanted(setup: Setup) -> list[tuple[str, int]]:
    names = setup.options.networks or (PLAYED_NETWORKS if setup.played else NETWORKS)
    batches = setup.options.batches or ((2, 1) if setup.played else BATCHES)
    return [(name, batch) for batch in batches for name in names]


def items(setup: Setup) -> Iterator[Item]:
    for precision in setup.options.precisions or ("bfloat16",):
        cases = wanted(setup)
        for name, batch in cases:
            yield f"ours {name} {batch} {precision}", lambda n=name, b=batch, p=precision: ours(setup, n, b, p)  # type: ignore[misc]
        if setup.played or setup.options.no_peers:
            continue
        for peer in peers.INFERENCE:
            for name, batch in cases:
                yield (
                    f"{peer} {name} {batch} {precision}",
                    lambda q=peer, n=name, b=batch, p=precision: peers.inference(setup, q, n, b, p),  # type: ignore[misc]
                )


def ours(setup: Setup, name: str, batch: int, precision: str) -> Record:
    device, net = setup.device, netdsl.load(name)
    start = time.perf_counter()
    model: Any = setup.configured(precision).model(net.network)
    settled(model)
    given = images(net.network.input_types(), batch)
    with device.use():
        x = {key: device.xp.asarray(array) for key, array in given.items()}
    model.on_device(x)
    (plan,) = model._plans.values()
    executable = plan.executable
    prepared = time.perf_counter() - start
    replay = executable._replays.get(None)
    run: Callable[[], None] = replay.run if replay is not None else lambda: executable._run_each(None)
    with device.use():
        milliseconds = setup.milliseconds(run)
        found: Record = {
            "ms": milliseconds, "images_per_second": 1e3 * batch / milliseconds, "prepare_s": prepared,
            "graphs": 0 if replay is None else replay.graphs, "notes": list(executable.notes),
            "bytes": executable.bytes,
        }  # fmt: skip
        found["latency_ms"] = _latency(device, run, 5 if setup.played else LATENCY_RUNS)
        found |= _same_bits(setup, executable, run, x, 20 if setup.played else REPLAYS)
        at = roofline.ceilings(setup.book, precision)
        if at is not None:
            bound = roofline.inference(executable.program, precision, at)
            found |= {"roofline_ms": bound, "share": bound / milliseconds}
        found["kernels"] = _counted(executable.kernels)
        found["profile"] = _profile(setup, executable, precision, at)
    return found


def _latency(device: Any, run: Callable[[], None], runs: int) -> float:
    """The median time from a call to its answer on the device."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        device.synchronize()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def _same_bits(setup: Setup, executable: Any, run: Callable[[], None], x: Any, count: int) -> Record:
    """How many of many replays on the same inputs gave other bits. Nothing leaves the device until the end."""
    from netdsl.backends.cupy.staging import taken_from

    xp, slot = setup.device.xp, executable._slots[0]
    program, context = executable.program, executable.context

    def once() -> list[Any]:
        taken_from(context, program, x)
        run()
        return [array.view(np.uint32) for array in slot._out.values()]

    first = [array.copy() for array in once()]
    with setup.device.use():
        other = xp.zeros((1,), np.int64)
    for _ in range(count):
        for array, expected in zip(once(), first, strict=True):
            other += xp.not_equal(array, expected).any().astype(np.int64)
    setup.device.synchronize()
    return {"replays": count, "other_bits": int(other.get()[0])}


def _counted(kernels: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for kernel in kernels:
        found[kernel] = found.get(kernel, 0) + 1
    return found


def _profile(setup: Setup, executable: Any, precision: str, at: roofline.Ceilings | None) -> list[Record]:
    """Each launch by itself, those that take the most time first."""
    size, rows = executable.precision.itemsize, []
    for choice in executable.choices:
        setup.device.time(choice.launch.run)
        milliseconds = setup.device.time(choice.launch.run, 5) / 5
        steps = choice.option.steps
        row: Record = {"steps": [step.name for step in steps], "kernel": choice.launch.name, "ms": milliseconds,
                       "variant": choice.option.label, "shape": list(steps[-1].output.shape)}  # fmt: skip
        if at is not None:
            row["roofline_ms"] = sum(at.milliseconds(*roofline.step_cost(step, size)) for step in steps)
        rows.append(row)
    rows.sort(key=lambda row: -row["ms"])
    return rows[:MOST_STEPS]
