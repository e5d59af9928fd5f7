"""Arrays that lie on the device come and go without a copy through the host; played device, any library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_networks import values_of

import netdsl
from netdsl.backends.cupy.backend import CupyBackend
from netdsl.backends.cupy.dlpack import on_device, place
from netdsl.backends.cupy.fake import FakeDevice
from netdsl.backends.cupy.fake_array import DeviceArray
from netdsl.backends.cupy.model import DeviceModel
from netdsl.backends.errors import RunError

TEXT = "network n() {\n  input a: 3x8x8\n  input b: 3x8x8\n  sum: add(a, b)\n  conv(4, 3x3) -> relu\n}"


def built(device: FakeDevice, text: str = TEXT) -> DeviceModel:
    made = CupyBackend(played=device, candidates=()).model(netdsl.loads(text).network)
    made.load(values_of(made.network))
    return made


def images(*shape: int) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


class Elsewhere:
    """A tensor of another library, as it shows itself."""

    def __init__(self, array: Any, device: tuple[int, int], error: Exception | None = None) -> None:
        self.array, self.device, self.error = array, device, error
        self.asked = 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, **options: Any) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.array.__dlpack__(**options)


def test_what_lies_on_the_device_is_not_copied_through_the_host() -> None:
    device = FakeDevice()
    model = built(device)
    a, b = images(2, 3, 8, 8), images(2, 3, 8, 8) + 1
    expected = model({"a": a, "b": b})
    there = {"a": device.xp.asarray(a), "b": device.xp.asarray(b)}
    model.on_device(there)  # graphs are made and compared on the host
    device.copies.clear(), device.order.clear()
    found = model.on_device(there)
    assert device.order == ["follow", "synchronize"], "whoever still writes the inputs is waited for first"
    assert device.copies == [] and isinstance(found, DeviceArray) and place(found) == 0
    np.testing.assert_array_equal(found.get(), expected)
    other = model.on_device({"a": there["b"], "b": there["b"]})
    assert np.abs(other.get() - expected).max() > 0
    np.testing.assert_array_equal(found.get(), expected, "results are arrays of their own")
    assert (there["a"].get() == a).all(), "inputs stay as they are"


def test_a_tensor_of_another_library_is_taken_where_it_is() -> None:
    device = FakeDevice()
    model = built(device)
    a = images(2, 3, 8, 8)
    tensor = Elsewhere(a, (2, 0))
    assert on_device(tensor) and on_device({"a": a, "b": tensor}) and not on_device(a)
    expected = model({"a": a, "b": a})
    np.testing.assert_array_equal(model({"a": tensor, "b": tensor}), expected)
    np.testing.assert_array_equal(model({"a": a, "b": tensor}), expected, "one here and one there")
    assert tensor.asked == 3


def test_halves_on_the_device_are_taken_as_they_are() -> None:
    device = FakeDevice()
    model = built(device)
    a = images(2, 3, 8, 8).astype(np.float16)
    there = device.xp.asarray(a)
    expected = model({"a": a.astype(np.float32), "b": a.astype(np.float32)})
    np.testing.assert_array_equal(model.on_device({"a": there, "b": there}).get(), expected)


def test_taps_stay_on_the_device() -> None:
    device = FakeDevice()
    model = built(device)
    a = images(1, 3, 8, 8)
    there = device.xp.asarray(a)
    output, taps = model.on_device({"a": there, "b": there}, tap="sum")
    assert isinstance(output, DeviceArray)
    np.testing.assert_allclose(taps["sum"].get(), 2 * a, rtol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Elsewhere(images(2, 3, 8, 8), (2, 1)), "lies on device 1, the network runs on device 0"),
        (Elsewhere(images(2, 3, 8, 8), (2, 0), BufferError("Can't export tensors that require gradient")), "gradient"),
        (Elsewhere(images(2, 3, 7, 8), (2, 0)), "has shape (2, 3, 7, 8)"),
        (Elsewhere(np.ones((2, 3, 8, 8), np.int32), (2, 0)), "holds int32"),
    ],
    ids=["another device", "not given away", "another shape", "whole numbers"],
)
def test_what_cannot_be_taken_says_why(tensor: Elsewhere, message: str) -> None:
    model = built(FakeDevice())
    with pytest.raises(RunError) as caught:
        model({"a": tensor, "b": tensor})
    assert caught.value.code == "E0712" and message in caught.value.message


def test_memory_of_the_host_is_the_hosts() -> None:
    assert place(images(2)) is None
    assert place(Elsewhere(images(2), (1, 0))) is None
    assert place(Elsewhere(images(2), (13, 2))) == 2
    assert place("text") is None


@pytest.mark.peer
def test_torch_on_the_cpu_is_an_array_like_others() -> None:
    torch = pytest.importorskip("torch")
    model = built(FakeDevice())
    a = images(2, 3, 8, 8)
    np.testing.assert_array_equal(model({"a": torch.from_numpy(a), "b": a}), model({"a": a, "b": a}))
