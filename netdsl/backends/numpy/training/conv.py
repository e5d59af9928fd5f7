"""Convolution and dense layers, both directions, as matrix products of windows (im2col) a block at a time.

* forward: windows of x times the weight;
* d(x): windows of d(y) times the weight turned around, one product for each phase of the stride (see
  netdsl/program/training/phases.py);
* d(weight): windows of x, made again, times d(y). Each share of the threads has a sum of its own.
"""

from __future__ import annotations

from math import prod

import numpy as np

from netdsl.backends.numpy.blocks import BLOCK_BYTES, Axis, Block, Task, axes, strip, windows
from netdsl.backends.numpy.memory import Array, Scratch
from netdsl.backends.numpy.training.pointwise import activated, before_activation
from netdsl.backends.numpy.training.work import Bench, Work, put
from netdsl.layers.conv import Conv
from netdsl.layers.dense import Dense
from netdsl.layers.sizes import Slide
from netdsl.program.training.ir import Backward, Forward
from netdsl.program.training.phases import Phase, phases

LEAST_ROWS = 96
"""Rows of a matrix product below which it loses speed."""
POINT = Axis(1, 1, 1, 1, 0, 1)


def knows(step: Forward) -> bool:
    """Whether these forms compute a layer: no groups, and nothing that only the layer knows."""
    layer = step.layer
    if isinstance(layer, Dense):
        return layer.axis in (None, 0, "channels") and isinstance(layer.bias, bool)
    if not isinstance(layer, Conv) or type(layer) is not Conv:
        return False
    plain = layer.padding_mode == "zeros" and layer.connections is None and not layer.flip_kernel
    return plain and layer.groups == 1 and len(step.inputs[0].type.spatial) <= 2


def slides_of(step: Forward) -> tuple[Slide, Slide]:
    """Height and width; what has no height has one row. A dense layer is a window of one position."""
    layer, x = step.layer, step.inputs[0]
    if isinstance(layer, Conv):
        found = layer.slides(x.type)
    else:
        found = tuple(Slide(extent, 1, 1, 1, 0, 0, extent) for extent in x.shape[1:-1])
    one = Slide(1, 1, 1, 1, 0, 0, 1)
    height, width = ((one, one, *found))[-2:]
    return height, width


def _taps(weight: Array) -> Array:
    """(K, C, *f) as (K, C, fh, fw)."""
    return weight.reshape(*weight.shape[:2], *((1, 1, *weight.shape[2:])[-2:]))


