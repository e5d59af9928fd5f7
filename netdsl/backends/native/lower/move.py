"""Layers that move numbers: padding, cropping, repetition, blocks, other orders of the axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from netdsl.backends.native.lower import channels, pointwise
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of, plain
from netdsl.backends.native.lower.places import Axis, Place, place
from netdsl.backends.native.steps.gather import gather_step, stretches
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.strided import strided_step
from netdsl.backends.native.steps.view import Array
from netdsl.ir.layer import Window
from netdsl.layers.axes import axis_index
from netdsl.layers.channels import ChannelShuffle, DepthToSpace, PadChannels, SpaceToDepth
from netdsl.layers.join import Concat
from netdsl.layers.pad import Pad
from netdsl.layers.reshape import Permute
from netdsl.program.ir import Step, lanes_to_copy

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def lower_pad(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, Pad)
    sources = []
    x, y = step.inputs[0].type, step.output.type
    before_each = _window(step).padding
    for axis, (n, o) in enumerate(zip(x.spatial, y.spatial, strict=True)):
        before = before_each[axis]
        after = (o or 0) - (n or 0) - before
        here = np.arange(n or 0)
        if layer.mode in _MODES:
            sources.append(np.pad(here, (before, after), mode=_MODES[layer.mode]).tolist())  # type: ignore[call-overload]
        else:
            sources.append([None] * before + here.tolist() + [None] * after)
    return picked(step, context, sources, float(layer.value))


def lower_crop(step: Step, context: Context) -> list[NativeStep]:
    """Also `crop_like`."""
    first = [-padding for padding in _window(step).padding]
    extents = step.output.shape[1:-1]
    return picked(step, context, [list(range(start, start + o)) for start, o in zip(first, extents, strict=True)])


def lower_decimate(step: Step, context: Context) -> list[NativeStep]:
    strides, extents = _window(step).stride, step.inputs[0].shape[1:-1]
    return picked(step, context, [list(range(0, n, int(s))) for n, s in zip(extents, strides, strict=True)])


def _window(step: Step) -> Window:
    """What an output sees, which for these layers says which position that is."""
    found = step.layer.window([tensor.type for tensor in step.inputs])
    assert isinstance(found, Window)
    return found


def lower_pad_channels(step: Step, context: Context) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, PadChannels)
    x, y = step.inputs[0], step.output
    channels = x.shape[-1]
    pieces = [(None, layer.before), (0, channels), (None, y.shape[-1] - channels - layer.before)]
    sources = [list(range(extent)) for extent in x.shape[1:-1]]
    return picked(step, context, sources, pieces=[piece for piece in pieces if piece[1]])


def picked(
    step: Step,
    context: Context,
    sources: Sequence[Sequence[int | None]],
    value: float = 0.0,
    pieces: Sequence[tuple[int | None, int]] | None = None,
) -> list[NativeStep]:
    """Position i along each spatial axis of the output is `sources[axis][i]` of the input; None is filled."""
    plain(step)
    x, out = place(step.inputs[0], context), place(step.output, context)
    *upper, columns = sources or [[0]]
    rows: list[int | None] = [0]
    for axis, picks in zip(x.spatial[:-1], upper, strict=True):
        rows = [
            None if row is None or pick is None else row + pick * axis.step for row in rows for pick in picks
        ]  # fmt: skip
    found = stretches(
        columns, x.spatial[-1].step if x.spatial else 0, out.spatial[-1].step if out.spatial else 0,
        pieces or [(0, x.channels.extent)],
    )  # fmt: skip
    return [
        gather_step(
            step.name, (x.address, x.images.step), (out.address, out.images.step), out.images.extent, rows, out.rows(),
            found, value=value, activation=activation_of(step.activation),
        )
    ]  # fmt: skip


def copied(name: str, x: Place, out: Place) -> NativeStep:
    """A copy between places of one shape, with gaps or without."""
    return _moved(name, x.address, out.address, zip((x.images, *x.axes), (out.images, *out.axes), strict=True))


def lower_concat(step: Step, context: Context) -> list[NativeStep]:
    """Lanes that lie in their place already are left."""
    assert isinstance(step.layer, Concat)
    if step.activation is not None or axis_index("concat", step.layer.axis, step.inputs[0].type) == 0:
        try:
            return pointwise.lower_concat(step, context)
        except NoKernelError:
            if step.activation is not None:
                raise
    plain(step)
    return [copied(step.name, place(lane, context), place(part, context)) for lane, part in lanes_to_copy(step)]


def lower_permute(step: Step, context: Context) -> list[NativeStep]:
    assert isinstance(step.layer, Permute)
    _bare(step)
    x, out = place(step.inputs[0], context), place(step.output, context)
    turned = [x.axes[axis] for axis in step.layer.axes]
    return [_moved(step.name, x.address, out.address, zip((x.images, *turned), (out.images, *out.axes), strict=True))]


def lower_flatten(step: Step, context: Context) -> list[NativeStep]:
    try:
        return channels.lower_flatten(step, context)
    except NoKernelError:
        return lower_reshape(step, context)


def lower_reshape(step: Step, context: Context) -> list[NativeStep]:
    """Both shapes are cut into pieces that they have in common."""
    _bare(step)
    x, out = place(step.inputs[0], context), place(step.output, context)
    left, right = list(x.axes), list(out.axes)
    pairs = [(x.images, out.images)]
    while left or right:
        one, two = left.pop() if left else Axis(1, 0), right.pop() if right else Axis(1, 0)
        extent = min(one.extent, two.extent)
        if extent == 1 and max(one.extent, two.extent) > 1:
            # An axis of 1 on one side only: it is left out.
            (left if one.extent > 1 else right).append(max(one, two))
            continue
        if one.extent % extent or two.extent % extent:
            raise NoKernelError("shapes that have no pieces in common")
        pairs.append((Axis(extent, one.step), Axis(extent, two.step)))
        for axis, rest in ((one, left), (two, right)):
            if axis.extent > extent:
                rest.append(Axis(axis.extent // extent, axis.step * extent))
    return [_moved(step.name, x.address, out.address, pairs)]


def lower_blocks(step: Step, context: Context) -> list[NativeStep]:
    """`space_to_depth` and `depth_to_space`, which is the same copy the other way round."""
    _bare(step)
    layer = step.layer
    assert isinstance(layer, SpaceToDepth | DepthToSpace)
    x, out = place(step.inputs[0], context), place(step.output, context)
    wide, deep = (x, out) if isinstance(layer, SpaceToDepth) else (out, x)
    b, rank = layer.block, len(wide.spatial)
    # Where channel c, place (i, j) of a block and block (y, x) lie on either side.
    pairs = [(wide.images, deep.images)]
    parts = b**rank
    channel_step = deep.channels.step * (parts if layer.order == "crd" else 1)
    pairs.append((wide.channels, Axis(wide.channels.extent, channel_step)))
    place_step = deep.channels.step * (1 if layer.order == "crd" else wide.channels.extent)
    for number, (axis, block) in enumerate(zip(wide.spatial, deep.spatial, strict=True)):
        inside = place_step * b ** (rank - 1 - number)
        pairs.append((Axis(b, axis.step), Axis(b, inside)))
        pairs.append((Axis(block.extent, axis.step * b), block))
    if wide is not x:
        pairs = [(two, one) for one, two in pairs]
    return [_moved(step.name, x.address, out.address, pairs)]


def lower_shuffle(step: Step, context: Context) -> list[NativeStep]:
    try:
        return channels.lower_shuffle(step, context)
    except NoKernelError:
        _bare(step)
    assert isinstance(step.layer, ChannelShuffle)
    x, out, groups = place(step.inputs[0], context), place(step.output, context), step.layer.groups
    each = x.channels.extent // groups
    pairs = list(zip((x.images, *x.spatial), (out.images, *out.spatial), strict=True))
    pairs.append((Axis(groups, 4 * each), Axis(groups, 4)))
    pairs.append((Axis(each, 4), Axis(each, 4 * groups)))
    return [_moved(step.name, x.address, out.address, pairs)]


def turned(name: str, x: Place, order: Sequence[Axis], memory: Array, back: bool = False) -> NativeStep:
    """A copy of `x` whose axes come in another order into memory without gaps, or from there; `order` are all axes but
    the images, which come first."""
    step, pairs = 4, []
    for axis in reversed(order):
        pairs.append((axis, Axis(axis.extent, step)))
        step *= axis.extent
    pairs.append((x.images, Axis(x.images.extent, step)))
    there = int(memory.ctypes.data)
    if back:
        return _moved(name, there, x.address, [(two, one) for one, two in pairs], (memory,))
    return _moved(name, x.address, there, pairs, (memory,))


def _moved(name: str, x: int, out: int, pairs: Iterable[tuple[Axis, Axis]], keep: tuple[Array, ...] = ()) -> NativeStep:
    try:
        return strided_step(name, x, out, [(one.extent, one.step, two.step) for one, two in pairs], keep=keep)
    except ValueError as error:
        raise NoKernelError(str(error)) from None


def _bare(step: Step) -> None:
    plain(step)
    if step.activation is not None:
        raise NoKernelError("an activation")
