"""Any layer, by its own `train` and `backward`: slow, and always there."""

from __future__ import annotations

import numpy as np

from netdsl.backends.numpy.memory import Array, channels_first, channels_last
from netdsl.backends.numpy.training.work import Bench, Work, put
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward


def forward(step: Forward, bench: Bench) -> Work:
    """A layer's `train` on copies with their channels first. A residual is not known here."""
    if step.residual:
        raise ValueError("a residual")
    y = bench.view(step.output)

    def run() -> None:
        inputs = [first(bench, tensor) for tensor in step.inputs]
        weights = bench.weights_of(step)
        assert bench.draw is not None
        made = step.layer.train(np, inputs, weights, bench.draw(step.name))
        output = np.asarray(made.output, np.float32)
        if step.activation is not None:
            output = step.activation.train(np, [output], {}, bench.draw(step.name)).output
        np.copyto(y, channels_last(output))
        bench.extras[step.name] = tuple(made.extra)
        for name, value in made.buffers.items():
            weights[name][...] = value

    return Work("layer", [[[run]]])


def backward(step: Backward, bench: Bench) -> Work:
    """A layer's `backward`."""
    ahead = step.forward
    layer, activation = ahead.layer, ahead.activation
    wanted = tuple(tensor is not None for tensor in step.dx)

    def run() -> None:
        inputs = [first(bench, tensor) for tensor in ahead.inputs]
        output, dy = first(bench, ahead.output), first(bench, step.dy)
        weights = bench.weights_of(ahead)
        if activation is not None:
            (dz,) = activation.backward(np, dy, (output,), output, (), {}, (True,), frozenset()).inputs
            dy = np.asarray(dz, np.float32)
        extra = bench.extras.pop(ahead.name, ())
        found = layer.backward(np, dy, inputs, output, extra, weights, wanted, step.wanted)
        # All of them are formed before any is written: one may be a view of what another lies over.
        made = [
            np.array(found.inputs[place], np.float32)
            if tensor is not None and found.inputs[place] is not None
            else None
            for place, tensor in enumerate(step.dx)
        ]
        for tensor, plus, value in zip(step.dx, step.plus, made, strict=True):
            if tensor is None:
                continue
            total = np.zeros_like(first(bench, tensor)) if value is None else value
            if plus is not None:
                total = total + first(bench, plus)
            np.copyto(bench.view(tensor), channels_last(total))
        for name in step.wanted:
            put(bench.gradient(ahead, name), found.weights[name], name in step.add_to)

    return Work("layer", [[[run]]])


def first(bench: Bench, tensor: Tensor) -> Array:
    """A copy of a tensor with its channels first."""
    return np.array(channels_first(bench.view(tensor)), order="C")
