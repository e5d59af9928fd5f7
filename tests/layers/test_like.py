"""Resizing and cropping to the size of another tensor: the same as with that size written down, and at run time."""

from __future__ import annotations

import numpy as np
import pytest
from loops import sample
from pydantic import ValidationError

import netdsl
from netdsl.analysis.receptive import Field, Whole, receptive_fields
from netdsl.ir.layer import Arity, Cost, Global, Layer, LayerError, Window
from netdsl.ir.types import TensorType
from netdsl.layers.pad import Crop, CropLike
from netdsl.layers.resample import Upsample, UpsampleLike


def run(layer: Layer, x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    before = x.copy()
    y = layer.forward(np, [x, reference], {})
    assert y.shape == (len(x), *layer.infer(TensorType(x.shape[1:]), TensorType(reference.shape[1:])).shape)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(x, before)
    return y


@pytest.mark.parametrize(
    "options", [{}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True}], ids=lambda o: "-".join(o) or "-"
)
@pytest.mark.parametrize(("given_", "wanted"), [((4, 5), (8, 10)), ((4, 5), (7, 3)), ((6,), (13,)), ((2, 3, 4),) * 2])
def test_upsample_like_is_upsample_to_that_size(options, given_, wanted) -> None:
    x, reference = sample(2, 3, *given_), sample(2, 7, *wanted, seed=1)
    fixed, like = Upsample(size=wanted, **options), UpsampleLike(**options)
    expected = fixed.forward(np, [x], {})
    np.testing.assert_array_equal(run(like, x, reference), expected)
    # The numbers of the second tensor do not count.
    np.testing.assert_array_equal(run(like, x, 0 * reference), expected)
    a, b, made = (TensorType(v.shape[1:]) for v in (x, reference, expected))
    assert like.cost([a, b], made) == fixed.cost([a], made)
    assert like.window([a, b]) == fixed.window([a])


def test_crop_like_keeps_the_middle() -> None:
    x = np.arange(2 * 7 * 6, dtype=float).reshape(1, 2, 7, 6)
    y = run(CropLike(), x, np.zeros((1, 5, 4, 3)))
    # 3 rows go, 1 in front and 2 behind; 3 columns go, 1 in front and 2 behind.
    for c, i, j in np.ndindex(2, 4, 3):
        assert y[0, c, i, j] == x[0, c, i + 1, j + 1]
    a, b = TensorType((64, 568, 568)), TensorType((128, 392, 391))
    assert CropLike().infer(a, b) == TensorType((64, 392, 391))
    assert CropLike().window([a, b]) == Crop(size=(392, 391)).window([a]) == Window((1, 1), (1, 1), (-88, -88))
    assert CropLike().cost([a, b], TensorType((64, 392, 391))) == Cost()
    assert CropLike().board([a, b], TensorType((64, 392, 391)))["output"] == [
        "channels stay",
        "height = 392, behind floor((568 - 392) / 2) = 88",
        "width = 391, behind floor((568 - 391) / 2) = 88",
    ]


def test_open_extents() -> None:
    x, reference = TensorType((8, None, 14)), TensorType((3, 28, None))
    for layer in (UpsampleLike(), CropLike()):
        assert layer.arity == Arity(2, 2)
        assert layer.read == 1
        assert layer.infer(x, TensorType((3, 10, None))) == TensorType((8, 10, None))
        assert layer.window([x, reference]) == Global()
    assert UpsampleLike(mode="bilinear").cost([x, reference], TensorType((8, 28, None))) is None
    assert UpsampleLike().board([x, reference], TensorType((8, 28, None)))["output"] == [
        "channels stay", "height = ? becomes 28", "width = 14 becomes ?",
    ]  # fmt: skip