def forward(step: Forward, bench: Bench) -> Work:
    x, y = bench.maps(step.inputs[0]), bench.maps(step.output)
    height, width = axes(slides_of(step))
    weight = _taps(bench.weights[step.weights["weight"]])
    bias = bench.weights[step.weights["bias"]] if "bias" in step.weights else None
    filters, channels, fh, fw = weight.shape
    packed = np.empty((fh, fw, channels, filters), np.float32)
    work = Work("im2col")
    # (K, C, fh, fw) -> (fh, fw, C, K)
    work.once(lambda: np.copyto(packed, weight.transpose(2, 3, 1, 0)))
    matrix = packed.reshape(-1, filters)
    row_bytes = 4 * width.o * (len(matrix) + filters)
    least = -(-LEAST_ROWS // max(1, width.o))
    shares: list[list[Task]] = []
    for scratch, cut in zip(bench.scratches, bench.cut(len(x), height.o, row_bytes, BLOCK_BYTES, least), strict=True):
        tasks: list[Task] = []
        for block in cut:
            scratch.restart()
            tasks += _product(x, y, matrix, bias, block, height, width, scratch, step)
        shares.append(tasks)
    work.shared(shares)
    return work


def _columns(x: Array, block: Block, height: Axis, width: Axis, scratch: Scratch, tasks: list[Task]) -> Array:
    """The windows of a block as a matrix (positions, taps C): a view of `x` where memory allows, else a copy."""
    part = strip(x, block, height, width, scratch)
    if part.fill is not None:
        tasks.append(part.fill)
    seen = windows(part.array, block, height, width)
    rows = block.images * block.rows * width.o
    if seen.flags.c_contiguous:
        return seen.reshape(rows, -1)
    columns = scratch.take(*seen.shape)
    tasks.append(lambda: np.copyto(columns, seen))
    return columns.reshape(rows, -1)


def _product(
    x: Array, y: Array, matrix: Array, bias: Array | None, block: Block, height: Axis, width: Axis, scratch: Scratch,
    step: Forward,
) -> list[Task]:  # fmt: skip
    tasks: list[Task] = []
    columns = _columns(x, block, height, width, scratch, tasks)
    target = y[block.n0 : block.n1, block.r0 : block.r1]
    out = target.reshape(len(columns), -1)
    activation = step.activation

    def run() -> None:
        np.matmul(columns, matrix, out=out)
        if bias is not None:
            np.add(out, bias, out=out)
        if activation is not None:
            activated(out, activation)

    return [*tasks, run]


def backward(step: Backward, bench: Bench) -> Work:
    work = Work("im2col")
    ahead = step.forward
    dy = bench.maps(before_activation(step, bench, work))
    weight = _taps(bench.weights[ahead.weights["weight"]])
    if "bias" in step.wanted:
        _bias(step, bench, dy.reshape(-1, dy.shape[-1]), work)
    if "weight" in step.wanted:
        _weight(step, bench, dy, weight.shape, work)
    dx, plus = step.dx[0], step.plus[0]
    if dx is not None:
        target = bench.maps(dx)
        added = None if plus is None else bench.maps(plus)
        _input(step, bench, dy, weight, target, added, work)
    return work


def _bias(step: Backward, bench: Bench, rows: Array, work: Work) -> None:
    gradient, add = bench.gradient(step.forward, "bias"), "bias" in step.add_to
    ones = np.ones(len(rows), np.float32)
    work.once(lambda: put(gradient, ones @ rows, add))


def _weight(step: Backward, bench: Bench, dy: Array, shape: tuple[int, ...], work: Work) -> None:
    filters, channels, fh, fw = shape
    height, width = axes(slides_of(step.forward))
    x = bench.maps(step.forward.inputs[0])
    gradient = bench.gradient(step.forward, "weight")
    add = "weight" in step.add_to
    depth = fh * fw * channels
    row_bytes = 4 * width.o * (depth + filters)
    sums: list[Array] = []
    made: list[list[Task]] = []
    cuts = bench.cut(len(x), height.o, row_bytes, 2 * BLOCK_BYTES, -(-LEAST_ROWS // max(1, width.o)))
    for scratch, cut in zip(bench.scratches, cuts, strict=True):
        if not cut:
            continue
        total, part = np.empty((depth, filters), np.float32), np.empty((depth, filters), np.float32)
        sums.append(total)
        tasks: list[Task] = []
        for number, block in enumerate(cut):
            scratch.restart()
            columns = _columns(x, block, height, width, scratch, tasks)
            right = dy[block.n0 : block.n1, block.r0 : block.r1].reshape(len(columns), filters)
            tasks.append(_gathered(columns, right, total, part, number == 0))
        made.append(tasks)
    work.shared(made)

    def end() -> None:
        whole = sums[0]
        for other in sums[1:]:
            whole += other
        # (fh, fw, C, K) -> (K, C, fh, fw)
        put(gradient.reshape(shape), whole.reshape(fh, fw, channels, filters).transpose(3, 2, 0, 1), add)

    work.once(end)


def _gathered(columns: Array, right: Array, total: Array, part: Array, first: bool) -> Task:
    def run() -> None:
        if first:
            np.matmul(columns.T, right, out=total)
        else:
            np.matmul(columns.T, right, out=part)
            np.add(total, part, out=total)

    return run


def _input(step: Backward, bench: Bench, dy: Array, weight: Array, dx: Array, plus: Array | None, work: Work) -> None:
    """d(x), a phase after the other, each into its places."""
    height, width = slides_of(step.forward)
    shares: list[list[Task]] = [[] for _ in range(bench.threads)]
    for down in phases(height):
        for across in phases(width):
            place = np.s_[:, down.rest :: height.s, across.rest :: width.s]
            added = None if plus is None else plus[place]
            if not down.taps or not across.taps:
                shares[0].append(_without(dx[place], added))
                continue
            _phase(bench, dy, weight, dx[place], added, down, across, work, shares)
    work.shared(shares)


def _without(target: Array, plus: Array | None) -> Task:
    """A phase that no window reads."""
    return lambda: np.copyto(target, 0 if plus is None else plus)


def _phase(
    bench: Bench, dy: Array, weight: Array, dx: Array, plus: Array | None, down: Phase, across: Phase, work: Work,
    shares: list[list[Task]],
) -> None:  # fmt: skip
    filters, channels = weight.shape[:2]
    packed = np.empty((len(down.taps), len(across.taps), filters, channels), np.float32)
    # (K, C, fh, fw) -> (taps, taps, K, C)
    chosen = np.ix_(range(filters), range(channels), down.taps, across.taps)
    work.once(lambda: np.copyto(packed, weight[chosen].transpose(2, 3, 0, 1)))
    matrix = packed.reshape(-1, channels)
    # Windows that begin behind the first place begin at the first of a smaller map.
    source = dy[:, max(0, -down.before) :, max(0, -across.before) :]
    rows = Axis(source.shape[1], len(down.taps), 1, down.dilation, max(0, down.before), down.places)
    columns = Axis(source.shape[2], len(across.taps), 1, across.dilation, max(0, across.before), across.places)
    row_bytes = 4 * columns.o * (len(matrix) + channels)
    least = -(-LEAST_ROWS // max(1, columns.o))
    cuts = bench.cut(len(dy), rows.o, row_bytes, BLOCK_BYTES, least)
    for scratch, tasks, cut in zip(bench.scratches, shares, cuts, strict=True):
        for block in cut:
            scratch.restart()
            left = _columns(source, block, rows, columns, scratch, tasks)
            made = scratch.take(len(left), channels)
            place = np.s_[block.n0 : block.n1, block.r0 : block.r1]
            tasks.append(_laid(left, matrix, made, dx[place], None if plus is None else plus[place]))


def _laid(left: Array, matrix: Array, made: Array, target: Array, plus: Array | None) -> Task:
    shaped = made.reshape(*target.shape[:3], prod(target.shape[3:]))

    def run() -> None:
        np.matmul(left, matrix, out=made)
        if plus is None:
            np.copyto(target, shaped)
        else:
            np.add(shaped, plus, out=target)

    return run
