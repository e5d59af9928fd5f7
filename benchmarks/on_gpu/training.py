"""Training steps: whether losses follow the CPU's, and how long a step takes; the peers' beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import netdsl
from netdsl.analysis.training import default_trainable
from netdsl.backends.errors import RunError
from netdsl.ir.types import TensorType
from netdsl.train import recipe_parts as parts
from netdsl.train.device import DeviceEngine
from netdsl.train.device import engine as device_engine
from netdsl.train.draw import PhiloxDraw
from netdsl.train.fast import FastEngine
from netdsl.train.losses import CrossEntropy
from netdsl.train.optimizers import updater
from netdsl.train.scaling import scale_for
from netdsl.weights.store import WeightStore
from on_gpu import peers, roofline
from on_gpu.book import Item, Record
from on_gpu.setup import Setup, images

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0")
FOLLOWED = ("resnet20",)
BATCHES = (256, 128, 64)
"""The first that fits is measured."""
STEPS, PLAYED_STEPS = 8, 3
RATE = 0.01
FOLLOW_BOUNDS = {"float32": 2e-3, "tf32": 2e-2, "float16": 2e-2, "bfloat16": 8e-2}
"""How far losses of the first steps may lie from the CPU's, in parts of them."""


def items(setup: Setup) -> Iterator[Item]:
    for precision in setup.options.precisions or ("float32", "bfloat16", "float16"):
        for name in FOLLOWED:
            yield f"follows {name} {precision}", lambda n=name, p=precision: follows(setup, n, p)  # type: ignore[misc]
    for precision in setup.options.precisions or ("bfloat16",):
        names = setup.options.networks or (("lenet5",) if setup.played else NETWORKS)
        for name in names:
            yield f"ours {name} {precision}", lambda n=name, p=precision: ours(setup, n, p)  # type: ignore[misc]
        if setup.played or setup.options.no_peers:
            continue
        for peer in peers.TRAINING:
            for name in names:
                batch = int(setup.book.part("training").get(f"ours {name} {precision}", {}).get("batch", BATCHES[0]))
                yield (
                    f"{peer} {name} {precision}",
                    lambda q=peer, n=name, b=batch, p=precision: peers.training(setup, q, n, b, p),  # type: ignore[misc]
                )


def _optimizer() -> parts.Sgd:
    return parts.Sgd(momentum=0.9, weight_decay=1e-4)


def _engine(setup: Setup, name: str, precision: str) -> tuple[DeviceEngine, Any]:
    network = netdsl.load(name).network
    store = WeightStore(network)
    store.initialize(0)
    trainable = default_trainable(network, None)
    return device_engine(
        network, store, trainable, CrossEntropy(), None, setup.configured("float32"), precision
    ), network


def _classes(network: Any) -> int:
    return int(network.type_of(next(iter(network.outputs.values()))).shape[0] or 2)


def follows(setup: Setup, name: str, precision: str) -> Record:
    """The same steps on the device and on the CPU."""
    steps, batch = (PLAYED_STEPS, 4) if setup.played else (STEPS, 32)
    engine, network = _engine(setup, name, precision)
    store = WeightStore(network)
    store.initialize(0)
    host = FastEngine(network, store, engine.plan.trainable, CrossEntropy(), name="numpy")
    there = engine.resident(_optimizer(), (), None, None)
    here = updater(_optimizer(), host.parameters.flat)
    scale, mine, theirs = scale_for(precision), [], []
    random = np.random.default_rng(3)
    for number in range(steps):
        inputs = {
            key: random.standard_normal(array.shape, np.float32)
            for key, array in images(network.input_types(), batch).items()
        }
        labels = random.integers(0, _classes(network), batch)
        done = engine.train(inputs, labels, 0, number, RATE, scale.value)
        if not done.taken and not scale.overflow():
            raise RuntimeError(f"step {number} is not finite")
        mine.append(done.loss)
        made = host.step(inputs, labels, 0, number)
        if done.taken:
            here.update(host.parameters.flat, host.gradients.flat, RATE)
        theirs.append(made.loss)
    error = max(abs(a - b) / abs(b) for a, b in zip(mine, theirs, strict=True))
    del there
    return {"difference": error, "ok": error <= FOLLOW_BOUNDS[precision], "losses": mine, "cpu": theirs} | (
        {} if error <= FOLLOW_BOUNDS[precision] else {"bound": FOLLOW_BOUNDS[precision]}
    )


def ours(setup: Setup, name: str, precision: str) -> Record:
    batches = setup.options.batches or ((2,) if setup.played else BATCHES)
    for batch in batches:
        try:
            return _timed(setup, name, precision, batch)
        except (MemoryError, RunError) as error:
            if isinstance(error, RunError) and error.code != "E0714":
                raise
            last = error.with_traceback(None)  # what the attempt held goes with its frames
    raise last


def _timed(setup: Setup, name: str, precision: str, batch: int) -> Record:
    start = time.perf_counter()
    engine, network = _engine(setup, name, precision)
    device = setup.device
    resident = engine.resident(_optimizer(), (), None, None)
    types = {key: TensorType(type_.shape) for key, type_ in network.input_types().items()}
    running: Any = engine.running(types, batch)
    random = np.random.default_rng(0)
    with device.use():
        x = {key: device.xp.asarray(array) for key, array in images(types, batch).items()}
    labels = random.integers(0, _classes(network), batch)
    scale, number = scale_for(precision).value, 0

    def step() -> Any:
        nonlocal number
        number += 1
        return resident.step(
            running.training, x, lambda head: labels, lambda node: PhiloxDraw(0, number, node), RATE, scale,
            resident=True, outputs=False,
        )  # fmt: skip

    for _ in range(2 if setup.played else 5):
        done = step()
    prepared = time.perf_counter() - start
    device.synchronize()
    times = []
    for _ in range(3 if setup.played else max(10, int(20 * setup.options.seconds))):
        begin = time.perf_counter()
        step()
        device.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    milliseconds = statistics.median(times)
    found: Record = {
        "ms": milliseconds, "images_per_second": 1e3 * batch / milliseconds, "batch": batch, "prepare_s": prepared,
        "loss": done.loss, "kernels": _counted(running.kernels), "profile": _profile(setup, running.training),
        "arena": running.training.bench.context.memory.layout.bytes,
    }  # fmt: skip
    at = roofline.ceilings(setup.book, precision)
    if at is not None:
        bound = roofline.training(running.program, engine.parameters.size, 1, precision, at)
        found |= {"roofline_ms": bound, "share": bound / milliseconds}
    return found


def _counted(kernels: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for kernel in kernels:
        found[kernel] = found.get(kernel, 0) + 1
    return found


def _profile(setup: Setup, training: Any) -> list[Record]:
    """Each kind of launch by itself: how many there are, and how long they take together."""
    found: dict[str, Record] = {}
    with setup.device.use():
        for launch in [*training.forward(), *training.back]:
            row = found.setdefault(launch.name, {"launch": launch.name, "count": 0, "ms": 0.0})
            row["count"] += 1
            row["ms"] += setup.device.time(launch.run)
    return sorted(found.values(), key=lambda row: -row["ms"])
