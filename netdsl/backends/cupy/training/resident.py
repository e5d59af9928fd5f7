"""Training that stays on the device: parameters, gradients and the optimiser never leave it between steps.

graph 1   inputs -> forward -> outputs          graph 2   backward -> squared norm of the gradients
          loss of each head, its gradient       host      reads loss and norm: is the step taken, is it clipped
                                                graph 3   update
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any, NamedTuple

from netdsl.backends.cupy.capture import Replay
from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.training.bench import FLOAT
from netdsl.backends.cupy.training.executor import CupyTraining
from netdsl.backends.cupy.training.kernel_update import squared_norm
from netdsl.backends.cupy.training.losses import Head
from netdsl.backends.cupy.training.optimizers import DeviceUpdater
from netdsl.backends.cupy.training.state import State
from netdsl.ir.layer import Array, Draw
from netdsl.train.losses import Loss

EPS = 1e-6
"""As PyTorch's: keeps the quotient of clipping finite where all gradients are 0."""


class Done(NamedTuple):
    """What one step did."""

    loss: float
    outputs: dict[str, Array]
    """New arrays; empty where they were not asked for."""
    norm: float
    """Of the gradients, the loss scale taken out; infinite or NaN where one of them is not finite."""
    taken: bool
    """Whether parameters were changed: everything was finite."""


@dataclass(frozen=True)
class Heads:
    """What is learnt: the loss of each output and its weight, by name."""

    losses: Mapping[str, Loss]
    weights: Mapping[str, float]


class Resident:
    """Steps over the parameters of `state`. Raises DeviceMemoryError, DeviceLostError."""

    def __init__(self, state: State, updater: DeviceUpdater, heads: Heads, clip_norm: float | None = None) -> None:
        self.state, self.updater, self._heads, self._clip = state, updater, heads, clip_norm
        self.device = state.device
        xp = self.device.xp
        with self.device.use():
            self._figures = xp.zeros((2,), FLOAT)
            """The loss, and the squared norm of the gradients."""
            self._scale = xp.ones((1,), FLOAT)
            self._squares = self._kernel()
        self._read = self.device.pinned((2,), FLOAT)
        self._sent = self.device.pinned((1,), FLOAT)
        self._replay: Replay | None = None
        self._ready: dict[int, tuple[CupyTraining, dict[str, Head]]] = {}

    def step(
        self,
        running: CupyTraining,
        inputs: Mapping[str, Any],
        targets: Callable[[str], Array],
        draw: Callable[[str], Draw],
        lr: float,
        scale: float = 1.0,
        *,
        resident: bool = False,
        outputs: bool = True,
    ) -> Done:
        """One step. `targets` by head; with `resident` the inputs lie on the device. Gradients are those of the loss
        times `scale`. Raises TrainError for targets that do not fit."""
        heads = self._prepared(running)
        if resident:
            running.take(inputs, draw)
        else:
            running.send(inputs, draw)
        with self.device.use():
            self._sent[0] = scale
            self.device.upload(self._scale, self._sent)
            running.queue("forward", running.forward())
            # While the device computes the host looks at the targets.
            for name, head in heads.items():
                head.prepare(targets(name))
            self.device.await_copies()
            # Sums of the array library are not captured.
            self._figures.fill(0)
            for head in heads.values():
                head.run()
            running.queue("backward", running.back)
            self._norm()
            made = running.outputs() if outputs else {}
            loss, square = self._looked()
            norm = sqrt(square) / scale if square >= 0 else square
            taken = isfinite(loss) and isfinite(norm)
            if taken:
                factor = 1 / scale
                if self._clip is not None:
                    factor *= min(1.0, self._clip / (norm + EPS))
                self.updater.prepare(lr, factor)
                self._update(running.settings.graphs)
        return Done(loss, made, norm, taken)

    def _kernel(self) -> Launch | None:
        try:
            return squared_norm(self.device, self.state.gradient, self._figures[1:])
        except ValueError:
            return None

    def _looked(self) -> tuple[float, float]:
        self.device.hold_copies(self.device.mark())
        self.device.download(self._read, self._figures)
        self.device.mark(copies=True).wait()
        return float(self._read[0]), float(self._read[1])

    def _norm(self) -> None:
        """Squares in double precision by our kernel, or a product of the vector of gradients with itself."""
        if self._squares is not None:
            self._squares.run()
            return
        g = self.state.gradient
        self.device.matmul(g.reshape(1, -1), g.reshape(-1, 1), self._figures[1:].reshape(1, 1))

    def _update(self, graphs: bool) -> None:
        """Queues the update, from the second on as a graph."""
        if self._replay is not None:
            self._replay.run()
            return
        launches = self.updater.launches()
        for launch in launches:
            launch.run()
        if graphs:
            self._replay = Replay(self.device, launches)

    def _prepared(self, running: CupyTraining) -> dict[str, Head]:
        """The losses of a Program, made once."""
        found = self._ready.get(id(running))
        if found is None:
            step = running.loss_step
            heads = {
                name: Head(
                    self._heads.losses[name], step.heads[name], gradient, self._heads.weights[name], running.bench,
                    self._figures[:1], self._scale,
                )
                for name, gradient in step.gradients.items()
            }  # fmt: skip
            if running.program.trained != frozenset(self.state.gradients):
                # What gets no gradient in this Program keeps none of another.
                with self.device.use():
                    self.state.gradient.fill(0)
            found = self._ready[id(running)] = (running, heads)
        return found[1]

    def keep(self, runnings: Collection[CupyTraining]) -> None:
        """Lets go of all Programs but these."""
        kept = {id(running) for running in runnings}
        for key in [key for key in self._ready if key not in kept]:
            del self._ready[key]
