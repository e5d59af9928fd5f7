"""Backward through activations, biases and batch norm, as native steps."""

from __future__ import annotations

from math import ceil

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.lower.context import NoKernelError, activation_of
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import View
from netdsl.backends.native.training.context import SCRATCH, Training, address
from netdsl.backends.native.training.kernels.back import ApplyKernel, FactorsKernel, GatherSumsKernel
from netdsl.backends.native.training.kernels.slopes import BY_INPUT, BY_OUTPUT
from netdsl.layers.norm import BatchNorm
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward
from netdsl.program.training.rules import learns


def gather_step(
    training: Training, name: str, kernel: GatherSumsKernel, dy: View, *, x: View | None = None, y: View | None = None,
    dz: View | None = None, moments: int = 0, sums: int = 0,
) -> NativeStep:  # fmt: skip
    """dz and its sums, a block of rows at a time."""
    block, blocks = training.block(dy.pixels, dy.channels)
    values = {
        "dy": dy.address, "dy_pixel": dy.pixel, "rows": dy.pixels, "block": block, "channels": dy.channels,
        "moments": moments, "sums": sums, "sums_row": 4 * dy.channels,
    }  # fmt: skip
    for key, view in (("x", x), ("y", y), ("dz", dz)):
        values |= {key: view.address if view else 0, f"{key}_pixel": view.pixel if view else 0}
    return NativeStep(name, kernel, values, blocks, 6 * dy.pixels * dy.channels)


def before_activation(step: Backward, training: Training, sums: bool) -> tuple[Tensor, list[NativeStep]]:
    """d(what the activation takes), and the steps that make it; with `sums` those over its rows lie at the start of the
    scratch memory. Raises NoKernelError for activations without a kernel."""
    layer = step.forward.activation
    if layer is None or step.dz is None:
        return step.dy, []
    activation = activation_of(layer)
    if activation[0] not in BY_OUTPUT:
        raise NoKernelError(f"no code for the derivative of {layer.kind}")
    dy, y, dz = (training.rows(tensor) for tensor in (step.dy, step.forward.output, step.dz))
    _, blocks = training.block(dy.pixels, dy.channels)
    place = training.take(2 * blocks * dy.channels) if sums else 0
    kernel = GatherSumsKernel("output", activation, True, 1 if sums else 0)
    return step.dz, [gather_step(training, step.name, kernel, dy, y=y, dz=dz, sums=place)]


def bias_steps(step: Backward, training: Training, dy: Tensor, *, fresh: bool) -> list[NativeStep]:
    """d(bias) from the sums over the rows of `dy`; they are there already unless `fresh`."""
    rows = training.rows(dy)
    _, blocks = training.block(rows.pixels, rows.channels)
    made = []
    if fresh:
        place = training.take(2 * blocks * rows.channels)
        made.append(gather_step(training, step.name, GatherSumsKernel("plain", (), False, 1), rows, sums=place))
    else:
        place = SCRATCH
    gradient = training.gradient(step.forward, "bias")
    way = "add" if "bias" in step.add_to else "set"
    kernel = FactorsKernel("", way, 1, False, False)
    values = dict.fromkeys(FactorsKernel.fields, 0) | {
        "sums": place, "sums_row": 4 * rows.channels, "blocks": blocks, "rows": rows.pixels, "channels": rows.channels,
        "bias": address(gradient),
    }  # fmt: skip
    units = ceil(rows.channels / training.target.width)
    return [*made, NativeStep(step.name, kernel, values, units, blocks * rows.channels, 0, (gradient,))]


def activation_backward(step: Backward, training: Training) -> list[NativeStep]:
    """An activation by itself."""
    layer = step.forward.layer
    activation = activation_of(layer)
    dx = step.dx[0]
    if dx is None:
        return []
    dy, out = training.rows(step.dy), training.rows(dx)
    if step.reads_output:
        if activation[0] not in BY_OUTPUT:
            raise NoKernelError(f"no code for the derivative of {layer.kind}")
        y = training.rows(step.forward.output)
        return [gather_step(training, step.name, GatherSumsKernel("output", activation, True, 0), dy, y=y, dz=out)]
    raise NoKernelError(f"no code for the derivative of {layer.kind} by itself")


def norm_backward(step: Backward, training: Training) -> list[NativeStep]:
    """Batch norm, with the activation behind it."""
    ahead = step.forward
    layer = ahead.layer
    assert isinstance(layer, BatchNorm)
    activation: Activation = activation_of(ahead.activation)
    x, dy = training.rows(ahead.inputs[0]), training.rows(step.dy)
    moments = training.saved(ahead.saved["moments"])
    block, blocks = training.block(x.pixels, x.channels)
    sums = training.take(2 * blocks * x.channels)
    factors = training.take(3 * x.channels)
    twice = bool(activation) and step.dz is None
    if activation and activation[0] not in (BY_INPUT if twice else BY_OUTPUT):
        raise NoKernelError(f"no code for the derivative of {activation[0]}")
    count = 2 if learns(layer) or step.wanted else 0
    source, made, dz = "plain", [], dy
    if twice:
        source = "input"
    elif activation:
        assert step.dz is not None
        source, dz = "output", training.rows(step.dz)
    if count or source == "output":
        kernel = GatherSumsKernel(source, activation, source == "output", count)
        y = training.rows(ahead.output) if source == "output" else None
        made.append(
            gather_step(
                training,
                step.name,
                kernel,
                dy,
                x=x,
                y=y,
                dz=dz if source == "output" else None,
                moments=moments,
                sums=sums,
            )
        )
    ways = {
        name: ("add" if name in step.add_to else "set") if name in step.wanted else "" for name in ("weight", "bias")
    }  # fmt: skip
    values = {
        "sums": sums, "sums_row": 4 * x.channels, "blocks": blocks, "rows": x.pixels, "channels": x.channels,
        "moments": moments, "factors": factors,
    }  # fmt: skip
    values |= {name: address(training.gradient(ahead, name)) if way else 0 for name, way in ways.items()}
    settle = FactorsKernel(ways["weight"], ways["bias"], count, learns(layer), True)
    units = ceil(x.channels / training.target.width)
    made.append(NativeStep(step.name, settle, values, units, 8 * blocks * x.channels))
    if step.dx[0] is not None:
        dx = training.rows(step.dx[0])
        apply = ApplyKernel(source if twice else "plain", activation if twice else (), learns(layer))
        values = {
            "dz": dz.address, "dz_pixel": dz.pixel, "x": x.address, "x_pixel": x.pixel, "dx": dx.address,
            "dx_pixel": dx.pixel, "rows": x.pixels, "block": block, "channels": x.channels, "moments": moments,
            "factors": factors,
        }  # fmt: skip
        made.append(NativeStep(step.name, apply, values, blocks, 6 * x.pixels * x.channels))
    return made
