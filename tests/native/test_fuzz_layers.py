"""Every layer by itself at odd shapes, on every kind of code: native = reference in double precision."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from random_networks import assert_close, inputs_of, make, reference, values_of

from netdsl.backends.native.executor import NativeProgram
from netdsl.backends.native.target import Target, runnable
from netdsl.ir.layer import Layer
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.layers.vocabulary import LAYERS
from netdsl.passes import bind
from netdsl.program.lower import lower

EVERYWHERE = bool(os.environ.get("NETDSL_FUZZ"))

Case = tuple[str, dict[str, Any], tuple[tuple[int, ...], ...]]


def case(kind: str, *shapes: tuple[int, ...], **attributes: Any) -> Case:
    return kind, attributes, shapes


MAPS = ((1, 1, 1), (3, 5, 7), (17, 4, 3), (32, 9, 2))
"""One number, prime extents, channels that fill no vector, one that fill several."""

EVERY: list[Case] = [
    *(case(kind, shape) for kind in ("relu6", "gelu", "mish", "prelu", "tanh", "hard_swish") for shape in MAPS),
    *(case(kind, shape) for kind in ("abs", "square", "exp", "identity", "dropout") for shape in MAPS[1:3]),
    *(case("power", (5, 3, 2), exponent=e) for e in (0.0, 1.0, 2.0, 3.0, -1.0, -3.0, 16.0)),
    case("clip", (5, 3, 2), low=-0.5, high=0.25), case("clip", (5, 3, 2), low=0.1),
    *(case(kind, shape, shape) for kind in ("add", "multiply", "subtract", "magnitude", "maximum", "average") for shape in MAPS[1:]),
    *(case(kind, (5, 4, 3), *others) for kind in ("add", "multiply", "maximum", "average") for others in (
        [(5, 1, 1)], [(1, 4, 3)], [(5, 4, 1)], [(5, 1, 3)], [(1, 1, 3)], [(1, 1, 1), (5, 4, 3)],
    )),
    case("add", *[(4, 3, 3)] * 11), case("magnitude", *[(4, 3, 3)] * 3), case("divide", (20, 3, 2), (20, 1, 2)),
    *(case(kind, shape) for kind in ("batch_norm", "layer_scale", "scalar", "affine", "layer_norm", "rms_norm") for shape in (*MAPS, (33,))),
    *(case("group_norm", (12, 5, 3), groups=groups) for groups in (1, 2, 3, 12)),
    case("group_norm", (40, 3, 3), groups=2), case("group_norm", (34,), groups=2), case("group_norm", (6, 9), groups=3),
    *(case("instance_norm", shape, affine=affine) for shape in MAPS[1:] for affine in (False, True)),
    *(case("global_response_norm", shape) for shape in MAPS[1:]),
    *(case("local_response_norm", (channels, 3, 2), size=size, alpha=0.3) for channels in (1, 5, 33) for size in (1, 2, 3, 5, 8)),
    case("local_response_norm", (96, 4, 5), size=5, k=2.0, divide_alpha=False), case("local_response_norm", (20,), beta=0.6),
    *(case("l2_norm", (19, 4, 3), axis=axis) for axis in ("channels", "height", "width", "positions", (0, 2), (0, 1, 2))),
    *(case(kind, (19, 4, 3), axis=axis) for kind in ("softmax", "log_softmax") for axis in (0, 1, 2)),
    case("softmax", (12, 3, 2), groups=3), case("softmax", (34,), groups=2), case("log_softmax", (1000,)), case("softmax", (1, 3, 3)),
    *(case("reduce", (19, 4, 3), how=how, axis=axis) for how in ("mean", "max", "min", "sum") for axis in ("channels", "height", "width", "positions", (0, 2))),
    case("sum_groups", (12, 3, 2), groups=3), case("sum_groups", (40, 3, 2), groups=20), case("grayscale", (3, 5, 4)),
    *(case("pad", (5, 4, 3), amount=amount, mode=mode) for amount in (1, (2, 0), (0, 1, 2, 0)) for mode in ("constant", "reflect", "replicate", "circular")),
    case("pad", (1, 3), amount=(2, 1), value=0.5), case("pad", (2, 2, 3, 4), amount=1, value=-1.0), case("pad", (2, 3, 3, 4), amount=2, mode="reflect"),
    case("crop", (5, 6, 7), amount=(1, 2, 0, 3)), case("crop", (5, 6, 7), size=(3, 4)), case("crop_like", (3, 7, 8), (9, 4, 3)), case("crop", (2, 5, 4, 6), amount=1),
    *(case("decimate", shape, stride=stride) for shape in (*MAPS, (3, 9)) for stride in (1, 2, 3)), case("decimate", (2, 5, 4, 6), stride=2),
    *(case("upsample", (c, 3, 5), scale=scale) for c in (1, 3, 20) for scale in (2, (1, 3))),
    *(case("upsample", (c, *spatial), size=size, mode="bilinear", align_corners=corners) for c, spatial, size in (
        (3, (4, 5), (9, 7)), (20, (4, 5), (4, 11)), (1, (6, 6), (3, 2)), (17, (1, 1), (3, 4)), (2, (5,), (9,)),
    ) for corners in (False, True)),
    case("upsample_like", (3, 7, 5), (2, 4, 9)), case("upsample", (2, 3, 2, 4), scale=2),
    *(case("pad_channels", shape, before=before, after=after) for shape in ((5, 3, 2), (7,), (2, 2, 3, 2)) for before, after in ((1, 2), (0, 5), (3, 0))),
    *(case("channel_shuffle", shape, groups=groups) for shape in ((12, 3, 2), (12,), (6, 2, 2, 3)) for groups in (2, 3)),
    *(case("space_to_depth", (3, 4, 6), block=2, order=order) for order in ("crd", "dcr")), case("space_to_depth", (5, 9), block=3), case("space_to_depth", (2, 4, 2, 6), block=2, order="dcr"),
    *(case("depth_to_space", (36, 2, 3), block=block, order=order) for block in (2, 3) for order in ("crd", "dcr")), case("depth_to_space", (6, 4), block=3),
    *(case("permute", (4, 5, 3), axes=axes) for axes in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 1, 0))), case("permute", (2, 3, 4, 5), axes=(3, 0, 2, 1)),
    *(case("reshape", (6, 4, 5), shape=shape) for shape in ((24, 5), (6, 20), (120, 1, 1), (2, 3, 4, 5), (3, 2, 20), 120)), case("flatten", (7, 3, 2)), case("flatten", (7, 3, 2, 2)),
    *(case("slice", (7, 5, 6), start=1, stop=4, axis=axis) for axis in (0, 1, 2)),
    *(case("concat", (4, 3, 2), (4, 3, 2), axis=axis) for axis in (0, 1, 2)),
    *(case(kind, (c, *spatial), size=size) for kind in ("adaptive_avg_pool", "adaptive_max_pool") for c, spatial, size in (
        (3, (7, 5), (3, 2)), (20, (2, 2), (7, 7)), (1, (9, 4), (3, 2)), (16, (13, 6), (6, 6)), (5, (7,), (3,)),
    )),
    case("rbf", (84,), units=10, trainable=True), case("gem_pool", (20, 4, 3), p=2.7),
    case("global_avg_pool", (3, 2, 3, 4)), case("global_max_pool", (20, 5, 3)), case("gem_pool", (5, 4, 3)),
    case("subsample", (5, 6, 7), kernel=(2, 3)), case("subsample", (20, 4, 4)),
    *(case("dense", shape, units=units, axis=axis) for shape, axis in (((17,), None), ((5, 3, 4), 0)) for units in (1, 7, 40)),
    case("dense", (5, 3, 4), units=6, axis=1), case("dense", (5, 3, 4), units=6, axis=2),
    case("matmul", (3, 5), (5, 4)), case("matmul", (20, 7), (7, 33)), case("matmul", (2, 3, 5), (2, 5, 4)), case("matmul", (2, 3, 5), (1, 5, 4)),
    case("max_pool", (3, 4, 5, 3), kernel=2), case("avg_pool", (3, 4, 5, 3), kernel=(2, 3, 1), stride=2, padding=(1, 1, 0)), case("max_pool", (5, 4, 5, 3), kernel=3, padding=1, stride=1, dilation=1),
    case("conv", (3, 4, 5, 3), filters=7, kernel=(2, 3, 1), padding=(1, 1, 0)), case("conv", (4, 5, 5, 5), filters=6, kernel=3, stride=2, groups=2), case("conv", (2, 6, 5, 4), filters=18, kernel=2, dilation=2, padding=1),
    case("std_conv", (5, 6, 4), filters=7, kernel=3, padding=1), case("scaled_std_conv", (4, 6, 4), filters=6, kernel=3, groups=2, bias=True),
]  # fmt: skip

for _kernel, _stride, _padding, _more in (
    (1, 1, 0, {}), (2, 2, 0, {}), (3, 2, 1, {"output_padding": 1}), (4, 2, 1, {}), (5, 3, 2, {"dilation": 2}), (2, 5, 0, {}), (3, 1, 1, {}),
    (3, 2, "same", {}), ((3, 2), (2, 3), (1, 0), {"output_padding": (1, 2)}), (3, 4, 0, {"output_padding": 3}), (3, 2, 0, {"dilation": 3}), (4, 6, 1, {"dilation": 4}),
):  # fmt: skip
    for _groups, _filters in ((1, 5), (2, 4), (4, 4)):
        EVERY.append(
            case("conv_transpose", (4, 5, 3), filters=_filters, kernel=_kernel, stride=_stride, padding=_padding, groups=_groups, bias=_groups < 4, **_more)
        )  # fmt: skip
EVERY += [
    case("conv_transpose", (33, 4, 4), filters=40, kernel=3, stride=2),
    case("conv_transpose", (3, 6), filters=20, kernel=4, stride=3),
]

for _kernel, _stride, _padding, _dilation in (
    (1, 3, 0, 1),
    (2, 3, 1, 1),
    (3, 2, 2, 2),
    ((5, 1), (1, 4), (2, 0), 1),
    (3, 1, "same", 3),
    (7, 7, 3, 1),
):
    for _channels, _filters, _groups in ((1, 1, 1), (3, 7, 1), (8, 12, 4), (37, 41, 1), (34, 2, 2)):
        EVERY.append(case("conv", (_channels, 9, 8), filters=_filters, kernel=_kernel, stride=_stride, padding=_padding, dilation=_dilation, groups=_groups))  # fmt: skip
    EVERY.append(
        case("depthwise_conv", (19, 9, 8), kernel=_kernel, stride=_stride, padding=_padding, dilation=_dilation)
    )

IN_NUMPY: set[str] = {"matmul", "std_conv", "scaled_std_conv"}
"""Layers that have no native kernel yet."""


def network_of(kind: str, attributes: dict[str, Any], shapes: tuple[tuple[int, ...], ...]) -> Network:
    layer: Layer = make(kind, **attributes)
    network = Network(kind)
    for index, shape in enumerate(shapes):
        name = f"x{index}"
        network.add(Node(name, make("input", shape=shape), (), TensorType(shape), None, name, ()))
        network.inputs.append(name)
    inputs = tuple(network.inputs)
    network.add(Node("y", layer, inputs, layer.infer(*network.types_of(inputs)), None, "y", ()))
    network.outputs["out"] = "y"
    return network


def identify(entry: Case) -> str:
    kind, attributes, shapes = entry
    return f"{kind}-{'-'.join('x'.join(map(str, shape)) for shape in shapes[:3])}-{'-'.join(map(str, attributes.values()))}"


WIDEST, *OTHERS = runnable()
HERE = [(entry, WIDEST) for entry in EVERY] + [
    (entry, target) for number, entry in enumerate(EVERY) for target in OTHERS if EVERYWHERE or number % 3 == 0
]
"""All cases on the widest code, a part of them on every other kind (all, where the environment asks for it)."""


@pytest.mark.parametrize(("entry", "target"), HERE, ids=[f"{identify(entry)}-{target.name}" for entry, target in HERE])
def test_a_layer(entry: Case, target: Target) -> None:
    kind, attributes, shapes = entry
    network = network_of(kind, attributes, shapes)
    bound = bind(network, values_of(network))
    native = kind not in IN_NUMPY
    for batch in (1, 3):
        program = lower(bound, network.input_types(), batch)
        executable = NativeProgram(program, 2, target)
        if native and program.steps:
            assert not [kernel for kernel in executable.kernels if kernel.startswith("numpy")], executable.kernels
        inputs = inputs_of(network, batch)
        for _ in range(2):
            found = executable.run(inputs)["out"]
            assert_close(found, reference(bound, inputs)["out"], 2e-6)


def test_every_layer_is_here() -> None:
    """But for the input, and layers that are no more than their name says."""
    missing = set(LAYERS) - {kind for kind, _, _ in EVERY}
    assert missing <= {"input", "stochastic_depth"} | {
        "relu", "leaky_relu", "elu", "selu", "silu", "sigmoid", "hard_sigmoid", "softplus", "scaled_tanh",
        "sqrt", "minimum", "scale", "shift",
    }, missing  # fmt: skip


def test_large_numbers_do_not_overflow(target: Target) -> None:
    """A length, an exponential and a softmax of the largest and smallest numbers."""
    x = np.array([3e38, -3e38, 1e-38, 0.0, 88.0, -104.0, 1e30], np.float32).reshape(1, 7, 1, 1)
    for kind, inputs in (("magnitude", 2), ("exp", 1), ("softmax", 1), ("log_softmax", 1)):
        network = network_of(kind, {}, ((7, 1, 1),) * inputs)
        program = lower(bind(network, {}), network.input_types(), 1)
        given = dict.fromkeys(network.inputs, x if kind != "magnitude" else x / 2)
        found = NativeProgram(program, 1, target).run(given)["out"]
        with np.errstate(over="ignore"):
            expected = reference(bind(network, {}), given)["out"].astype(np.float32)
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=2e-38, err_msg=kind)
