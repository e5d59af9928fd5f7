"""Any layer, by its own `train` and `backward` on the device: slow, and always there. What draws random numbers draws
them on the host, as the CPU's back-ends do, before the step begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.training.bench import FLOAT, Bench, Work, put, single
from netdsl.ir.layer import Array
from netdsl.layers.regularisation import Regularisation
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward


def is_drop(step: Forward) -> bool:
    """Whether the step sets numbers to 0 at random."""
    return isinstance(step.layer, Regularisation)


def drop_forward(step: Forward, bench: Bench) -> Work:
    """x times a mask of 0 and 1 / (1 - rate), which is drawn and sent before the step."""
    x, y = channels_first(bench.view(step.inputs[0])), channels_first(bench.view(step.output))
    mask = _mask(step, bench)

    def run() -> None:
        y[...] = single(x) * mask

    work = Work()
    work.then(step.layer.kind, run)
    return work


def _mask(step: Forward, bench: Bench) -> Any:
    layer = step.layer
    assert isinstance(layer, Regularisation)
    tensor = step.inputs[0]
    shape = layer._drawn((tensor.batch, *(extent or 0 for extent in tensor.type.shape)))
    with bench.device.use():
        mask = bench.xp.zeros(shape, FLOAT)
    room = bench.device.pinned(shape, FLOAT)
    factor = np.float32(0 if layer.rate >= 1 else 1 / (1 - layer.rate))

    def draw() -> None:
        assert bench.draw is not None
        kept = np.asarray(bench.draw(step.name).uniform(shape)) >= layer.rate
        room[...] = np.where(kept, factor, np.float32(0))
        bench.device.upload(mask, room)

    if layer.rate == 0:
        with bench.device.use():
            mask.fill(1)
    else:
        bench.draws.append(draw)
    bench.extras[step.name] = (mask,)
    return mask


def drop_backward(step: Backward, bench: Bench) -> Work:
    work, (dx,) = Work(), step.dx
    if dx is None:
        return work
    (mask,) = bench.extras[step.forward.name]
    target, dy = channels_first(bench.view(dx)), channels_first(bench.view(step.dy))

    def run() -> None:
        target[...] = single(dy) * mask

    work.then(step.forward.layer.kind, run)
    return work


class _NoDraw:
    def uniform(self, shape: Sequence[int]) -> Array:
        raise TypeError("only dropout and stochastic depth draw random numbers on a device")


def forward(step: Forward, bench: Bench) -> Work:
    """A layer's `train` on copies with their channels first. Raises ValueError for a residual."""
    if step.residual:
        raise ValueError("a residual")
    xp, y = bench.xp, bench.view(step.output)

    def run() -> None:
        inputs = [first(xp, bench, tensor) for tensor in step.inputs]
        weights = bench.own(step)
        made = step.layer.train(xp, inputs, weights, _NoDraw())
        output = single(made.output)
        if step.activation is not None:
            output = single(step.activation.train(xp, [output], {}, _NoDraw()).output)
        y[...] = channels_last(output)
        bench.extras[step.name] = tuple(made.extra)
        for name, value in made.buffers.items():
            weights[name][...] = value

    work = Work()
    # What the layer keeps for its backward lies outside of the arena: another array each time.
    work.then("layer", run, capturable=False)
    return work


def backward(step: Backward, bench: Bench) -> Work:
    ahead, xp = step.forward, bench.xp
    layer, activation = ahead.layer, ahead.activation
    wanted = tuple(tensor is not None for tensor in step.dx)

    def run() -> None:
        inputs = [first(xp, bench, tensor) for tensor in ahead.inputs]
        output, dy = first(xp, bench, ahead.output), first(xp, bench, step.dy)
        weights = bench.own(ahead)
        if activation is not None:
            (dz,) = activation.backward(xp, dy, (output,), output, (), {}, (True,), frozenset()).inputs
            dy = single(dz)
        extra = bench.extras.pop(ahead.name, ())
        found = layer.backward(xp, dy, inputs, output, extra, weights, wanted, step.wanted)
        for tensor, plus, value in zip(step.dx, step.plus, found.inputs, strict=True):
            if tensor is None:
                continue
            target = bench.view(tensor)
            made = xp.zeros(target.shape, FLOAT) if value is None else channels_last(single(value))
            target[...] = made if plus is None else made + single(bench.view(plus))
        for name in step.wanted:
            put(bench.gradient(ahead, name), found.weights[name], name in step.add_to)

    work = Work()
    work.then("layer", run, capturable=False)
    return work


def first(xp: Any, bench: Bench, tensor: Tensor) -> Any:
    """A copy of a tensor in float32 with its channels first."""
    return xp.ascontiguousarray(channels_first(bench.view(tensor)).astype(np.float32))
