"""Depthwise convolution, both directions: a tap of the kernel after the other, over all positions that it reads."""

from __future__ import annotations

import numpy as np

from netdsl.backends.numpy.blocks import Task
from netdsl.backends.numpy.memory import Array
from netdsl.backends.numpy.training.pointwise import activated, before_activation
from netdsl.backends.numpy.training.taps import by_images, taps
from netdsl.backends.numpy.training.work import Bench, Work, put
from netdsl.layers.conv import Conv, DepthwiseConv
from netdsl.program.training.ir import Backward, Forward


def knows(step: Forward) -> bool:
    """Whether this form computes a layer: one filter for each channel of at most two spatial axes."""
    layer, x = step.layer, step.inputs[0].type
    if not isinstance(layer, Conv | DepthwiseConv) or len(x.spatial) > 2:
        return False
    if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
        return False
    return step.output.type.channels == x.channels and (isinstance(layer, DepthwiseConv) or layer.groups == x.channels)


def _kernel(step: Forward, bench: Bench) -> Array:
    """(taps, C), as it is in the weight now."""
    weight = bench.weights[step.weights["weight"]]
    return weight.reshape(len(weight), -1).T


def forward(step: Forward, bench: Bench) -> Work:
    x, y = bench.maps(step.inputs[0]), bench.maps(step.output)
    layer, kernel = step.layer, _kernel(step, bench)
    assert isinstance(layer, Conv | DepthwiseConv)
    bias = bench.weights[step.weights["bias"]] if "bias" in step.weights else None
    found = taps(layer.slides(step.inputs[0].type))

    def image(part: slice) -> Task:
        def run() -> None:
            source, target = x[part], y[part]
            target[...] = 0 if bias is None else bias
            for tap in found:
                target[tap.y] += source[tap.x] * kernel[tap.number]
            if step.activation is not None:
                activated(target, step.activation)

        return run

    work = Work("taps")
    image_bytes = 4 * (x[0].size + y[0].size)
    work.shared([[image(part) for part in share] for share in by_images(bench, len(x), image_bytes)])
    return work


def backward(step: Backward, bench: Bench) -> Work:
    ahead = step.forward
    work = Work("taps")
    dy = bench.maps(before_activation(step, bench, work))
    layer, x, kernel = ahead.layer, bench.maps(ahead.inputs[0]), _kernel(ahead, bench)
    assert isinstance(layer, Conv | DepthwiseConv)
    found = taps(layer.slides(ahead.inputs[0].type))
    dx = None if step.dx[0] is None else bench.maps(step.dx[0])
    plus = None if step.plus[0] is None else bench.maps(step.plus[0])
    wanted = "weight" in step.wanted
    cut = by_images(bench, len(dy), 4 * (x[0].size + dy[0].size))
    sums = np.zeros((sum(map(len, cut)), *kernel.shape), np.float32)

    def image(part: slice, number: int) -> Task:
        def run() -> None:
            right = dy[part]
            if wanted:
                for tap in found:
                    product = x[part][tap.x] * right[tap.y]
                    sums[number, tap.number] = product.reshape(-1, product.shape[-1]).sum(0)
            if dx is not None:
                target = dx[part]
                if plus is None:
                    target[...] = 0
                elif not np.may_share_memory(plus, dx):
                    np.copyto(target, plus[part])
                for tap in found:
                    target[tap.x] += right[tap.y] * kernel[tap.number]

        return run

    numbers = iter(range(len(sums)))
    work.shared([[image(part, next(numbers)) for part in share] for share in cut])
    if wanted:
        gradient = bench.gradient(ahead, "weight")
        work.once(
            lambda: put(gradient, sums.sum(0, dtype=np.float64).T.reshape(gradient.shape), "weight" in step.add_to)
        )
    if "bias" in step.wanted:
        flat, place = dy.reshape(-1, dy.shape[-1]), bench.gradient(ahead, "bias")
        ones = np.ones(len(flat), np.float32)
        work.once(lambda: put(place, ones @ flat, "bias" in step.add_to))
    return work
