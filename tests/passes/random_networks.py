"""Random small networks: branches, joins, pools, norms, shared weights, several outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from netdsl.backends.reference import Model
from netdsl.ir.layer import Layer, LayerError
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.layers.vocabulary import LAYERS
from netdsl.passes import Bound, bind
from netdsl.weights.inventory import inventory, weights_of

Draw = Callable[[st.SearchStrategy[Any]], Any]

ACTIVATIONS = [
    "relu", "relu6", "leaky_relu", "elu", "gelu", "silu", "sigmoid", "hard_sigmoid", "hard_swish", "mish", "softplus",
    "tanh", "prelu",
]  # fmt: skip


def make(kind: str, **attributes: Any) -> Layer:
    return LAYERS[kind](**attributes)


def one_lane(draw: Draw, type_: TensorType) -> Layer:
    """A layer of one input that may fit a tensor of this type."""
    image = type_.rank > 1
    kinds = [
        "activation", "batch_norm", "affine", "scale", "shift", "dropout", "identity", "layer_norm", "l2_norm",
        "softmax", "slice", "layer_scale", "pad_channels", "lone", "flatten", "log_softmax", "rms_norm", "reduce",
        "reshape", "function", "scalar",
    ]  # fmt: skip
    if image:
        kinds += [
            "conv", "conv", "conv", "conv", "depthwise_conv", "depthwise_conv", "conv_transpose", "max_pool", "avg_pool",
            "global_avg_pool", "global_max_pool", "adaptive_avg_pool", "adaptive_max_pool", "pad", "pad",
            "channel_shuffle", "decimate", "upsample", "group_norm", "local_response_norm", "crop", "permute",
            "instance_norm", "global_response_norm", "gem_pool", "space_to_depth", "depth_to_space", "std_conv",
            "subsample", "stretch",
        ]  # fmt: skip
    else:
        kinds += ["dense", "dense", "dense", "dense"]
    small = st.integers(1, 3)
    widths = st.sampled_from([1, 2, 3, 3, 7, 16, 17, 33])
    match draw(st.sampled_from(kinds)):
        case "activation":
            return make(draw(st.sampled_from(ACTIVATIONS)))
        case "batch_norm":
            return make("batch_norm", eps=draw(st.sampled_from([1e-5, 1e-3])), affine=draw(st.booleans()))
        case "affine":
            constants = tuple(0.5 + 0.25 * c for c in range(type_.shape[0] or 0))
            return make(
                "affine", scale=draw(st.sampled_from([True, False, 1.5, constants])),
                shift=draw(st.sampled_from([True, False, -0.5, constants])), trainable=draw(st.booleans()),
            )  # fmt: skip
        case "scale" | "shift" as kind:
            return make(kind, by=draw(st.sampled_from([0.0, 0.5, 1.0, -2.0])))
        case "dropout":
            return make("dropout", rate=0.5)
        case "slice":
            axis = draw(st.integers(0, type_.rank - 1))
            start = draw(st.integers(0, 2))
            return make("slice", start=start, stop=draw(st.sampled_from([None, start + 1, start + 2])), axis=axis)
        case "layer_scale":
            return make("layer_scale", initial=0.7)
        case "pad_channels":
            return make("pad_channels", before=draw(st.integers(0, 1)), after=draw(st.integers(0, 2)))
        case "lone":
            return make(draw(st.sampled_from(["add", "multiply", "maximum", "average", "concat", "magnitude"])))
        case "dense":
            return make("dense", units=draw(st.integers(1, 5)), bias=draw(st.booleans()))
        case "conv":
            groups = draw(st.sampled_from([1, 1, 1, 2, type_.shape[0]]))
            return make(
                "conv", filters=groups * draw(widths), kernel=(draw(small), draw(small)),
                stride=draw(st.sampled_from([1, 1, 2, 4, (1, 3)])),
                padding=draw(st.sampled_from([0, 1, "same", (0, 1, 2, 1), (2, 0)])), dilation=draw(st.integers(1, 2)),
                groups=groups, bias=draw(st.booleans()), flip_kernel=draw(st.booleans()),
                padding_mode=draw(st.sampled_from(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"])),
            )  # fmt: skip
        case "depthwise_conv":
            return make(
                "depthwise_conv", kernel=draw(small), stride=draw(small), padding=draw(st.sampled_from([0, 1, "same"])),
                dilation=draw(st.integers(1, 2)), multiplier=draw(st.integers(1, 2)), bias=draw(st.booleans()),
            )  # fmt: skip
        case "conv_transpose":
            groups = draw(st.sampled_from([1, 1, type_.shape[0]]))
            return make(
                "conv_transpose", filters=groups * draw(small), kernel=draw(small), stride=draw(small), groups=groups,
                bias=draw(st.booleans()), padding=draw(st.sampled_from([0, 0, 1, "same", (0, 1, 1, 0)])),
                output_padding=draw(st.sampled_from([0, 0, 1])), dilation=draw(st.sampled_from([1, 1, 2])),
            )  # fmt: skip
        case "max_pool" | "avg_pool" as kind:
            return make(
                kind, kernel=(draw(small), draw(small)), stride=draw(small), padding=draw(st.integers(0, 1)),
                ceil_mode=draw(st.booleans()),
            )  # fmt: skip
        case "adaptive_avg_pool" | "adaptive_max_pool" as kind:
            return make(kind, size=draw(st.integers(1, 4)))
        case "pad":
            return make(
                "pad",
                amount=draw(st.sampled_from([0, 1, (1, 0), (0, 1, 2, 0)])),
                value=draw(st.sampled_from([0.0, 0.0, 1.0])),
            )
        case "channel_shuffle":
            return make("channel_shuffle", groups=draw(small))
        case "decimate":
            return make("decimate", stride=draw(st.integers(1, 2)))
        case "upsample":
            return make("upsample", scale=2)
        case "group_norm":
            return make("group_norm", groups=draw(st.integers(1, 2)))
        case "crop":
            return make("crop", amount=draw(st.sampled_from([1, (0, 1, 2, 0)])))
        case "instance_norm":
            return make("instance_norm", eps=0.1, affine=draw(st.booleans()))
        case "reduce":
            axis = draw(st.sampled_from(["channels", draw(st.integers(0, type_.rank - 1)), (0, type_.rank - 1)]))
            return make("reduce", how=draw(st.sampled_from(["mean", "max", "min", "sum"])), axis=axis)
        case "reshape":
            rows = draw(st.sampled_from([extent for extent in range(1, 9) if (type_.elements or 0) % extent == 0]))
            return make("reshape", shape=draw(st.sampled_from([(rows, -1), (-1, rows), (-1, 1, rows)])))
        case "function":
            chosen = draw(st.sampled_from(["abs", "square", "clip"]))
            return make(chosen, **({"low": -1.0, "high": 2.0} if chosen == "clip" else {}))
        case "space_to_depth" | "depth_to_space" as kind:
            return make(kind, block=2, order=draw(st.sampled_from(["crd", "dcr"])))
        case "std_conv":
            return make("std_conv", filters=draw(widths), kernel=draw(small), padding=draw(st.integers(0, 1)), eps=0.01)
        case "subsample":
            return make("subsample", kernel=draw(small))
        case "stretch":
            return make("upsample", size=draw(small), mode="bilinear", align_corners=draw(st.booleans()))
        case "permute":
            return make("permute", axes=tuple(draw(st.permutations(range(type_.rank)))))
        case kind:
            return make(kind)


@st.composite
def networks(draw: Draw, least: int = 2, most: int = 12) -> Network:
    """A network of `least` to `most` layers, with one or two inputs and one to three outputs."""
    network = Network("random")
    for index in range(draw(st.integers(1, 2))):
        shape = (draw(st.integers(1, 5)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
        network.add(Node(f"x{index}", make("input", shape=shape), (), TensorType(shape), None, f"x{index}", ()))
        network.inputs.append(f"x{index}")
    for number in range(draw(st.integers(least, most))):
        if draw(st.booleans()):
            _motif(draw, network, f"n{number}")
        else:
            _add(draw, network, f"n{number}")
    names = list(network.table)
    for index in range(draw(st.integers(1, 3))):
        # The last node, and any others.
        network.outputs[f"y{index}"] = names[-1] if index == 0 else draw(st.sampled_from(names))
    return network


MOTIFS = [
    ["conv", "batch_norm", "relu"],
    ["conv", "batch_norm", "add", "relu"],
    ["depthwise_conv", "batch_norm", "relu6"],
    ["conv_transpose", "batch_norm", "silu"],
    ["batch_norm", "relu", "conv"],
    ["scale", "shift", "batch_norm"],
    ["pad", "conv"],
    ["pad", "depthwise_conv", "affine"],
    ["flatten", "dense", "relu", "dense"],
    ["flatten", "dense", "batch_norm", "tanh"],
    ["conv", "add"],
]
"""What networks are made of, and passes look for."""


def _motif(draw: Draw, network: Network, name: str) -> None:
    """A row of layers behind any tensor; or a second node that computes the same, or the same with other weights."""
    names = list(network.table)
    last = names[-1] if draw(st.booleans()) else draw(st.sampled_from(names))
    if draw(st.integers(0, 3)) == 0:
        twin = network.node(last)
        if twin.inputs:
            address = draw(st.sampled_from([twin.address, name]))
            network.add(twin._replace(name=name, address=address))
        return
    for place, kind in enumerate(draw(st.sampled_from(MOTIFS))):
        type_ = network.type_of(last)
        inputs: tuple[str, ...] = (last,)
        here = f"{name}.{place}"
        match kind:
            case "conv" | "depthwise_conv" | "conv_transpose":
                more = {} if kind == "depthwise_conv" else {"filters": draw(st.sampled_from([type_.shape[0], 2]))}
                padding = draw(st.sampled_from([0, 1]))
                layer = make(
                    kind, kernel=draw(st.sampled_from([1, 3])), padding=padding, bias=draw(st.booleans()), **more
                )
            case "pad":
                layer = make(
                    "pad", amount=draw(st.sampled_from([1, (0, 1, 2, 0)])), value=draw(st.sampled_from([0.0, 0.0, 1.0]))
                )
            case "dense":
                layer = make("dense", units=draw(st.integers(1, 4)), bias=draw(st.booleans()))
            case "scale" | "shift":
                layer = make(kind, by=draw(st.sampled_from([0.5, -2.0])))
            case "add":
                alike = [other for other in network.table if network.type_of(other) == type_]
                inputs = tuple(draw(st.permutations([last, draw(st.sampled_from(alike))])))
                layer = make("add")
            case _:
                layer = make(kind)
        try:
            made = layer.infer(*network.types_of(inputs))
            layer.weights(*network.types_of(inputs))
        except LayerError:
            return
        if (made.elements or 0) > 4096:
            return
        network.add(Node(here, layer, inputs, made, None, here, ()))
        last = here


def _add(draw: Draw, network: Network, name: str) -> None:
    """One more layer; nothing where the one that was drawn does not fit."""
    names = list(network.table)
    # Recent tensors more often, so that networks grow deep.
    source = names[-1] if draw(st.booleans()) else draw(st.sampled_from(names))
    type_ = network.type_of(source)
    alike = [other for other in names if network.type_of(other) == type_]
    way = draw(st.sampled_from(["one", "one", "one", "one", "join", "concat", "gate", "shared"]))
    address = name
    inputs: tuple[str, ...] = (source,)
    if way == "join":
        inputs = (*draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2)), source)
        kind = draw(st.sampled_from(["add", "add", "add", "multiply", "maximum", "average", "magnitude", "subtract"]))
        layer = make(kind)
        inputs = inputs[-2:] if kind == "subtract" and len(inputs) > 2 else inputs
    elif way == "concat":
        axis = draw(st.integers(0, type_.rank - 1))
        fitting = [
            other for other in names
            if (shape := network.type_of(other).shape)[:axis] + shape[axis + 1:] == type_.shape[:axis] + type_.shape[axis + 1:]
            and len(shape) == type_.rank
        ]  # fmt: skip
        inputs = (source, *draw(st.lists(st.sampled_from(fitting), min_size=1, max_size=3)))
        layer = make("concat", axis=axis)
    elif way == "gate" and type_.rank == 3:
        gates = [other for other in names if network.type_of(other).shape == (type_.shape[0], 1, 1)]
        if not gates:
            return
        inputs = (source, draw(st.sampled_from(gates)))
        layer = make("multiply")
    elif way == "shared":
        known = [
            node for node in network.nodes()
            if node.inputs and weights_of(network, node) and network.type_of(node.inputs[0]) == type_
        ]  # fmt: skip
        if not known:
            return
        twin = draw(st.sampled_from(known))
        layer, address = twin.layer, twin.address
    else:
        layer = one_lane(draw, type_)
    try:
        made = layer.infer(*network.types_of(inputs))
        layer.weights(*network.types_of(inputs))
    except LayerError:
        return
    if (made.elements or 0) <= 4096:
        network.add(Node(name, layer, inputs, made, None, address, ()))


def values_of(network: Network, seed: int = 0) -> dict[str, np.ndarray]:
    """Values for all weights, none of which are at rest: no variance is 1, no shift 0."""
    random = np.random.default_rng(seed)
    values = {}
    for name, slot in inventory(network).items():
        shape = slot.weight.shape
        if slot.weight.dtype == "int64":
            values[name] = np.zeros(shape, np.int64)
        elif name.endswith("running_var"):
            values[name] = random.uniform(0.5, 2, shape).astype(np.float32)
        else:
            fan = max(1, int(np.prod(shape[1:])))
            values[name] = (random.normal(0.3, 1, shape) / fan**0.5).astype(np.float32)
    return values


def inputs_of(network: Network, batch: int = 2, seed: int = 1) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: random.normal(size=(batch, *type_.shape)).astype(np.float32)
        for name, type_ in network.input_types().items()
    }


def reference(bound: Bound, inputs: Mapping[str, np.ndarray], tap: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The outputs (and tapped nodes) in double precision, each layer by its own forward."""
    owned = bind(bound.network, bound.values, {name: name for name in bound.network.table})
    model = Model(bound.network, "float64")
    model.load(dict(owned.values))
    outputs, taps = model.run({name: array.astype(np.float64) for name, array in inputs.items()}, tap)
    return {**outputs, **taps}


def assert_close(found: np.ndarray, expected: np.ndarray, within: float = 1e-4, message: str = "") -> None:
    """Equal up to a part of the largest number; where one overflows, the other does."""
    assert found.shape == expected.shape, message
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    difference = float(np.abs(found - expected).max(initial=0))
    assert difference <= within * size, f"{message}: differs by {difference} of {size}"
