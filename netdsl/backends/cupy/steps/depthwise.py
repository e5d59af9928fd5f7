"""Depthwise convolution: a multiplication and an addition for each tap of the kernel, over whole maps."""

from __future__ import annotations

from math import prod
from typing import Any

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.steps.conv import conv, grouped
from netdsl.backends.cupy.steps.ending import FLOAT, ending
from netdsl.backends.cupy.steps.windows import needed, parts, together, windows
from netdsl.program.ir import Step


def depthwise(step: Step, context: Context) -> Launch:
    """Raises ValueError for what only the layer itself knows."""
    layer: Any = step.layer
    if layer.padding_mode != "zeros" or layer.flip_kernel:
        raise ValueError("a form of convolution that only the layer itself knows")
    x = context.view(step.inputs[0])
    channels = x.shape[-1]
    if grouped(step) != channels or step.weights["weight"].shape[0] != channels:
        return conv(step, context)
    xp, end = context.xp, ending(step, context)
    found = windows(layer.slides(step.inputs[0].type), channels)

    def taps_last() -> Any:
        weight = step.weights["weight"]
        return weight.reshape(channels, -1).T.reshape(*weight.shape[2:], channels)

    weight = context.packed(step, "taps", taps_last, FLOAT)
    images, o, bordered = x.shape[0], prod(found.outputs) * channels, prod(found.reach) * channels
    at_a_time = together(images, (bordered + 2 * o, 4))
    output = (*found.outputs, channels)
    context.workspace.need(
        needed((4, (at_a_time, *found.reach, channels)), (4, (at_a_time, *output)), (4, (at_a_time, *output)))
    )

    def run() -> None:
        for part in parts(images, at_a_time):
            count = part.stop - part.start
            room, total, term = context.workspace.take(
                FLOAT, (count, *found.reach, channels), (count, *output), (count, *output)
            )
            first = True
            for tap, seen in found.taps(found.bordered(context, x[part], room, 0.0)):
                xp.multiply(seen, weight[tap], out=total if first else term)
                if not first:
                    xp.add(total, term, out=total)
                first = False
            end.finish(total, part)

    return Launch("taps", run)
