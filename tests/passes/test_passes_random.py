"""Every pass on random networks: what is computed stays, and so do the invariants."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from random_networks import assert_close, inputs_of, networks, reference, values_of

from netdsl.ir.network import Network
from netdsl.passes import PIPELINE, bind, run, verify

many = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", [each.name for each in PIPELINE])
@many
@given(network=networks())
def test_a_pass_keeps_every_number(name: str, network: Network) -> None:
    place = [each.name for each in PIPELINE].index(name)
    bound = bind(network, values_of(network))
    for earlier in PIPELINE[:place]:
        bound = earlier.apply(bound)
    passed = PIPELINE[place].apply(bound)
    verify(passed)
    inputs = inputs_of(network)
    kept = tuple(node for node in passed.network.table if node in bound.network.table)
    before, after = reference(bound, inputs, kept), reference(passed, inputs, kept)
    for tensor, expected in before.items():
        assert_close(after[tensor], expected, message=f"{name}: {tensor}")


@many
@given(network=networks(most=20))
def test_all_passes_in_a_row_keep_the_outputs(network: Network) -> None:
    bound = bind(network, values_of(network))
    passed = run(bound)
    inputs = inputs_of(network)
    before, after = reference(bound, inputs), reference(passed, inputs)
    assert list(after) == list(network.outputs)
    for tensor, expected in before.items():
        assert_close(after[tensor], expected, message=tensor)


@many
@given(network=networks())
def test_a_pass_changes_nothing_that_it_was_given(network: Network) -> None:
    bound = bind(network, values_of(network))
    nodes, outputs = dict(bound.network.table), dict(bound.network.outputs)
    arrays = {name: array.copy() for name, array in bound.values.items()}
    run(bound)
    assert bound.network.table == nodes and bound.network.outputs == outputs
    assert all((bound.values[name] == array).all() for name, array in arrays.items())


@many
@given(network=networks())
def test_running_the_passes_again_changes_nothing(network: Network) -> None:
    once = run(bind(network, values_of(network)))
    twice = run(once)
    assert len(twice.network.table) <= len(once.network.table)
    inputs = inputs_of(network)
    before, after = reference(once, inputs), reference(twice, inputs)
    for tensor, expected in before.items():
        assert_close(after[tensor], expected, message=tensor)
