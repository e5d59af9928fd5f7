"""Every layer's backward against differences of its own forward, in float64.

`gradcheck` runs backward with NaN in place of everything that the layer does not say it keeps, and lets no argument be
written into.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netdsl.ir.layer import Gradients, Layer, Passed
from netdsl.ir.types import TensorType
from netdsl.layers.activation import Relu, Silu
from netdsl.layers.join import Multiply
from netdsl.layers.vocabulary import LAYERS
from netdsl.train.draw import PhiloxDraw
from netdsl.train.gradcheck import gradcheck

IMAGE, VECTOR, SEQUENCE, VOLUME = (4, 6, 7), (5,), (4, 9), (2, 3, 5, 4)
ALL = [IMAGE, VECTOR, SEQUENCE, VOLUME]
TABLE = ((0, 1), (1, 2, 3), (3,))


def each(*shapes: Any, **attributes: Any) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
    """The same attributes for one input of each shape."""
    return [(attributes, [shape]) for shape in shapes]


def lanes(**attributes: Any) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
    """Elementwise joins: equal lanes, one lane repeated along some axes, and both repeated."""
    return [
        (attributes, [IMAGE, IMAGE]),
        (attributes, [IMAGE, (4, 1, 1)]),
        (attributes, [(1, 6, 7), (4, 1, 7)]),
        (attributes, [VECTOR, VECTOR]),
    ]


def more_lanes() -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
    return [*lanes(), ({}, [IMAGE]), ({}, [IMAGE, (4, 1, 1), IMAGE]), ({}, [(1, 1, 1), IMAGE, (4, 6, 1), IMAGE])]


CASES: dict[str, list[tuple[dict[str, Any], list[tuple[int, ...]]]]] = {
    # ------------------------------------------------------------------------------------------------ convolutions
    "conv": [
        *each(IMAGE, SEQUENCE, filters=3, kernel=3),
        *each(VOLUME, filters=3, kernel=(2, 3, 1), padding=1),
        *each(IMAGE, filters=3, kernel=1, bias=False),
        *each(IMAGE, filters=3, kernel=1, stride=2),
        *each(IMAGE, filters=6, kernel=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        *each(IMAGE, filters=4, kernel=3, groups=4, padding=1),
        *each(IMAGE, filters=3, kernel=3, padding="same", stride=2),
        *each(IMAGE, filters=3, kernel=(3, 2), flip_kernel=True),
        *each(IMAGE, filters=3, kernel=4, stride=3, padding=(2, 3, 1, 0)),
        *each(IMAGE, filters=3, kernel=2, connections=TABLE),
        *each(IMAGE, filters=3, kernel=(3, 2), connections=TABLE, flip_kernel=True, padding=1, bias=False),
        *(
            case
            for mode in ("reflect", "replicate", "circular")
            for case in each(IMAGE, filters=2, kernel=3, padding=(1, 2, 0, 3), padding_mode=mode, stride=2)
        ),
        *each((2, 4, 3), filters=2, kernel=3, padding=(3, 2, 2, 2), padding_mode="reflect"),
    ],
    "depthwise_conv": [
        *each(IMAGE, SEQUENCE, VOLUME, kernel=3, padding=1),
        *each(IMAGE, kernel=(3, 2), stride=(1, 2), multiplier=3, dilation=2, bias=False),
        *each(IMAGE, kernel=3, stride=2, padding="same", padding_mode="replicate"),
        *each((1, 6, 7), kernel=3, stride=2, flip_kernel=True),
    ],
    "std_conv": [
        *each(IMAGE, filters=3, kernel=3, padding=1, stride=2),
        *each(IMAGE, filters=4, kernel=(2, 3), groups=2, flip_kernel=True, eps=0.1),
    ],
    "scaled_std_conv": [
        *each(IMAGE, filters=3, kernel=3, gamma=1.7, padding=1),
        *each(SEQUENCE, filters=4, kernel=3, groups=2, gain=0.5),
    ],
    "conv_transpose": [
        *each(IMAGE, SEQUENCE, VOLUME, filters=3, kernel=2, stride=2),
        *each(IMAGE, filters=4, kernel=(3, 4), stride=2, padding=1, output_padding=(1, 0), groups=2, bias=False),
        *each(IMAGE, filters=3, kernel=3, stride=(1, 3), padding="same", dilation=2),
        *each(IMAGE, filters=3, kernel=1, stride=3, output_padding=2),
    ],
    "dense": [
        *each(VECTOR, units=3),
        *each(VECTOR, units=1, bias=False),
        *each(IMAGE, units=3, axis="channels"),
        *each(IMAGE, units=3, axis="width", bias=False),
    ],
    # ------------------------------------------------------------------------------------------------------- pools
    "max_pool": [
        *each(IMAGE, SEQUENCE, kernel=2),
        *each(VOLUME, kernel=(2, 3, 2), stride=1),
        *each(IMAGE, kernel=3, stride=2, padding=1, ceil_mode=True),
        *each(IMAGE, kernel=(3, 2), stride=1, dilation=(2, 3)),
        *each(IMAGE, kernel=3, stride=2, padding="same"),
        *each(IMAGE, kernel=2, stride=3),
    ],
    "avg_pool": [
        *each(IMAGE, SEQUENCE, kernel=2),
        *each(VOLUME, kernel=(2, 3, 2), stride=1),
        *each(IMAGE, kernel=3, stride=2, padding=1, ceil_mode=True),
        *each(IMAGE, kernel=3, stride=2, padding=1, count_include_pad=False),
        *each(IMAGE, kernel=3, stride=2, padding="same"),
        *each(IMAGE, kernel=2, stride=3),
    ],
    "global_avg_pool": each(IMAGE, SEQUENCE, VOLUME),
    "global_max_pool": each(IMAGE, SEQUENCE, VOLUME),
    "gem_pool": [*each(IMAGE, VOLUME, eps=0.05), *each(IMAGE, p=1.5)],
    "adaptive_avg_pool": [
        *each(IMAGE, size=(4, 3)),
        *each(IMAGE, size=(None, 9)),
        *each(IMAGE, size=1),
        *each(SEQUENCE, size=(4,)),
        *each(VOLUME, size=2),
    ],
    "adaptive_max_pool": [
        *each(IMAGE, size=(4, 3)),
        *each(IMAGE, size=(None, 9)),
        *each(IMAGE, size=1),
        *each(SEQUENCE, size=(4,)),
        *each(VOLUME, size=2),
    ],
    "reduce": [
        case
        for how in ("mean", "max", "min", "sum")
        for case in (
            *each(IMAGE, VECTOR, how=how),
            *each(IMAGE, how=how, axis=("channels", "width")),
            *each(VOLUME, how=how, axis="positions"),
        )
    ],
    "subsample": [*each(IMAGE), *each(VOLUME, kernel=2), *each(IMAGE, kernel=(3, 4))],
    # ----------------------------------------------------------------------------------------------- normalisations
    "batch_norm": [*each(*ALL), *each(IMAGE, affine=False), *each(IMAGE, eps=0.5, momentum=0.9)],
    "layer_norm": [*each(*ALL), *each(IMAGE, affine=False, eps=0.3)],
    "group_norm": [*each(IMAGE, VOLUME, groups=2), *each(IMAGE, (4,), groups=1), *each(IMAGE, groups=4, affine=False)],
    "instance_norm": [*each(IMAGE, SEQUENCE, VOLUME), *each(IMAGE, affine=True)],
    "local_response_norm": [
        *each(IMAGE, VECTOR, size=3, alpha=0.3),
        *each((7, 3, 2), size=4, alpha=0.5, beta=1.5, k=2.0, divide_alpha=False),
        *each(IMAGE, size=9, alpha=1.0),
    ],
    "l2_norm": [*each(*ALL), *each(IMAGE, axis="positions"), *each(IMAGE, axis=("channels", "width"))],
    "rms_norm": [*each(*ALL), *each(IMAGE, affine=False, eps=0.3)],
    "global_response_norm": [*each(IMAGE, SEQUENCE, VOLUME), *each(IMAGE, eps=0.5)],
    # -------------------------------------------------------------------------------------------------- activations
    **{
        kind: each(IMAGE, VECTOR)
        for kind in (
            "relu", "relu6", "elu", "selu", "silu", "sigmoid", "hard_sigmoid", "hard_swish", "mish", "softplus", "tanh",
            "abs", "square", "exp", "identity",
        )
    },
    "leaky_relu": [*each(IMAGE), *each(IMAGE, slope=-0.5), *each(VECTOR, slope=0.0)],
    "prelu": [*each(*ALL), *each(IMAGE, VECTOR, per_channel=False, initial=-0.4)],
    "gelu": [*each(IMAGE), *each(IMAGE, approximate="tanh")],
    "scaled_tanh": [*each(IMAGE), *each(IMAGE, amplitude=-0.3, slope=2.0), *each(VECTOR, amplitude=0.0)],
    "clip": [*each(IMAGE, low=-0.5, high=0.7), *each(IMAGE, low=0.2), *each(VECTOR, high=-0.1)],
    "softmax": [*each(*ALL), *each(IMAGE, axis="height"), *each(IMAGE, groups=2)],
    "log_softmax": [*each(*ALL), *each(IMAGE, axis=2)],
    # -------------------------------------------------------------------------------------------------------- joins
    "add": more_lanes(),
    "multiply": more_lanes(),
    "average": more_lanes(),
    "maximum": more_lanes(),
    "minimum": more_lanes(),
    "magnitude": more_lanes(),
    "subtract": lanes(),
    "concat": [
        ({}, [IMAGE, (2, 6, 7), (1, 6, 7)]),
        ({"axis": "width"}, [IMAGE, (4, 6, 1)]),
        ({}, [VECTOR, VECTOR]),
        ({}, [IMAGE]),
    ],
    "sum_groups": [*each(IMAGE, groups=2), *each((6,), groups=3)],
    "matmul": [
        ({}, [(3, 4), (4, 5)]),
        ({}, [(2, 3, 4), (2, 4, 5)]),
        ({}, [(1, 3, 4), (2, 4, 1)]),
        ({}, [(2, 3, 1, 4), (1, 3, 4, 2)]),
    ],
    # ---------------------------------------------------------------------------------------------- moving numbers
    "flatten": each(*ALL),
    "reshape": [*each(IMAGE, shape=(2, -1)), *each(VECTOR, shape=(5, 1, 1)), *each(IMAGE, shape=168)],
    "permute": [*each(IMAGE, axes=(2, 0, 1)), *each(VOLUME, axes=(3, 1, 0, 2)), *each(VECTOR, axes=(0,))],
    "slice": [*each(IMAGE, start=1, stop=3), *each(IMAGE, start=2, axis="width"), *each(VECTOR, stop=4)],
    "decimate": [*each(IMAGE, SEQUENCE, stride=2), *each(IMAGE, stride=(1, 3))],
    "pad_channels": [*each(IMAGE, VECTOR, before=1, after=2), *each(IMAGE, to=7)],
    "channel_shuffle": [*each(IMAGE, groups=2), *each((6, 2), groups=3)],
    "space_to_depth": [
        *each((3, 4, 6), block=2),
        *each((3, 4, 6), block=2, order="dcr"),
        *each((2, 6), block=3),
        *each((1, 2, 4, 2), block=2),
    ],
    "depth_to_space": [
        *each((8, 2, 3), block=2),
        *each((8, 2, 3), block=2, order="dcr"),
        *each((6, 2), block=3),
        *each((8, 2, 1, 3), block=2),
    ],
    "pad": [
        *each(IMAGE, amount=(1, 2, 0, 3), value=0.5),
        *each(SEQUENCE, amount=2),
        *(
            case
            for mode in ("zeros", "reflect", "replicate", "circular")
            for case in (*each(IMAGE, amount=(3, 2, 1, 0), mode=mode), *each(VOLUME, amount=1, mode=mode))
        ),
        *each((2, 3, 4), amount=(2, 2, 3, 3), mode="reflect"),
        *each((2, 3, 1), amount=(3, 3, 1, 1), mode="circular"),
        *each((2, 3, 1), amount=(5, 4, 2, 3), mode="replicate"),
    ],
    "crop": [*each(IMAGE, amount=(1, 2, 0, 3)), *each(IMAGE, size=(3, 2)), *each(SEQUENCE, amount=1)],
    "crop_like": [({}, [IMAGE, (2, 3, 4)]), ({}, [IMAGE, (1, 6, 7)])],
    "upsample": [
        *each(IMAGE, SEQUENCE, VOLUME, scale=2),
        *each(IMAGE, size=(9, 4)),
        *each(IMAGE, VOLUME, scale=2, mode="bilinear"),
        *each(IMAGE, size=(9, 4), mode="bilinear"),
        *each(IMAGE, size=(1, 13), mode="bilinear", align_corners=True),
        *each((2, 1, 2), scale=3, mode="bilinear"),
    ],
    "upsample_like": [
        ({}, [IMAGE, (2, 9, 14)]),
        ({"mode": "bilinear"}, [IMAGE, (1, 5, 7)]),
        ({"mode": "bilinear", "align_corners": True}, [IMAGE, (2, 12, 3)]),
    ],
    # --------------------------------------------------------------------------------------------------- the others
    "layer_scale": [*each(IMAGE, VECTOR, initial=0.1), *each(IMAGE, shape="vector")],
    "scalar": [*each(IMAGE, initial=0.5), *each(VECTOR, shape="scalar")],
    "scale": each(IMAGE, by=-2.5),
    "shift": each(IMAGE, by=-2.5),
    "affine": [
        *each(IMAGE, VECTOR),
        *each(IMAGE, scale=False),
        *each(IMAGE, shift=False),
        *each(IMAGE, scale=(1.0, -2.0, 0.5, 3.0), shift=0.3, trainable=False),
        *each(IMAGE, scale=2.0, shift=False),
    ],
    "grayscale": [*each((3, 4, 5)), *each((2, 4), coefficients=(0.7, -1.5))],
    "dropout": [*each(IMAGE, VECTOR), *each(IMAGE, rate=0.3, spatial=True), *each(IMAGE, rate=0.0), *each(IMAGE, rate=1.0)],
    "stochastic_depth": [*each(IMAGE, VECTOR, rate=0.4), *each(IMAGE, rate=0.5, mode="batch"), *each(IMAGE, rate=1.0)],
    "rbf": [*each(VECTOR, units=3, trainable=True), *each(VECTOR, units=2)],
}  # fmt: skip

POSITIVE = {"sqrt": [{}], "power": [{"exponent": 2.5}, {"exponent": -1.0}, {"exponent": 0.0}, {"exponent": 1.0}]}
"""Layers that are defined above 0 only: their inputs are from 0.5 to 1.5."""
FAR_FROM_ZERO = {"divide": [[IMAGE, IMAGE], [IMAGE, (4, 1, 1)], [(1, 6, 7), (4, 1, 7)]]}

EVERY = [
    pytest.param(kind, attributes, shapes, id=f"{kind}-{number}")
    for kind, cases in CASES.items()
    for number, (attributes, shapes) in enumerate(cases)
]


def test_every_layer_is_checked():
    assert set(CASES) | set(POSITIVE) | set(FAR_FROM_ZERO) | {"input"} == set(LAYERS)


@pytest.mark.parametrize(("kind", "attributes", "shapes"), EVERY)
def test_gradients_are_those_of_the_forward(kind, attributes, shapes):
    report = gradcheck(LAYERS[kind](**attributes), shapes, batch=3, elements=6, directions=3)
    assert report.derivatives
    assert report.passed, str(report)


@pytest.mark.parametrize("kind", POSITIVE)
def test_gradients_of_functions_of_positive_numbers(kind):
    for attributes in POSITIVE[kind]:
        x = np.random.default_rng(0).uniform(0.5, 1.5, (3, *IMAGE))
        report = gradcheck(LAYERS[kind](**attributes), inputs=[x])
        assert report.passed, str(report)


def test_gradients_of_whole_and_odd_powers_of_negative_numbers():
    for exponent in (2.0, 3.0, -1.0):
        x = -np.random.default_rng(0).uniform(0.5, 1.5, (3, *VECTOR))
        assert gradcheck(LAYERS["power"](exponent=exponent), inputs=[x]).passed


@pytest.mark.parametrize("kind", FAR_FROM_ZERO)
def test_gradients_of_quotients(kind):
    for shapes in FAR_FROM_ZERO[kind]:
        rng = np.random.default_rng(0)
        inputs = [rng.choice([-1, 1], (3, *shape)) * rng.uniform(0.5, 1.5, (3, *shape)) for shape in shapes]
        report = gradcheck(LAYERS[kind](), inputs=inputs)
        assert report.passed, str(report)


@pytest.mark.parametrize(("kind", "attributes", "shapes"), EVERY)
def test_gradients_keep_the_type_of_numbers(kind, attributes, shapes):
    layer = LAYERS[kind](**attributes)
    found = backward(layer, shapes, np.float32)
    gradients = [g for g in (*found.inputs, *found.weights.values()) if g is not None]
    assert {np.asarray(gradient).dtype for gradient in gradients} == {np.dtype(np.float32)}


@pytest.mark.parametrize("kind", sorted(kind for kind, cls in LAYERS.items() if cls.keeps))
def test_what_a_layer_keeps_it_reads(kind):
    """NaN in an array that is kept shows up in the gradients, for at least one of the settings."""
    cases = CASES.get(kind) or [(attributes, [IMAGE]) for attributes in POSITIVE.get(kind, [{}])]
    if kind in FAR_FROM_ZERO:
        cases = [({}, shapes) for shapes in FAR_FROM_ZERO[kind]]
    layers = [(LAYERS[kind](**attributes), shapes) for attributes, shapes in cases]
    for name in LAYERS[kind].keeps:
        assert any(differs(layer, shapes, name) for layer, shapes in layers), f"{kind} does not read its {name}"


def differs(layer: Layer, shapes: list[tuple[int, ...]], spoiled: str) -> bool:
    good, bad = backward(layer, shapes), backward(layer, shapes, spoiled=spoiled)
    pairs = [*zip(good.inputs, bad.inputs, strict=True), *((g, bad.weights[name]) for name, g in good.weights.items())]
    return any(not np.array_equal(g, b) for g, b in pairs if g is not None)


def backward(layer: Layer, shapes: list[tuple[int, ...]], dtype: Any = np.float64, spoiled: str = "") -> Gradients:
    rng = np.random.default_rng(1)
    inputs = [rng.uniform(0.2, 1.5, (3, *shape)).astype(dtype) for shape in shapes]
    owned = layer.weights(*(TensorType(shape) for shape in shapes))
    weights = {
        w.name: rng.uniform(0.2, 1.5, w.shape).astype(dtype) if w.dtype == "float32" else np.zeros(w.shape, np.int64)
        for w in owned
    }
    done = layer.train(np, inputs, weights, PhiloxDraw(0, 0, "x"))
    assert done.output.dtype == dtype
    dy = rng.standard_normal(done.output.shape).astype(dtype)
    kept = [np.full_like(x, np.nan) for x in inputs] if spoiled == "inputs" else inputs
    output = np.full_like(done.output, np.nan) if spoiled == "output" else done.output
    wanted = tuple(layer.read is None or number < layer.read for number in range(len(inputs)))
    learned = frozenset(w.name for w in owned if w.role == "parameter")
    with np.errstate(invalid="ignore"):
        return layer.backward(np, dy, kept, output, done.extra, weights, wanted, learned)


# ------------------------------------------------------------------------------------------------- the check itself


class Wrong(Silu):
    """Its gradient is off by a thousandth."""

    def derive(self, xp: Any, dy: Any, passed: Passed) -> Gradients:
        (dx,) = super().derive(xp, dy, passed).inputs
        return Gradients((dx * 1.001,))


class WrongInOnePlace(Silu):
    def derive(self, xp: Any, dy: Any, passed: Passed) -> Gradients:
        (dx,) = super().derive(xp, dy, passed).inputs
        dx[0, 0, 0, 0] += 0.1
        return Gradients((dx,))


class ReadsWhatItDoesNotKeep(Silu):
    keeps = frozenset()


class Overwrites(Silu):
    def derive(self, xp: Any, dy: Any, passed: Passed) -> Gradients:
        dy *= 2
        return super().derive(xp, dy, passed)


class ForgetsALane(Multiply):
    def derive(self, xp: Any, dy: Any, passed: Passed) -> Gradients:
        first, _ = super().derive(xp, dy, passed).inputs
        return Gradients((first, None))


def test_a_wrong_gradient_is_found():
    report = gradcheck(Wrong(), [IMAGE])
    assert not report.passed
    assert len(report.wrong) > 6
    assert "are wrong" in str(report) and "input 1" in str(report)


def test_a_wrong_element_is_found_by_a_direction():
    assert not gradcheck(WrongInOnePlace(), [IMAGE], elements=0).passed


def test_what_is_not_kept_is_not_there():
    report = gradcheck(ReadsWhatItDoesNotKeep(), [IMAGE])
    assert not report.passed
    assert np.isnan(report.worst)


def test_arguments_are_not_written_into():
    with pytest.raises(ValueError, match="read-only"):
        gradcheck(Overwrites(), [IMAGE])


def test_a_missing_gradient_is_an_error():
    with pytest.raises(TypeError, match="input 2"):
        gradcheck(ForgetsALane(), [IMAGE, IMAGE])


def test_an_input_has_no_gradient():
    layer = LAYERS["input"](shape=(3, 4, 4))
    assert not layer.differentiable
    with pytest.raises(TypeError, match="input has no gradient"):
        layer.backward(np, np.zeros(1), (), np.zeros(1), (), {}, (), frozenset())


def test_kinks_are_stepped_around():
    """At |x| = 1e-5 a step of 1e-4 jumps over the kink of relu, one of 1e-6 does not."""
    x = np.full((1, 4), 1e-5)
    assert gradcheck(Relu(), inputs=[x]).passed
