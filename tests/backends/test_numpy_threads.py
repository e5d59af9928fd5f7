"""The threads of the NumPy back-end: the same numbers, nothing hangs, nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import assert_close, inputs_of, networks, reference, values_of

import netdsl
from netdsl.backends.numpy import backend as numpy_backend
from netdsl.backends.numpy.blas import _calls, one_thread, product_threads
from netdsl.backends.numpy.workers import Crew
from netdsl.backends.registry import backend
from netdsl.ir.network import Network
from netdsl.passes import bind, run
from netdsl.program.lower import lower


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks(), sharing=st.booleans())
def test_threads_share_steps_or_products(network: Network, sharing: bool) -> None:
    bound = bind(network, values_of(network))
    inputs = inputs_of(network, 2)
    program = lower(run(bound), network.input_types(), 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numpy_backend, "SHARED_WORK", 0)
        patch.setattr(numpy_backend, "LARGE_STEP", 0 if sharing else np.inf)
        executable = backend("numpy").build(program, 3, {})
    found = executable(inputs)
    for name, array in reference(bound, inputs).items():
        assert_close(found[name], array, 1e-3, name)


@pytest.mark.parametrize("large", [0, np.inf], ids=["shares of steps", "threads in products"])
def test_threads_do_not_change_the_answer(large: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numpy_backend, "LARGE_STEP", large)
    net = netdsl.load("mobilenet_v3_small", shape="3x96x96")
    x = np.random.default_rng(0).normal(size=(2, 3, 96, 96)).astype(np.float32)
    answers = []
    for threads in (1, 2, 3):
        model = net.compile(backend="numpy", threads=threads)
        model.initialize(0)
        answers.append(model(x))
        np.testing.assert_array_equal(model(x), answers[-1])
    assert_close(answers[1], answers[0], 1e-4)
    assert_close(answers[2], answers[0], 1e-4)


def test_what_a_worker_raises_arrives_and_the_crew_goes_on() -> None:
    crew, done = Crew(), []

    def fail() -> None:
        raise MemoryError("no more")

    with pytest.raises(MemoryError, match="no more"):
        crew.run([lambda: done.append(1), fail])
    with pytest.raises(KeyboardInterrupt):
        crew.run([_interrupted, lambda: done.append(2)])
    crew.run([lambda: done.append(3), lambda: done.append(4)])
    assert sorted(done) == [1, 2, 3, 4]


def _interrupted() -> None:
    raise KeyboardInterrupt


def test_pieces_run_side_by_side() -> None:
    """Each waits for the other: one after the other they would wait for ever."""
    meeting = threading.Barrier(2, timeout=20)
    Crew().run([meeting.wait, meeting.wait])


def test_products_get_their_threads_back() -> None:
    calls = _calls()
    if calls is None:
        pytest.skip("NumPy's products are not those of OpenBLAS")
    get, put = calls
    before = get()
    try:
        put(2)
        with one_thread(), product_threads(3):
            assert get() == 3
        assert get() == 2
    finally:
        put(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_has_workers_of_its_own() -> None:
    script = """
import os, sys
import numpy as np
import netdsl
model = netdsl.load("resnet18", shape="3x64x64").compile(backend="numpy", threads=2)
model.initialize(0)
x = np.ones((1, 3, 64, 64), np.float32)
expected = model(x)
child = os.fork()
if child == 0:
    os._exit(0 if (model(x) == expected).all() else 3)
status = os.waitpid(child, 0)[1]
assert (model(x) == expected).all()
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
