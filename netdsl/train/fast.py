"""The fast engine: a training Program on a back-end.

What is the same at every step (see `TrainingPlan`) is computed by an inference Program on the same back-end; the rest
by a training Program for each size of batch that comes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netdsl.backends.compiled import CompiledModel
from netdsl.backends.errors import RunError
from netdsl.backends.inputs import checked_inputs
from netdsl.backends.registry import Backend, backend
from netdsl.backends.threads import wanted_threads
from netdsl.ir.layer import Draw, LayerError
from netdsl.ir.network import Network
from netdsl.ir.types import TensorType
from netdsl.program.training.build import Prepared, lower_training, prepare
from netdsl.program.training.ir import TrainingProgram
from netdsl.train.draw import PhiloxDraw
from netdsl.train.engine import Engine, Step, Targets
from netdsl.train.engine_base import EngineBase
from netdsl.train.errors import TrainError
from netdsl.train.losses import Loss
from netdsl.train.reference import ReferenceEngine
from netdsl.weights.store import WeightStore

Array = NDArray[Any]

BACKENDS: dict[str, str] = {
    "cupy": "netdsl.train.device",
    "native": "netdsl.backends.native.training.executor",
    "numpy": "netdsl.backends.numpy.training.executor",
}
"""Name -> the module whose `build` makes a training Program run, or whose `engine` is an engine of its own. `auto` is
the first that can run here."""
NAMES = ("auto", *BACKENDS, "reference")
MOST_PROGRAMS = 3
"""Training Programs that an engine keeps, each with its arena: for other sizes of the batch or of the images."""


class Running(Protocol):
    """A training Program made ready by a back-end."""

    program: TrainingProgram
    kernels: Any

    def __call__(
        self,
        inputs: Mapping[str, Array],
        loss: Callable[[Mapping[str, Array]], tuple[float, Mapping[str, Array]]],
        draw: Callable[[str], Draw],
    ) -> Any:
        """A step; returns the loss and new arrays of the outputs."""
        ...


class FastEngine(EngineBase):
    """Trains a network on a back-end that runs Programs; an `Engine` (netdsl/train/engine.py), in float32.

    Arguments and errors: see `EngineBase`; `name` is that of the back-end (RunError E0716 where it cannot
    run). The same batch on the same number of threads gives the same bits.
    """

    def __init__(
        self,
        network: Network,
        store: WeightStore,
        trainable: Collection[str],
        loss: Loss | Mapping[str, Loss],
        auxiliary: Mapping[str, float] | None = None,
        *,
        name: str = "numpy",
        threads: int | None = None,
        engine: Backend | None = None,
    ) -> None:
        super().__init__(network, store, trainable, loss, auxiliary)
        self.backend: Backend = backend(name) if engine is None else engine
        self.threads = threads or wanted_threads()
        self._ready: Prepared = prepare(self._plan, store.values)
        self._running: OrderedDict[Any, Running] = OrderedDict()
        self._packs: dict[Any, Any] = {}
        self._prefix: CompiledModel | None = self._model(self._ready.prefix) if self._ready.prefix.outputs else None
        self._whole: CompiledModel | None = None

    def step(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> Step:
        """Forward and backward of one batch; see `Engine.step`."""
        given = checked_inputs(self.network, dict(inputs), "float32")
        running = self.running({name: TensorType(array.shape[1:]) for name, array in given.items()}, _batch(given))
        made = given | self._fixed(given)

        def judged(outputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
            return self._judge(outputs, targets)

        def draw(node: str) -> PhiloxDraw:
            return PhiloxDraw(seed, number, node)

        if running.program.trained != frozenset(self._plan.trainable):
            self._gradients.flat[...] = 0
        # What was packed for evaluation is void.
        self._whole = None
        loss, outputs = running({name: made[name] for name in running.program.inputs}, judged, draw)
        return Step(loss, outputs)

    def running(self, types: Mapping[str, TensorType], batch: int) -> Running:
        """The Program for batches of one size, made ready. Raises SpecError, TrainError and RunError."""
        key = (batch, tuple(types.items()))
        found = self._running.get(key)
        if found is None:
            try:
                program = lower_training(self._ready, types, batch)
                found = self._made(program)
            except LayerError as error:
                raise TrainError(error.code, error.message, error.help) from None
            except MemoryError:
                sizes = ", ".join(f"{name} {type_}" for name, type_ in types.items())
                raise RunError(
                    "E0714", f"not enough memory to train {self.network.name} on {batch} x {sizes}",
                    "train with smaller batches",
                ) from None  # fmt: skip
            self._running[key] = found
            if len(self._running) > MOST_PROGRAMS:
                self._running.popitem(last=False)
        self._running.move_to_end(key)
        return found

    def _made(self, program: TrainingProgram) -> Running:
        """A Program made ready by the back-end."""
        build = import_module(BACKENDS[self.backend.name]).build
        found: Running = build(program, self.store.values, self._gradients.views, self.threads, self._packs)
        return found

    def evaluate(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs in evaluation mode; see `Engine.evaluate`."""
        if self._whole is None:
            self._whole = self._model(self.network)
        outputs, _ = self._whole.run(dict(inputs))
        return outputs

    def first_non_finite(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> str | None:
        """The node where a number that is not finite first appears; see `Engine.first_non_finite`.

        Looked for by the reference engine on copies of the weights: here tensors lie over each other.
        """
        store = WeightStore(self.network)
        store.bind({name: np.array(array) for name, array in self.store.values.items()})
        heads = {name: self._plan.heads.get(name, 0.0) for name in self._plan.outputs}
        reference = ReferenceEngine(self.network, store, self._plan.trainable, self._losses, heads)
        return reference.first_non_finite(inputs, targets, seed, number)

    def _model(self, network: Network) -> CompiledModel:
        model = CompiledModel(network, self.backend, self.threads)
        model.store = self.store
        return model

    def _fixed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """What the prefix makes, by node."""
        if self._prefix is None:
            return {}
        outputs, _ = self._prefix.run(dict(inputs))
        return outputs

    def _judge(self, outputs: Mapping[str, Array], targets: Targets) -> tuple[float, dict[str, Array]]:
        """The loss, and by head its derivative in the output."""
        total = 0.0
        gradients: dict[str, Array] = {}
        for name, weight in self._plan.heads.items():
            value, gradient = self._judged(name, outputs, targets)
            total += weight * value
            gradients[name] = gradient if weight == 1 else np.float32(weight) * gradient
        return total, gradients


def build_engine(
    network: Network,
    store: WeightStore,
    trainable: Collection[str],
    loss: Loss | Mapping[str, Loss],
    auxiliary: Mapping[str, float] | None = None,
    *,
    backend: str = "auto",
    threads: int | None = None,
    precision: str | None = None,
) -> Engine:
    """The engine called `backend`: `cupy`, `native`, `numpy`, `reference`, or the fastest that there is (`auto`).

    A store in float64 is trained by the reference engine, which alone computes in it; only a GPU has another
    `precision` than float32. Raises TrainError where there is nothing to train or a gradient cannot pass, RunError for
    weights without values (E0711), and for a back-end or precision that there is not or that cannot run here (E0716).
    """
    if backend == "reference" or (backend == "auto" and store.dtype != "float32"):
        return ReferenceEngine(network, store, trainable, loss, auxiliary)
    if store.dtype != "float32":
        raise RunError("E0716", f"the back-end `{backend}` trains in float32", "the reference engine knows float64")
    names = list(BACKENDS) if backend == "auto" else [backend]
    for name in names[:-1]:
        try:
            return _engine(network, store, trainable, loss, auxiliary, name, threads, precision)
        except RunError as error:
            if error.code != "E0716":
                raise
    return _engine(network, store, trainable, loss, auxiliary, names[-1], threads, precision)


def _engine(
    network: Network, store: WeightStore, trainable: Collection[str], loss: Loss | Mapping[str, Loss],
    auxiliary: Mapping[str, float] | None, name: str, threads: int | None, precision: str | None,
) -> Engine:  # fmt: skip
    made = getattr(import_module(BACKENDS[name]), "engine", None) if name in BACKENDS else None
    if made is not None:
        found: Engine = made(network, store, trainable, loss, auxiliary, backend(name), precision)
        return found
    if precision not in (None, "float32"):
        raise RunError("E0716", f"the back-end `{name}` trains in float32, not in {precision}", "a GPU does: cupy")
    return FastEngine(network, store, trainable, loss, auxiliary, name=name, threads=threads)


def _batch(inputs: Mapping[str, Array]) -> int:
    return len(next(iter(inputs.values())))
