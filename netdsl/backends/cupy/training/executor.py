"""A training Program that runs on a device: steps queued as CUDA graphs, before and behind the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from netdsl.backends.cupy.axes import channels_first, channels_last
from netdsl.backends.cupy.capture import Replay
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.precision import PRECISIONS, Precision
from netdsl.backends.cupy.training import layer, norm, pointwise, pool, product, quick
from netdsl.backends.cupy.training.bench import FLOAT, Bench, Work
from netdsl.backends.cupy.training.state import State
from netdsl.ir.layer import Array, Draw
from netdsl.program.training.ir import Backward, Forward, Loss, Step, Sum, TrainingProgram
from netdsl.program.training.rules import learns


class Form(NamedTuple):
    """How a kind of layer is computed: whether this form knows a step, and both directions."""

    knows: Callable[[Forward], bool]
    forward: Callable[[Forward, Bench], Work]
    backward: Callable[[Backward, Bench], Work]


def _always(step: Forward) -> bool:
    return True


PRODUCT = Form(product.knows, product.forward, product.backward)
NORM = Form(_always, norm.forward, norm.backward)
DROP = Form(layer.is_drop, layer.drop_forward, layer.drop_backward)
FORMS: dict[str, Form] = {
    "conv": PRODUCT,
    "depthwise_conv": PRODUCT,
    "dense": PRODUCT,
    "batch_norm": NORM,
    "frozen_batch_norm": NORM,
    "max_pool": Form(pool.knows, pool.max_forward, pool.max_backward),
    "avg_pool": Form(pool.knows, pool.avg_forward, pool.avg_backward),
    "global_avg_pool": Form(_always, pool.global_forward, pool.global_backward),
    "add": Form(pointwise.is_sum, pointwise.add_forward, pointwise.add_backward),
    "concat": Form(_always, pointwise.concat_forward, pointwise.concat_backward),
    "flatten": Form(_always, pointwise.flatten_forward, pointwise.flatten_backward),
    "dropout": DROP,
    "stochastic_depth": DROP,
}
"""The plain form of each kind of layer."""
ACTIVATION = Form(pointwise.is_plain, pointwise.activation_forward, pointwise.activation_backward)
LAYER = Form(_always, layer.forward, layer.backward)
"""What every layer knows: its own `train` and `backward`. Both directions of a step take the same form."""


def form_of(step: Forward) -> Form:
    """The plain form of a step."""
    found = FORMS.get(step.layer.kind)
    offered = (found, ACTIVATION, LAYER) if found is not None else (ACTIVATION, LAYER)
    return next(form for form in offered if form.knows(step))


def work_of(step: Step, bench: Bench, candidates: Sequence[str]) -> Work:
    """The launches of one step, which is not the loss: the first candidate that computes it, or the plain form."""
    found = quick.work_of(step, bench, candidates)
    if found is not None:
        return found
    match step:
        case Sum():
            return pointwise.sum_of(step, bench)
        case Forward():
            return form_of(step).forward(step, bench)
        case Backward():
            return form_of(step.forward).backward(step, bench)
    raise TypeError("the loss is not a step of a back-end")


class Result(NamedTuple):
    """What a step of training gives."""

    loss: float
    outputs: dict[str, Array]
    """New arrays."""


@dataclass(frozen=True)
class Settings:
    """Where and how a training Program runs."""

    device: Device
    precision: Precision = PRECISIONS["float32"]
    deterministic: bool = True
    graphs: bool = True
    autotune: str = "off"
    candidates: tuple[str, ...] | None = None
    """Those that may be taken beside the plain forms, all if it is not said."""
    report: Callable[[str], None] = lambda line: None


class CupyTraining:
    """A training Program with its arena on a device. One step runs at a time.

    Raises DeviceMemoryError, DeviceLostError.
    """

    def __init__(self, program: TrainingProgram, state: State, settings: Settings) -> None:
        self.program, self.state, self.settings = program, state, settings
        self.device = device = settings.device
        names = tuple(quick.CANDIDATES) if settings.candidates is None else settings.candidates
        with device.use():
            self.bench = Bench(
                program, device, settings.precision, state.weights, state.gradients, settings.deterministic,
                settings.autotune,
            )  # fmt: skip
            works = [None if isinstance(step, Loss) else work_of(step, self.bench, names) for step in program.steps]
            _ = self.bench.workspace.memory
            split = next(number for number, step in enumerate(program.steps) if isinstance(step, Loss))
            self.ahead = [launch for work in works[:split] for launch in work or ()]
            self.back = [launch for work in works[split + 1 :] for launch in work or ()]
            self._in = {name: self._room(tensor) for name, tensor in program.inputs.items()}
            self._out = {name: self._room(tensor) for name, tensor in program.outputs.items()}
        self._pinned_in = {name: device.pinned(array.shape, FLOAT) for name, array in self._in.items()}
        self._pinned_out = {name: device.pinned(array.shape, FLOAT) for name, array in self._out.items()}
        self.kernels = tuple("loss" if work is None else _name(work) for work in works)
        self._replays: dict[str, Replay] = {}
        self._counted = [
            step.weights["num_batches_tracked"]
            for step in program.forward
            if learns(step.layer) and "num_batches_tracked" in step.weights
        ]

    def _room(self, tensor: Any) -> Any:
        return self.bench.xp.zeros((tensor.batch, *(extent or 0 for extent in tensor.type.shape)), FLOAT)

    @property
    def loss_step(self) -> Loss:
        return self.program.loss

    # ------------------------------------------------------------------------------------------------- parts of a step

    def send(self, inputs: Mapping[str, Any], draw: Callable[[str], Draw]) -> None:
        """Starts the copies of a batch (N, C, *spatial) and of random numbers; work that is queued waits for them."""
        self.bench.draw = draw
        with self.device.use():
            self.device.mark().wait()
            for name, target in self._in.items():
                np.copyto(self._pinned_in[name], inputs[name])
                self.device.upload(target, self._pinned_in[name])
            for each in self.bench.draws:
                each()
            self.device.await_copies()

    def take(self, inputs: Mapping[str, Any], draw: Callable[[str], Draw]) -> None:
        """As `send`, of arrays that lie on the device."""
        self.bench.draw = draw
        with self.device.use():
            for name, target in self._in.items():
                target[...] = inputs[name]
            self.device.mark().wait()
            for each in self.bench.draws:
                each()
            self.device.await_copies()

    def forward(self) -> list[Launch]:
        """From what `send` brought to the outputs."""
        return [Launch("inputs", self._turn_in), *self.bench.refresh, *self.ahead, Launch("outputs", self._turn_out)]

    def _turn_in(self) -> None:
        for name, array in self._in.items():
            self.bench.view(self.program.inputs[name])[...] = channels_last(array)

    def _turn_out(self) -> None:
        for name, array in self._out.items():
            array[...] = channels_first(self.bench.view(self.program.outputs[name]))

    def queue(self, name: str, launches: Sequence[Launch]) -> None:
        """Queues launches; the second time, and from then on, as graphs."""
        replay = self._replays.get(name)
        if replay is not None:
            replay.run()
            return
        for launch in launches:
            launch.run()
        if self.settings.graphs:
            replay = self._replays[name] = Replay(self.device, launches)
            for refused, reason in replay.refused.items():
                if reason != "it says so itself":
                    self.settings.report(f"{refused} is in no CUDA graph: {reason}")

    def outputs(self) -> dict[str, Array]:
        """Waits for the outputs; new arrays (N, C, *spatial) in float32."""
        self.device.hold_copies(self.device.mark())
        for name, source in self._out.items():
            self.device.download(self._pinned_out[name], source)
        self.device.mark(copies=True).wait()
        return {name: array.copy() for name, array in self._pinned_out.items()}

    def counted(self, buffers: Mapping[str, Array]) -> None:
        """Batch norms have seen one more batch; how many is counted on the host."""
        for name in self._counted:
            buffers[name][...] += 1

    # ---------------------------------------------------------------------------------------------------- a whole step

    def run(
        self,
        inputs: Mapping[str, Array],
        loss: Callable[[Mapping[str, Array]], tuple[float, Mapping[str, Array]]],
        draw: Callable[[str], Draw],
    ) -> Result:
        """One step whose loss is computed on the host; gradients and statistics are left on the device."""
        self.send(inputs, draw)
        with self.device.use():
            self.queue("forward", self.forward())
            outputs = self.outputs()
            value, gradients = loss(outputs)
            for head, tensor in self.loss_step.gradients.items():
                target = self.bench.view(tensor)
                target[...] = channels_last(self.bench.xp.asarray(np.ascontiguousarray(gradients[head], np.float32)))
            self.queue("backward", self.back)
            self.device.synchronize()
        return Result(value, outputs)


def _name(work: Work) -> str:
    return "+".join(dict.fromkeys(launch.name for launch in work)) or "nothing"
