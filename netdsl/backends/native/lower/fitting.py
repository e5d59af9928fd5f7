"""Steps whose tensors do not lie as a kernel wants them: fewer axes, or copies without gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netdsl.backends.native.lower.context import Context, NoKernelError
from netdsl.backends.native.lower.move import copied
from netdsl.backends.native.lower.places import beside, collapsed, place
from netdsl.backends.native.steps.step import NativeStep
from netdsl.program.ir import Step, Tensor

Lowering = Callable[[Step, Context], list[NativeStep]]


def of_positions(lowering: Lowering) -> Lowering:
    """A lowering of a layer that treats all positions alike, or all together: also for three spatial axes and more,
    which are seen as two."""

    def lower(step: Step, context: Context) -> list[NativeStep]:
        if step.output.type.rank <= 3 and all(tensor.type.rank <= 3 for tensor in step.reads):
            return lowering(step, context)
        return lowering(_seen_as(step, collapsed), context)

    return lower


def of_planes(lowering: Lowering, volume: Lowering) -> Lowering:
    """A lowering for two spatial axes at most, and another for three."""

    def lower(step: Step, context: Context) -> list[NativeStep]:
        return (lowering if step.output.type.rank <= 3 else volume)(step, context)

    return lower


def without_gaps(lowering: Lowering) -> Lowering:
    """The lowering; where there is no kernel for tensors that lie with gaps, between copies that have none."""

    def lower(step: Step, context: Context) -> list[NativeStep]:
        try:
            return lowering(step, context)
        except NoKernelError:
            if all(tensor.dense for tensor in (*step.reads, step.output)):
                raise
        before: list[NativeStep] = []
        wider = context
        copies: dict[tuple[object, ...], Tensor] = {}
        keep = []

        def dense(tensor: Tensor, read: bool) -> Tensor:
            nonlocal wider
            key = (tensor.buffer, tensor.offset, tensor.shape, tensor.strides)
            if tensor.dense:
                return tensor
            if key not in copies:
                copies[key], wider, memory = beside(tensor.name, tensor.type, tensor.batch, wider)
                keep.append(memory)
                if read:
                    before.append(copied(step.name, place(tensor, wider), place(copies[key], wider)))
            return copies[key]

        inputs = tuple(dense(tensor, True) for tensor in step.inputs)
        residual = None if step.residual is None else dense(step.residual, True)
        output = dense(step.output, False)
        found = lowering(replace(step, inputs=inputs, residual=residual, output=output), wider)
        after = []
        if output is not step.output:
            after = [copied(step.name, place(output, wider), place(step.output, wider))]
        steps = [*before, *found, *after]
        return [replace(each, keep=(*each.keep, *keep)) for each in steps]

    return lower


def _seen_as(step: Step, change: Callable[[Tensor], Tensor | None]) -> Step:
    """The step with other tensors. Raises NoKernelError where one cannot be changed."""

    def changed(tensor: Tensor) -> Tensor:
        found = change(tensor)
        if found is None:
            raise NoKernelError("spatial axes with gaps between them")
        return found

    residual = None if step.residual is None else changed(step.residual)
    return replace(
        step, inputs=tuple(map(changed, step.inputs)), residual=residual, output=changed(step.output)
    )  # fmt: skip
