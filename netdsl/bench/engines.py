"""One engine in a process of its own: it is given a network and inputs, and says how long an answer takes.

Imported by that process anew, so that no engine finds threads or settings of another.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netdsl.ir.network import Network

Array = NDArray[Any]
LEAST_ANSWERS = 3


@dataclass(frozen=True)
class Task:
    """What every engine is given."""

    network: Network
    folder: Path
    """Holds `weights.safetensors` and, for engines that read it, `net.onnx`."""
    inputs: Mapping[str, Array]
    threads: int
    seconds: float
    """How long answers are timed for, after some that are not."""

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    @property
    def onnx(self) -> Path:
        return self.folder / "net.onnx"


@dataclass(frozen=True)
class Answer:
    """What an engine says."""

    seconds: float
    """The median time of an answer."""
    outputs: list[Array]


def timed(answer: Callable[[], Any], seconds: float) -> float:
    """The median time of a call, of as many as fit into `seconds`; the first ones are not counted."""
    for _ in range(LEAST_ANSWERS):
        answer()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_ANSWERS or time.perf_counter() < end:
        start = time.perf_counter()
        answer()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def own(backend: str, task: Task) -> Answer:
    """One of netdsl's back-ends."""
    from netdsl.backends.compiled import model

    found = model(task.network, name=backend, threads=task.threads)
    found.load(task.weights)
    x: Any = dict(task.inputs) if len(task.inputs) > 1 else next(iter(task.inputs.values()))
    outputs = list(found.run(x)[0].values())
    return Answer(timed(lambda: found(x), task.seconds), outputs)


def onnxruntime(task: Task) -> Answer:
    """ONNX Runtime on the CPU."""
    import onnxruntime as engine

    options = engine.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    session = engine.InferenceSession(str(task.onnx), options, providers=["CPUExecutionProvider"])
    x = dict(task.inputs)
    return Answer(timed(lambda: session.run(None, x), task.seconds), list(session.run(None, x)))


def torch(task: Task) -> Answer:
    """PyTorch eager, in the better of its two memory layouts."""
    import torch as engine

    from netdsl.interop.torch import function
    from netdsl.weights.files import read

    engine.set_num_threads(task.threads)
    forward: Any = function(task.network, read(task.weights))
    times, outputs = [], []
    with engine.inference_mode():
        for layout in (engine.contiguous_format, engine.channels_last):
            forward.arranged(layout)
            x = [_laid_out(engine.from_numpy(array), layout) for array in task.inputs.values()]
            outputs = [tensor.contiguous().numpy() for tensor in forward(*x)]
            times.append(timed(lambda x=x: forward(*x), task.seconds / 2))  # type: ignore[misc]
    return Answer(min(times), outputs)


def _laid_out(tensor: Any, layout: Any) -> Any:
    return tensor.contiguous(memory_format=layout) if tensor.ndim == 4 else tensor


PEERS: dict[str, tuple[Callable[[Task], Answer], tuple[str, ...]]] = {
    "onnxruntime": (onnxruntime, ("onnx", "onnxruntime")),
    "torch": (torch, ("torch",)),
}
"""Other engines by name, and the packages that they need."""
