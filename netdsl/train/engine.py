"""What computes a training step: the loss of a batch and its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from netdsl.analysis.training import TrainingPlan
from netdsl.train.parameters import Parameters

Array = NDArray[Any]

Targets = Array | Mapping[str, Array]
"""What the outputs should have been: labels (N,) of an integer type, soft labels (N, classes), or an array of the shape
of the output, as the loss wants. One array for all outputs, or arrays by output name."""


class Step(NamedTuple):
    """What a step computed."""

    loss: float
    """The mean over the batch, and over the outputs the sum, each times its weight."""
    outputs: dict[str, Array]
    """By output name, of shape (N, ...), in training mode; new arrays. Auxiliary heads that run are among them."""


class Engine(Protocol):
    """Computes losses and gradients of one network; leaves updating the parameters to an optimizer.

    One is made for a network, a weight store, the names of the parameters that are trainable, a loss (one for all
    outputs, or losses by output name), and the weights of the losses of auxiliary heads. From then on the arrays of
    `parameters` and `buffers` are those of the store.
    """

    @property
    def plan(self) -> TrainingPlan:
        """Which nodes run, which are frozen, where gradients flow."""

    @property
    def parameters(self) -> Parameters:
        """What is trained, in the order of the network's state. Read at each step."""

    @property
    def gradients(self) -> Parameters:
        """The gradient of the last step's loss, laid out as `parameters`; written by `step`."""

    @property
    def buffers(self) -> Mapping[str, Array]:
        """Running statistics and other buffers by full name; `step` updates them in place."""

    def step(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> Step:
        """Forward and backward of one batch: writes `gradients`, updates running statistics, changes no parameter.

        `inputs` are arrays (N, *shape) by input name. What is random (dropout) depends on `seed`, `number` and the name
        of the node alone. Raises TrainError where inputs or targets do not fit, RunError where memory runs out.
        """

    def evaluate(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs in evaluation mode, with the parameters and statistics as they are now; no auxiliary heads."""

    def first_non_finite(self, inputs: Mapping[str, Array], targets: Targets, seed: int, number: int) -> str | None:
        """The node where a number that is not finite first appears in the step, forwards and then backwards.

        An input node where the input itself has one; the node of an output where it is the loss. None where everything
        is finite. Changes neither gradients nor statistics.
        """
