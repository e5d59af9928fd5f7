"""Engines in turn, each in a process of its own: A B A B, medians."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.reference import Model
from netdsl.bench.engines import PEERS, Answer, Array, Task, own
from netdsl.language.diagnostics import NetdslError

MOST_DIFFERENCE = 1e-3
"""Of the outputs of two engines, in their standard deviation: beyond it they do not run the same network."""


class BenchError(NetdslError):
    """A comparison that cannot be made."""


class Row(NamedTuple):
    """One engine."""

    engine: str
    seconds: float
    """The median of its processes, each of which says the median of its answers."""
    rounds: tuple[float, ...]


def missing(peer: str) -> tuple[str, ...]:
    """The packages that a peer needs and that are not installed."""
    return tuple(package for package in PEERS[peer][1] if find_spec(package) is None)


def compare(
    model: Model,
    inputs: Mapping[str, Array],
    backends: Sequence[str],
    peers: Sequence[str],
    threads: int,
    rounds: int,
    seconds: float,
    done: Callable[[], Any] = lambda: None,
) -> list[Row]:
    """Times `model`'s network, with its weights, on back-ends and peers. `done` is called after each process.

    Raises BenchError where outputs differ or an engine fails, ExportError where a peer cannot run the network.
    """
    engines: dict[str, Callable[[Task], Answer]] = {name: partial(own, name) for name in backends}
    engines |= {name: PEERS[name][0] for name in peers}
    times: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        task = Task(model.network, Path(folder), dict(inputs), threads, seconds)
        model.save(task.weights)
        if "onnxruntime" in peers:
            from netdsl.interop.onnx import save

            save(model.network, model.weights, task.onnx)
        first: tuple[str, list[Array]] | None = None
        for number, (name, engine) in _turns(engines, rounds):
            answer = _apart(name, engine, task)
            times[name].append(answer.seconds)
            if number == 0:
                first = first or (name, answer.outputs)
                _require_same(*first, name, answer.outputs)
            done()
    return [Row(name, statistics.median(found), tuple(found)) for name, found in times.items()]


def _turns(engines: Mapping[str, Any], rounds: int) -> Iterator[tuple[int, tuple[str, Any]]]:
    for number in range(rounds):
        for entry in engines.items():
            yield number, entry


def _apart(name: str, engine: Callable[[Task], Answer], task: Task) -> Answer:
    """An engine's answer, from a new process."""
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(engine, task).result()
        except BrokenProcessPool:
            raise BenchError(
                f"error: the process of {name} ended before it answered; is there enough memory?"
            ) from None


def _require_same(first: str, expected: list[Array], other: str, found: list[Array]) -> None:
    for a, b in zip(expected, found, strict=True):
        difference = float(np.abs(a - b).max())
        if not difference <= MOST_DIFFERENCE * max(float(a.std()), 1e-12):
            raise BenchError(
                f"error: {other} answers otherwise than {first}: outputs differ by {difference:.3g}, their standard "
                f"deviation is {a.std():.3g}"
            )
