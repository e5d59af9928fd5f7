"""Pools, both directions. A max pool notes which tap was the largest, a byte for each output; the first of equal ones
gets the gradient, as in PyTorch."""

from __future__ import annotations

import numpy as np

from netdsl.backends.numpy.blocks import Task
from netdsl.backends.numpy.memory import Array
from netdsl.backends.numpy.training.taps import Tap, by_images, taps
from netdsl.backends.numpy.training.work import Bench, Work
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.training.ir import Backward, Forward


def knows(step: Forward) -> bool:
    """Whether these forms compute a pool: at most two spatial axes, and taps that a byte can number."""
    layer = step.layer
    if isinstance(layer, MaxPool):
        return "places" in step.saved
    return isinstance(layer, AvgPool) and len(step.inputs[0].type.spatial) <= 2


def _taps(step: Forward) -> list[Tap]:
    layer = step.layer
    assert isinstance(layer, MaxPool | AvgPool)
    return taps(layer.slides(step.inputs[0].type))


def _shares(bench: Bench, x: Array, y: Array) -> list[list[slice]]:
    return by_images(bench, len(x), 4 * (x[0].size + y[0].size))


def max_forward(step: Forward, bench: Bench) -> Work:
    x, y = bench.maps(step.inputs[0]), bench.maps(step.output)
    places = bench.saved(step.saved["places"]).reshape(y.shape)
    found = _taps(step)

    def image(part: slice) -> Task:
        def run() -> None:
            source, best, place = x[part], y[part], places[part]
            best[...] = -np.inf
            place[...] = found[0].number
            for tap in found:
                # A NaN is larger than anything, and stays.
                seen, old = source[tap.x], best[tap.y]
                larger = ~(seen <= old) & (old == old)
                np.copyto(old, seen, where=larger)
                np.copyto(place[tap.y], tap.number, where=larger)

        return run

    work = Work("taps")
    work.shared([[image(part) for part in share] for share in _shares(bench, x, y)])
    return work


def max_backward(step: Backward, bench: Bench) -> Work:
    ahead, (dx,) = step.forward, step.dx
    dy, work = bench.maps(step.dy), Work("taps")
    if dx is None:
        return work
    places, target, found = bench.saved(ahead.saved["places"]).reshape(dy.shape), bench.maps(dx), _taps(ahead)

    def image(part: slice) -> Task:
        def run() -> None:
            target[part] = 0
            for tap in found:
                mine = places[part][tap.y] == tap.number
                target[part][tap.x] += np.where(mine, dy[part][tap.y], np.float32(0))

        return run

    work.shared([[image(part) for part in share] for share in _shares(bench, target, dy)])
    return work


def factor(step: Forward) -> Array:
    """One over how many positions of each window count: (oh, ow, 1)."""
    layer = step.layer
    assert isinstance(layer, AvgPool)
    counts = np.ones((1, 1, 1))
    slides = layer.slides(step.inputs[0].type)
    for axis, slide in enumerate(slides, start=2 - len(slides)):
        shape = [1, 1, 1]
        shape[axis] = -1
        counts = counts * np.asarray(layer.counts(slide), np.float64).reshape(shape)
    factor: Array = (1 / counts).astype(np.float32)
    return factor


def avg_forward(step: Forward, bench: Bench) -> Work:
    x, y = bench.maps(step.inputs[0]), bench.maps(step.output)
    part_of, found = factor(step), _taps(step)

    def image(part: slice) -> Task:
        def run() -> None:
            target = y[part]
            target[...] = 0
            for tap in found:
                target[tap.y] += x[part][tap.x]
            target *= part_of

        return run

    work = Work("taps")
    work.shared([[image(part) for part in share] for share in _shares(bench, x, y)])
    return work


def avg_backward(step: Backward, bench: Bench) -> Work:
    ahead, (dx,) = step.forward, step.dx
    dy, work = bench.maps(step.dy), Work("taps")
    if dx is None:
        return work
    target, part_of, found = bench.maps(dx), factor(ahead), _taps(ahead)

    def image(part: slice) -> Task:
        def run() -> None:
            each = dy[part] * part_of
            target[part] = 0
            for tap in found:
                target[part][tap.x] += each[tap.y]

        return run

    work.shared([[image(part) for part in share] for share in _shares(bench, target, dy)])
    return work


def global_forward(step: Forward, bench: Bench) -> Work:
    """A product with a row of 1 / positions for each image."""
    x = bench.view(step.inputs[0])
    flat = x.reshape(len(x), -1, x.shape[-1])
    y = bench.view(step.output).reshape(len(x), 1, x.shape[-1])
    row = np.full((1, flat.shape[1]), 1 / flat.shape[1], np.float32)
    work = Work("matmul")
    work.once(lambda: _matmul(row, flat, y))
    return work


def _matmul(a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b, out=out)


def global_backward(step: Backward, bench: Bench) -> Work:
    (dx,) = step.dx
    work = Work("rows")
    if dx is None:
        return work
    target = bench.view(dx)
    flat = target.reshape(len(target), -1, target.shape[-1])
    dy = bench.view(step.dy).reshape(len(target), 1, target.shape[-1])
    work.once(lambda: _scaled(flat, dy))
    return work


def _scaled(target: Array, dy: Array) -> None:
    np.multiply(dy, np.float32(1 / target.shape[1]), out=target)
