"""Pools, both directions; plain forms. A max pool notes which tap was the largest, a byte for each output; the first of
equal ones gets the gradient, as in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from netdsl.backends.cupy.steps.windows import Windows, windows
from netdsl.backends.cupy.training.bench import FLOAT, Bench, Work, single
from netdsl.layers.pool import AvgPool, MaxPool
from netdsl.program.training.ir import Backward, Forward


def knows(step: Forward) -> bool:
    """Whether these forms compute a pool: a max pool with taps that a byte can number."""
    return "places" in step.saved if isinstance(step.layer, MaxPool) else isinstance(step.layer, AvgPool)


def _windows(step: Forward) -> Windows:
    layer = step.layer
    assert isinstance(layer, MaxPool | AvgPool)
    return windows(layer.slides(step.inputs[0].type), step.inputs[0].shape[-1])


def _border(xp: Any, found: Windows, x: Any, border: float) -> Any:
    """The maps (N, *spatial, C) in float32 with the border that windows need."""
    made = xp.full((len(x), *_padded(found), x.shape[-1]), border, FLOAT)
    made[_inside(found)] = x
    return made


def _padded(found: Windows) -> list[int]:
    return [max(axis.before + axis.n, axis.reach) for axis in found.axes]


def _inside(found: Windows) -> tuple[slice, ...]:
    return (slice(None), *(slice(axis.before, axis.before + axis.n) for axis in found.axes))


def _taps(found: Windows) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """The number of each tap, and what it reads of a bordered map."""
    for number, tap in enumerate(np.ndindex(*found.extents)):
        yield (
            number,
            (
                slice(None),
                *(
                    slice(j * axis.d, j * axis.d + (axis.o - 1) * axis.s + 1, axis.s)
                    for j, axis in zip(tap, found.axes, strict=True)
                ),
            ),
        )


def max_forward(step: Forward, bench: Bench) -> Work:
    xp, found, x, y = bench.xp, _windows(step), bench.view(step.inputs[0]), bench.view(step.output)
    places = bench.saved(step.saved["places"]).reshape(step.output.shape)

    def run() -> None:
        bordered = _border(xp, found, x, -np.inf)
        best, place = None, None
        for number, tap in _taps(found):
            seen = bordered[tap]
            if best is None:
                best, place = seen.copy(), xp.zeros(seen.shape, np.uint8)
                # A window whose first taps lie in the border finds what is larger than -inf, or equal, later: the
                # first tap inside is the first that counts.
                inside = _inside_map(xp, found, tap, seen)
                place[...] = xp.where(inside, np.uint8(number), np.uint8(255))
                continue
            # A NaN is larger than anything, and stays.
            inside = _inside_map(xp, found, tap, seen)
            larger = (~(seen <= best) & (best == best)) | ((place == np.uint8(255)) & inside)
            place = xp.where(larger, np.uint8(number), place)
            best = xp.where(larger, seen, best)
        y[...] = best
        places[...] = place

    work = Work()
    work.then("maxima of taps", run)
    return work


def _inside_map(xp: Any, found: Windows, tap: tuple[slice, ...], seen: Any) -> Any:
    """For each window, whether the tap lies in the map: (1, *o, 1)."""
    inside = xp.ones((1,) * seen.ndim, bool)
    for number, (axis, place) in enumerate(zip(found.axes, tap[1:], strict=True), start=1):
        at = xp.arange(place.start, place.stop, place.step)
        fits = (at >= axis.before) & (at < axis.before + axis.n)
        shape = [1] * seen.ndim
        shape[number] = -1
        inside = inside & fits.reshape(shape)
    return inside


def max_backward(step: Backward, bench: Bench) -> Work:
    work, (dx,) = Work(), step.dx
    if dx is None:
        return work
    xp, found, dy, target = bench.xp, _windows(step.forward), bench.view(step.dy), bench.view(dx)
    places = bench.saved(step.forward.saved["places"]).reshape(step.dy.shape)

    def run() -> None:
        total = xp.zeros((len(target), *_padded(found), target.shape[-1]), FLOAT)
        incoming = single(dy)
        for number, tap in _taps(found):
            reached = total[tap]
            reached += xp.where(places == np.uint8(number), incoming, np.float32(0))
        target[...] = total[_inside(found)]

    work.then("maxima of taps", run)
    return work


def _factor(step: Forward, bench: Bench) -> Any:
    """One over how many positions of each window count: (*o, 1)."""
    layer = step.layer
    assert isinstance(layer, AvgPool)
    slides = layer.slides(step.inputs[0].type)
    counts = np.ones((1,) * len(slides))
    for axis, slide in enumerate(slides):
        shape = [1] * len(slides)
        shape[axis] = -1
        counts = counts * np.asarray(layer.counts(slide), np.float64).reshape(shape)
    with bench.device.use():
        return bench.xp.asarray((1 / counts)[..., None].astype(np.float32))


def avg_forward(step: Forward, bench: Bench) -> Work:
    xp, found, x, y = bench.xp, _windows(step), bench.view(step.inputs[0]), bench.view(step.output)
    factor = _factor(step, bench)

    def run() -> None:
        bordered, total = _border(xp, found, x, 0.0), None
        for _, tap in _taps(found):
            total = bordered[tap] if total is None else total + bordered[tap]
        y[...] = total * factor

    work = Work()
    work.then("sums of taps", run)
    return work


def avg_backward(step: Backward, bench: Bench) -> Work:
    work, (dx,) = Work(), step.dx
    if dx is None:
        return work
    xp, found, dy, target = bench.xp, _windows(step.forward), bench.view(step.dy), bench.view(dx)
    factor = _factor(step.forward, bench)

    def run() -> None:
        total = xp.zeros((len(target), *_padded(found), target.shape[-1]), FLOAT)
        each = single(dy) * factor
        for _, tap in _taps(found):
            reached = total[tap]
            reached += each
        target[...] = total[_inside(found)]

    work.then("sums of taps", run)
    return work


def global_forward(step: Forward, bench: Bench) -> Work:
    """A product with a row of ones for each image."""
    xp, device, x, y = bench.xp, bench.device, bench.view(step.inputs[0]), bench.view(step.output)
    positions = prod(x.shape[1:-1])
    flat = x.reshape(len(x), positions, x.shape[-1])
    with device.use():
        ones = xp.ones((len(x), 1, positions), FLOAT).astype(bench.dtype)

    def run() -> None:
        total = xp.empty((len(x), 1, x.shape[-1]), FLOAT)
        device.matmul(ones, flat, total)
        y[...] = (total * np.float32(1 / positions)).reshape(y.shape)

    work = Work()
    work.then("matmul with ones", run)
    return work


def global_backward(step: Backward, bench: Bench) -> Work:
    work, (dx,) = Work(), step.dx
    if dx is None:
        return work
    target, dy = bench.view(dx), bench.view(step.dy)
    positions = prod(target.shape[1:-1])
    flat = target.reshape(len(target), positions, target.shape[-1])
    row = dy.reshape(len(target), 1, target.shape[-1])

    def run() -> None:
        flat[...] = single(row) * np.float32(1 / positions)

    work.then("spread", run)
    return work
