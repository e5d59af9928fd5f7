"""Threads: the same bits however many, two engines at a time, a fork, an interrupt."""

from __future__ import annotations

import gc
import os
import platform
import signal
import threading
import time

import numpy as np
import pytest
from maps import Map, empty, naive_conv

from netdsl.backends.native.engine import Engine
from netdsl.backends.native.steps.conv import Window, conv_step
from netdsl.backends.native.steps.view import Array
from netdsl.backends.native.target import Target, host_target


def chain(threads: int, layers: int = 4, seed: int = 1) -> tuple[Engine, Map, list[Map]]:
    """Some convolutions, one behind the other; the last map is the result."""
    numbers = np.random.default_rng(seed)
    target = host_target()
    maps = [Map(numbers.standard_normal((1, 32, 28, 28)))]
    steps = []
    for number in range(layers):
        weight = (numbers.standard_normal((32, 32, 3, 3)) / 17).astype(np.float32)
        maps.append(empty(1, 32, 28, 28))
        window = Window((3, 3), before=(1, 1))
        steps.append(
            conv_step(f"conv{number}", target, maps[-2].view, maps[-1].view, window, weight, None, activation=("relu",))
        )
    return Engine(steps, target, threads), maps[-1], maps


def result(engine: Engine, out: Map) -> Array:
    out.inside[...] = np.nan
    engine.run()
    return out.values.copy()


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_the_number_of_threads_does_not_change_a_bit(threads: int) -> None:
    alone, out, _kept = chain(1)
    expected = result(alone, out)
    together, out, _kept = chain(threads)
    assert together.threads == threads
    for _ in range(20):
        np.testing.assert_array_equal(result(together, out), expected)


def test_helpers_that_sleep_are_woken_or_not_missed() -> None:
    engine, out, _kept = chain(3)
    expected = result(engine, out)
    for _ in range(5):
        time.sleep(0.02)
        np.testing.assert_array_equal(result(engine, out), expected)


def test_two_engines_in_two_threads() -> None:
    engines = [chain(2, seed=seed) for seed in (1, 2)]
    expected = [result(engine, out) for engine, out, _ in engines]
    wrong: list[int] = []

    def work(number: int) -> None:
        engine, out, _ = engines[number]
        for _ in range(30):
            if not np.array_equal(result(engine, out), expected[number]):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert not wrong


