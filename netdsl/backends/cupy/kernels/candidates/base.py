"""What all families share: from forms to a candidate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from netdsl.backends.cupy.choice import Launch
from netdsl.backends.cupy.context import Context
from netdsl.backends.cupy.device import Device
from netdsl.backends.cupy.kernels.functions import has_function
from netdsl.backends.cupy.kernels.kernel import Work
from netdsl.backends.cupy.kernels.launching import launch
from netdsl.backends.cupy.kernels.view import View, view_of
from netdsl.backends.cupy.precision import Precision, dtype_of
from netdsl.ir.layer import Array, Layer
from netdsl.program.ir import Program, Step, Tensor


class Pack(NamedTuple):
    """A weight as a kernel takes it."""

    step: Step
    form: str
    """Tells it from other forms of the weights of the step."""
    make: Callable[[], Array]
    dtype: str


@dataclass(frozen=True)
class Form:
    """One way to compute some steps: every argument of the work is a tensor, a weight, or scratch."""

    work: Work
    tensors: Mapping[str, Tensor]
    weights: Mapping[str, Pack] = field(default_factory=dict)
    variant: str = ""


class Family(ABC):
    """A candidate. `forms` raises ValueError for what the kernels do not compute."""

    name: ClassVar[str]
    kinds: ClassVar[frozenset[str]]

    def covers(self, program: Program, at: int) -> int:
        return int(program.steps[at].kernel in self.kinds)

    @abstractmethod
    def forms(self, steps: Sequence[Step], storage: str) -> Sequence[Form]:
        """The ways to compute these steps with numbers of the type `storage`, the best guess first; at least one."""

    def supports(self, steps: Sequence[Step], precision: Precision, device: Device) -> str | None:
        try:
            self.forms(steps, precision.storage)
        except ValueError as error:
            return str(error)
        return None

    def variants(self, steps: Sequence[Step], precision: Precision, device: Device) -> Sequence[str]:
        return [form.variant for form in self.forms(steps, precision.storage)]

    def build(self, steps: Sequence[Step], context: Context, variant: str) -> Launch:
        """Raises ValueError."""
        forms = self.forms(steps, context.precision.storage)
        found = [form for form in forms if form.variant == variant]
        form = found[0] if found else forms[0]
        addresses = {name: context.address(tensor) for name, tensor in form.tensors.items()}
        keeps = []
        for name, pack in form.weights.items():
            array = context.packed(pack.step, f"kernels {pack.form}", pack.make, dtype_of(pack.dtype))
            keeps.append(array)
            addresses[name] = context.device.address(array)
        return launch(f"kernel {self.name}", form.work, context.device, context.workspace, addresses, keeps)


def view(tensor: Tensor, storage: str) -> View:
    """Raises ValueError where a tensor lies in no rows of positions."""
    found = view_of(tensor, storage)
    if found is None:
        raise ValueError("three spatial axes with gaps between their rows")
    return found


def flat(tensor: Tensor) -> None:
    """Raises ValueError where a tensor has gaps."""
    if not tensor.dense:
        raise ValueError(f"{tensor.name} is a part of another tensor")


def function_of(layer: Layer | None) -> Layer | None:
    """The layer itself. Raises ValueError where no expression stands for it."""
    if not has_function(layer):
        assert layer is not None
        raise ValueError(f"no expression for {layer.kind}")
    return layer


def without_residual(step: Step) -> None:
    """Raises ValueError where something is added to the output."""
    if step.residual is not None:
        raise ValueError(f"a residual behind {step.kernel}")


def vector_pack(step: Step, name: str) -> Pack:
    """A weight with one number for each channel, in float32."""
    return Pack(step, f"vector {name}", lambda: step.weights[name].reshape(-1), "float32")
