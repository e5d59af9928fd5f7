"""Steps of training by our CUDA kernels: normalisations of each image, softmax, resampling, adaptive means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from netdsl.backends.cupy.kernels import layer_norm, norm, pool, resample, softmax
from netdsl.backends.cupy.kernels.kernel import Work as Kernels
from netdsl.backends.cupy.kernels.launching import launch
from netdsl.backends.cupy.kernels.norm import Sets
from netdsl.backends.cupy.kernels.view import View, dense
from netdsl.backends.cupy.training.bench import Bench, Work
from netdsl.layers.adaptive_pool import AdaptiveAvgPool
from netdsl.layers.axes import axis_index
from netdsl.layers.norm import GroupNorm, InstanceNorm, LayerNorm
from netdsl.layers.resample import Resampling
from netdsl.layers.softmax import LogSoftmax, Softmax
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Step

NORMS = (LayerNorm, GroupNorm, InstanceNorm)
KINDS = (*NORMS, Softmax, LogSoftmax, Resampling, AdaptiveAvgPool)


def work_of(step: Step, bench: Bench) -> Work | None:
    """Raises ValueError for what no kernel computes."""
    if not isinstance(step, Forward | Backward):
        return None
    ahead = step if isinstance(step, Forward) else step.forward
    if not isinstance(ahead.layer, KINDS):
        return None
    if ahead.activation is not None or ahead.residual:
        raise ValueError(f"something is fused behind {ahead.layer.kind}")
    work = Work()
    if isinstance(step, Forward):
        kernels, addresses = _forward(step, bench)
    elif step.dx[0] is None and not step.wanted:
        return work
    else:
        kernels, addresses = _backward(step, bench)
    way = "" if isinstance(step, Forward) else "d "
    work.append(launch(f"kernel {way}{ahead.layer.kind}", kernels, bench.device, bench.workspace, addresses))
    return work


def _view(tensor: Tensor, bench: Bench) -> View:
    """Training tensors have no gaps: more than two spatial axes are one row of positions."""
    return dense(tensor.shape, bench.precision.storage)


def _weights(step: Forward, bench: Bench) -> dict[str, int]:
    return {name: bench.device.address(array) for name, array in bench.own(step).items() if name in ("weight", "bias")}


def _sets(layer: Any, x: View) -> Sets:
    return Sets(True, layer.groups if isinstance(layer, GroupNorm) else x.channels)


def _forward(step: Forward, bench: Bench) -> tuple[Kernels, Mapping[str, int]]:
    layer: Any = step.layer
    x, y = _view(step.inputs[0], bench), _view(step.output, bench)
    addresses = {"x": bench.address(step.inputs[0]), "y": bench.address(step.output), **_weights(step, bench)}
    if isinstance(layer, LayerNorm):
        return layer_norm.layer_norm(x, y, layer.eps, affine=layer.affine), addresses
    if isinstance(layer, GroupNorm | InstanceNorm):
        first = _statistics(layer, x)
        second = norm.normalise(x, y, _sets(layer, x), bias=layer.affine)
        return replace(first, kernels=first.kernels + second.kernels), addresses
    if isinstance(layer, Resampling):
        _flat(step.output)
        return resample.resample(x, y, bilinear=layer.mode == "bilinear", align=layer.align_corners), addresses
    if isinstance(layer, AdaptiveAvgPool):
        _flat(step.output)
        return pool.adaptive(x, y, maximum=False), addresses
    return _softmax(step, bench, x, y), addresses


def _statistics(layer: Any, x: View) -> Kernels:
    """Scratch holds the moments: they are formed anew on the way back."""
    sets = _sets(layer, x)
    first = norm.statistics(x, sets, layer.eps, weight=layer.affine, bias=layer.affine)
    return replace(first, rooms={**first.rooms, "moments": norm.moment_bytes(x, sets)})


def _softmax(step: Forward, bench: Bench, x: View, y: View) -> Kernels:
    layer: Any = step.layer
    shape, logarithm = step.output.shape, isinstance(layer, LogSoftmax)
    axis, groups, storage = axis_index(layer.kind, layer.axis, step.output.type), _groups(layer), x.dtype
    if axis == 0 and groups is None:
        return softmax.rows(x, y, logarithm=logarithm)
    if groups is not None:
        return softmax.strided(prod(shape[:-1]), groups, shape[-1] // groups, storage, logarithm=logarithm)
    return softmax.strided(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), storage, logarithm=logarithm)


def _groups(layer: Any) -> int | None:
    found: int | None = getattr(layer, "groups", None)
    return found


def _flat(tensor: Tensor) -> None:
    """Raises ValueError for more than two spatial axes."""
    if len(tensor.shape) > 4:
        raise ValueError("more than two spatial axes")


def _backward(step: Backward, bench: Bench) -> tuple[Kernels, Mapping[str, int]]:
    ahead = step.forward
    layer: Any = ahead.layer
    to, plus = step.dx[0], step.plus[0]
    addresses = {"dy": bench.address(step.dy), **_weights(ahead, bench)}
    dy = _view(step.dy, bench)
    dx = None if to is None else _view(to, bench)
    if to is not None:
        addresses["dx"] = bench.address(to)
    more = None if plus is None else _view(plus, bench)
    if plus is not None:
        addresses["plus"] = bench.address(plus)
    if isinstance(layer, NORMS):
        return _norm_back(step, bench, dy, dx, more), addresses | _gradients(step, bench)
    if dx is None:
        raise ValueError("no gradient is wanted")
    if isinstance(layer, Softmax | LogSoftmax):
        if axis_index(layer.kind, layer.axis, ahead.output.type) != 0 or _groups(layer) is not None:
            raise ValueError("the way back through a softmax along another axis")
        output = _view(ahead.output, bench)
        made = softmax.rows(output, dx, logarithm=isinstance(layer, LogSoftmax), dy=dy, plus=more)
        return made, addresses | {"output": bench.address(ahead.output)}
    _flat(ahead.output)
    if isinstance(layer, AdaptiveAvgPool):
        return pool.adaptive(dy, dx, maximum=False, backward=True, plus=more), addresses
    made = resample.resample(
        dy, dx, bilinear=layer.mode == "bilinear", align=layer.align_corners, backward=True, plus=more
    )
    return made, addresses


def _gradients(step: Backward, bench: Bench) -> dict[str, int]:
    """Where the gradients of the weights belong, and what the kernels read."""
    found = {"x": bench.address(step.forward.inputs[0])}
    if step.wanted and step.wanted != {"weight", "bias"}:
        raise ValueError("a gradient of the scale or the shift alone")
    return found | {
        f"d{name}": bench.device.address(bench.gradient(step.forward, name)) for name in sorted(step.wanted)
    }


def _norm_back(step: Backward, bench: Bench, dy: View, dx: View | None, plus: View | None) -> Kernels:
    layer: Any = step.forward.layer
    x, wanted = _view(step.forward.inputs[0], bench), bool(step.wanted)
    add = ("weight" in step.add_to, "bias" in step.add_to)
    if isinstance(layer, LayerNorm):
        return layer_norm.layer_norm_gradient(
            x, dy, dx, layer.eps, affine=layer.affine, wanted=wanted, plus=plus, add=add
        )
    first = _statistics(layer, x)
    second = norm.gradient(
        x, dy, dx, _sets(layer, x), weight=layer.affine, bias=layer.affine, wanted=wanted, plus=plus, add=add
    )
    parts = max(first.rooms["parts"], second.rooms["parts"])
    rooms = {**first.rooms, **second.rooms, "parts": parts}
    return replace(second, kernels=first.kernels + second.kernels, rooms=rooms)
