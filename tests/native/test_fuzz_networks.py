"""Random networks: native = reference in double precision, on every kind of code, with the passes and without.

`NETDSL_FUZZ=1000` tries so many networks in each test.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import assert_close, inputs_of, networks, reference, values_of

import netdsl
from netdsl.backends.compiled import CompiledModel
from netdsl.backends.native.executor import NativeProgram
from netdsl.backends.native.target import Target, runnable
from netdsl.backends.registry import backend
from netdsl.ir.network import Network
from netdsl.passes import bind, run
from netdsl.program.lower import lower

EXAMPLES = int(os.environ.get("NETDSL_FUZZ", "20"))
WITHIN = 1e-3
"""Of the largest number: layers such as norms of nearly constant maps make rounding larger."""


def many(examples: int) -> Any:
    # What is tried is the same in every run, unless it is asked for more.
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=EXAMPLES == 20
    )


def check(network: Network, batch: int, passes: bool, target: Target, threads: int) -> None:
    bound = bind(network, values_of(network))
    inputs = inputs_of(network, batch)
    expected = reference(bound, inputs)
    program = lower(run(bound) if passes else bound, network.input_types(), batch)
    executable = NativeProgram(program, threads, target)
    for _ in range(2):  # the second run finds the arena as the first left it
        found = executable.run(inputs)
        assert list(found) == list(network.outputs)
        for name, array in expected.items():
            assert_close(found[name], array, WITHIN, name)


@many(EXAMPLES)
@given(network=networks(most=14), batch=st.sampled_from([1, 2, 3, 17]), passes=st.booleans(), threads=st.integers(1, 3))
def test_on_the_widest_code(network: Network, batch: int, passes: bool, threads: int) -> None:
    check(network, batch, passes, runnable()[0], threads)


@pytest.mark.parametrize("target", runnable()[1:], ids=lambda target: target.name)
@many(max(1, EXAMPLES // 2))
@given(network=networks(most=14), batch=st.sampled_from([1, 2]), passes=st.booleans())
def test_on_other_code(target: Target, network: Network, batch: int, passes: bool) -> None:
    check(network, batch, passes, target, 1)


@many(max(1, EXAMPLES // 4))
@given(network=networks(), data=st.data())
def test_every_tensor_can_be_tapped(network: Network, data: st.DataObject) -> None:
    values, inputs = values_of(network), inputs_of(network)
    taps = tuple(data.draw(st.lists(st.sampled_from(list(network.table)), max_size=3, unique=True)))
    expected = reference(bind(network, values, {name: name for name in network.table}), inputs)
    model = CompiledModel(network, backend("native"))
    model.load(values)
    outputs, tapped = model.run(inputs, taps)
    assert list(tapped) == list(taps) and list(outputs) == list(network.outputs)
    for name, array in tapped.items():
        assert_close(array, expected[name], WITHIN, name)


@many(max(1, EXAMPLES // 4))
@given(network=networks(most=10), threads=st.integers(2, 4))
def test_any_number_of_threads_gives_the_same_bits(network: Network, threads: int) -> None:
    bound = run(bind(network, values_of(network)))
    program = lower(bound, network.input_types(), 2)
    inputs = inputs_of(network)
    alone, together = (NativeProgram(program, count).run(inputs) for count in (1, threads))
    for name, array in alone.items():
        np.testing.assert_array_equal(together[name], array)


def test_a_lane_of_one_row_in_a_batch() -> None:
    """The images of a lane along the width are further apart than its pixels, even where it has one row."""
    network = netdsl.loads("network n() { input x: 1x1x1\n concat(axis = width) {\n| relu\n| tanh\n}\n relu }").network
    x = np.array([-2.0, 3.0, 0.5], np.float32).reshape(3, 1, 1, 1)
    program = lower(bind(network, {}), network.input_types(), 3)
    (found,) = NativeProgram(program, 1).run({"x": x}).values()
    expected = np.maximum(np.concatenate([np.maximum(x, 0), np.tanh(x)], axis=3), 0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