def test_part_of_the_steps() -> None:
    engine, out, maps = chain(2, layers=3)
    expected = result(engine, out)
    maps[1].inside[...] = maps[2].inside[...] = np.nan
    engine.run(0, 2)
    assert np.isfinite(maps[2].values).all()
    out.inside[...] = np.nan
    engine.run(2, 3)
    np.testing.assert_array_equal(out.values, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_fork_after_use() -> None:
    engine, out, _kept = chain(3)
    expected = result(engine, out)
    with engine.lock:  # as if another thread were running it
        child = os.fork()
        if child == 0:
            os._exit(0 if np.array_equal(result(engine, out), expected) else 3)
    deadline = time.monotonic() + 60
    status = None
    while status is None and time.monotonic() < deadline:
        found, code = os.waitpid(child, os.WNOHANG)
        status = code if found else None
        time.sleep(0.01)
    if status is None:
        os.kill(child, signal.SIGKILL)
    assert status == 0
    np.testing.assert_array_equal(result(engine, out), expected)


def test_an_interrupt_between_runs_leaves_everything_usable() -> None:
    engine, out, _kept = chain(2)
    expected = result(engine, out)
    timer = threading.Timer(0.05, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(100_000):
            engine.run()
    timer.join()
    np.testing.assert_array_equal(result(engine, out), expected)


@pytest.mark.parametrize("work", [10, 1_000_000, 5_000_000])
def test_long_steps_are_cut_into_calls_and_no_bit_changes(work: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out, _kept = chain(2)
    expected = result(whole, out)
    monkeypatch.setattr("netdsl.backends.native.engine.CALL_WORK", work)
    cut, out, maps = chain(2)
    calls: list[tuple[int, int]] = []
    call = cut._call
    monkeypatch.setattr(cut, "_call", lambda first, end: (calls.append((first, end)), call(first, end)))
    np.testing.assert_array_equal(result(cut, out), expected)
    assert len(calls) > len(cut.steps)
    assert [first for first, _ in calls[1:]] == [end for _, end in calls[:-1]]
    # A stretch in the middle is that stretch, and no more.
    maps[2].inside[...] = maps[3].inside[...] = out.inside[...] = np.nan
    cut.run(1, 3)
    assert np.isfinite(maps[3].values).all() and np.isnan(out.values).all()
    cut.run(3, 4)
    np.testing.assert_array_equal(out.values, expected)


def test_an_interrupt_comes_through_within_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes while native code works is seen when the call ends, long before the run does."""
    monkeypatch.setattr("netdsl.backends.native.engine.CALL_WORK", 1_000_000)
    engine, out, _kept = chain(2)
    expected = result(engine, out)
    calls = []
    call = engine._call

    def interrupted(first: int, end: int) -> None:
        calls.append(first)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        call(first, end)

    monkeypatch.setattr(engine, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run()
    assert len(calls) == 3 and len(engine._pauses) > 10
    assert not engine.lock.locked()
    monkeypatch.undo()
    np.testing.assert_array_equal(result(engine, out), expected)


def test_interrupts_at_any_moment_tear_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netdsl.backends.native.engine.CALL_WORK", 3_000_000)
    engine, out, _kept = chain(3)
    expected = result(engine, out)
    # Where an interrupt comes while a finalizer of something else runs, Python reports it and goes on.
    gc.collect()
    gc.disable()
    try:
        for turn in range(10):
            timer = threading.Timer(0.002 * turn, signal.raise_signal, [signal.SIGINT])
            with pytest.raises(KeyboardInterrupt):
                timer.start()
                while timer.is_alive():
                    engine.run()
                # Sent, and not seen yet.
                time.sleep(1)
            timer.join()
            np.testing.assert_array_equal(result(engine, out), expected)
    finally:
        gc.enable()


def test_helpers_go_home_with_their_engine() -> None:
    before = set(threading.enumerate())
    engine, out, kept = chain(3)
    result(engine, out)
    helpers = set(threading.enumerate()) - before
    assert len(helpers) == 2
    del engine, kept
    gc.collect()
    for helper in helpers:
        helper.join(10)
    assert not any(helper.is_alive() for helper in helpers)


def test_steps_of_small_work_are_not_shared(target: Target) -> None:
    x, out = Map(np.ones((1, 3, 2, 2))), empty(1, 4, 2, 2)
    weight = np.full((4, 3, 1, 1), 2, dtype=np.float32)
    engine = Engine([conv_step("c", target, x.view, out.view, Window((1, 1)), weight, None)], target, 4)
    assert engine.threads == 1
    engine.run()
    np.testing.assert_array_equal(out.values, naive_conv(x.values, weight, None, 1, 0, 1, 1))


def test_no_steps(target: Target) -> None:
    Engine([], target, 2).run()


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="the processor has another control word"
)
def test_numbers_too_small_to_be_normal_count_as_zero_inside_and_only_there(target: Target) -> None:
    """They take a processor a hundred times as long. Whoever calls keeps its own arithmetic."""
    small = np.float32(2.0**-140)
    x, out = Map(np.full((1, 3, 4, 4), small)), empty(1, 4, 4, 4)
    weight = np.full((4, 3, 1, 1), 2.0**20, dtype=np.float32)
    Engine([conv_step("c", target, x.view, out.view, Window((1, 1)), weight, None)], target, 1).run()
    assert (out.values == 0).all()
    assert np.array([small]) * np.float32(0.5) == np.float32(2.0**-141) > 0
