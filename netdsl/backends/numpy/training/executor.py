"""A training Program that runs in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from netdsl.backends.numpy.blas import one_thread
from netdsl.backends.numpy.memory import Array, channels_first, channels_last
from netdsl.backends.numpy.training import conv, depthwise, fallback, norm, pointwise, pool
from netdsl.backends.numpy.training.work import Bench, Work
from netdsl.cores import usable_cores
from netdsl.ir.layer import Draw
from netdsl.program.training.ir import Backward, Forward, Loss, Step, Sum, TrainingProgram


class Form(NamedTuple):
    """How a kind of layer is computed: whether this form knows a step, and both directions."""

    knows: Callable[[Forward], bool]
    forward: Callable[[Forward, Bench], Work]
    backward: Callable[[Backward, Bench], Work]


def _always(step: Forward) -> bool:
    return True


DEPTHWISE = Form(depthwise.knows, depthwise.forward, depthwise.backward)
PRODUCT = Form(conv.knows, conv.forward, conv.backward)
NORM = Form(_always, norm.forward, norm.backward)
FORMS: dict[str, tuple[Form, ...]] = {
    "conv": (PRODUCT, DEPTHWISE),
    "depthwise_conv": (DEPTHWISE,),
    "dense": (PRODUCT,),
    "batch_norm": (NORM,),
    "frozen_batch_norm": (NORM,),
    "max_pool": (Form(pool.knows, pool.max_forward, pool.max_backward),),
    "avg_pool": (Form(pool.knows, pool.avg_forward, pool.avg_backward),),
    "global_avg_pool": (Form(_always, pool.global_forward, pool.global_backward),),
    "add": (Form(pointwise.is_sum, pointwise.add_forward, pointwise.add_backward),),
    "concat": (Form(_always, pointwise.concat_forward, pointwise.concat_backward),),
}
"""The forms of each kind of layer, the best first."""
ACTIVATION = Form(pointwise.is_plain, pointwise.activation_forward, pointwise.activation_backward)
LAYER = Form(_always, fallback.forward, fallback.backward)
"""What every layer knows: its own `train` and `backward`. Both directions of a step take the same form."""


def form_of(step: Forward) -> Form:
    """The form of a step."""
    return next(form for form in (*FORMS.get(step.layer.kind, ()), ACTIVATION, LAYER) if form.knows(step))


LossOf = Callable[[Mapping[str, Array]], tuple[float, Mapping[str, Array]]]
"""The loss of the heads and its gradients by them, by name, arrays (N, C, *spatial)."""


class Result(NamedTuple):
    """What a step of training gives."""

    loss: float
    outputs: dict[str, Array]
    """New arrays."""


def work_of(step: Step, bench: Bench) -> Work:
    """The work of one step, which is not the loss."""
    bench.restart()
    match step:
        case Sum():
            return pointwise.sum_of(step, bench)
        case Forward():
            return form_of(step).forward(step, bench)
        case Backward():
            return form_of(step.forward).backward(step, bench)
    raise TypeError("the loss is not a step of a back-end")


class NumpyTraining:
    """A training Program with its arena. One step runs at a time."""

    def __init__(
        self, program: TrainingProgram, weights: Mapping[str, Array], gradients: Mapping[str, Array], threads: int
    ) -> None:
        self.program = program
        self.bench = Bench(program, weights, gradients, threads)
        self.work = [None if isinstance(step, Loss) else work_of(step, self.bench) for step in program.steps]
        self.kernels = tuple("loss" if work is None else work.name for work in self.work)

    def __call__(self, inputs: Mapping[str, Array], loss: LossOf, draw: Callable[[str], Draw]) -> Result:
        """One step: arrays (N, C, *spatial) by the name of an input; gradients are written, statistics moved."""
        bench, program = self.bench, self.program
        bench.draw = draw
        for name, tensor in program.inputs.items():
            np.copyto(bench.view(tensor), channels_last(inputs[name]))
        result = Result(0.0, {})
        with one_thread(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for step, work in zip(program.steps, self.work, strict=True):
                if work is not None:
                    work.run()
                elif isinstance(step, Loss):
                    result = lost(step, program, bench, loss)
        bench.extras.clear()
        return result


def lost(step: Loss, program: TrainingProgram, bench: Bench, loss: LossOf) -> Result:
    """The step of the loss: outputs are read, gradients of the heads written."""
    outputs = {name: np.array(channels_first(bench.view(at)), order="C") for name, at in program.outputs.items()}
    value, gradients = loss({name: outputs[name] for name in program.outputs})
    for head, tensor in step.gradients.items():
        np.copyto(bench.view(tensor), channels_last(gradients[head]))
    return Result(value, outputs)


def build(
    program: TrainingProgram,
    weights: Mapping[str, Array],
    gradients: Mapping[str, Array],
    threads: int | None,
    packs: dict[object, object],
) -> NumpyTraining:
    """A training Program made ready. `weights` and `gradients` are arrays by full name, which stay the same ones."""
    return NumpyTraining(program, weights, gradients, threads or usable_cores())
