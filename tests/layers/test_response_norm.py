"""Root mean square and global response normalisation against loops over their definitions, and PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loops import run, sample

from netdsl.ir.layer import Cost, Global, LayerError, Weight
from netdsl.ir.types import TensorType
from netdsl.layers.response_norm import GlobalResponseNorm, RmsNorm

SHAPES = [(6,), (6, 5), (6, 4, 3), (6, 2, 3, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_root_mean_square_of_the_channels_of_each_position(shape: tuple[int, ...]) -> None:
    x, weight = sample(2, *shape), sample(6, seed=3)
    plain = run(RmsNorm(eps=1e-3, affine=False), x)
    scaled = run(RmsNorm(eps=1e-3), x, weight=weight)
    for place in np.ndindex(*x.shape):
        n, c, *rest = place
        mean = math.fsum(float(x[(n, k, *rest)]) ** 2 for k in range(6)) / 6
        assert plain[place] == pytest.approx(x[place] / math.sqrt(mean + 1e-3), rel=1e-13)
        assert scaled[place] == pytest.approx(weight[c] * plain[place], rel=1e-13)
    single = run(RmsNorm(eps=1e-3), x.astype(np.float32), weight=weight.astype(np.float32))
    np.testing.assert_allclose(single, scaled, rtol=1e-5, atol=1e-6)


def test_rms_norm_shape_weights_and_cost() -> None:
    x = TensorType((6, None, 3))
    assert RmsNorm().infer(x) == x
    assert RmsNorm(trainable=False).weights(x) == (Weight("weight", (6,), trainable=False, initial="ones"),)
    # At a position: 6 squares, a mean of 6 numbers, epsilon, a root, 6 divisions; 6 factors.
    assert RmsNorm().cost([], TensorType((6, 2, 3))) == Cost(flops=6 * (6 + 6 + 2 + 6 + 6))
    assert RmsNorm(affine=False).cost([], TensorType((6,))) == Cost(flops=6 + 6 + 2 + 6)
    assert RmsNorm().cost([], x) is None
    assert RmsNorm().window([x]) is None
    for wrong, code in (((None, 4), "E0309"), ((), "E0315")):
        with pytest.raises(LayerError) as caught:
            RmsNorm().infer(TensorType(wrong))
        assert caught.value.code == code


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_channels_compete_by_their_lengths(shape: tuple[int, ...]) -> None:
    x, weight, bias = sample(2, *shape), sample(6, seed=3), sample(6, seed=4)
    y = run(GlobalResponseNorm(eps=1e-2), x, weight=weight, bias=bias)
    for place in np.ndindex(*x.shape):
        n, c, *_ = place
        lengths = [math.sqrt(math.fsum(float(v) ** 2 for v in x[n, k].ravel())) for k in range(6)]
        response = lengths[c] / (math.fsum(lengths) / 6 + 1e-2)
        assert y[place] == pytest.approx(weight[c] * x[place] * response + bias[c] + x[place], rel=1e-12, abs=1e-13)
    single = run(
        GlobalResponseNorm(eps=1e-2), *[v.astype(np.float32) for v in (x,)],
        weight=weight.astype(np.float32), bias=bias.astype(np.float32),
    )  # fmt: skip
    np.testing.assert_allclose(single, y, rtol=1e-5, atol=1e-5)


def test_a_fresh_global_response_norm_is_the_identity() -> None:
    layer = GlobalResponseNorm()
    x = sample(2, 4, 3, 3)
    owned = layer.weights(TensorType((4, 3, 3)))
    assert owned == (Weight("weight", (4,), initial="zeros"), Weight("bias", (4,), initial="zeros"))
    np.testing.assert_array_equal(run(layer, x, **{w.name: np.zeros(w.shape) for w in owned}), x)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(run(layer, 0 * x, weight=np.ones(4), bias=np.ones(4)), 1)


def test_global_response_norm_cost_window_and_refusals() -> None:
    x = TensorType((4, 3, 3))
    # Lengths: 9 squares, 8 additions, a root for each channel. Mean: 3 additions, a division; eps; 4 divisions.
    # Then a product with the response, one with the weight, the bias and the input, for each element.
    assert GlobalResponseNorm().cost([x], x) == Cost(flops=4 * (9 + 8 + 1) + 4 + 1 + 4 + 4 * 36)
    assert GlobalResponseNorm().board([x], x)["flops"] == ["6 * 4 * 3 * 3 + 2 * 4 + 1 = 225"]
    assert GlobalResponseNorm().cost([x], TensorType((4, None, 3))) is None
    assert GlobalResponseNorm().window([x]) == Global()
    for wrong, code in (((None, 4), "E0309"), ((4,), "E0315")):
        with pytest.raises(LayerError) as caught:
            GlobalResponseNorm().infer(TensorType(wrong))
        assert caught.value.code == code


@pytest.mark.peer
def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    weight, bias = sample(6, seed=3), sample(6, seed=4)
    for shape in SHAPES:
        x = sample(2, *shape)
        t = torch.from_numpy(x)
        peer = torch.nn.functional.rms_norm(t.movedim(1, -1), (6,), torch.from_numpy(weight), 1e-5).movedim(-1, 1)
        np.testing.assert_allclose(run(RmsNorm(eps=1e-5), x, weight=weight), peer, rtol=1e-12)
    # The authors' definition (facebookresearch/ConvNeXt-V2), channels last.
    x = sample(2, 6, 4, 5)
    t = torch.from_numpy(x).permute(0, 2, 3, 1)
    gx = torch.norm(t, p=2, dim=(1, 2), keepdim=True)
    nx = gx / (gx.mean(dim=-1, keepdim=True) + 1e-6)
    peer = (torch.from_numpy(weight) * (t * nx) + torch.from_numpy(bias) + t).permute(0, 3, 1, 2)
    np.testing.assert_allclose(run(GlobalResponseNorm(), x, weight=weight, bias=bias), peer, rtol=1e-12, atol=1e-13)
