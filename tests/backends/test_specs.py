"""The reference executor on networks written in the language."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import netdsl
from netdsl.backends.errors import RunError
from netdsl.images.load import load_input
from netdsl.language.diagnostics import SpecError
from netdsl.weights import MismatchError, WeightError, inventory

EDGES = """
const sobel = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
network edges() {
  input image: 3x?x?
  grayscale
  magnitude {
    | vertical:   conv(1, 3x3, padding = half, bias = false, weight = sobel, trainable = false)
    | horizontal: conv(1, 3x3, padding = half, bias = false, weight = transpose(sobel), trainable = false)
  }
}
"""

SMALL = """
network small(classes = 5) {
  input image: 3x?x?
  conv1: conv(4, 3x3) -> bn1: batch_norm -> relu
  global_avg_pool -> flatten
  fc: dense(classes)
}
"""


def test_fixed_weights_run_without_a_file() -> None:
    """A step from dark to light: the filter sums to 4 across it, and to nothing elsewhere."""
    x = np.zeros((1, 3, 6, 8), np.float32)
    x[..., 4:] = 1
    y, taps = netdsl.loads(EDGES).compile()(x, tap=["vertical", "horizontal"])
    inner = np.zeros((4, 6), np.float32)
    inner[:, 2:4] = -4  # dark on the left of the two columns that touch the step
    np.testing.assert_allclose(taps["vertical"][0, 0, 1:-1, 1:-1], inner, atol=1e-6)
    np.testing.assert_allclose(taps["horizontal"][0, 0, 1:-1, 1:-1], 0, atol=1e-6)
    np.testing.assert_allclose(y[0, 0, 1:-1, 1:-1], -inner, atol=1e-5)


def test_open_extents_run_at_any_size_that_fits() -> None:
    model = netdsl.loads(SMALL).compile()
    model.initialize(0)
    for height, width in ((3, 3), (5, 9), (32, 20)):
        assert model(np.ones((2, 3, height, width), np.float32)).shape == (2, 5)


def test_an_image_smaller_than_the_kernel_shows_the_line_of_the_spec() -> None:
    model = netdsl.loads(SMALL).compile()
    model.initialize(0)
    with pytest.raises(SpecError) as caught:
        model(np.ones((1, 3, 2, 9), np.float32))
    text = str(caught.value)
    assert "conv1" in text and "3x2x9" in text and "conv1: conv(4, 3x3)" in text and "^" in text


def test_a_trained_body_with_a_new_head(tmp_path: Path) -> None:
    trained = netdsl.loads(SMALL).compile()
    trained.initialize(1)
    trained.save(tmp_path / "small.safetensors")
    model = netdsl.loads(SMALL, classes=7).compile()
    with pytest.raises(MismatchError) as caught:
        model.load(tmp_path / "small.safetensors")
    assert "`fc.weight` is 5x4 in the file, the network wants 7x4" in str(caught.value)
    assert "except fc" in str(caught.value)
    model.load(tmp_path / "small.safetensors", except_="fc")
    x = np.ones((1, 3, 8, 8), np.float32)
    with pytest.raises(RunError, match=r"2 of 6 parameters .*`fc\.weight`"):
        model(x)
    model.initialize(0)
    _, ours = model(x, tap=["conv1"])
    _, theirs = trained(x, tap=["conv1"])
    np.testing.assert_array_equal(ours["conv1"], theirs["conv1"])
    assert model(x).shape == (1, 7)


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    net = netdsl.loads(SMALL)
    arrays = {name: np.zeros(slot.weight.shape, slot.weight.dtype) for name, slot in inventory(net.network).items()}
    arrays["bn1.running_var"][2] = np.nan
    np.savez(tmp_path / "w.npz", **arrays)
    with pytest.raises(WeightError, match=r"`bn1\.running_var` holds NaN"):
        net.compile().load(tmp_path / "w.npz")


def test_a_photograph_goes_through_preprocess(tmp_path: Path) -> None:
    text = SMALL.replace("3x?x?", "3x24x24\n  preprocess resize(28, bicubic) -> center_crop(24) -> normalize(imagenet)")
    net = netdsl.loads(text)
    assert [str(step) for step in net.network.preprocess] == [
        "resize(28, bicubic)", "center_crop(24)", "normalize(imagenet)",
    ]  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    x = load_input(tmp_path / "photo.png", net.inputs["image"], net.network.preprocess)
    model = net.compile()
    model.initialize(0)
    assert x.shape == (1, 3, 24, 24) and model(x).shape == (1, 5)


def test_heads_of_googlenet_run_in_training_only() -> None:
    net = netdsl.load("googlenet", shape="3x64x64")
    slots = inventory(net.network)
    heads = [name for name, slot in slots.items() if slot.auxiliary]
    assert heads and all(name.startswith(("aux1.", "aux2.")) for name in heads)
    assert {name.partition(".")[0] for name in slots} >= {"aux1", "aux2", "conv1", "fc"}
    model = net.compile()
    model.initialize(0)
    weights = {name: array for name, array in model.weights.items() if name not in heads}
    other = net.compile()
    report = other.load(weights)
    assert set(report.optional) == set(heads)
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(model(x), other(x))
