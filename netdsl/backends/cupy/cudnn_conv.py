"""Convolutions and dense layers by cuDNN, with residual, bias and activation in one kernel: a candidate (`choice.py`).

A dense layer, and a convolution whose kernel covers the map, is one of 1x1 over one position. Variants are the names of
plans; without a name the first that can be built is taken. Plans that have been built are kept on disk, for the device
and the versions of the libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from netdsl.backends.cupy import cudnn
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.cudnn import BIAS, RESIDUAL, CudnnError, Operation, Place, Plan, Target, W, X, Y
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.precision import Precision
from netdsl.backends.cupy.shelf import Shelf, identity
from netdsl.ir.layer import Array, Layer
from netdsl.layers.activation import Gelu
from netdsl.layers.conv import Conv, Convolution
from netdsl.layers.dense import Dense
from netdsl.layers.rectifier import Elu, LeakyRelu
from netdsl.layers.sizes import Slide
from netdsl.program.ir import Program, Step, Tensor, dense_strides

KINDS = frozenset({"conv", "depthwise_conv", "dense"})
ALIGNMENT = 16
"""Bytes that cuDNN takes every tensor to begin at a multiple of."""
MOST_WORKSPACE = 1 << 28
"""Bytes of scratch memory that one plan may want."""
LEAST_CAPABILITY = (7, 0)
"""Volta: the oldest devices that cuDNN 9 computes on with tensor cores."""

_HANDLES: dict[int, int] = {}
"""By number of the device. They live as long as the process: cuDNN frees them at its end."""


def target(device: Device) -> Target:
    """The handle of a device, made once. Raises CudnnError."""
    number = device.info.number
    if number not in _HANDLES:
        try:
            with device.use():
                _HANDLES[number] = int(cudnn.load().create_handle())
        except RuntimeError as error:
            raise CudnnError(f"cuDNN does not take {device.info.name}: {error}") from None
    return Target(_HANDLES[number])


def stream(device: Device) -> int:
    """The stream that work is queued on, or captured from, now."""
    cuda = getattr(device.xp, "cuda", None)
    return 0 if cuda is None else int(cuda.get_current_stream().ptr)


def placed(tensor: Tensor) -> Place:
    """A tensor as cuDNN sees it. Raises ValueError where it has more than two spatial axes."""
    missing = 4 - len(tensor.shape)
    if missing < 0:
        raise ValueError("more than two spatial axes")
    if tensor.strides[-1] != 1:
        raise ValueError("channels that do not follow each other")
    n, *spatial, c = tensor.shape
    first, *others = tensor.strides
    shape = (n, *[1] * missing, *spatial, c)
    strides = (first, *[first] * missing, *others)
    return Place(shape, strides)  # type: ignore[arg-type]


def window(layer: Layer, x: Tensor) -> tuple[Slide, Slide]:
    """How the window of a layer slides along height and width; what has no height has one row."""
    one = Slide(1, 1, 1, 1, 0, 0, 1)
    slides = layer.slides(x.type) if isinstance(layer, Convolution) else ()
    height, width = ((one, one, *slides))[-2:]
    return height, width


def unknown(layer: Layer, rank: int) -> str | None:
    """Why these forms do not compute a layer; None where they do."""
    if isinstance(layer, Dense):
        return None if layer.axis in (None, 0, "channels") else f"a dense layer along axis {layer.axis}"
    if not isinstance(layer, Convolution):
        return f"{layer.kind} is no convolution"
    if layer.padding_mode != "zeros" or layer.flip_kernel or getattr(layer, "connections", None) is not None:
        return "a form of convolution that only the layer itself knows"
    return "more than two spatial axes" if rank > 2 else None


def activation_of(layer: Layer | None) -> tuple[str | float, ...] | None:
    """What stands for an activation in an operation; None where cuDNN has none like it."""
    if layer is None:
        return ()
    if layer.kind not in cudnn.ACTIVATIONS:
        return None
    if isinstance(layer, LeakyRelu):
        return (layer.kind, layer.slope)
    if isinstance(layer, Elu) and layer.alpha != 1:
        return None
    if isinstance(layer, Gelu) and layer.approximate == "tanh":
        return None
    return (layer.kind,)


def groups_of(layer: Layer, channels: int) -> int:
    if isinstance(layer, Conv):
        return layer.groups
    return channels if isinstance(layer, Convolution) else 1


def packed(weight: Array) -> Array:
    """(K, C, *f) as (K, fh, fw, C)."""
    shaped = weight.reshape(*weight.shape[:2], *((1, 1, *weight.shape[2:])[-2:]))
    return np.ascontiguousarray(shaped.transpose(0, 2, 3, 1))


def operation_of(step: Step, precision: Precision) -> Operation:
    """The operation that a step is. Raises ValueError where it is none."""
    activation = activation_of(step.activation)
    if activation is None:
        raise ValueError(f"no activation {step.activation}")
    layer, x, y = step.layer, placed(step.inputs[0]), placed(step.output)
    height, width = window(layer, step.inputs[0])
    channels, filters = x.shape[3], y.shape[3]
    shape = (filters, height.f, width.f, channels // groups_of(layer, channels))
    slides: dict[str, Any] = {
        "stride": (height.s, width.s), "dilation": (height.d, width.d),
        "before": (height.before, width.before), "after": (height.after, width.after),
    }  # fmt: skip
    covers = (height.f, width.f) == x.shape[1:3] and prod(y.shape[1:3]) == 1
    if covers and prod(shape[:3]) > filters and shape[3] == channels and step.inputs[0].strides == _dense(step):
        # The kernel covers the map: numbers of the map and of the packed weights follow each other in the same order.
        count = prod(x.shape[1:])
        x, shape, slides = Place.dense(x.shape[0], 1, 1, count), (filters, 1, 1, count), {}
    residual = None if step.residual is None else placed(step.residual)
    # Most engines are ready for a bias, fewer for its absence between other things.
    bias = "bias" in step.weights or residual is not None or bool(activation)
    return Operation(
        "forward", x, shape, y, storage=precision.storage, tf32=precision.tf32, bias=bias, residual=residual,
        activation=activation, **slides,
    )  # fmt: skip


def _dense(step: Step) -> tuple[int, ...]:
    return dense_strides(step.inputs[0].shape)


def offers(operation: Operation, device: Device, shelf: Shelf | None = None) -> list[str]:
    """The names of the plans that there are, the best guess first; asked once, and kept. Raises CudnnError."""
    shelf = shelf or Shelf.default()
    key = "\n".join(("plans", repr(operation), identity(device.info, cudnn.version())))
    kept = shelf.read_json(key)
    if kept is not None and all(isinstance(name, str) for name in kept.get("names", [0])):
        return list(kept["names"])
    with device.use():
        found = cudnn.names(operation, target(device), full=True)
    shelf.write_json(key, {"names": found})
    return found


def plan_for(
    operation: Operation, device: Device, name: str, *, deterministic: bool, shelf: Shelf | None = None
) -> Plan:
    """The plan of that name, or the first that can be built, from disk where it has been built before.

    Raises CudnnError.
    """
    shelf = shelf or Shelf.default()
    aim = target(device)
    key = "\n".join((repr(operation), name, str(deterministic), identity(device.info, cudnn.version())))
    with device.use():
        kept = shelf.read(f"plan {key}")
        if kept is not None:
            own, _, data = kept.partition(b"\n")
            try:
                return cudnn.restored(operation, aim, own.decode("ascii", "replace"), data)
            except CudnnError:
                pass  # built anew
        plan = cudnn.build(operation, aim, name, deterministic=deterministic, workspace=MOST_WORKSPACE)
    shelf.write(f"plan {key}", plan.name.encode() + b"\n" + plan.serialized())
    return plan


def aligned(addresses: Mapping[int, int]) -> None:
    """Raises ValueError where a tensor begins where cuDNN would not read it."""
    if any(address % ALIGNMENT for address in addresses.values()):
        raise ValueError(f"a tensor that does not begin at a multiple of {ALIGNMENT} bytes")


def queued(plan: Plan, context: Any, addresses: Mapping[int, int]) -> Callable[[], None]:
    """What queues a plan on the stream of the device of a context."""
    aligned(addresses)
    context.workspace.need(plan.workspace)
    handle, device = target(context.device).handle, context.device
    assert handle is not None

    def run() -> None:
        plan(handle, stream(device), addresses, context.workspace.address)

    return run


class CudnnConvolution:
    """The candidate."""

    def covers(self, program: Program, at: int) -> int:
        return int(program.steps[at].kernel in KINDS)

    def supports(self, steps: Sequence[Step], precision: Precision, device: Device) -> str | None:
        (step,) = steps
        reason = unknown(step.layer, len(step.inputs[0].type.spatial))
        if reason is None and activation_of(step.activation) is None:
            reason = f"no activation {step.activation.kind}" if step.activation else None
        if reason is None and device.info.capability < LEAST_CAPABILITY:
            reason = f"{device.info.architecture} is older than cuDNN 9 computes on"
        return reason or cudnn.missing()

    def variants(self, steps: Sequence[Step], precision: Precision, device: Device) -> Sequence[str]:
        (step,) = steps
        try:
            found = offers(operation_of(step, precision), device)
        except ValueError:
            found = []
        # Of most plans for float32 only the library knows, when it builds them, that they round to TF32: the first that
        # does not comes first.
        exact = precision.storage == "float32" and not precision.tf32
        if groups_of(step.layer, step.inputs[0].shape[-1]) == step.inputs[0].shape[-1] > 1:
            # Depthwise with a bias has general engines alone, each of which is compiled for half a second.
            found = found[:1]
        return ["", *found] if exact else found or [""]

    def build(self, steps: Sequence[Step], context: Context, variant: str) -> Launch:
        (step,) = steps
        operation = operation_of(step, context.precision)
        plan = plan_for(operation, context.device, variant, deterministic=context.deterministic)
        weight = context.packed(step, "cudnn K H W C", lambda: packed(step.weights["weight"]))
        keeps: list[object] = [plan, weight]
        addresses = {
            X: context.address(step.inputs[0]), W: context.device.address(weight), Y: context.address(step.output)
        }  # fmt: skip
        if operation.bias:
            filters = operation.filter[0]
            bias = context.packed(step, "cudnn bias", lambda: np.asarray(step.weights.get("bias", np.zeros(filters))))
            addresses[BIAS] = context.device.address(bias)
            keeps.append(bias)
        if step.residual is not None:
            addresses[RESIDUAL] = context.address(step.residual)
        run = queued(plan, context, addresses)
        return Launch(f"cudnn {operation.name}", run, deterministic=context.deterministic, keeps=tuple(keeps))


CANDIDATE = CudnnConvolution()
