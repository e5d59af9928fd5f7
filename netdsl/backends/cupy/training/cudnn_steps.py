"""Convolutions of training by cuDNN: forward with bias and activation, gradients of the input and of the weights.

Gradients of weights come out in the stored type and packed as cuDNN lays weights out; they are widened and turned
around on their way to where the optimiser finds them. A gradient of an input with another part is one plan where the
library has it, else a plan and a sum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netdsl.backends.cupy import cudnn
from netdsl.backends.cupy.cudnn import BIAS, RESIDUAL, CudnnError, Operation, Place, W, X, Y
from netdsl.backends.cupy.cudnn_conv import KINDS, activation_of, groups_of, placed, queued, unknown, window
from netdsl.backends.cupy.training import kernel_parts
from netdsl.backends.cupy.training.bench import Bench, Work, put, single
from netdsl.backends.cupy.training.plans import fastest
from netdsl.backends.cupy.training.pointwise import before_activation
from netdsl.backends.cupy.training.product import bias_gradient
from netdsl.program.ir import Tensor
from netdsl.program.training.ir import Backward, Forward, Step


def work_of(step: Step, bench: Bench) -> Work | None:
    """Raises ValueError where cuDNN is missing or has no plan."""
    if not isinstance(step, Forward | Backward):
        return None
    ahead = step if isinstance(step, Forward) else step.forward
    if ahead.layer.kind not in KINDS:
        return None
    reason = unknown(ahead.layer, len(ahead.inputs[0].type.spatial)) or cudnn.missing()
    if reason is not None:
        raise ValueError(reason)
    return forward(step, bench) if isinstance(step, Forward) else backward(step, bench)


def base(step: Forward, bench: Bench) -> Operation:
    """The convolution alone, forwards."""
    x, y = placed(step.inputs[0]), placed(step.output)
    height, width = window(step.layer, step.inputs[0])
    channels, filters = x.shape[3], y.shape[3]
    shape = (filters, height.f, width.f, channels // groups_of(step.layer, channels))
    return Operation(
        "forward", x, shape, y, stride=(height.s, width.s), dilation=(height.d, width.d),
        before=(height.before, width.before), after=(height.after, width.after),
        storage=bench.precision.storage, tf32=bench.precision.tf32,
    )  # fmt: skip


def _turned(weight: Any) -> Any:
    """(K, C, *f) as (K, fh, fw, C)."""
    shaped = weight.reshape(*weight.shape[:2], *((1, 1, *weight.shape[2:])[-2:]))
    return shaped.transpose(0, 2, 3, 1)


def _weight(step: Forward, bench: Bench) -> int:
    return bench.device.address(bench.stored(step, "weight", "cudnn", _turned))


def forward(step: Forward, bench: Bench) -> Work:
    activation = activation_of(step.activation)
    if activation is None:
        raise ValueError(f"no activation {step.activation}")
    biased = "bias" in step.weights
    operation = replace(base(step, bench), bias=biased or bool(activation), activation=activation)
    addresses = {X: bench.address(step.inputs[0]), W: _weight(step, bench), Y: bench.address(step.output)}
    kept: Any = None
    if operation.bias:
        if biased:
            kept = bench.stored(step, "bias", "cudnn", lambda bias: bias)
        else:
            with bench.device.use():
                kept = bench.xp.zeros((operation.filter[0],), bench.dtype)
        addresses[BIAS] = bench.device.address(kept)
    plan = fastest(operation, bench, addresses)
    work = Work()
    work.then(f"cudnn {operation.name}", queued(plan, bench.context, addresses), keeps=(plan, kept))
    return work


def backward(step: Backward, bench: Bench) -> Work:
    work = Work()
    try:
        dy = kernel_parts.before_activation(step, bench, work)
    except ValueError:
        dy = before_activation(step, bench, work)
    try:
        kernel_parts.bias_gradient(step, bench, dy, work)
    except ValueError:
        bias_gradient(step, bench, bench.rows(dy), work)
    ahead = base(step.forward, bench)
    if "weight" in step.wanted:
        _by_weight(step, bench, ahead, dy, work)
    if step.dx[0] is not None:
        _by_input(step, bench, ahead, dy, step.dx[0], work)
    return work


def _by_weight(step: Backward, bench: Bench, ahead: Operation, dy: Tensor, work: Work) -> None:
    operation = replace(ahead, way="weights", b=ahead.out, out=Place.dense(*ahead.filter))
    gradient, add = bench.gradient(step.forward, "weight"), "weight" in step.add_to
    with bench.device.use():
        made = bench.xp.zeros(ahead.filter, bench.dtype)
    addresses = {X: bench.address(step.forward.inputs[0]), W: bench.address(dy), Y: bench.device.address(made)}
    plan = fastest(operation, bench, addresses)
    work.then(f"cudnn {operation.name}", queued(plan, bench.context, addresses), keeps=(plan, made))
    k, h, w, c = ahead.filter
    source = made.transpose(0, 3, 1, 2)
    target = gradient.reshape(k, c, h, w)
    work.then("widened", lambda: put(target, single(source), add))


def _by_input(step: Backward, bench: Bench, ahead: Operation, dy: Tensor, dx: Tensor, work: Work) -> None:
    operation = replace(ahead, way="data", a=ahead.out, out=ahead.a)
    plus = step.plus[0]
    addresses = {X: bench.address(dy), W: _weight(step.forward, bench), Y: bench.address(dx)}
    if plus is not None:
        try:
            both, summed = replace(operation, residual=ahead.a), addresses | {RESIDUAL: bench.address(plus)}
            plan = fastest(both, bench, summed)
        except CudnnError:
            pass
        else:
            work.then(f"cudnn {both.name}", queued(plan, bench.context, summed), keeps=(plan,))
            return
    if plus is None:
        plan = fastest(operation, bench, addresses)
        work.then(f"cudnn {operation.name}", queued(plan, bench.context, addresses), keeps=(plan,))
        return
    # The sum may lie where the other part lies, so that the plan writes elsewhere.
    with bench.device.use():
        room = bench.xp.zeros(dx.shape, bench.dtype)
    addresses[Y] = bench.device.address(room)
    plan = fastest(operation, bench, addresses)
    target, other = bench.view(dx), bench.view(plus)

    def run() -> None:
        target[...] = single(room) + single(other)

    work.then(f"cudnn {operation.name}", queued(plan, bench.context, addresses), keeps=(plan, room))
    work.then("sum", run)
