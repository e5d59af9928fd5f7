"""Activations, sums, concatenations, and the part of a step that goes through its activation."""

from __future__ import annotations

import numpy as np

from netdsl.backends.numpy.blocks import Task
from netdsl.backends.numpy.memory import Array
from netdsl.backends.numpy.training.work import Bench, Work
from netdsl.ir.layer import Layer
from netdsl.layers.activation import Activation, Prelu, Relu
from netdsl.layers.axes import axis_index
from netdsl.layers.join import Add, Concat
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Sum


def activated(y: Array, activation: Layer) -> None:
    """An activation of one element, in place."""
    if isinstance(activation, Relu):
        np.maximum(y, 0, out=y)
    else:
        np.copyto(y, activation.forward(np, [y], {}))


def derived(dy: Array, x: Array, y: Array, activation: Layer) -> Array:
    """The gradient before an activation; where it is of one element, shapes are all alike to it."""
    if isinstance(activation, Relu):
        made: Array = np.multiply(dy, y > 0)
        return made
    (dz,) = activation.backward(np, dy, (x,), y, (), {}, (True,), frozenset()).inputs
    return np.asarray(dz, np.float32)


def before_activation(step: Backward, bench: Bench, work: Work) -> Tensor:
    """d(what the activation takes); the calls that make it from the output are added to `work`."""
    activation = step.forward.activation
    if activation is None or step.dz is None:
        return step.dy
    dy, y, dz = bench.rows(step.dy), bench.rows(step.forward.output), bench.rows(step.dz)
    work.shared(
        [
            [_undone(dy[part], y[part], y[part], dz[part], activation) for part in parts]
            for parts in bench.stretches(len(dy), 12 * dy.shape[1])
        ]
    )
    return step.dz


def is_plain(step: Forward) -> bool:
    """Whether the step is an activation of one element without weights."""
    return isinstance(step.layer, Activation) and not isinstance(step.layer, Prelu)


def activation_forward(step: Forward, bench: Bench) -> Work:
    x, y = bench.rows(step.inputs[0]), bench.rows(step.output)
    layer = step.layer
    work = Work("rows")
    work.shared(
        [[_applied(x[part], y[part], layer) for part in parts] for parts in bench.stretches(len(y), 8 * y.shape[1])]
    )
    return work


def _applied(x: Array, y: Array, layer: Layer) -> Task:
    if isinstance(layer, Relu):
        return lambda: _maximum(x, y)
    return lambda: np.copyto(y, layer.forward(np, [x], {}))


def _maximum(x: Array, y: Array) -> None:
    np.maximum(x, 0, out=y)


def activation_backward(step: Backward, bench: Bench) -> Work:
    (dx,) = step.dx
    work = Work("rows")
    if dx is None:
        return work
    ahead = step.forward
    dy, x, y, out = (bench.rows(tensor) for tensor in (step.dy, ahead.inputs[0], ahead.output, dx))
    layer = ahead.layer
    work.shared(
        [
            [_undone(dy[part], x[part], y[part], out[part], layer) for part in parts]
            for parts in bench.stretches(len(dy), 12 * dy.shape[1])
        ]
    )
    return work


def _undone(dy: Array, x: Array, y: Array, dx: Array, layer: Layer) -> Task:
    return lambda: np.copyto(dx, derived(dy, x, y, layer))


def is_sum(step: Forward) -> bool:
    """Whether the step adds tensors of one shape."""
    return isinstance(step.layer, Add) and all(tensor.type == step.output.type for tensor in step.inputs)


def add_forward(step: Forward, bench: Bench) -> Work:
    """Lane after lane, a stretch at a time."""
    lanes, y = [bench.rows(tensor) for tensor in step.inputs], bench.rows(step.output)
    activation = step.activation
    work = Work("lanes")
    work.shared(
        [
            [_added([lane[part] for lane in lanes], y[part], activation) for part in parts]
            for parts in bench.stretches(len(y), 12 * y.shape[1])
        ]
    )
    return work


def _added(lanes: list[Array], y: Array, activation: Layer | None) -> Task:
    def run() -> None:
        if len(lanes) == 1:
            np.copyto(y, lanes[0])
        else:
            np.add(lanes[0], lanes[1], out=y)
        for lane in lanes[2:]:
            np.add(y, lane, out=y)
        if activation is not None:
            activated(y, activation)

    return run


def add_backward(step: Backward, bench: Bench) -> Work:
    """With an activation: the gradient before it is that of every lane."""
    work = Work("lanes")
    before_activation(step, bench, work)
    return work


def _copied(target: Array, source: Array) -> Task:
    return lambda: np.copyto(target, source)


def sum_of(step: Sum, bench: Bench) -> Work:
    first, second, out = (bench.rows(tensor) for tensor in (step.first, step.second, step.output))
    work = Work("sum")
    work.shared(
        [
            [_added([first[part], second[part]], out[part], None) for part in parts]
            for parts in bench.stretches(len(out), 12 * out.shape[1])
        ]
    )
    return work


def concat_forward(step: Forward, bench: Bench) -> Work:
    work = Work("copy")
    work.once(*(_copied(part, lane) for part, lane in _lanes(step, bench.view(step.output), bench)))
    return work


def _lanes(step: Forward, whole: Array, bench: Bench) -> list[tuple[Array, Array]]:
    """The part of a concatenation that each lane is, and the lane."""
    layer = step.layer
    assert isinstance(layer, Concat)
    index = axis_index(layer.kind, layer.axis, step.output.type)
    along = whole.ndim - 1 if index == 0 else index
    found, start = [], 0
    for tensor in step.inputs:
        lane = bench.view(tensor)
        end = start + lane.shape[along]
        found.append((whole[(slice(None),) * along + (slice(start, end),)], lane))
        start = end
    return found


def concat_backward(step: Backward, bench: Bench) -> Work:
    parts = _lanes(step.forward, bench.view(step.dy), bench)
    work = Work("copy")
    wanted = zip(step.dx, parts, strict=True)
    work.once(*(_copied(bench.view(tensor), part) for tensor, (part, _) in wanted if tensor is not None))
    return work