@pytest.mark.parametrize("layer", [UpsampleLike(), CropLike()], ids=lambda layer: layer.kind)
def test_what_does_not_fit(layer: Layer) -> None:
    for a, b, code in (((8,), (8,), "E0303"), ((8, 4, 4), (8, 2), "E0311")):
        with pytest.raises(LayerError) as caught:
            layer.infer(TensorType(a), TensorType(b))
        assert caught.value.code == code
        assert caught.value.help
    with pytest.raises(LayerError, match="crop_like keeps 9 positions along an axis of 4") as caught:
        CropLike().infer(TensorType((8, 4, 4)), TensorType((8, 2, 9)))
    assert caught.value.code == "E0307"
    with pytest.raises(ValidationError):
        UpsampleLike(align_corners=True)
    with pytest.raises(ValidationError):
        UpsampleLike(scale=2)


PYRAMID = """
network pyramid {
  input image: 3x?x?
  fine: conv(4, 3x3, stride = 2, padding = 1)
  coarse: conv(4, 3x3, stride = 2, padding = 1)
  up: upsample_like(x, fine)
  add(x, fine)
  upsample_like(x, image, mode = bilinear)
}
"""


@pytest.mark.parametrize("size", [(8, 8), (7, 9), (5, 6), (1, 1)])
def test_sizes_that_come_with_the_image(size: tuple[int, int]) -> None:
    model = netdsl.loads(PYRAMID).compile()
    model.initialize(0)
    image = sample(2, 3, *size).astype(np.float32)
    y, taps = model(image, tap=["fine", "coarse", "up"])
    assert y.shape == (2, 4, *size)
    assert taps["up"].shape == taps["fine"].shape
    expected = Upsample(size=taps["fine"].shape[2:]).forward(np, [taps["coarse"]], {})
    np.testing.assert_array_equal(taps["up"], expected)


def test_a_crop_that_turns_out_too_large() -> None:
    text = "network n {\n  input a: 3x?x?\n  input b: 3x?x?\n  crop_like(a, b)\n}"
    model = netdsl.loads(text).compile()
    a, b = sample(1, 3, 5, 5).astype(np.float32), sample(1, 3, 3, 4).astype(np.float32)
    np.testing.assert_array_equal(model({"a": a, "b": b}), a[:, :, 1:4, 0:4])
    with pytest.raises(netdsl.SpecError, match="crop_like keeps 5 positions along an axis of 3"):
        model({"a": b, "b": a})


def test_only_the_size_of_the_second_tensor_is_seen() -> None:
    text = (
        "network n { input image: 3x32x32\n skip: conv(4, 3x3, padding = 1)\n"
        " max_pool(2x2) -> up: upsample_like(x, skip) -> sized: crop_like(image, up) }"
    )
    network = netdsl.loads(text).network
    fields = receptive_fields(network)
    up, sized = fields["up"], fields["sized"]
    assert isinstance(up, Field) and isinstance(sized, Field)
    assert [axis.size for axis in up.axes] == [4, 4]  # 2x2 positions of the convolution, which see 3x3 each
    assert [axis.size for axis in sized.axes] == [1, 1]
    assert not isinstance(up, Whole)


@pytest.mark.parametrize("call", ["upsample_like", "upsample_like(skip)", "crop_like(x, skip, skip)"])
def test_two_tensors_are_wanted(call: str) -> None:
    with pytest.raises(netdsl.SpecError, match="E0206"):
        netdsl.loads(f"network n {{ input 3x8x8\n skip: relu\n {call} }}")


def test_lanes() -> None:
    net = netdsl.loads("network n { input 3x8x8 -> upsample_like { | max_pool(2x2) | } }")
    assert net.node("1").type == TensorType((3, 8, 8))


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x, reference = sample(2, 3, 5, 7), sample(2, 4, 9, 8)
    for align in (False, True):
        peer = torch.nn.functional.interpolate(torch.from_numpy(x), (9, 8), mode="bilinear", align_corners=align)
        found = run(UpsampleLike(mode="bilinear", align_corners=align), x, reference)
        np.testing.assert_allclose(found, peer, atol=1e-12)
