"""Activations, sums, concatenations, and the part of a step that goes through its activation; plain forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.training.bench import Bench, Work, single
from netdsl.ir.layer import Layer
from netdsl.layers.activation import Activation, Prelu, Relu
from netdsl.layers.axes import axis_index
from netdsl.layers.join import Add, Concat
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Sum


def activated(xp: Any, x: Any, activation: Layer | None) -> Any:
    """An activation of one element, in float32."""
    if activation is None:
        return x
    if isinstance(activation, Relu):
        return xp.maximum(x, np.float32(0))
    return channels_last(activation.forward(xp, [channels_first(x)], {}))


def derived(xp: Any, dy: Any, x: Any, y: Any, activation: Layer) -> Any:
    """The gradient before an activation of one element, in float32."""
    if isinstance(activation, Relu):
        return xp.where(y > 0, dy, np.float32(0))
    x, y, dy = channels_first(x), channels_first(y), channels_first(dy)
    (dz,) = activation.backward(xp, dy, (x,), y, (), {}, (True,), frozenset()).inputs
    return channels_last(single(dz))


def before_activation(step: Backward, bench: Bench, work: Work) -> Tensor:
    """d(what the activation takes); what makes it from the output is added to `work`."""
    activation = step.forward.activation
    if activation is None or step.dz is None:
        return step.dy
    _undone(bench, work, step.dy, step.forward.output, step.dz, activation)
    return step.dz


def _undone(bench: Bench, work: Work, dy: Tensor, y: Tensor, dz: Tensor, layer: Layer, x: Tensor | None = None) -> None:
    xp, incoming, output, target = bench.xp, bench.view(dy), bench.view(y), bench.view(dz)
    source = output if x is None else bench.view(x)

    def run() -> None:
        target[...] = derived(xp, single(incoming), single(source), single(output), layer)

    work.then(f"d {layer.kind}", run)


def is_plain(step: Forward) -> bool:
    """Whether the step is an activation of one element without weights."""
    return isinstance(step.layer, Activation) and not isinstance(step.layer, Prelu)


def activation_forward(step: Forward, bench: Bench) -> Work:
    xp, x, y, layer = bench.xp, bench.view(step.inputs[0]), bench.view(step.output), step.layer

    def run() -> None:
        y[...] = activated(xp, single(x), layer)

    work = Work()
    work.then(layer.kind, run)
    return work


def activation_backward(step: Backward, bench: Bench) -> Work:
    work = Work()
    ahead, (dx,) = step.forward, step.dx
    if dx is not None:
        _undone(bench, work, step.dy, ahead.output, dx, ahead.layer, ahead.inputs[0])
    return work


def is_sum(step: Forward) -> bool:
    """Whether the step adds tensors of one shape."""
    return isinstance(step.layer, Add) and all(tensor.type == step.output.type for tensor in step.inputs)


def add_forward(step: Forward, bench: Bench) -> Work:
    xp, lanes, y = bench.xp, [bench.view(tensor) for tensor in step.inputs], bench.view(step.output)
    activation = step.activation

    def run() -> None:
        made = single(lanes[0])
        for lane in lanes[1:]:
            made = made + single(lane)
        y[...] = activated(xp, made, activation)

    work = Work()
    work.then("lanes", run)
    return work


def add_backward(step: Backward, bench: Bench) -> Work:
    """With an activation: the gradient before it is that of every lane."""
    work = Work()
    before_activation(step, bench, work)
    return work


def sum_of(step: Sum, bench: Bench) -> Work:
    first, second, target = (bench.view(tensor) for tensor in (step.first, step.second, step.output))

    def run() -> None:
        target[...] = single(first) + single(second)

    work = Work()
    work.then("sum", run)
    return work


def _lanes(step: Forward, whole: Any, bench: Bench) -> list[tuple[Any, Tensor]]:
    """The part of a concatenation that each lane is, and the lane."""
    layer = step.layer
    assert isinstance(layer, Concat)
    index = axis_index(layer.kind, layer.axis, step.output.type)
    along = whole.ndim - 1 if index == 0 else index
    found, start = [], 0
    for tensor in step.inputs:
        end = start + tensor.shape[along]
        found.append((whole[(slice(None),) * along + (slice(start, end),)], tensor))
        start = end
    return found


def _copies(pairs: list[tuple[Any, Any]]) -> Work:
    def run() -> None:
        for target, source in pairs:
            target[...] = source

    work = Work()
    work.then("copy", run)
    return work


def concat_forward(step: Forward, bench: Bench) -> Work:
    return _copies([(part, bench.view(tensor)) for part, tensor in _lanes(step, bench.view(step.output), bench)])


def concat_backward(step: Backward, bench: Bench) -> Work:
    parts = _lanes(step.forward, bench.view(step.dy), bench)
    wanted = zip(step.dx, parts, strict=True)
    return _copies([(bench.view(tensor), part) for tensor, (part, _) in wanted if tensor is not None])


def flatten_forward(step: Forward, bench: Bench) -> Work:
    """(N, *spatial, C) as vectors in the order of (C, *spatial)."""
    y, x = bench.view(step.output), channels_first(bench.view(step.inputs[0]))
    whole = _as(bench, y, x.shape)
    return _copies([(whole, x)])


def flatten_backward(step: Backward, bench: Bench) -> Work:
    (dx,) = step.dx
    if dx is None:
        return Work()
    target = channels_first(bench.view(dx))
    return _copies([(target, _as(bench, bench.view(step.dy), target.shape))])


def _as(bench: Bench, vectors: Any, shape: tuple[int, ...]) -> Any:
    """Vectors (N, n) without gaps as (N, C, *spatial): the same memory."""
    return vectors.reshape(shape)
