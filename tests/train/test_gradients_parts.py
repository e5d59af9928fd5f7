"""What gradients rest on: parameters in one vector, and random numbers that depend on nothing but their place."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pytest

import netdsl
from netdsl.train.draw import PhiloxDraw
from netdsl.train.parameters import Parameters, buffers_of
from netdsl.weights.store import WeightStore

WORD = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x64 with ten rounds, written from Salmon et al. 2011, section 3.3."""
    c, k = list(counter), list(key)
    for number in range(10):
        if number:
            k = [(k[0] + 0x9E3779B97F4A7C15) & WORD, (k[1] + 0xBB67AE8584CAA73B) & WORD]
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [(b >> 64) ^ c[1] ^ k[0], b & WORD, (a >> 64) ^ c[3] ^ k[1], a & WORD]
    return c


def test_random_numbers_are_those_of_philox():
    """Two numbers of 24 bits from each word, the low half first; the first block is number 1 of the step."""
    key = int.from_bytes(blake2b(b"11/layer1.0.drop", digest_size=16).digest(), "little")
    words = [word for block in (1, 2) for word in philox([block, 0, 42, 0], [key & WORD, key >> 64])]
    expected = [(half >> 8) / 2**24 for word in words for half in (word & 0xFFFFFFFF, word >> 32)]
    found = PhiloxDraw(11, 42, "layer1.0.drop").uniform((3, 5))
    assert found.dtype == np.float32 and found.shape == (3, 5)
    np.testing.assert_array_equal(found.reshape(-1), np.array(expected[:15], np.float32))


def test_the_next_call_goes_on():
    one = PhiloxDraw(0, 0, "a")
    whole = PhiloxDraw(0, 0, "a").uniform((8,))
    np.testing.assert_array_equal(np.concatenate([one.uniform((2,)), one.uniform((6,))]), whole)
    assert PhiloxDraw(0, 0, "a").uniform((0, 3)).shape == (0, 3)
    assert PhiloxDraw(0, 0, "a").uniform(()).shape == ()


def test_seed_step_and_node_each_make_other_numbers():
    streams = [PhiloxDraw(*place).uniform((1000,)) for place in ((0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"))]
    for index, one in enumerate(streams):
        # Mean 1/2 with deviation 1 / sqrt(12 * 1000) = 0.009.
        assert abs(float(one.mean()) - 0.5) < 0.05
        assert one.min() >= 0 and one.max() < 1
        for other in streams[:index]:
            assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.15


def store() -> WeightStore:
    network = netdsl.loads(
        "network n {\ninput v: 3\na: dense(2)\nb: batch_norm\nc: scalar(0.5, shape = scalar)\n}"
    ).network
    made = WeightStore(network)
    made.initialize(0)
    return made


def test_parameters_lie_one_after_the_other():
    weights = store()
    before = {name: np.array(array) for name, array in weights.values.items()}
    names = ["b.weight", "a.weight", "c"]
    parameters = Parameters.of(weights, names)
    assert parameters.names == ("b.weight", "a.weight", "c")
    assert parameters.size == len(parameters.flat) == 2 + 6 + 1
    np.testing.assert_array_equal(parameters.flat, np.concatenate([before[name].reshape(-1) for name in names]))
    assert parameters["a.weight"].shape == (2, 3) and parameters["c"].shape == ()
    parameters.flat[:] = np.arange(9)
    np.testing.assert_array_equal(weights.values["a.weight"], [[2, 3, 4], [5, 6, 7]])
    assert weights.values["c"] == 8
    np.testing.assert_array_equal(weights.values["a.bias"], before["a.bias"])
    parameters["b.weight"][1] = -1
    assert parameters.flat[1] == -1
    assert parameters.slices["a.weight"] == slice(2, 8)


def test_gradients_are_laid_out_alike():
    parameters = Parameters.of(store(), ["a.weight", "a.bias"])
    gradients = parameters.like()
    assert gradients.slices == parameters.slices and gradients.flat.dtype == parameters.flat.dtype
    assert not gradients.flat.any() and not np.shares_memory(gradients.flat, parameters.flat)


def test_buffers_can_be_written_into():
    weights = store()
    weights.bind({"b.running_mean": np.broadcast_to(np.float32(3), (2,))})
    buffers = buffers_of(weights)
    assert list(buffers) == ["b.running_mean", "b.running_var", "b.num_batches_tracked"]
    buffers["b.running_mean"][0] = 7
    np.testing.assert_array_equal(weights.values["b.running_mean"], [7, 3])
    assert buffers["b.num_batches_tracked"].dtype == np.int64


def test_what_is_bound_has_the_shape_and_type_of_the_weight():
    weights = store()
    for wrong in (np.zeros((3, 2), np.float32), np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"a.weight"):
            weights.bind({"a.weight": wrong})
    with pytest.raises(KeyError):
        weights.bind({"d.weight": np.zeros(1, np.float32)})
    with pytest.raises(KeyError):
        Parameters.of(weights, ["d.weight"])
