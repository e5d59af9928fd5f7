"""Element by element, whatever the operands' gaps: what the quick forms of `pointwise` do not take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from netdsl.backends.native.functions import Activation
from netdsl.backends.native.kernels.grid import MOST_OPERANDS, GridKernel, has_power
from netdsl.backends.native.lower import pointwise
from netdsl.backends.native.lower.context import Context, NoKernelError, activation_of
from netdsl.backends.native.lower.places import Axis, Place, place
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.view import Array, aligned
from netdsl.layers.arithmetic import Clip, Power
from netdsl.program.ir import Step

_FUNCTIONS = {"abs": "abs", "sqrt": "sqrt", "exp": "exp"}


def lower_join(step: Step, context: Context) -> list[NativeStep]:
    """add, multiply, subtract, divide, maximum, minimum, average, magnitude; lanes may repeat along any axis."""
    if step.kernel not in ("divide", "magnitude"):
        try:
            return pointwise.lower_join(step, context)
        except NoKernelError:
            pass
    return _steps(step, context, step.kernel, _places(step, context))


def lower_activation(step: Step, context: Context) -> list[NativeStep]:
    try:
        return pointwise.lower_activation(step, context)
    except NoKernelError:
        if step.activation is not None:
            raise
    return _steps(step, context, "copy", _places(step, context), activation_of(step.layer))


def lower_copy(step: Step, context: Context) -> list[NativeStep]:
    try:
        return pointwise.lower_copy(step, context)
    except NoKernelError:
        return _steps(step, context, "copy", _places(step, context))


def lower_affine(step: Step, context: Context) -> list[NativeStep]:
    try:
        return pointwise.lower_affine(step, context)
    except NoKernelError:
        pass
    rank = step.inputs[0].type.rank
    shape = (1, step.inputs[0].shape[-1], *[1] * (rank - 1))
    weights = {name: np.asarray(value, dtype=np.float64) for name, value in step.weights.items()}
    low, high = (
        np.asarray(step.layer.forward(np, [np.full(shape, value)], weights)).reshape(-1) for value in (0.0, 1.0)
    )
    a, b = _vector(high - low), _vector(low)
    x = place(step.inputs[0], context)
    return _steps(step, context, "affine", [x, _each_channel(a, x), _each_channel(b, x)], keep=(a, b))


def lower_prelu(step: Step, context: Context) -> list[NativeStep]:
    slope = _vector(np.asarray(step.weights["weight"]).reshape(-1))
    x = place(step.inputs[0], context)
    if slope.size == 1 and x.channels.extent > 1:
        slope = _vector(np.full(x.channels.extent, slope[0]))
    try:
        return pointwise.lower_prelu(step, context)
    except NoKernelError:
        return _steps(step, context, "prelu", [x, _each_channel(slope, x)], keep=(slope,))


def lower_function(step: Step, context: Context) -> list[NativeStep]:
    """abs, square, sqrt, exp, power, clip."""
    x = place(step.inputs[0], context)
    layer = step.layer
    if isinstance(layer, Clip):
        if step.activation is not None:
            raise NoKernelError("two activations")
        low, high = (-np.inf if layer.low is None else layer.low), (np.inf if layer.high is None else layer.high)
        return _steps(step, context, "copy", [x], ("clip", float(low), float(high)))
    if step.kernel == "square":
        return _steps(step, context, "multiply", [x, x])
    if isinstance(layer, Power):
        if not has_power(layer.exponent):
            raise NoKernelError("a power that is no product of a few factors or roots")
        return _steps(step, context, "power", [x], exponent=float(layer.exponent))
    return _steps(step, context, _FUNCTIONS[step.kernel], [x])


def _places(step: Step, context: Context) -> list[Place]:
    return [place(tensor, context) for tensor in step.inputs]


def _vector(values: Any) -> Array:
    vector = aligned(values.size)
    vector[:] = values
    return vector


def _each_channel(vector: Array, x: Place) -> Place:
    """A vector as an operand that repeats at all positions of `x`."""
    repeated = tuple(Axis(1, 0) for _ in x.spatial)
    return Place(int(vector.ctypes.data), Axis(1, 0), Axis(vector.size, 4), repeated)


def _steps(
    step: Step,
    context: Context,
    operation: str,
    operands: Sequence[Place],
    activation: Activation | None = None,
    *,
    exponent: float = 0.0,
    keep: tuple[Any, ...] = (),
) -> list[NativeStep]:
    """The operation, then the residual and the activation of the step."""
    out = place(step.output, context)
    after = activation_of(step.activation) if activation is None else activation
    if len(operands) > MOST_OPERANDS:
        raise NoKernelError(f"{len(operands)} operands")
    if step.residual is None:
        return grid(step.name, operation, operands, out, after, exponent=exponent, keep=keep)
    residual = place(step.residual, context)
    if residual.address == out.address:
        raise NoKernelError("a residual that the output lies over")
    return [
        *grid(step.name, operation, operands, out, (), exponent=exponent, keep=keep),
        *grid(step.name, "add", [out, residual], out, after),
    ]


def grid(
    name: str,
    operation: str,
    operands: Sequence[Place],
    out: Place,
    activation: Activation = (),
    *,
    exponent: float = 0.0,
    keep: tuple[Any, ...] = (),
) -> list[NativeStep]:
    """A step for each place on the spatial axes above the last two."""
    steps = []
    above = [range(axis.extent) for axis in out.spatial[:-2]]
    scalar = tuple(place.channels.extent == 1 < out.channels.extent for place in operands)
    kernel = GridKernel(operation, scalar, activation, exponent)
    height, width = _last_two(out)
    for position in product(*above):
        values = dict.fromkeys(kernel.fields, 0) | {
            "out": _at(out, position), "out_image": out.images.step, "out_row": height.step, "out_pixel": width.step,
            "height": height.extent, "width": width.extent, "channels": out.channels.extent,
        }  # fmt: skip
        for i, operand in enumerate(operands):
            row, pixel = _last_two(operand)
            values |= {
                f"x{i}": _at(operand, position), f"x{i}_image": _repeated(operand.images),
                f"x{i}_row": _repeated(row), f"x{i}_pixel": _repeated(pixel),
            }  # fmt: skip
        units = out.images.extent * height.extent
        work = units * width.extent * out.channels.extent * len(operands)
        steps.append(NativeStep(name, kernel, values, units, work, 0, keep))
    return steps


def _last_two(x: Place) -> tuple[Axis, Axis]:
    height, width = (Axis(1, 0), Axis(1, 0), *x.spatial)[-2:]
    return height, width


def _at(x: Place, position: tuple[int, ...]) -> int:
    """The address of a place on the axes above the last two."""
    above = x.spatial[:-2]
    return x.address + sum(_repeated(axis) * index for axis, index in zip(above, position, strict=True))


def _repeated(axis: Axis) -> int:
    """Bytes from one position to the next; 0 where the one that there is repeats."""
    return 0 if axis.extent == 1 else axis.step
