"""Models among threads, forks, exceptions and too little memory: nothing hangs, nothing is torn."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netdsl
from netdsl.backends.compiled import CompiledModel
from netdsl.backends.errors import RunError

TEXT = """
network n(channels = 16) {
  input x: 3x?x?
  conv(channels, 3x3, padding = 1) -> batch_norm -> relu
  conv(channels, 3x3, padding = 1) -> batch_norm -> relu
  global_avg_pool -> flatten -> dense(5)
}
"""


@pytest.fixture(params=["numpy", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(backend: str, seed: int = 0, threads: int | None = 2, **parameters: Any) -> CompiledModel:
    model = netdsl.loads(TEXT, **parameters).compile(backend=backend, threads=threads)
    assert isinstance(model, CompiledModel)
    model.initialize(seed)
    return model


def images(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def answer(model: CompiledModel, x: Any) -> Any:
    (found,) = model.run(x)[0].values()
    return found


def together(*tasks: Callable[[], None]) -> list[BaseException]:
    """Runs each task in a thread of its own, and returns what they raised."""
    raised: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    return raised


def test_two_models_in_two_threads(backend: str) -> None:
    models = [made(backend, seed) for seed in (0, 1)]
    x = images(2, 3, 24, 25)
    expected = [answer(model, x) for model in models]

    def task(number: int) -> None:
        for _ in range(30):
            np.testing.assert_array_equal(answer(models[number], x), expected[number])

    assert not together(lambda: task(0), lambda: task(1))


def test_one_model_in_two_threads_at_several_sizes(backend: str) -> None:
    model = made(backend)
    inputs = [images(1, 3, size, size) for size in (8, 9, 24)]
    expected = [answer(model, x) for x in inputs]

    def task() -> None:
        for _ in range(15):
            for x, y in zip(inputs, expected, strict=True):
                np.testing.assert_array_equal(answer(model, x), y)

    assert not together(task, task, task)


def test_an_exception_in_one_thread_while_the_other_runs(backend: str) -> None:
    model = made(backend)
    x = images(2, 3, 24, 25)
    expected = answer(model, x)

    def wrong() -> None:
        for _ in range(30):
            with pytest.raises(RunError):
                model(x[:, :2])
            with pytest.raises(RunError):
                model(x, tap="nowhere")

    def right() -> None:
        for _ in range(30):
            np.testing.assert_array_equal(answer(model, x), expected)

    assert not together(wrong, right)


def test_more_threads_than_cores_and_one(backend: str) -> None:
    x = images(3, 3, 30, 31)
    reference = netdsl.loads(TEXT).compile(backend="reference")
    reference.initialize(0)
    (expected,) = reference.run(x)[0].values()
    for threads in (1, 3 * (os.cpu_count() or 1) + 1, 100_000 if backend == "native" else 7):
        found = answer(made(backend, threads=threads), x)
        assert abs(found - expected).max() <= 1e-4 * max(1.0, abs(expected).max())


@pytest.mark.parametrize(("value", "threads"), [("1", 1), ("3", 3), ("", None)])
def test_the_environment_says_how_many_threads(
    value: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETDSL_NUM_THREADS", value)
    model = netdsl.loads(TEXT).compile(backend="native")
    assert isinstance(model, CompiledModel)
    assert model.threads == threads
    model.initialize(0)
    model(images(1, 3, 8, 8))
    (plan,) = model._plans.values()
    executable: Any = plan.executable
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert executable.threads == (threads or cores)


@pytest.mark.parametrize("value", ["0", "many", "-2", "2.5", "\N{SUPERSCRIPT TWO}"])
def test_the_environment_says_no_number(value: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETDSL_NUM_THREADS", value)
    with pytest.raises(RunError) as refused:
        netdsl.loads(TEXT).compile(backend=backend)
    assert refused.value.code == "E0717"
    assert f"NETDSL_NUM_THREADS is `{value}`" in refused.value.message


def test_a_batch_beyond_all_memory_is_told(backend: str) -> None:
    model = made(backend)
    x = np.broadcast_to(np.float32(1), (2**32, 3, 64, 64))
    for _ in range(2):
        with pytest.raises(RunError) as caught:
            model(x)
        assert caught.value.code == "E0714"
        assert "4294967296 x x 3x64x64" in caught.value.message
    assert answer(model, images(1, 3, 8, 8)).shape == (1, 5)


SCRIPT = """
import os, sys, threading
import numpy as np
import netdsl
model = netdsl.loads(sys.argv[1]).compile(backend=sys.argv[2], threads=2)
model.initialize(0)
x = np.ones((4, 3, 40, 40), np.float32)
expected = model(x)
stop = threading.Event()
def run():
    while not stop.is_set():
        model(x)
other = threading.Thread(target=run)
other.start()
for _ in range(10):  # while the other thread is in the middle of something
    child = os.fork()
    if child == 0:
        os._exit(0 if (model(x) == expected).all() else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
other.join()
assert (model(x) == expected).all()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forks_while_another_thread_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, TEXT, "native"], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "done\n", done.stderr
