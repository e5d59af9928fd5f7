"""The engine that trains on a GPU: parameters and the optimiser stay there between steps."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netdsl.backends.compiled import CompiledModel
from netdsl.backends.cupy.backend import CupyBackend, report
from netdsl.backends.cupy.precision import precision as named
from netdsl.backends.cupy.training.executor import CupyTraining, Settings
from netdsl.backends.cupy.training.optimizers import DeviceUpdater
from netdsl.backends.cupy.training.resident import Done, Heads, Resident
from netdsl.backends.cupy.training.state import State
from netdsl.backends.inputs import checked_inputs
from netdsl.backends.registry import Backend
from netdsl.ir.layer import Draw
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.program.training.ir import TrainingProgram
from netdsl.train import recipe_parts as parts
from netdsl.train.draw import PhiloxDraw
from netdsl.train.engine import Step, Targets
from netdsl.train.engine_base import target_of
from netdsl.train.fast import FastEngine, Running
from netdsl.train.losses import Loss
from netdsl.weights.store import WeightStore

Array = NDArray[Any]


class DeviceEngine(FastEngine):
    """A `FastEngine` on a GPU.

    `step` computes as on other back-ends, gradients for an optimiser on the host; a phase takes `resident` instead,
    which leaves everything on the device. Then the host's parameters and statistics are of the last `settle`.
    """

    def __init__(
        self,
        network: Network,
        store: WeightStore,
        trainable: Collection[str],
        loss: Loss | Mapping[str, Loss],
        auxiliary: Mapping[str, float] | None = None,
        *,
        engine: CupyBackend,
    ) -> None:
        """Arguments and errors: see `EngineBase`. `engine` says which device, and in which numbers."""
        self.engine = engine
        super().__init__(network, store, trainable, loss, auxiliary, engine=engine)
        self.settings = Settings(
            engine.device, engine.precision, engine.deterministic, engine.graphs, engine.autotune, _candidates(engine),
            report,
        )  # fmt: skip
        self.state = State(engine.device, store.values, self._parameters, self._buffers)
        self._ahead = False
        """Whether the device has newer numbers than the host."""
        self._resident: Resident | None = None

    def _made(self, program: TrainingProgram) -> Running:
        return _HostSteps(CupyTraining(program, self.state, self.settings), self)

    def _model(self, network: Network) -> CompiledModel:
        model = self.engine.model(network)
        model.store = self.store
        return model

    def evaluate(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.settle()
        return super().evaluate(inputs)

    def settle(self) -> None:
        """Gives parameters and statistics to the host."""
        if self._ahead:
            self.state.pull()
            self._ahead = False
            self._whole = None

    def resident(
        self,
        optimizer: parts.Optimizer,
        undecayed: Sequence[tuple[int, int]],
        clip: parts.Part | None,
        average: float | None,
    ) -> Resident:
        """What trains on the device by this optimiser. Raises DeviceMemoryError."""
        self.state.push()
        updater = DeviceUpdater(
            self.engine.device, optimizer, self.state, undecayed, average=average,
            most=clip.most if isinstance(clip, parts.ClipValue) else None,
        )  # fmt: skip
        norm = clip.most if isinstance(clip, parts.ClipNorm) else None
        losses = {name: self._losses[name] for name in self._plan.heads}
        self._resident = Resident(self.state, updater, Heads(losses, self._plan.heads), norm)
        return self._resident

    def train(
        self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int, lr: float, scale: float
    ) -> Done:
        """One step of what `resident` made. Raises RunError, TrainError."""
        assert self._resident is not None
        given = checked_inputs(self.network, dict(inputs), "float32")
        batch = len(next(iter(given.values())))
        running = self.running({name: TensorType(array.shape[1:]) for name, array in given.items()}, batch)
        assert isinstance(running, _HostSteps)
        made = given | self._fixed(given)
        self._resident.keep([each.training for each in self._running.values() if isinstance(each, _HostSteps)])
        done = self._resident.step(
            running.training, {name: made[name] for name in running.program.inputs},
            lambda head: np.asarray(target_of(targets, head)), lambda node: PhiloxDraw(seed, number, node), lr, scale,
        )  # fmt: skip
        self._ahead = True
        running.training.counted(self._buffers)
        return done


def engine(
    network: Network,
    store: WeightStore,
    trainable: Collection[str],
    loss: Loss | Mapping[str, Loss],
    auxiliary: Mapping[str, float] | None,
    backend: Backend,
    precision: str | None,
) -> DeviceEngine:
    """The engine on the device of a back-end. Raises RunError (E0716) for numbers that it does not compute in."""
    assert isinstance(backend, CupyBackend)
    settled = backend if precision is None else replace(backend, precision=named(precision))
    settled.check_precision()
    return DeviceEngine(network, store, trainable, loss, auxiliary, engine=settled)


class _HostSteps:
    """Steps for an optimiser on the host: its parameters go to the device, gradients and statistics come back."""

    def __init__(self, training: CupyTraining, owner: DeviceEngine) -> None:
        # The engine keeps this, so that this must not keep the engine: memory of the device would wait for a collector.
        self.training, self._owner = training, weakref.proxy(owner)
        self.program = training.program
        self.kernels = training.kernels

    def __call__(
        self,
        inputs: Mapping[str, Array],
        loss: Callable[[Mapping[str, Array]], tuple[float, Mapping[str, Array]]],
        draw: Callable[[str], Draw],
    ) -> Any:
        owner: DeviceEngine = self._owner
        owner.settle()
        owner.state.push()
        result = self.training.run(inputs, loss, draw)
        owner.state.pull()
        owner.state.pull_gradients(owner.gradients.flat)
        self.training.counted(owner.buffers)
        return Step(result.loss, result.outputs)


def _candidates(engine: CupyBackend) -> tuple[str, ...] | None:
    from netdsl.backends.cupy.training import quick

    return None if engine.candidates is None else tuple(name for name in engine.candidates if name in quick.CANDIDATES)
