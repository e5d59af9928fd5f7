"""Networks as PyTorch would run them: one call of `torch.nn.functional` for each layer, with our weights.

What a person would write by hand: batch norm stays a layer, nothing is fused. For comparisons; layers that PyTorch's
users write as several calls, or that few networks have, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from netdsl.interop.errors import ExportError
from netdsl.ir.network import Network, Node
from netdsl.ir.types import TensorType
from netdsl.layers.axes import axis_index
from netdsl.passes import bind, run

Call = Callable[[Sequence[Any], Mapping[str, Any]], Any]
"""(inputs, weights) -> output"""

_ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu, "relu6": F.relu6, "silu": F.silu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "selu": F.selu,
    "hard_sigmoid": F.hardsigmoid, "hard_swish": F.hardswish, "mish": F.mish, "softplus": F.softplus, "exp": torch.exp,
    "sqrt": torch.sqrt, "abs": torch.abs, "square": torch.square,
}  # fmt: skip
_JOINS: dict[str, Callable[[Any, Any], Any]] = {
    "add": torch.add, "multiply": torch.mul, "subtract": torch.sub, "divide": torch.div, "maximum": torch.maximum,
    "minimum": torch.minimum,
}  # fmt: skip


def function(network: Network, values: Mapping[str, Any]) -> Callable[..., list[Any]]:
    """A function from tensors (N, C, H, W), one for each input, to the list of outputs.

    Its attribute `arranged` lays out the weights in a memory format. Raises ExportError for a layer that is not known
    here.
    """
    bound = run(bind(network, values), "drop_identities")
    found = bound.network
    calls: list[tuple[Node, Call, dict[str, Any]]] = []
    for node in found.nodes():
        if node.inputs:
            weights = {name: torch.from_numpy(np.array(array)) for name, array in bound.weights(node).items()}
            calls.append((node, _call(node, [found.type_of(source) for source in node.inputs]), weights))

    def forward(*inputs: Any) -> list[Any]:
        tensors = dict(zip(found.inputs, inputs, strict=True))
        for node, call, weights in calls:
            tensors[node.name] = call([tensors[source] for source in node.inputs], weights)
        return [tensors[source] for source in found.outputs.values()]

    def arranged(memory_format: Any) -> None:
        for _, _, weights in calls:
            for name, weight in weights.items():
                if weight.ndim == 4:
                    weights[name] = weight.contiguous(memory_format=memory_format)

    forward.arranged = arranged  # type: ignore[attr-defined]
    return forward


def _call(node: Node, types: Sequence[TensorType]) -> Call:
    layer: Any = node.layer
    kind, x = layer.kind, types[0]
    if kind in _ELEMENTS:
        one = _ELEMENTS[kind]
        return lambda xs, w: one(xs[0])
    if kind in _JOINS:
        two = _JOINS[kind]
        return lambda xs, w: reduce(two, xs)
    if kind in ("conv", "depthwise_conv", "max_pool", "avg_pool"):
        return _window(node, layer, x)
    match kind:
        case "dense" if x.rank == 1:
            return lambda xs, w: F.linear(xs[0], w["weight"], w.get("bias"))
        case "dense":
            place = 1 + axis_index(kind, layer.axis, x)
            return lambda xs, w: F.linear(xs[0].movedim(place, -1), w["weight"], w.get("bias")).movedim(-1, place)
        case "batch_norm":
            return lambda xs, w: F.batch_norm(
                xs[0], w["running_mean"], w["running_var"], w.get("weight"), w.get("bias"), eps=layer.eps
            )
        case "layer_norm":
            return lambda xs, w: _layer_norm(xs[0], w, layer.eps)
        case "local_response_norm" if layer.divide_alpha:
            return lambda xs, w: F.local_response_norm(xs[0], layer.size, layer.alpha, layer.beta, layer.k)
        case "global_avg_pool":
            return lambda xs, w: xs[0].mean(dim=tuple(range(2, xs[0].ndim)), keepdim=True)
        case "adaptive_avg_pool" if x.rank == 3:
            return lambda xs, w: F.adaptive_avg_pool2d(xs[0], node.type.shape[1:])
        case "adaptive_max_pool" if x.rank == 3:
            return lambda xs, w: F.adaptive_max_pool2d(xs[0], node.type.shape[1:])
        case "flatten":
            return lambda xs, w: xs[0].flatten(1)
        case "identity":
            return lambda xs, w: xs[0]
        case "reshape":
            return lambda xs, w: xs[0].reshape(-1, *node.type.shape)
        case "permute":
            return lambda xs, w: xs[0].permute(0, *(1 + axis for axis in layer.axes))
        case "slice":
            at = 1 + axis_index(kind, layer.axis, x)
            length = node.type.shape[at - 1]
            return lambda xs, w: xs[0].narrow(at, layer.start, length)
        case "concat":
            along = 1 + axis_index(kind, layer.axis, x)
            return lambda xs, w: torch.cat(list(xs), along)
        case "channel_shuffle":
            return lambda xs, w: F.channel_shuffle(xs[0], layer.groups)
        case "leaky_relu":
            return lambda xs, w: F.leaky_relu(xs[0], layer.slope)
        case "elu":
            return lambda xs, w: F.elu(xs[0], layer.alpha)
        case "prelu":
            return lambda xs, w: F.prelu(xs[0], w["weight"])
        case "gelu":
            return lambda xs, w: F.gelu(xs[0], approximate=layer.approximate or "none")
        case "softmax" if layer.groups is None:
            axis = 1 + axis_index(kind, layer.axis, x)
            return lambda xs, w: F.softmax(xs[0], axis)
        case "scale":
            return lambda xs, w: xs[0] * layer.by
        case "shift":
            return lambda xs, w: xs[0] + layer.by
        case "layer_scale" | "scalar":
            return lambda xs, w: xs[0] * w[""].reshape(-1, *[1] * (xs[0].ndim - 2))
    raise ExportError(
        f"error: no comparison with PyTorch: `{node.name}` is of a kind, {kind}, that has no counterpart here"
    )


def _window(node: Node, layer: Any, x: TensorType) -> Call:
    """Convolutions and pools of images and sequences."""
    slides = layer.slides(x)
    if len(slides) not in (1, 2) or None in x.shape:
        raise ExportError(f"error: no comparison with PyTorch: `{node.name}` is a {layer.kind} of {x}")
    flat = len(slides) == 2
    stride, dilation = [axis.s for axis in slides], [axis.d for axis in slides]
    size, before = [axis.f for axis in slides], [axis.before for axis in slides]
    # What is padded on each side, the last axis first; what hangs over the end where sizes are rounded up.
    sides = [m for axis in reversed(slides) for m in (axis.before, _behind(axis))]
    even = all(axis.before == axis.after >= _behind(axis) for axis in slides)
    if layer.kind in ("conv", "depthwise_conv"):
        if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
            raise ExportError(f"error: no comparison with PyTorch: `{node.name}` is no plain convolution")
        groups = x.shape[0] if layer.kind == "depthwise_conv" else layer.groups
        conv: Any = F.conv2d if flat else F.conv1d
        if even:
            return lambda xs, w: conv(xs[0], w["weight"], w.get("bias"), stride, before, dilation, groups)
        return lambda xs, w: conv(F.pad(xs[0], sides), w["weight"], w.get("bias"), stride, 0, dilation, groups)
    if layer.kind == "max_pool":
        pool: Any = F.max_pool2d if flat else F.max_pool1d
        if even and all(2 * axis.before <= axis.f for axis in slides):
            return lambda xs, w: pool(xs[0], size, stride, before, dilation)
        return lambda xs, w: pool(F.pad(xs[0], sides, value=-torch.inf), size, stride, 0, dilation)
    mean: Any = F.avg_pool2d if flat else F.avg_pool1d
    counted = all(set(layer.counts(axis)) == {axis.f} for axis in slides)
    if not counted and (not even or layer.count_include_pad is not False):
        raise ExportError(f"error: no comparison with PyTorch: `{node.name}` pads its mean unevenly")
    if even:
        return lambda xs, w: mean(xs[0], size, stride, before, False, counted)
    return lambda xs, w: mean(F.pad(xs[0], sides), size, stride)


def _behind(axis: Any) -> int:
    """What the last window needs behind the map; less than is padded where it ends before."""
    return max(0, int((axis.o - 1) * axis.s + axis.span - axis.before - axis.n))


def _layer_norm(x: Any, weights: Mapping[str, Any], eps: float) -> Any:
    last = x.movedim(1, -1)
    return F.layer_norm(last, last.shape[-1:], weights.get("weight"), weights.get("bias"), eps).movedim(-1, 1)
