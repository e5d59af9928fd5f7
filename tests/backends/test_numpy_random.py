"""The NumPy back-end against the reference executor: random networks, batches, taps."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import assert_close, inputs_of, networks, reference, values_of

from netdsl.backends.compiled import CompiledModel
from netdsl.backends.registry import backend
from netdsl.ir.network import Network
from netdsl.passes import bind, run
from netdsl.program.lower import lower

many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(network=networks(most=16), batch=st.integers(1, 3), passes=st.booleans())
def test_a_program_computes_what_its_network_does(network: Network, batch: int, passes: bool) -> None:
    bound = bind(network, values_of(network))
    inputs = inputs_of(network, batch)
    expected = reference(bound, inputs)
    program = lower(run(bound) if passes else bound, network.input_types(), batch)
    executable = backend("numpy").build(program, None, {})
    for _ in range(2):  # the second run finds the arena as the first left it
        found = executable(inputs)
        assert list(found) == list(network.outputs)
        for name, array in expected.items():
            assert_close(found[name], array, 1e-3, name)


@many
@given(network=networks(), data=st.data())
def test_every_tensor_can_be_tapped(network: Network, data: st.DataObject) -> None:
    values, inputs = values_of(network), inputs_of(network)
    taps = tuple(data.draw(st.lists(st.sampled_from(list(network.table)), max_size=3, unique=True)))
    expected = reference(bind(network, values, {name: name for name in network.table}), inputs)
    model = CompiledModel(network, backend("numpy"))
    model.load(values)
    outputs, tapped = model.run(inputs, taps)
    assert list(tapped) == list(taps) and list(outputs) == list(network.outputs)
    for name, array in tapped.items():
        assert_close(array, expected[name], 1e-3, name)
    for name, node in network.outputs.items():
        assert_close(outputs[name], expected[node], 1e-3, name)
