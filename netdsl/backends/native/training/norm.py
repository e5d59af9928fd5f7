"""Batch norm forward, as native steps."""

from __future__ import annotations

from math import ceil

from netdsl.backends.native.lower.context import activation_of
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.training.context import Training, address
from netdsl.backends.native.training.kernels.norm import LookKernel, NormalKernel, SettleKernel
from netdsl.layers.norm import BatchNorm
from netdsl.program.training.ir import Forward
from netdsl.program.training.rules import MOMENTS, learns


def norm_forward(step: Forward, training: Training) -> list[NativeStep]:
    layer = step.layer
    assert isinstance(layer, BatchNorm)
    activation = activation_of(step.activation)
    x, out = training.rows(step.inputs[0]), training.rows(step.output)
    kept = step.saved.get("moments")
    moments = training.take(MOMENTS * x.channels) if kept is None else training.saved(kept)
    block, blocks = training.block(x.pixels, x.channels)
    sums = training.take(2 * blocks * x.channels)
    common = {"rows": x.pixels, "block": block, "channels": x.channels}
    made = []
    if learns(layer):
        values = {"x": x.address, "pixel": x.pixel, "sums": sums, "sums_row": 4 * x.channels, **common}
        made.append(NativeStep(step.name, LookKernel(), values, blocks, 4 * x.pixels * x.channels))
    weights = {name: training.weight(step, own) for name, own in
               (("mean", "running_mean"), ("variance", "running_var"))}  # fmt: skip
    if layer.affine:
        weights |= {name: training.weight(step, name) for name in ("weight", "bias")}
    values = dict.fromkeys(SettleKernel.fields, 0) | {
        "sums": sums, "sums_row": 4 * x.channels, "blocks": blocks, "moments": moments, **common,
    }  # fmt: skip
    values |= {name: address(array) for name, array in weights.items()}
    settle = SettleKernel(not learns(layer), layer.affine, float(layer.eps), float(layer.momentum))
    units = ceil(x.channels / training.target.width)
    made.append(NativeStep(step.name, settle, values, units, 16 * blocks * x.channels, 0, tuple(weights.values())))
    residual = training.rows(step.inputs[-1]) if step.residual else None
    values = {
        "x": x.address, "pixel": x.pixel, "out": out.address, "out_pixel": out.pixel,
        "residual": residual.address if residual else 0, "residual_pixel": residual.pixel if residual else 0,
        "moments": moments, **common,
    }  # fmt: skip
    normal = NormalKernel(activation, step.residual)
    made.append(NativeStep(step.name, normal, values, blocks, 4 * x.pixels * x.channels))
    return made
