"""A training Program on native code: stretches of native steps, and NumPy for the loss and layers without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.locks import give_lock
from netdsl.backends.native.engine import Engine
from netdsl.backends.native.lower.context import Context, NoKernelError, flat
from netdsl.backends.native.steps.step import NativeStep
from netdsl.backends.native.steps.transpose import transpose_step
from netdsl.backends.native.target import host_target
from netdsl.backends.native.training import back, conv, norm, pointwise, pool
from netdsl.backends.native.training.context import Training
from netdsl.backends.numpy.blas import one_thread
from netdsl.backends.numpy.memory import Array, channels_last
from netdsl.backends.numpy.training.executor import LAYER, LossOf, Result, form_of, lost, work_of
from netdsl.backends.numpy.training.pointwise import is_plain
from netdsl.backends.numpy.training.work import Bench, Work
from netdsl.backends.threads import MOST_THREADS, default_threads
from netdsl.ir.layer import Draw
from netdsl.program.training.ir import Backward, Forward, Loss, Step, Sum, TrainingProgram
from netdsl.program.training.rules import learns


class Form(NamedTuple):
    """Both directions of a kind of layer. Each raises NoKernelError for what it does not know."""

    forward: Callable[[Forward, Training], list[NativeStep]]
    backward: Callable[[Backward, Training], list[NativeStep]]


PRODUCT = Form(conv.forward, conv.backward)
DEPTHWISE = Form(pool.depthwise_forward, pool.depthwise_backward)
NORM = Form(norm.norm_forward, back.norm_backward)
FORMS: dict[str, tuple[Form, ...]] = {
    "conv": (PRODUCT, DEPTHWISE),
    "depthwise_conv": (DEPTHWISE,),
    "dense": (PRODUCT,),
    "batch_norm": (NORM,),
    "frozen_batch_norm": (NORM,),
    "max_pool": (Form(pool.max_forward, pool.max_backward),),
    "avg_pool": (Form(pool.avg_forward, pool.avg_backward),),
    "global_avg_pool": (Form(pool.global_forward, pool.global_backward),),
    "add": (Form(pointwise.add_forward, pointwise.add_backward),),
    "concat": (Form(pointwise.concat_forward, pointwise.concat_backward),),
    "flatten": (Form(pointwise.flatten_forward, pointwise.flatten_backward),),
}
"""The forms of each kind of layer, the best first. What is not here is computed in NumPy."""
ACTIVATION = Form(pointwise.activation_forward, back.activation_backward)


class Stretch(NamedTuple):
    """Native steps `first` to `end`; then work in NumPy, or the loss."""

    first: int
    end: int
    then: Work | Loss | None


def forms_of(step: Forward) -> tuple[Form, ...]:
    return (*FORMS.get(step.layer.kind, ()), *((ACTIVATION,) if is_plain(step) else ()))


class NativeTraining:
    """Runs a training Program. One step runs at a time; its bits do not depend on which thread did what."""

    lock: Lock

    def __init__(
        self,
        program: TrainingProgram,
        weights: Mapping[str, Array],
        gradients: Mapping[str, Array],
        threads: int | None,
        packs: dict[Any, Any],
    ) -> None:
        """Raises TargetError where NETDSL_NATIVE_TARGET names what this processor does not run."""
        give_lock(self)
        self.program = program
        self.threads = default_threads() if threads is None else max(1, min(threads, MOST_THREADS))
        self.bench = Bench(program, weights, gradients, self.threads)
        offsets = {buffer.number: buffer.offset for buffer in program.buffers}
        arena = int(self.bench.memory.arena.ctypes.data)
        self._training = Training(Context(host_target(), self.threads, arena, offsets, packs), self.bench)
        self._native: list[NativeStep] = []
        self._stretches: list[Stretch] = []
        self._counted: list[str] = []
        self.spans: list[tuple[int, int]] = []
        """For each step of the Program its native steps, first to end; empty where there are none."""
        self._doors = self._entries()
        names = self._lower()
        self._close(None)
        self.kernels = tuple(names)
        steps = self._training.settled(self._native)
        self._engine = Engine(steps, host_target(), self.threads)
        self._places = {name: self._engine.place(number, "x") for name, number in self._doors.items()}

    def _entries(self) -> dict[str, int]:
        """Native steps that take maps in, by the name of the input; NumPy takes in the others."""
        doors = {}
        for name, tensor in self.program.inputs.items():
            try:
                view = flat(self._training.view(tensor))
            except NoKernelError:
                continue
            if len(tensor.shape) > 2:
                doors[name] = len(self._native)
                self._native.append(transpose_step(name, view, True))
        return doors

    def _lower(self) -> list[str]:
        """The work of every step; returns what computes each, for people."""
        names = []
        native = self._paired()
        for step in self.program.steps:
            self.spans.append((len(self._native), len(self._native)))
            if isinstance(step, Loss):
                self._close(step)
                names.append("loss")
                continue
            try:
                found = self._steps_of(step) if native.get(step.name, True) else None
            except NoKernelError:
                found = None
            if found is None:
                work = work_of(step, self.bench)
                self._close(work)
                names.append(f"numpy {work.name}")
                continue
            self._native.extend(found)
            self.spans[-1] = (self.spans[-1][0], len(self._native))
            if isinstance(step, Forward) and learns(step.layer):
                self._counted.append(step.weights["num_batches_tracked"])
            kernels = (type(each.kernel).__name__.removesuffix("Kernel").lower() for each in found)
            names.append("+".join(dict.fromkeys(kernels)) or "nothing")
        return names

    def _paired(self) -> dict[str, bool]:
        """By name, whether the steps that NumPy would give to the layer itself are native in both directions."""
        found: dict[str, bool] = {}
        for step in self.program.steps:
            if isinstance(step, Forward | Backward):
                ahead = step if isinstance(step, Forward) else step.forward
                if form_of(ahead) is LAYER:
                    try:
                        self._steps_of(step)
                    except NoKernelError:
                        found[ahead.name] = False
        return found

    def _steps_of(self, step: Step) -> list[NativeStep]:
        training = self._training
        training.begin()
        if isinstance(step, Sum):
            return pointwise.sum_step(step, training)
        assert isinstance(step, Forward | Backward)
        ahead = step if isinstance(step, Forward) else step.forward
        for form in forms_of(ahead):
            try:
                return form.forward(step, training) if isinstance(step, Forward) else form.backward(step, training)
            except NoKernelError:
                training.begin()
        raise NoKernelError(f"no kernel for {ahead.layer.kind}")

    def _close(self, then: Work | Loss | None) -> None:
        first = self._stretches[-1].end if self._stretches else 0
        self._stretches.append(Stretch(first, len(self._native), then))

    def __call__(self, inputs: Mapping[str, Array], loss: LossOf, draw: Callable[[str], Draw]) -> Result:
        """One step: arrays (N, C, *spatial) by the name of an input; gradients are written, statistics moved."""
        bench, program = self.bench, self.program
        held = {name: np.ascontiguousarray(inputs[name], np.float32) for name in program.inputs}
        with self.lock:
            bench.draw = draw
            for name, tensor in program.inputs.items():
                if name in self._places:
                    self._engine.arguments[self._places[name]] = held[name].__array_interface__["data"][0]
                else:
                    np.copyto(bench.view(tensor), channels_last(held[name]))
            result = Result(0.0, {})
            with one_thread(), np.errstate(over="ignore", under="ignore", invalid="ignore"):
                for stretch in self._stretches:
                    if stretch.end > stretch.first:
                        self._engine.run(stretch.first, stretch.end)
                    if isinstance(stretch.then, Work):
                        stretch.then.run()
                    elif stretch.then is not None:
                        result = lost(stretch.then, program, bench, loss)
            self._count()
            bench.extras.clear()
        return result

    def _count(self) -> None:
        """Native batch norms have moved their statistics; how many batches they have seen is counted here."""
        for name in self._counted:
            self.bench.weights[name][...] += 1


def build(
    program: TrainingProgram,
    weights: Mapping[str, Array],
    gradients: Mapping[str, Array],
    threads: int | None,
    packs: dict[Any, Any],
) -> NativeTraining:
    """A training Program made ready. `weights` and `gradients` are arrays by full name, which stay the same ones."""
    return NativeTraining(program, weights, gradients, threads, packs)
