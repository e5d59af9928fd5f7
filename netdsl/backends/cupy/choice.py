"""Which kernel computes a step.

Every step has a plain form in the array library (`steps/`), which is always right. Faster kernels are candidates: each
says for a pattern of steps, a precision and a device whether it can compute it, and why not; of those that can, the
first in `CANDIDATES` is taken, or the one that autotuning found to be the fastest.

Adding one is a module with the attribute `CANDIDATE`, and a line in `CANDIDATES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from netdsl.backends.cupy.device import Device, Task
from netdsl.backends.cupy.precision import Precision
from netdsl.program.ir import Program, Step

if TYPE_CHECKING:
    from netdsl.backends.cupy.context import Context

CANDIDATES: dict[str, str] = {
    "kernel depthwise_squeeze_excite": "netdsl.backends.cupy.kernels.candidates.depthwise_excitation",
    "kernel squeeze_excite": "netdsl.backends.cupy.kernels.candidates.excitation",
    "kernel depthwise": "netdsl.backends.cupy.kernels.candidates.depthwise",
    "kernel pool": "netdsl.backends.cupy.kernels.candidates.pool",
    "kernel pointwise": "netdsl.backends.cupy.kernels.candidates.pointwise",
    "kernel concat": "netdsl.backends.cupy.kernels.candidates.copies",
    "kernel norm": "netdsl.backends.cupy.kernels.candidates.norms",
    "kernel resample": "netdsl.backends.cupy.kernels.candidates.resampling",
    "cudnn": "netdsl.backends.cupy.cudnn_conv",
}
"""Name -> the module whose `CANDIDATE` it is; those in front are preferred where nothing was measured."""


@dataclass(frozen=True)
class Launch:
    """A step, or several, ready to be queued."""

    name: str
    """What computes it, for people: `im2col`, `cudnn conv+residual+bias+relu`."""
    run: Task
    """Queues it. The same addresses each time, nothing but launches: no copies from or to the host, no waiting."""
    capturable: bool = True
    """Whether it may become part of a CUDA graph."""
    deterministic: bool = True
    """Whether the same numbers give the same bits each time."""
    keeps: tuple[object, ...] = field(default=(), repr=False, compare=False)
    """What must live as long as this does: packed weights, plans."""


class Candidate(Protocol):
    """A way to compute some steps."""

    def covers(self, program: Program, at: int) -> int:
        """How many steps from number `at` on it computes together, 0 where the kinds of layers are not its own.

        Cheap, and knows nothing of a device. Where it is more than one, the tensors between them are read by nobody
        else (`inner` says so) and need not be written.
        """
        ...

    def supports(self, steps: Sequence[Step], precision: Precision, device: Device) -> str | None:
        """Why it cannot compute these steps, in one line; None where it can."""
        ...

    def variants(self, steps: Sequence[Step], precision: Precision, device: Device) -> Sequence[str]:
        """Forms of it that autotuning may try, the best guess first; at least one, which may be the empty string."""
        ...

    def build(self, steps: Sequence[Step], context: Context, variant: str) -> Launch:
        """Packs the weights and makes everything ready. Raises ValueError where it cannot after all: the next candidate
        is taken, and the reason reported."""
        ...


class Option(NamedTuple):
    """One of the ways to compute the steps from number `at` on."""

    candidate: str
    """A name of `CANDIDATES`, or `plain`."""
    variant: str
    steps: tuple[Step, ...]

    @property
    def label(self) -> str:
        return f"{self.candidate}:{self.variant}" if self.variant else self.candidate


@dataclass(frozen=True)
class Choice:
    """What was chosen for some steps, and why nothing else was."""

    option: Option
    launch: Launch
    rejected: tuple[tuple[str, str], ...] = ()
    """(candidate, reason) of those that say that they cannot, and of those that failed."""
    failed: tuple[tuple[str, str], ...] = ()
    """(candidate, reason) of those that were to, and could not be built or did not run."""


Build = Callable[[Option], Launch]
Chooser = Callable[[Sequence[Option], Build], tuple[Option, Launch]]
"""Of the options (at least one; `plain` is the last) the one to take, built. `build` raises ValueError for an option
that cannot be built after all. Options that cover several steps stand beside those that cover one: they are compared by
whoever measures, with the plain form of all."""

PLAIN = "plain"


def candidate(name: str) -> Candidate:
    """The candidate called `name`. Raises KeyError, ImportError."""
    found: Candidate = import_module(CANDIDATES[name]).CANDIDATE
    return found


def inner(program: Program, at: int, count: int) -> bool:
    """Whether there are steps `at` to `at + count - 1`, and nobody else reads what all but the last of them make."""
    if at + count > len(program.steps):
        return False
    steps = program.steps[at : at + count]
    made = {step.output.name for step in steps[:-1]}
    others = (*program.steps[:at], *program.steps[at + count :])
    if any(tensor.name in made for tensor in program.outputs.values()):
        return False
    return not any(tensor.name in made for step in others for tensor in step.reads) and not _viewed(program, steps)


def _viewed(program: Program, steps: Sequence[Step]) -> bool:
    """Whether a tensor without a step of its own (a view) shows what one of the inner steps makes to others."""
    own = {step.output.name for step in program.steps} | {tensor.name for tensor in program.inputs.values()}
    buffers = {step.output.buffer for step in steps[:-1]}
    views = {tensor.name for tensor in program.tensors.values() if tensor.name not in own and tensor.buffer in buffers}
    inside = {step.name for step in steps}
    return any(tensor.name in views for step in program.steps if step.name not in inside for tensor in step.reads)
