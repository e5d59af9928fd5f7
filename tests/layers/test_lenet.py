"""LeNet-5 of 1998: every figure that section II.B of the paper prints, and its layers against sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from loops import run, sample

from netdsl.ir.layer import Cost, Global, Layer, LayerError, Weight, Window
from netdsl.ir.types import TensorType
from netdsl.layers.conv import Conv
from netdsl.layers.dense import Dense
from netdsl.layers.lenet import Rbf, Subsample

# Table I of the paper: the maps of S2 that each map of C3 reads.
TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5),
    (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5), (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5),
)  # fmt: skip

PAPER: list[tuple[Layer, tuple[int, ...], tuple[int, ...], int, int]] = [
    # layer, input, output, trainable parameters, connections
    (Conv(filters=6, kernel=5), (1, 32, 32), (6, 28, 28), 156, 122_304),
    (Subsample(), (6, 28, 28), (6, 14, 14), 12, 5880),
    (Conv(filters=16, kernel=5, connections=TABLE), (6, 14, 14), (16, 10, 10), 1516, 151_600),
    (Subsample(kernel=2), (16, 10, 10), (16, 5, 5), 32, 2000),
    (Conv(filters=120, kernel=5), (16, 5, 5), (120, 1, 1), 48_120, 48_120),
    (Dense(units=84), (120,), (84,), 10_164, 10_164),
    (Rbf(units=10), (84,), (10,), 0, 840),
]


@pytest.mark.parametrize(("layer", "given_", "made", "trainable", "connections"), PAPER)
def test_the_figures_of_the_paper(layer, given_, made, trainable, connections):
    x, y = TensorType(given_), TensorType(made)
    assert layer.infer(x) == y
    owned = layer.weights(x)
    assert sum(weight.size for weight in owned if weight.role == "parameter") == trainable
    assert all(weight.trainable for weight in owned if weight.role == "parameter")
    assert layer.cost([x], y).connections == connections


def test_the_totals_of_the_paper():
    assert sum(row[3] for row in PAPER) == 60_000
    assert sum(row[4] for row in PAPER) == 340_908
    found = [layer.cost([TensorType(given_)], TensorType(made)) for layer, given_, made, _, _ in PAPER]
    assert sum(cost.connections for cost in found) == 340_908
    assert [cost.macs for cost in found] == [117_600, 0, 150_000, 0, 48_000, 10_080, 0]


def test_c3_keeps_the_weights_of_its_links_only():
    weight, bias = PAPER[2][0].weights(TensorType((6, 14, 14)))
    assert (weight.shape, bias.shape) == ((60, 5, 5), (16,))


@pytest.mark.parametrize(("kernel", "spatial"), [((2, 2), (4, 6)), (3, (7,)), ((2, 1, 3), (5, 2, 3))])
def test_subsampling_multiplies_the_sum_of_its_window(kernel, spatial):
    x, w, b = sample(2, 3, *spatial), sample(3, seed=1), sample(3, seed=2)
    y = run(Subsample(kernel=kernel), x, weight=w, bias=b)
    f = (kernel,) * len(spatial) if isinstance(kernel, int) else kernel
    assert y.shape[2:] == tuple(n // k for n, k in zip(spatial, f, strict=True))
    for image, c, *place in np.ndindex(*y.shape):
        box = tuple(slice(i * k, i * k + k) for i, k in zip(place, f, strict=True))
        total = math.fsum(x[(image, c, *box)].ravel().tolist())
        assert y[(image, c, *place)] == pytest.approx(w[c] * total + b[c], abs=1e-12)
    assert run(Subsample(kernel=kernel), *[x.astype("f4")], weight=w.astype("f4"), bias=b.astype("f4")).dtype == "f4"


def test_fresh_subsampling_is_the_mean():
    layer = Subsample()
    weight, bias = layer.weights(TensorType((6, 28, 28)))
    assert (weight.initial, bias.initial, weight.shape, bias.shape) == (0.25, "zeros", (6,), (6,))
    assert layer.window([TensorType((6, 28, 28))]) == Window((2, 2), (2, 2), (0, 0))
    assert layer.cost([TensorType((6, None, 4))], layer.infer(TensorType((6, None, 4)))) is None


def test_rbf_is_the_squared_distance_to_each_centre():
    x, centers = sample(3, 5), sample(4, 5, seed=1)
    y = run(Rbf(units=4), x, weight=centers)
    for image in range(3):
        for unit in range(4):
            assert y[image, unit] == pytest.approx(math.dist(x[image], centers[unit]) ** 2)
    assert run(Rbf(units=4), centers[:1], weight=centers)[0, 0] == 0
    assert run(Rbf(units=4), x.astype("f4"), weight=centers.astype("f4")).dtype == "f4"


def test_rbf_in_blocks(monkeypatch):
    monkeypatch.setattr("netdsl.layers.lenet.MOST_PATCH_BYTES", 3 * 5 * 8 * 3)
    x, centers = sample(3, 5), sample(7, 5, seed=1)
    expected = [[math.dist(row, center) ** 2 for center in centers] for row in x]
    np.testing.assert_allclose(run(Rbf(units=7), x, weight=centers), expected)


def test_centres_are_a_buffer_unless_they_are_trained():
    x = TensorType((3,))
    centers = ((1, -1, 1), (-1, 1, 1))
    assert Rbf(units=2, centers=centers).weights(x) == (Weight("weight", (2, 3), "buffer", False, centers),)
    assert Rbf(units=2, trainable=True).weights(x) == (Weight("weight", (2, 3), "parameter", True, "kaiming"),)
    assert Rbf(units=2).cost([x], TensorType((2,))) == Cost(0, 2 * 8, 6)
    assert Rbf(units=2).window([x]) == Global()


@pytest.mark.parametrize(
    ("layer", "given_", "code", "said"),
    [
        (Subsample(), (6, 1, 4), "E0301", "subsample has a kernel of 2x2, which is larger than its input of 1x4"),
        (Subsample(kernel=2), (6,), "E0303", "at least one spatial axis"),
        (Subsample(), (6, 8), "E0305", "which has 1 spatial axis"),
        (Subsample(), (None, 8, 8), "E0309", "number of channels"),
        (Rbf(units=2), (6, 2, 2), "E0303", "rbf needs a vector, and its input is 6x2x2"),
        (Rbf(units=2, centers=((1, 2), (3, 4))), (3,), "E0304", "values of shape 2x2 for its weight"),
        (Rbf(units=2), (None,), "E0309", "needs the length of its input"),
    ],
)
def test_what_does_not_fit(layer, given_, code, said):
    with pytest.raises(LayerError, match=said) as caught:
        layer.infer(TensorType(given_))
    assert caught.value.code == code
    assert caught.value.help
